//! What is known of a secured connection (RFC 8446).

use std::fmt;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

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
    /// An `Arc` so that a report of a stream can take it along to the control plane.
    pub peer: Option<Arc<PeerCertificate>>,
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
    /// The issuer, likewise.
    pub issuer: Box<str>,
    /// The serial number, most significant byte first, without leading zeros.
    pub serial: Box<[u8]>,
    /// It is valid from then on.
    pub not_before: SystemTime,
    /// It is valid until then.
    pub not_after: SystemTime,
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

    /// Appends a certificate (DER) as PEM (RFC 7468), URL-encoded.
    pub fn url_encoded_pem(der: &[u8], text: &mut String) {
        text.push_str("-----BEGIN%20CERTIFICATE-----%0A");
        for line in base64(der).as_bytes().chunks(64) {
            for byte in line {
                match byte {
                    b'+' => text.push_str("%2B"),
                    b'/' => text.push_str("%2F"),
                    b'=' => text.push_str("%3D"),
                    byte => text.push(char::from(*byte)),
                }
            }
            text.push_str("%0A");
        }
        text.push_str("-----END%20CERTIFICATE-----%0A");
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            let letter = DIGITS.get(index).filter(|_| digit <= group.len()).copied().unwrap_or(b'=');
            text.push(char::from(letter));
        }
    }
    text
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
