//! What is wrong with a request, as its client is told.

use http::StatusCode;
use ringway_api::{Body, Chunk, Known, Response, ResponseHead};

/// Why a request does not become a call, or a result no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    /// A sentence that repeats nothing of the request's content.
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the content is longer than {limit} bytes"))
    }

    /// As a response made here.
    pub(super) fn response(&self) -> Response {
        let mut response = Response { head: ResponseHead::new(self.status), body: Body::Empty };
        self.tell(&mut response);
        response
    }

    /// Makes `response` say it.
    pub(super) fn tell(&self, response: &mut Response) {
        response.head.status = self.status;
        set_json(response, serde_json::json!({ "error": self.message }).to_string());
    }
}

/// Replaces the content by this document.
pub(super) fn set_json(response: &mut Response, document: impl Into<Vec<u8>>) {
    let headers = &mut response.head.headers;
    headers.remove_known(Known::ContentLength);
    headers.remove_known(Known::Trailer);
    let set = headers.set_known(Known::ContentType, b"application/json");
    debug_assert!(set.is_ok(), "a constant that is valid");
    response.body = Body::Full(Chunk::from(document.into()));
}
