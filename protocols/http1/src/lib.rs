//! HTTP/1.1 for Ringway (RFC 9110, RFC 9112).
//!
//! [`Http1`] is the protocol. Under it lies a core that does no I/O: [`head`] reads heads, [`body`] finds where
//! content ends, [`encode`] writes both. It is strict: what another implementation could read differently is refused
//! in requests, and never passed on from responses.

#![forbid(unsafe_code)]

pub mod body;
mod client;
pub mod encode;
pub mod head;
mod options;
mod serve;

use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{ConnCx, ConnError, Handler, Io, Protocol, Sniff};

pub use client::Client;
pub use options::{HeaderCase, Http1Options};

/// HTTP/1.1, both sides.
#[derive(Clone, Copy, Debug)]
pub struct Http1;

/// The preface of HTTP/2 (RFC 9113, section 3.4) starts like a request.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Longer than every method in use.
const MAX_SNIFFED_METHOD: usize = 24;

impl Protocol for Http1 {
    const NAME: &'static str = "http1";
    const ALPN: &'static [&'static str] = &["http/1.1"];

    type Config = Http1Options;

    type Client<I: Io> = Client<I>;

    fn sniff(prefix: &[u8]) -> Sniff {
        let prefix = prefix.strip_prefix(b"\r\n").unwrap_or(prefix);
        if prefix.starts_with(H2_PREFACE) {
            return Sniff::No;
        }
        if prefix.is_empty() || H2_PREFACE.starts_with(prefix) {
            return Sniff::NeedMore;
        }
        match prefix.iter().position(|b| !head::is_tchar(*b)) {
            Some(end) if end > 0 && prefix.get(end) == Some(&b' ') => Sniff::Yes,
            None if prefix.len() <= MAX_SNIFFED_METHOD => Sniff::NeedMore,
            _ => Sniff::No,
        }
    }

    fn serve<I: Io, H: Handler>(
        cfg: Arc<Http1Options>,
        io: I,
        handler: H,
        conn: Rc<ConnCx>,
    ) -> impl Future<Output = Result<(), ConnError>> {
        serve::serve(cfg, io, handler, conn)
    }

    async fn connect<I: Io>(cfg: Arc<Http1Options>, io: I, conn: Rc<ConnCx>) -> Result<Client<I>, ConnError> {
        Ok(Client::new(cfg, io, conn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sniffing_tells_requests_from_everything_else() {
        for (prefix, verdict) in [
            (&b"GET / HTTP/1.1"[..], Sniff::Yes),
            (b"PROPFIND /", Sniff::Yes),
            (b"P", Sniff::NeedMore),
            (b"PRI * HT", Sniff::NeedMore),
            (b"PRI * HTTP/2.0\r\n", Sniff::No),
            (b"PRI /x", Sniff::Yes),
            (b"\x16\x03\x01", Sniff::No),
            (b"", Sniff::NeedMore),
            (b" GET", Sniff::No),
            (b"ALONGWORDTHATISNOMETHODATALL", Sniff::No),
        ] {
            assert_eq!(Http1::sniff(prefix), verdict, "{:?}", String::from_utf8_lossy(prefix));
        }
    }
}
