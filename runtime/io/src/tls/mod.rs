//! TLS (RFC 8446, RFC 5246): contexts made of certificates and rules at configuration time, and what peers have shown.

pub mod peer;
