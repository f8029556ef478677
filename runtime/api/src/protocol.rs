//! A protocol: what owns a connection.

use std::any::Any;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::{ConnCx, ConnError, Handler, Io, UpstreamConn};

/// What a prefix of a connection's bytes says about its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// It is this protocol.
    Yes,
    /// It is not.
    No,
    /// More bytes are needed to tell.
    NeedMore,
}

/// Which kind of configuration and statistics a protocol has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolKind {
    /// Requests and responses that are routed one by one.
    Streams,
    /// Bytes: a connection is routed as a whole.
    Raw,
}

/// A codec and its connection loops, both sides. Pure of sockets and clocks: bytes come through [`Io`], time through
/// [`ConnCx`].
pub trait Protocol: 'static {
    /// The name in configurations.
    const NAME: &'static str;

    /// Its names in TLS ALPN (RFC 7301), best first. Protocols with a name here are what `auto` chooses from.
    const ALPN: &'static [&'static str] = &[];

    /// How many exchanges a new upstream connection is expected to carry at once: 1 without multiplexing.
    const STREAMS: NonZeroU32 = NonZeroU32::MIN;

    /// Connections have a state that requests depend on: each downstream connection gets an upstream connection of its
    /// own, whatever the cluster says.
    const BOUND: bool = false;

    /// The options a listener or cluster of this protocol takes. Unknown keys must be errors.
    type Config: DeserializeOwned + JsonSchema + Default + Send + Sync + 'static;

    /// Its upstream connections.
    type Client<I: Io>: UpstreamConn;

    /// Whether a connection that starts with `prefix` speaks this protocol.
    fn sniff(prefix: &[u8]) -> Sniff;

    /// Serves a downstream connection until it ends; every request goes to `handler`.
    async fn serve<I: Io, H: Handler>(
        cfg: Arc<Self::Config>,
        io: I,
        handler: H,
        conn: Rc<ConnCx>,
    ) -> Result<(), ConnError>;

    /// Makes an upstream connection of a connected stream.
    async fn connect<I: Io>(cfg: Arc<Self::Config>, io: I, conn: Rc<ConnCx>) -> Result<Self::Client<I>, ConnError>;
}

/// A protocol as the configuration sees it: its name and its options' type, erased.
#[derive(Clone, Copy)]
pub struct ProtocolSpec {
    /// The name in configurations.
    pub name: &'static str,
    /// Which kind it is.
    pub kind: ProtocolKind,
    /// Its names in TLS ALPN.
    pub alpn: &'static [&'static str],
    /// How many exchanges a new upstream connection is expected to carry at once.
    pub streams: NonZeroU32,
    /// Each downstream connection needs an upstream connection of its own.
    pub bound: bool,
    /// Reads the options; the error says what is wrong with them.
    pub compile: fn(serde_json::Value) -> Result<Arc<dyn Any + Send + Sync>, String>,
    /// The options' JSON Schema.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl ProtocolSpec {
    /// The specification of a protocol whose connections carry requests.
    pub const fn of<P: Protocol>() -> Self {
        Self {
            name: P::NAME,
            kind: ProtocolKind::Streams,
            alpn: P::ALPN,
            streams: P::STREAMS,
            bound: P::BOUND,
            compile: compile::<P::Config>,
            schema: schema::<P::Config>,
        }
    }

    /// The specification of a protocol without a codec, named `name`, with options of type `C`.
    pub const fn raw<C: DeserializeOwned + JsonSchema + Default + Send + Sync + 'static>(name: &'static str) -> Self {
        Self {
            name,
            kind: ProtocolKind::Raw,
            alpn: &[],
            streams: NonZeroU32::MIN,
            bound: false,
            compile: compile::<C>,
            schema: schema::<C>,
        }
    }
}

fn compile<C: DeserializeOwned + Default + Send + Sync + 'static>(
    raw: serde_json::Value,
) -> Result<Arc<dyn Any + Send + Sync>, String> {
    let options = if raw.is_null() { C::default() } else { serde_json::from_value(raw).map_err(|e| e.to_string())? };
    Ok(Arc::new(options))
}

fn schema<C: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<C>()
}
