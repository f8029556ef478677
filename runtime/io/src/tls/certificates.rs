//! Certificates with their keys, and which of them a client gets to see.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, SignatureAlgorithm};

use super::peer::Facts;
use super::pem::{Pem, TlsConfigError};

/// A certificate chain with its private key, read and found to belong together. Cheap to clone.
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    facts: Arc<Facts>,
    origin: Arc<str>,
}

/// Chooses by the name that the client asks for and the signatures that it can verify.
#[derive(Debug)]
pub(super) struct BySni {
    /// Lower-case names as in the certificates; wildcards without their `*`, so with a dot in front.
    names: HashMap<Box<str>, Choice>,
    default: Choice,
}

/// Certificates of the same name, the preferred kind of key first.
#[derive(Clone, Debug, Default)]
struct Choice(Vec<Arc<CertifiedKey>>);

// === impl Certificate ===

impl Certificate {
    /// Reads a chain, leaf first, and the key of the leaf; both files may hold the other's blocks besides.
    ///
    /// Dates are not looked at: see [`Self::date_warning`].
    ///
    /// # Errors
    /// Either is not what it should be, the key is encrypted or of a kind that TLS has no use for, or it is not the
    /// leaf's.
    pub fn from_pem(chain: Pem<'_>, key: Pem<'_>) -> Result<Self, TlsConfigError> {
        let certificates = chain.certificates()?;
        let unreadable = || chain.blame("the first certificate cannot be read; it is not X.509 version 3, or damaged");
        let facts = Facts::read(certificates.first().ok_or_else(unreadable)?).ok_or_else(unreadable)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let signing = provider.key_provider.load_private_key(key.private_key()?).map_err(|_| {
            key.blame(
                "the private key cannot be used; what can: RSA from 2048 bits, ECDSA P-256, P-384, P-521, Ed25519",
            )
        })?;
        let certified = CertifiedKey::new(certificates, signing);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => return Err(mismatch(chain, key, &certified)),
            Err(_) => return Err(unreadable()),
        }
        Ok(Self { key: Arc::new(certified), facts: Arc::new(facts), origin: chain.origin.into() })
    }

    /// Where the chain is from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The leaf's subject (RFC 4514); empty when there is none.
    pub fn subject(&self) -> &str {
        &self.facts.subject
    }

    /// The leaf's alternative names, such as `DNS:example.com`.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.facts.names.iter()
    }

    /// Those of the leaf's names that are URIs, such as who this side is in `By` of `X-Forwarded-Client-Cert`.
    pub fn uri_sans(&self) -> &[Box<str>] {
        &self.facts.names.uri
    }

    /// The last second at which the leaf is valid.
    pub fn not_after(&self) -> UnixTime {
        self.facts.not_after
    }

    /// What is wrong with the leaf's dates at `now`, for the log: peers will refuse it, and it is used all the same.
    pub fn date_warning(&self, now: UnixTime) -> Option<String> {
        let problem = date_problem(&self.facts, now)?;
        Some(format!("{}: the certificate {problem}; peers will refuse it", self.origin))
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }

    fn shares_name_with(&self, other: &Self) -> bool {
        self.names().any(|name| other.names().any(|its| its == name))
    }
}

impl fmt::Debug for Certificate {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("origin", &self.origin)
            .field("subject", &self.facts.subject)
            .finish_non_exhaustive()
    }
}

// === impl BySni ===

impl BySni {
    /// The first certificate is for clients that ask for a name nobody has, or for none (RFC 6066 section 3).
    pub(super) fn new(certificates: &[Certificate]) -> Self {
        let mut names: HashMap<Box<str>, Choice> = HashMap::new();
        let mut default = Choice::default();
        for certificate in certificates {
            for name in &certificate.facts.names.dns {
                names.entry(name.strip_prefix('*').unwrap_or(name).into()).or_default().add(certificate);
            }
            // Another key for the same names, so that the default too is there for clients of either kind.
            if certificates.first().is_some_and(|first| default.0.is_empty() || certificate.shares_name_with(first)) {
                default.add(certificate);
            }
        }
        Self { names, default }
    }

    fn named(&self, name: &str) -> Option<&Choice> {
        // RFC 6125 section 6.4.3: a wildcard stands for exactly the leftmost label.
        self.names.get(name).or_else(|| self.names.get(name.get(name.find('.')?..)?))
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let choice = hello.server_name().and_then(|name| self.named(name)).unwrap_or(&self.default);
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        // If none fits, rustls finds so too and sends the alert.
        choice.0.iter().find(usable).or(choice.0.first()).cloned()
    }
}

// === impl Choice ===

impl Choice {
    /// In order of preference; among the same kinds, the one that was configured first.
    fn add(&mut self, certificate: &Certificate) {
        let at = self.0.partition_point(|key| cost(key) <= cost(&certificate.key));
        if !self.0.iter().any(|key| Arc::ptr_eq(key, &certificate.key)) {
            self.0.insert(at, certificate.certified());
        }
    }
}

/// What signing costs, roughly: ECDSA and Ed25519 a tenth of what RSA does, and ECDSA P-256 is what peers know best.
fn cost(key: &CertifiedKey) -> u8 {
    match key.key.algorithm() {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::ED25519 => 1,
        _ => 2,
    }
}

fn mismatch(chain: Pem<'_>, key: Pem<'_>, certified: &CertifiedKey) -> TlsConfigError {
    let fits = |other: &CertificateDer<'static>| {
        CertifiedKey::new(vec![other.clone()], certified.key.clone()).keys_match().is_ok()
    };
    key.blame(match certified.cert.iter().position(fits) {
        Some(at) => format!("the key is that of certificate {} in {}; the leaf must come first", at + 1, chain.origin),
        None => format!("the key does not match the certificate in {}", chain.origin),
    })
}

/// How the dates are not met.
pub(super) fn date_problem(facts: &Facts, now: UnixTime) -> Option<String> {
    match facts.check_validity(now) {
        Ok(()) => None,
        Err(CertificateError::NotValidYetContext { not_before, .. }) => {
            Some(format!("is not valid before {}", utc(not_before)))
        }
        Err(_) => Some(format!("expired at {}", utc(facts.not_after))),
    }
}

/// RFC 3339, in seconds.
pub(super) fn utc(time: UnixTime) -> String {
    let since_epoch = std::time::Duration::from_secs(time.as_secs());
    x509_cert::der::DateTime::from_unix_duration(since_epoch)
        .map_or_else(|_| format!("second {} of 1970", time.as_secs()), |date| date.to_string())
}
