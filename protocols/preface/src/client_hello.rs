//! The ClientHello, read without taking part in the handshake (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2).
//!
//! What is read chooses a way or a certificate and proves nothing: the client may name whatever it likes, and with
//! Encrypted ClientHello the names are those of the outer hello.

mod body;
mod name;
mod record;

use crate::reader::Reader;

/// How much may come before the ClientHello is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the ClientHello with its 4-byte handshake header.
    pub message_bytes: usize,
    /// Records that it may be spread over, 5 bytes of header each. A record carries one byte at least, so that this
    /// bounds what a call looks at.
    pub records: usize,
}

/// What TLS stacks take: real hellos have 200 to 600 bytes, with post-quantum key shares about 1,700.
pub const MESSAGE_BYTES: usize = 16 * 1024;

/// Enough for a post-quantum hello in records of 16 bytes.
pub const RECORDS: usize = 128;

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: MESSAGE_BYTES, records: RECORDS }
    }
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes decide. There are never more than [`Limits`] allow before a verdict.
    NeedMore,
    /// No TLS record of major version 3: plaintext, or a hello in the form of SSL 2.0, which RFC 6176 forbids.
    NotTls,
    /// A whole ClientHello.
    Hello(ClientHello),
    /// It begins like TLS and breaks the rules, for the reason given. The client is to blame.
    Malformed(&'static str),
}

/// What a client offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The host it asks for (RFC 6066, section 3): a DNS name in lower case, without a trailing dot. `None` when it
    /// names none.
    pub server_name: Option<String>,
    /// The application protocols it offers, the preferred one first (RFC 7301, section 3.1).
    pub alpn: Protocols,
    /// The versions it offers, in its order (RFC 8446, section 4.2.1), such as 0x0304 for TLS 1.3. One that has no
    /// `supported_versions` offers everything up to the single one that stands here. Without GREASE (RFC 8701).
    pub versions: Vec<u16>,
    /// It has no `supported_versions`: it speaks TLS 1.2 at most, and `versions` holds its `legacy_version`.
    pub legacy: bool,
}

/// Names of application protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protocols {
    /// As on the wire: each with its length in front. One allocation, whatever the client sends.
    list: Box<[u8]>,
}

impl Protocols {
    /// The names in the client's order, without GREASE; empty when it offers none.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = Reader(&self.list);
        std::iter::from_fn(move || rest.vector8()).filter(|name| !body::is_grease_name(name))
    }

    /// Whether the client offers `name`, such as `h2`.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.iter().any(|offered| offered == name)
    }
}

/// Reads the ClientHello that `prefix` begins with, from however many records. Allocates only once the hello is whole.
pub fn parse(prefix: &[u8], limits: Limits) -> Parsed {
    let message = match record::first_message(prefix, limits) {
        Ok(Some(message)) => message,
        Ok(None) => return Parsed::NeedMore,
        Err(record::Fault::NotTls) => return Parsed::NotTls,
        Err(record::Fault::Malformed(reason)) => return Parsed::Malformed(reason),
    };
    match body::read(&message) {
        Ok(hello) => Parsed::Hello(hello),
        Err(reason) => Parsed::Malformed(reason),
    }
}
