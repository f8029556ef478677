//! PEM (RFC 7468) as people hand it in, and what to tell them when it is not what it should be.

use std::error::Error;
use std::fmt;

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// The contents of a file, and the name to blame in errors.
#[derive(Clone, Copy)]
pub struct Pem<'a> {
    /// What the file holds.
    pub bytes: &'a [u8],
    /// The file's name, or the key of the configuration that holds the text.
    pub origin: &'a str,
}

/// Why no TLS context can be made of a configuration: whom to blame and what to do.
///
/// Never holds anything of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfigError {
    origin: Box<str>,
    problem: Box<str>,
}

// === impl Pem ===

impl<'a> Pem<'a> {
    /// Names what the bytes are from.
    pub fn new(bytes: &'a [u8], origin: &'a str) -> Self {
        Self { bytes, origin }
    }

    /// All certificates, in their order; at least one.
    pub(super) fn certificates(self) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
        let found = self.sections(|kind, der| (kind == SectionKind::Certificate).then(|| CertificateDer::from(der)))?;
        if found.is_empty() {
            let labels = self.labels();
            return Err(self.blame(match labels.iter().find(|label| label.ends_with("PRIVATE KEY")) {
                Some(_) => "holds a private key and no certificate; are the two files swapped?".to_owned(),
                None => self.missing("CERTIFICATE", &labels),
            }));
        }
        Ok(found)
    }

    /// The one private key.
    pub(super) fn private_key(self) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
        let labels = self.labels();
        // RFC 1421's header and PKCS #8's label; told apart here, since the first is no base64.
        if labels.contains(&"ENCRYPTED PRIVATE KEY") || self.lines().any(|line| line == b"Proc-Type: 4,ENCRYPTED") {
            return Err(self.blame(
                "the private key is encrypted, and nobody is there to type a passphrase; decrypt it with \
                 `openssl pkey` and keep the file readable for this process alone",
            ));
        }
        let mut keys = self.sections(PrivateKeyDer::from_pem)?;
        match (keys.pop(), keys.len()) {
            (Some(key), 0) => Ok(key),
            (Some(_), others) => Err(self.blame(format!("holds {} private keys; keep the one to use", others + 1))),
            (None, _) => Err(self.blame(if labels.contains(&"CERTIFICATE") {
                "holds a certificate and no private key; are the two files swapped?".to_owned()
            } else if labels.contains(&"PUBLIC KEY") {
                "holds a public key; the private key is needed".to_owned()
            } else {
                self.missing("PRIVATE KEY", &labels)
            })),
        }
    }

    /// Revocation lists: those in PEM, or the bytes themselves where they are DER (RFC 5280 section 5).
    pub(super) fn revocation_lists(self) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsConfigError> {
        if self.is_der() {
            return Ok(vec![CertificateRevocationListDer::from(self.bytes.to_vec())]);
        }
        let found =
            self.sections(|kind, der| (kind == SectionKind::Crl).then(|| CertificateRevocationListDer::from(der)))?;
        if found.is_empty() {
            return Err(self.blame(self.missing("X509 CRL", &self.labels())));
        }
        Ok(found)
    }

    /// An error with this origin.
    pub(super) fn blame(self, problem: impl Into<String>) -> TlsConfigError {
        TlsConfigError::new(self.origin, problem)
    }

    fn sections<T>(self, take: impl Fn(SectionKind, Vec<u8>) -> Option<T>) -> Result<Vec<T>, TlsConfigError> {
        let mut found = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(self.bytes) {
            let (kind, der) = section.map_err(|error| self.blame(syntax(&error)))?;
            found.extend(take(kind, der));
        }
        Ok(found)
    }

    fn missing(self, wanted: &str, labels: &[&str]) -> String {
        if !labels.is_empty() {
            return format!("there is no `{wanted}` block in it, only `{}`", labels.join("`, `"));
        }
        let hint = if self.bytes.trim_ascii().is_empty() {
            "the file is empty"
        } else if self.is_der() {
            "this looks like DER, which `openssl` converts with `-inform der`"
        } else {
            "this is something else"
        };
        format!("no PEM block found: {hint}; expected `-----BEGIN {wanted}-----`")
    }

    fn labels(self) -> Vec<&'a str> {
        let label = |line: &'a [u8]| line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----");
        self.lines().filter_map(label).filter_map(|label| str::from_utf8(label).ok()).collect()
    }

    fn lines(self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.split(|&byte| byte == b'\n' || byte == b'\r').map(<[u8]>::trim_ascii)
    }

    /// A DER sequence whose length takes two bytes or more, as all that is meant here does.
    fn is_der(self) -> bool {
        matches!(self.bytes, [0x30, 0x81..=0x84, ..])
    }
}

impl fmt::Debug for Pem<'_> {
    /// Without the bytes: they may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("origin", &self.origin).finish_non_exhaustive()
    }
}

// === impl TlsConfigError ===

impl TlsConfigError {
    pub(super) fn new(origin: &str, problem: impl Into<String>) -> Self {
        Self { origin: origin.into(), problem: problem.into().into() }
    }

    /// The file's name or the configuration's key that is to blame.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.problem)
    }
}

impl Error for TlsConfigError {}

/// What is wrong with the text, without repeating any of it: a key could be in the line.
fn syntax(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM block has no `-----END` line; the file is cut short",
        pem::Error::IllegalSectionStart { .. } => "a `-----BEGIN` line is malformed",
        pem::Error::Base64Decode(_) => "a PEM block is not base64; the file is damaged",
        _ => "not readable as PEM",
    }
}
