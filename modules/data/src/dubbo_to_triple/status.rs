//! gRPC's status as Dubbo's.

use http::StatusCode;
use ringway_api::Headers;

/// How a call ended.
pub(super) struct Ended {
    pub(super) code: u32,
    pub(super) message: String,
}

/// `UNKNOWN`, which a status that is none counts as ("Status codes and their use in gRPC").
const UNKNOWN: u32 = 2;

impl Ended {
    /// What the fields say, if they say how a call ended.
    pub(super) fn read(fields: &Headers) -> Option<Self> {
        let code = str::from_utf8(fields.first("grpc-status")?).ok().and_then(|code| code.trim().parse().ok());
        let message = crate::grpc_message::unescape(fields.first("grpc-message").unwrap_or_default());
        Some(Self { code: code.unwrap_or(UNKNOWN), message })
    }

    /// The same in Dubbo's words (`Response` of Apache Dubbo), and in HTTP's for what counts and logs.
    pub(super) fn dubbo(&self) -> (u8, StatusCode) {
        match self.code {
            3 | 9 | 11 => (40, StatusCode::BAD_REQUEST),
            4 => (31, StatusCode::GATEWAY_TIMEOUT),
            5 | 12 => (60, StatusCode::NOT_FOUND),
            7 | 16 => (70, StatusCode::FORBIDDEN),
            8 => (100, StatusCode::TOO_MANY_REQUESTS),
            14 => (80, StatusCode::SERVICE_UNAVAILABLE),
            _ => (80, StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}
