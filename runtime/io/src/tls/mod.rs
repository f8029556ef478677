//! TLS (RFC 8446, RFC 5246): contexts made of certificates and rules at configuration time, what peers have shown, and
//! the stream itself.
//!
//! rustls does the handshake and keeps the key schedule; once it is done, its key material seals and opens records
//! here, so that a record which lies in one received chunk is decrypted in place, one that is sent is sealed straight
//! into the buffer it leaves in, and an idle connection holds its keys and nothing else.

mod certificates;
mod client;
mod fault;
mod handshake;
mod hello;
mod keys;
mod params;
pub mod peer;
mod pem;
mod record;
mod san;
mod server;
mod session;
mod stream;
mod tickets;
mod trust;
mod verify;

pub use certificates::Certificate;
pub use client::{ClientParams, ClientTls};
pub use fault::details;
pub use handshake::{accept, connect};
pub use params::{TlsParams, TlsVersion};
pub use pem::{Pem, TlsConfigError};
pub use san::{SanKind, SanPattern, SanRule, SanRules};
pub use server::{ServerParams, ServerTls};
pub use stream::TlsStream;
pub use trust::{Crls, ExpiredCrl, Roots};
pub use verify::{ClientAuth, ClientTrust, ServerNames, ServerTrust};

#[cfg(test)]
mod context_tests;
#[cfg(test)]
mod testing;
