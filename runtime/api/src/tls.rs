//! What is known of a secured connection (RFC 8446).

use std::fmt;
use std::fmt::Write;
use std::rc::Rc;

/// A stream that TLS has been established on.
#[derive(Debug)]
pub struct Secured<I> {
    /// The stream of the plaintext.
    pub io: I,
    /// What was agreed.
    pub info: Rc<TlsInfo>,
}

/// What a handshake established.
#[derive(Clone, Debug, Default)]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's IANA name.
    pub cipher: &'static str,
    /// The name the client asked for (SNI), in lower case.
    pub server_name: Option<Box<str>>,
    /// The application protocol that was agreed on (ALPN), such as `h2`.
    pub alpn: Option<Box<str>>,
    /// The session was resumed: no certificate was shown in this handshake; `peer` is from the first one.
    pub resumed: bool,
    /// The peer's certificate, verified.
    pub peer: Option<Rc<PeerCertificate>>,
}

/// The leaf certificate that a peer has shown and that has been verified.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The certificate (DER), and those it sent along, leaf first.
    pub chain: Vec<Box<[u8]>>,
    /// SHA-256 of the leaf.
    pub sha256: [u8; 32],
    /// The subject as RFC 4514 writes it; empty when there is none.
    pub subject: Box<str>,
    /// Subject alternative names that are URIs, such as SPIFFE identities.
    pub uri_sans: Vec<Box<str>>,
    /// Subject alternative names that are host names.
    pub dns_sans: Vec<Box<str>>,
}

impl PeerCertificate {
    /// The SHA-256 fingerprint in lower-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.sha256 {
            let written = write!(text, "{byte:02x}");
            debug_assert!(written.is_ok(), "a string takes everything");
        }
        text
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate")
            .field("subject", &self.subject)
            .field("uri_sans", &self.uri_sans)
            .field("dns_sans", &self.dns_sans)
            .finish_non_exhaustive()
    }
}
