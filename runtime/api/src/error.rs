//! Errors that name who is to blame and whether a retry is safe.

use std::fmt;
use std::io;

/// Who caused an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client, or the network towards it.
    Downstream,
    /// The server, or the network towards it.
    Upstream,
    /// The proxy: a limit, a timeout, a drain, a bug.
    Local,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
            Self::Local => "local",
        })
    }
}

/// Why a connection ended other than in order.
#[derive(Debug)]
pub struct ConnError {
    /// Who caused it.
    pub blame: Blame,
    /// One word for logs and statistics, such as `reset`, `idle_timeout`, `protocol_error`.
    pub details: &'static str,
    /// The peer broke the protocol, or a limit that protects us from it.
    pub breach: bool,
    /// The transport's error, if that is what it was.
    pub source: Option<io::Error>,
}

impl ConnError {
    /// An error without a transport's error behind it.
    pub const fn new(blame: Blame, details: &'static str) -> Self {
        Self { blame, details, breach: false, source: None }
    }

    /// A breach of the protocol.
    pub const fn breach(blame: Blame, details: &'static str) -> Self {
        Self { blame, details, breach: true, source: None }
    }

    /// The transport failed.
    pub const fn io(blame: Blame, source: io::Error) -> Self {
        Self { blame, details: "transport_error", breach: false, source: Some(source) }
    }
}

impl fmt::Display for ConnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.details, self.blame)
    }
}

impl std::error::Error for ConnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// What went wrong with an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeErrorKind {
    /// The upstream closed or reset the connection before a response head.
    Closed,
    /// The response broke the protocol; it must not be passed on.
    Protocol,
    /// The response head exceeded a limit.
    TooLarge,
    /// The request's own body failed; see `details`.
    RequestBody,
}

/// Why an exchange ended without a response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeError {
    /// Which kind of failure.
    pub kind: ExchangeErrorKind,
    /// Who caused it.
    pub blame: Blame,
    /// One word for logs, such as `connection_termination`, `chunked_and_content_length`.
    pub details: &'static str,
    /// The request provably never reached the upstream application: repeating it is safe for every method.
    pub unseen: bool,
    /// The status to answer with when it is the request's fault.
    pub status: Option<http::StatusCode>,
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retry = if self.unseen { "safe to retry" } else { "not safe to retry" };
        write!(f, "{} ({}, {retry})", self.details, self.blame)
    }
}

impl std::error::Error for ExchangeError {}
