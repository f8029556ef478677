//! What comes on a connection before its protocol, for Ringway: the PROXY header that a proxy in front sends, and the
//! ClientHello of TLS, whose names choose the way before anything is decrypted.
//!
//! Everything here is a pure function over the bytes received so far. Nothing is kept between calls: call again with
//! the longer prefix. A verdict other than `NeedMore` holds for every longer prefix as well, and none needs more bytes
//! than its limits say.

#![forbid(unsafe_code)]

pub mod client_hello;
pub mod proxy_protocol;
mod reader;

use ringway_api::Sniff;

/// Whether a connection that starts with `prefix` speaks TLS: a record of the handshake type, of major version 3
/// (RFC 8446, section 5.1). Two bytes decide; [`client_hello::parse`] says whether it is a sound beginning.
pub fn looks_like_tls(prefix: &[u8]) -> Sniff {
    match prefix {
        [] | [0x16] => Sniff::NeedMore,
        [0x16, 0x03, ..] => Sniff::Yes,
        _ => Sniff::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bytes_decide() {
        let cases: [(&[u8], Sniff); 7] = [
            (b"", Sniff::NeedMore),
            (b"\x16", Sniff::NeedMore),
            (b"\x16\x03", Sniff::Yes),
            (b"\x16\x03\x01\x00", Sniff::Yes),
            (b"\x16\x02", Sniff::No),
            (b"\x15\x03", Sniff::No),
            (b"GET /", Sniff::No),
        ];
        for (prefix, verdict) in cases {
            assert_eq!(looks_like_tls(prefix), verdict, "{prefix:?}");
        }
    }
}
