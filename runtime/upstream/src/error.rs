//! Why there is no connection for a request.

use std::fmt;

use ringway_api::{Address, ConnError, ConnectError, ResponseFlag};

/// Why no connection was to be had. The request has not been sent: repeating it is safe.
#[derive(Debug)]
pub enum AcquireError {
    /// No host of the cluster may be picked.
    NoHealthyHost,
    /// A limit of the cluster refused it.
    Overflow(Breaker),
    /// Every connection the limits allow was busy for as long as a request may wait.
    PendingTimeout {
        /// The host that was picked.
        host: Address,
    },
    /// No connection came about.
    Connect {
        /// The host that was picked.
        host: Address,
        /// Timeout, or the transport's error.
        cause: ConnectError,
    },
    /// The connection that the downstream connection had to itself has ended; it gets no other one.
    BoundEnded {
        /// The host it was with.
        host: Address,
    },
    /// The connection came about, but its protocol did not.
    Handshake {
        /// The host that was picked.
        host: Address,
        /// What the protocol says.
        cause: ConnError,
    },
}

/// Which of a cluster's limits was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breaker {
    /// On open connections.
    Connections,
    /// On requests that wait for a connection.
    Pending,
    /// On requests under way.
    Requests,
}

impl AcquireError {
    /// The flag it is logged with.
    pub const fn flag(&self) -> ResponseFlag {
        match self {
            Self::NoHealthyHost => ResponseFlag::NoHealthyUpstream,
            Self::Overflow(_) | Self::PendingTimeout { .. } => ResponseFlag::UpstreamOverflow,
            Self::Connect { .. } | Self::Handshake { .. } => ResponseFlag::UpstreamConnectionFailure,
            Self::BoundEnded { .. } => ResponseFlag::UpstreamConnectionTermination,
        }
    }

    /// The host that was picked, unless it failed before one was or because of no host in particular.
    pub const fn host(&self) -> Option<&Address> {
        match self {
            Self::NoHealthyHost | Self::Overflow(_) => None,
            Self::PendingTimeout { host }
            | Self::BoundEnded { host }
            | Self::Connect { host, .. }
            | Self::Handshake { host, .. } => Some(host),
        }
    }

    /// The response code details it is logged with, in Envoy's words.
    pub const fn details(&self) -> &'static str {
        match self {
            Self::NoHealthyHost => "no_healthy_upstream",
            Self::Overflow(_) | Self::PendingTimeout { .. } => "upstream_reset_before_response_started{overflow}",
            Self::Connect { cause: ConnectError::Timeout, .. } => {
                "upstream_reset_before_response_started{connection_timeout}"
            }
            Self::Connect { .. } => "upstream_reset_before_response_started{remote_connection_failure}",
            Self::BoundEnded { .. } => "upstream_reset_before_response_started{connection_termination}",
            // The reason is worth more than Envoy's word for it: it says which certificate to look at.
            Self::Handshake { cause, .. } => cause.details,
        }
    }

    /// Why there is no connection, in the transport's words.
    pub const fn transport_failure(&self) -> Option<&'static str> {
        match self {
            Self::NoHealthyHost | Self::Overflow(_) | Self::PendingTimeout { .. } | Self::BoundEnded { .. } => None,
            Self::Connect { cause: ConnectError::Timeout, .. } => Some("connection_timeout"),
            Self::Connect { .. } => Some("remote_connection_failure"),
            Self::Handshake { cause, .. } => Some(cause.details),
        }
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHealthyHost => f.write_str("no healthy upstream"),
            Self::Overflow(breaker) => write!(f, "the cluster's limit on {breaker} is reached"),
            Self::PendingTimeout { host } => write!(f, "{host}: no connection became free in time"),
            Self::BoundEnded { host } => write!(f, "{host}: the connection bound to the downstream's has ended"),
            Self::Connect { host, cause } => write!(f, "{host}: {cause}"),
            Self::Handshake { host, .. } => write!(f, "{host}: connected, but the protocol failed"),
        }
    }
}

impl std::error::Error for AcquireError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { cause, .. } => Some(cause),
            Self::Handshake { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "connections",
            Self::Pending => "pending requests",
            Self::Requests => "requests",
        })
    }
}
