//! The engine's TLS as the proxy uses it.

use std::sync::Arc;

use ringway_api::{Blame, ConnError};
use ringway_io::Stream;
use ringway_io::tls::{ClientTls, ServerTls};
use ringway_proxy::{Handshake, Options, Security};

/// Secures the process's streams.
pub(crate) const SECURITY: Security<Stream> = Security { accept, connect };

fn accept(context: Options, io: Stream) -> Handshake<Stream> {
    match context.downcast::<ServerTls>() {
        Ok(tls) => Box::pin(io.secure_accept(tls.config())),
        Err(_) => Box::pin(std::future::ready(Err(foreign()))),
    }
}

fn connect(context: Options, host: Arc<str>, io: Stream) -> Handshake<Stream> {
    match context.downcast::<ClientTls>() {
        Ok(tls) => match tls.server_name(&host) {
            Ok(name) => Box::pin(io.secure_connect(tls.config(), name)),
            Err(_) => Box::pin(std::future::ready(Err(ConnError::new(Blame::Local, "tls_no_server_name")))),
        },
        Err(_) => Box::pin(std::future::ready(Err(foreign()))),
    }
}

/// Contexts are made by the planner for the side they are used on, so this is a bug of ours; the connection ends.
fn foreign() -> ConnError {
    debug_assert!(false, "a context of the other side");
    ConnError::new(Blame::Local, "tls_foreign_context")
}
