//! Protocols with their types erased: what the catalogue lists and connections are served by.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{Blame, ConnCx, ConnError, Io, LocalBoxFuture, Protocol, ProtocolSpec, Secured, Sniff, UpstreamConn};

use crate::handler::StreamHandler;

/// A protocol's compiled options, as the configuration keeps them.
pub type Options = Arc<dyn Any + Send + Sync>;

/// Serves a downstream connection.
pub(crate) type ServeFn<I> =
    fn(Options, I, StreamHandler<I>, Rc<ConnCx>) -> LocalBoxFuture<'static, Result<(), ConnError>>;

/// Makes an upstream connection of a stream.
pub(crate) type ConnectFn<I> =
    fn(Options, I, Rc<ConnCx>) -> LocalBoxFuture<'static, Result<Rc<dyn UpstreamConn>, ConnError>>;

/// A handshake under way.
pub type Handshake<I> = LocalBoxFuture<'static, Result<Secured<I>, ConnError>>;

/// How streams of type `I` are secured. The contexts are made by the engine and looked into by nobody else.
pub struct Security<I> {
    /// The server's side of a handshake. A failed one has been answered with an alert and closed.
    pub accept: fn(Options, I) -> Handshake<I>,
    /// The client's side, with a host that is known by this name.
    pub connect: fn(Options, Arc<str>, I) -> Handshake<I>,
}

impl<I> Clone for Security<I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Security<I> {}

/// A protocol for streams of type `I`. Made only by [`of`](Self::of), which monomorphises the protocol's loops for the
/// one stream type and the one handler there is; the erased options never leave it.
pub struct ProtocolEntry<I: Io> {
    /// The name, and how the configuration reads its options.
    pub spec: ProtocolSpec,
    /// Whether a connection's first bytes are of this protocol.
    pub sniff: fn(&[u8]) -> Sniff,
    pub(crate) serve: ServeFn<I>,
    pub(crate) connect: ConnectFn<I>,
}

impl<I: Io> ProtocolEntry<I> {
    /// The entry of a protocol.
    pub const fn of<P: Protocol>() -> Self {
        Self { spec: ProtocolSpec::of::<P>(), sniff: P::sniff, serve: serve::<P, I>, connect: connect::<P, I> }
    }
}

fn serve<P: Protocol, I: Io>(
    options: Options,
    io: I,
    handler: StreamHandler<I>,
    conn: Rc<ConnCx>,
) -> LocalBoxFuture<'static, Result<(), ConnError>> {
    match options.downcast::<P::Config>() {
        Ok(config) => Box::pin(P::serve(config, io, handler, conn)),
        Err(_) => Box::pin(std::future::ready(Err(foreign_options()))),
    }
}

fn connect<P: Protocol, I: Io>(
    options: Options,
    io: I,
    conn: Rc<ConnCx>,
) -> LocalBoxFuture<'static, Result<Rc<dyn UpstreamConn>, ConnError>> {
    match options.downcast::<P::Config>() {
        Ok(config) => Box::pin(async move {
            let client = P::connect(config, io, conn).await?;
            Ok(Rc::new(client) as Rc<dyn UpstreamConn>)
        }),
        Err(_) => Box::pin(std::future::ready(Err(foreign_options()))),
    }
}

/// Options are compiled by the same entry's `spec`, so this is a bug of ours; the connection ends, nothing else.
fn foreign_options() -> ConnError {
    debug_assert!(false, "options of another protocol");
    ConnError::new(Blame::Local, "options_of_another_protocol")
}
