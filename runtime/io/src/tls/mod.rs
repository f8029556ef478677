//! TLS (RFC 8446, RFC 5246): contexts made of certificates and rules at configuration time, and what peers have shown.

mod certificates;
mod client;
mod params;
pub mod peer;
mod pem;
mod san;
mod server;
mod tickets;
mod trust;
mod verify;

pub use certificates::Certificate;
pub use client::{ClientParams, ClientTls};
pub use params::{TlsParams, TlsVersion};
pub use pem::{Pem, TlsConfigError};
pub use san::{SanKind, SanPattern, SanRule, SanRules};
pub use server::{ServerParams, ServerTls};
pub use trust::{Crls, ExpiredCrl, Roots};
pub use verify::{ClientAuth, ClientTrust, ServerNames, ServerTrust};

#[cfg(test)]
mod context_tests;
#[cfg(test)]
mod testing;
