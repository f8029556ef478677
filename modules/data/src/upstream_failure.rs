//! What counts as a failure of the upstream, for those who have something better to say.

use http::StatusCode;
use ringway_api::{ResponseFlag, ResponseHead};
use schemars::JsonSchema;
use serde::Deserialize;

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamFailure {
    /// The cluster has no healthy host.
    NoHealthyUpstream,
    /// No connection came about.
    ConnectFailure,
    /// The connection ended before a response, or the response was none.
    Reset,
    /// There was no response in time.
    Timeout,
    /// A limit of the cluster refused the request.
    Overflow,
    /// The host answered with 502, 503 or 504.
    GatewayError,
    /// The host answered with a status of 500 to 599.
    #[serde(rename = "5xx")]
    ServerError,
}

impl UpstreamFailure {
    /// Whether a response is one of these failures.
    pub(crate) fn any(kinds: &[Self], head: &ResponseHead) -> bool {
        kinds.iter().any(|kind| kind.is(head))
    }

    fn is(self, head: &ResponseHead) -> bool {
        let flags: &[ResponseFlag] = match (self, head.local.is_some()) {
            (Self::ServerError, false) => return head.status.is_server_error(),
            (Self::GatewayError, false) => {
                return matches!(
                    head.status,
                    StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
                );
            }
            (Self::NoHealthyUpstream, true) => &[ResponseFlag::NoHealthyUpstream],
            (Self::ConnectFailure, true) => &[ResponseFlag::UpstreamConnectionFailure],
            (Self::Reset, true) => &[
                ResponseFlag::UpstreamConnectionTermination,
                ResponseFlag::UpstreamRemoteReset,
                ResponseFlag::UpstreamProtocolError,
            ],
            (Self::Timeout, true) => {
                &[ResponseFlag::UpstreamRequestTimeout, ResponseFlag::UpstreamMaxStreamDurationReached]
            }
            (Self::Overflow, true) => &[ResponseFlag::UpstreamOverflow],
            _ => &[],
        };
        head.local.as_ref().is_some_and(|local| flags.iter().any(|flag| local.flags.contains(*flag)))
    }

    /// # Errors
    /// When there is none.
    pub(crate) fn check(kinds: &[Self]) -> Result<(), String> {
        if kinds.is_empty() { Err("on: name at least one kind of failure".to_owned()) } else { Ok(()) }
    }
}
