//! A codec as a protocol.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{ConnCx, ConnError, Handler, Io, Protocol, Sniff};

use crate::options::{self, RpcOptions};
use crate::{Mode, RpcCodec, client, serve};

/// The protocol that a codec makes.
pub struct Framed<C>(PhantomData<C>);

impl<C> fmt::Debug for Framed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Framed")
    }
}

impl<C: RpcCodec> Protocol for Framed<C> {
    const NAME: &'static str = C::NAME;
    const STREAMS: NonZeroU32 = match C::MODE {
        Mode::PingPong => NonZeroU32::MIN,
        Mode::Multiplex | Mode::Bound => NonZeroU32::new(options::CALLS).unwrap(),
    };
    const BOUND: bool = matches!(C::MODE, Mode::Bound);

    type Config = RpcOptions;

    type Client<I: Io> = client::Client<C>;

    fn sniff(prefix: &[u8]) -> Sniff {
        C::sniff(prefix)
    }

    async fn serve<I: Io, H: Handler>(
        cfg: Arc<RpcOptions>,
        io: I,
        handler: H,
        conn: Rc<ConnCx>,
    ) -> Result<(), ConnError> {
        serve::serve::<C, I, H>(cfg, io, handler, conn).await
    }

    async fn connect<I: Io>(cfg: Arc<RpcOptions>, io: I, conn: Rc<ConnCx>) -> Result<client::Client<C>, ConnError> {
        Ok(client::connect::<C, I>(cfg, io, conn))
    }
}
