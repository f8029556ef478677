//! The engine's TLS as the proxy uses it.

use std::sync::Arc;

use ringway_api::{Blame, ConnError};
use ringway_io::Stream;
use ringway_proxy::{Handshake, Options, Security};

/// Secures the process's streams.
pub(crate) const SECURITY: Security<Stream> = Security { accept, connect };

fn accept(_: Options, _: Stream) -> Handshake<Stream> {
    Box::pin(std::future::ready(Err(ConnError::new(Blame::Local, "tls_not_linked"))))
}

fn connect(_: Options, _: Arc<str>, _: Stream) -> Handshake<Stream> {
    Box::pin(std::future::ready(Err(ConnError::new(Blame::Local, "tls_not_linked"))))
}
