//! What went wrong, as HTTP clients are told: `{"code", "message", "details"}`.

use http::StatusCode;
use ringway_api::{Body, Chunk, Known, Response, ResponseHead};
use serde_json::{Value, json};

/// Why a request does not become a call, or a call failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    /// Of `google.rpc.Code`.
    pub(super) code: u32,
    pub(super) message: String,
    pub(super) details: Vec<Value>,
}

/// `google.rpc.Code` that faults found here have.
const INVALID_ARGUMENT: u32 = 3;
const UNKNOWN: u32 = 2;
const NOT_FOUND: u32 = 5;
const RESOURCE_EXHAUSTED: u32 = 8;
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;

impl Fault {
    /// A fault with the code that its status says.
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let code = match status.as_u16() {
            404 | 405 => NOT_FOUND,
            413 => RESOURCE_EXHAUSTED,
            501 => UNIMPLEMENTED,
            400..=499 => INVALID_ARGUMENT,
            502 => INTERNAL,
            503 => UNAVAILABLE,
            _ => UNKNOWN,
        };
        Self { status, code, message: message.into(), details: Vec::new() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, message)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the content is longer than {limit} bytes"))
    }

    /// A response that says it.
    pub(super) fn response(&self) -> Box<Response> {
        let mut response = Response { head: ResponseHead::new(self.status), body: Body::Empty };
        self.tell(&mut response);
        Box::new(response)
    }

    /// Makes `response` say it.
    pub(super) fn tell(&self, response: &mut Response) {
        response.head.status = self.status;
        let document = json!({ "code": self.code, "message": self.message, "details": self.details });
        set_content(response, "application/json", document.to_string().into());
    }
}

/// Replaces the content.
pub(super) fn set_content(response: &mut Response, kind: &str, content: Vec<u8>) {
    let headers = &mut response.head.headers;
    headers.remove_known(Known::ContentLength);
    headers.remove_known(Known::Trailer);
    if headers.set_known(Known::ContentType, kind.as_bytes()).is_err() {
        headers.remove_known(Known::ContentType);
    }
    response.body = if content.is_empty() { Body::Empty } else { Body::Full(Chunk::from(content)) };
}
