//! HTTP/2 for Ringway (RFC 9113), over the h2 crate.
//!
//! [`Http2`] is the protocol. h2 keeps the frames, the header compression and the streams' states; what it does not
//! limit is limited in front of it ([`scan`]), and what it calls I/O is our [`Io`] (the adaptor). Nothing outside the
//! adaptor, the conversion of heads and the two loops names h2, so that a codec of our own could take its place.

#![forbid(unsafe_code)]

mod adaptor;
mod bdp;
mod body;
mod client;
mod fault;
mod head;
mod keepalive;
mod options;
pub mod scan;
mod send;
mod serve;

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{ConnCx, ConnError, Handler, Io, Protocol, Sniff};

pub use client::Client;
pub use options::Http2Options;

/// HTTP/2, both sides.
#[derive(Clone, Copy, Debug)]
pub struct Http2;

/// What a client's connection begins with (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Protocol for Http2 {
    const NAME: &'static str = "http2";
    const ALPN: &'static [&'static str] = &["h2"];
    const STREAMS: NonZeroU32 = NonZeroU32::new(options::STREAMS).unwrap();

    type Config = Http2Options;

    type Client<I: Io> = Client;

    fn sniff(prefix: &[u8]) -> Sniff {
        let shared = prefix.iter().zip(PREFACE).all(|(a, b)| a == b);
        match (shared, prefix.len() >= PREFACE.len()) {
            (true, true) => Sniff::Yes,
            (true, false) => Sniff::NeedMore,
            (false, _) => Sniff::No,
        }
    }

    async fn serve<I: Io, H: Handler>(
        cfg: Arc<Http2Options>,
        io: I,
        handler: H,
        conn: Rc<ConnCx>,
    ) -> Result<(), ConnError> {
        serve::serve(&cfg, io, handler, conn).await
    }

    async fn connect<I: Io>(cfg: Arc<Http2Options>, io: I, conn: Rc<ConnCx>) -> Result<Client, ConnError> {
        client::connect(&cfg, io, conn).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_known_by_its_preface() {
        for end in 0..PREFACE.len() {
            assert_eq!(Http2::sniff(&PREFACE[..end]), Sniff::NeedMore, "{end}");
        }
        assert_eq!(Http2::sniff(PREFACE), Sniff::Yes);
        assert_eq!(Http2::sniff(b"PRI * HTTP/1.1"), Sniff::No);
        assert_eq!(Http2::sniff(b"GET / HTTP/1.1"), Sniff::No);
    }
}
