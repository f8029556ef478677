//! Replies that the proxy makes itself.

use http::StatusCode;

use crate::{Body, Chunk, Known, LocalSource, Response, ResponseFlag, ResponseFlags, ResponseHead};

/// A reply made from nothing: it never repeats what the request said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// The status.
    pub status: StatusCode,
    /// The body, plain text.
    pub body: &'static str,
    /// One word for the log's response code details, such as `route_not_found`.
    pub details: &'static str,
    /// The flags it is logged with.
    pub flags: ResponseFlags,
    /// The status for gRPC clients, where it is not the one that follows from `status`.
    pub grpc_status: Option<u8>,
}

impl LocalReply {
    /// A reply with no flag.
    pub const fn new(status: StatusCode, body: &'static str, details: &'static str) -> Self {
        Self { status, body, details, flags: ResponseFlags::NONE, grpc_status: None }
    }

    /// The same reply with a flag.
    #[must_use]
    pub const fn flag(mut self, flag: ResponseFlag) -> Self {
        self.flags.insert(flag);
        self
    }

    /// The same reply with a status of its own for gRPC clients.
    #[must_use]
    pub const fn grpc_status(mut self, code: u8) -> Self {
        self.grpc_status = Some(code);
        self
    }

    /// As a response. Protocols that speak another language than status codes translate it.
    pub fn response(&self) -> Response {
        let mut head = self.head(self.status);
        let body = if self.body.is_empty() {
            Body::Empty
        } else {
            head = head.with_content_type("text/plain");
            Body::Full(Chunk::from(self.body))
        };
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE) && self.flags.contains(ResponseFlag::UpstreamOverflow)
        {
            // Tells callers, and proxies in front, that a limit refused it and a retry makes things worse.
            let known = head.headers.append("x-envoy-overloaded", b"true");
            debug_assert!(known.is_ok());
        }
        debug_assert!(!head.headers.has(Known::Date), "the codec dates responses");
        Response { head, body }
    }

    /// As a response to a gRPC call: status 200, the real one in `grpc-status` ("HTTP to gRPC Status Code Mapping" of
    /// the protocol's description).
    pub fn grpc_response(&self) -> Response {
        let code = self.grpc_status.unwrap_or(match self.status.as_u16() {
            _ if self.flags.contains(ResponseFlag::UpstreamRequestTimeout) => 4,
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502..=504 => 14,
            _ => 2,
        });
        let mut head = self.head(StatusCode::OK).with_content_type("application/grpc");
        let status = head.headers.append("grpc-status", code.to_string().as_bytes());
        let message = if self.body.is_empty() { self.details } else { self.body };
        // Ours are printable ASCII without `%`, which need no encoding.
        let message = head.headers.append("grpc-message", message.as_bytes());
        debug_assert!(status.is_ok() && message.is_ok());
        Response { head, body: Body::Empty }
    }

    /// A head that tells filters where it comes from.
    fn head(&self, status: StatusCode) -> ResponseHead {
        let mut head = ResponseHead::new(self.status);
        head.set_local(LocalSource::Reply, self.flags, self.details);
        head.status = status;
        head
    }
}
