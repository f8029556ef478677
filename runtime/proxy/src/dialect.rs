//! Which language a request's peers speak, as far as replies of the proxy and deadlines depend on it.

use std::time::Duration;

use ringway_api::{RequestHead, Version};
use ringway_config::Forward;

use crate::grpc;

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Status codes, and fields that tell the way a message took.
    #[default]
    Http,
    /// gRPC over HTTP: its status is a field or a trailer.
    Grpc,
    /// Framed calls: codecs translate status codes, and nothing is added to attachments.
    Rpc,
}

impl Dialect {
    /// The language of a request.
    pub(crate) fn of(head: &RequestHead) -> Self {
        match head.version {
            Version::Rpc(_) => Self::Rpc,
            _ if grpc::is_call(head) => Self::Grpc,
            _ => Self::Http,
        }
    }
}

/// The time that a framed call may take: what its caller waits, cut to what the route says; or the route's default.
pub(crate) fn deadline(head: &RequestHead, route: &Forward) -> Option<Duration> {
    match (head.timeout, route.call_timeout) {
        (Some(own), Some(most)) => Some(own.min(most)),
        (Some(own), None) => Some(own),
        (None, _) => route.timeout,
    }
}
