//! The PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`; the sections named here are its own).
//!
//! Whoever may send a header may claim any source. Read one only where the configuration says that a trusted proxy
//! sends it, never because the bytes look like one (section 5), and there treat [`Parsed::NotProxy`] as a fault unless
//! the configuration says that headers may be missing.

mod crc32c;
mod encode;
mod tlv;
mod v1;
mod v2;

pub use encode::{TooLong, encode_local, encode_v1, encode_v2};
pub use tlv::{Ssl, Tlv, Tlvs};

use ringway_api::Address;

/// How much a header may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole header of version 2, its 16 fixed bytes and all TLVs included. One of version 1 has 107 at
    /// most, by its definition.
    pub header_bytes: usize,
}

/// Room for the longest addresses (232 bytes) and what TLS facts and names real senders add; other receivers stop here
/// too.
pub const HEADER_BYTES: usize = 4096;

impl Default for Limits {
    fn default() -> Self {
        Self { header_bytes: HEADER_BYTES }
    }
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// More bytes decide: at least so many (never 0) are missing until the next verdict can be a header. Call again
    /// with whatever has come by then.
    NeedMore(usize),
    /// No PROXY header; nothing is consumed.
    NotProxy,
    /// A whole header.
    Header {
        /// Its length in bytes; what follows belongs to the connection's protocol.
        consumed: usize,
        /// On whose behalf the connection is.
        kind: Kind,
        /// What else the sender tells, checked already. Empty for version 1 and unless `kind` is [`Kind::Proxied`].
        tlvs: Tlvs<'a>,
    },
    /// It begins like a header and breaks the rules, for the reason given. The sender is to blame; the connection must
    /// be closed (sections 2.1 and 2.2).
    Malformed(&'static str),
}

/// On whose behalf a connection was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The proxy's own, such as a health check: the socket's own addresses are the ends.
    Local,
    /// Somebody's whose addresses the proxy could not tell (`UNKNOWN`, `AF_UNSPEC`): use those of the socket.
    Unknown,
    /// Another client's.
    Proxied {
        /// The client. A unix path is empty where the socket has no name in the file system.
        source: Address,
        /// What the client connected to.
        destination: Address,
    },
}

/// Reads the header that `prefix` begins with, of either version (section 2.2, its end).
pub fn parse(prefix: &[u8], limits: Limits) -> Parsed<'_> {
    let shared = |start: &[u8]| prefix.iter().zip(start).all(|(a, b)| a == b);
    if shared(v1::START) {
        match prefix.len() {
            len if len < v1::START.len() => Parsed::NeedMore(1),
            _ => v1::parse(prefix),
        }
    } else if shared(v2::SIGNATURE) {
        match prefix.len() {
            len if len < v2::SIGNATURE.len() => Parsed::NeedMore(1),
            _ => v2::parse(prefix, limits),
        }
    } else {
        Parsed::NotProxy
    }
}
