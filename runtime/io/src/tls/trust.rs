//! Whom to trust: authorities, what they have revoked, and how a chain is verified (RFC 5280 section 6).

use std::fmt;
use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, DistinguishedName, Error, OtherError, RootCertStore};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

use super::certificates::{date_problem, utc};
use super::peer::{Facts, sha256};
use super::pem::{Pem, TlsConfigError};

/// Certificate authorities. Cheap to clone; read them once and share them.
#[derive(Clone)]
pub struct Roots {
    store: Arc<RootCertStore>,
    /// Of all authorities, whatever their order: equal roots trust the same.
    digest: [u8; 32],
    warnings: Arc<[Dated]>,
}

/// Certificate revocation lists. Cheap to clone.
///
/// The whole chain is checked but for the authority itself. A certificate whose issuer has no list here is not revoked.
#[derive(Clone, Default)]
pub struct Crls {
    lists: Arc<[CertRevocationList<'static>]>,
    digest: [u8; 32],
    expired: ExpiredCrl,
    warnings: Arc<[(String, UnixTime)]>,
}

/// What to do with certificates whose issuer's list is past its `nextUpdate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiredCrl {
    /// Refuse them: what has been revoked since is not known.
    #[default]
    Refuse,
    /// Go by the old list.
    Accept,
}

/// Verifies chains; names are somebody else's business.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) roots: Roots,
    pub(super) crls: Crls,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// Something with dates, and what to call it.
type Dated = (String, Facts);

// === impl Roots ===

impl Roots {
    /// The authorities of one or several bundles.
    ///
    /// # Errors
    /// A file without a certificate, or with one that cannot be read; no file at all.
    pub fn from_pem(bundles: &[Pem<'_>]) -> Result<Self, TlsConfigError> {
        let mut store = RootCertStore::empty();
        let mut warnings = Vec::new();
        for pem in bundles {
            for (i, der) in pem.certificates()?.into_iter().enumerate() {
                let facts = Facts::read(&der);
                let added = store.add(der);
                let (Some(facts), Ok(())) = (facts, added) else {
                    return Err(pem.blame(format!("certificate {} cannot be read; remove or replace it", i + 1)));
                };
                warnings.push((format!("{}: authority `{}`", pem.origin, facts.subject), facts));
            }
        }
        if store.is_empty() {
            return Err(TlsConfigError::new("ca", "no bundle of authorities is given"));
        }
        Ok(Self::new(store, warnings))
    }

    /// The authorities of the machine: the file or directory that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, or what the
    /// distribution keeps (`ca-certificates`). Blocks; what single certificates there cannot be read is left out.
    ///
    /// They are read and not built in, so that they are as recent as the machine, and its operator decides.
    ///
    /// # Errors
    /// There are none.
    pub fn system() -> Result<Self, TlsConfigError> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            let problem = format!(
                "this machine has no bundle of authorities{why}; install `ca-certificates`, set SSL_CERT_FILE, or \
                 configure `ca`"
            );
            return Err(TlsConfigError::new("system roots", problem));
        }
        Ok(Self::new(store, Vec::new()))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.store.len()
    }

    pub(super) fn subjects(&self) -> Vec<DistinguishedName> {
        self.store.subjects()
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    pub(super) fn warnings(&self, now: UnixTime) -> impl Iterator<Item = String> {
        self.warnings
            .iter()
            .filter_map(move |(what, facts)| date_problem(facts, now).map(|problem| format!("{what} {problem}")))
    }

    fn new(store: RootCertStore, warnings: Vec<Dated>) -> Self {
        let anchor = |anchor: &rustls::pki_types::TrustAnchor<'_>| {
            let constraints = anchor.name_constraints.as_deref().unwrap_or_default();
            [sha256(&[&anchor.subject]), sha256(&[&anchor.subject_public_key_info]), sha256(&[constraints])].concat()
        };
        let mut anchors: Vec<_> = store.roots.iter().map(anchor).collect();
        anchors.sort_unstable();
        anchors.dedup();
        let digest = sha256(&anchors.iter().map(Vec::as_slice).collect::<Vec<_>>());
        Self { store: Arc::new(store), digest, warnings: warnings.into() }
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.count())
    }
}

// === impl Crls ===

impl Crls {
    /// The lists of one or several files, each PEM or DER.
    ///
    /// # Errors
    /// A file without a list, or with one that cannot be used: damaged, a delta, or of an indirect issuer.
    pub fn new(files: &[Pem<'_>], expired: ExpiredCrl) -> Result<Self, TlsConfigError> {
        let mut lists = Vec::new();
        let mut digests = Vec::new();
        let mut warnings = Vec::new();
        for pem in files {
            for der in pem.revocation_lists()? {
                let list = BorrowedCertRevocationList::from_der(&der).and_then(|list| list.to_owned());
                let list = list.map_err(|error| pem.blame(unusable(&error)))?;
                if let Ok(parsed) = CertificateList::<x509_cert::certificate::Raw>::from_der(&der)
                    && let Some(next) = parsed.tbs_cert_list.next_update
                {
                    let what = format!("{}: the revocation list of `{}`", pem.origin, parsed.tbs_cert_list.issuer);
                    warnings.push((what, UnixTime::since_unix_epoch(next.to_unix_duration())));
                }
                lists.push(CertRevocationList::from(list));
                digests.push(sha256(&[&der]));
            }
        }
        digests.sort_unstable();
        let parts: Vec<&[u8]> = digests.iter().map(<[u8; 32]>::as_slice).collect();
        Ok(Self { lists: lists.into(), digest: sha256(&parts), expired, warnings: warnings.into() })
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        sha256(&[&self.digest, &[u8::from(self.expired == ExpiredCrl::Accept)]])
    }

    pub(super) fn warnings(&self, now: UnixTime) -> impl Iterator<Item = String> {
        let effect = match self.expired {
            ExpiredCrl::Refuse => "certificates of this issuer are refused until there is a new one",
            ExpiredCrl::Accept => "it is used all the same",
        };
        self.warnings
            .iter()
            .filter(move |(_, next_update)| *next_update < now)
            .map(move |(what, next_update)| format!("{what} was to be replaced by {}; {effect}", utc(*next_update)))
    }
}

impl fmt::Debug for Crls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crls").field("lists", &self.lists.len()).field("expired", &self.expired).finish()
    }
}

// === impl Chain ===

impl Chain {
    /// The leaf, verified.
    pub(super) fn verify<'a>(
        &self,
        leaf: &'a CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<EndEntityCert<'a>, Error> {
        let lists: Vec<_> = self.crls.lists.iter().collect();
        // The builder only refuses an empty list, which means no check here.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            let expiration = match self.crls.expired {
                ExpiredCrl::Refuse => ExpirationPolicy::Enforce,
                ExpiredCrl::Accept => ExpirationPolicy::Ignore,
            };
            options.with_status_policy(UnknownStatusPolicy::Allow).with_expiration_policy(expiration).build()
        });
        let certificate = EndEntityCert::try_from(leaf).map_err(refused)?;
        certificate
            .verify_for_usage(self.algorithms.all, &self.roots.store.roots, intermediates, now, usage, revocation, None)
            .map_err(refused)?;
        Ok(certificate)
    }
}

fn unusable(error: &webpki::Error) -> String {
    match error {
        webpki::Error::UnsupportedDeltaCrl => "this is a delta list; give the complete one".to_owned(),
        webpki::Error::UnsupportedIndirectCrl => {
            "this list is for other issuers than the one that signed it; give each issuer's own".to_owned()
        }
        webpki::Error::UnsupportedCrlVersion => "this is a list of version 1; version 2 is needed".to_owned(),
        other => format!("the revocation list cannot be read; it is damaged, or something else ({other})"),
    }
}

/// The error that rustls has the right alert for (RFC 8446 section 6.2).
pub(super) fn refused(error: webpki::Error) -> Error {
    use webpki::Error as E;
    Error::InvalidCertificate(match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertNotValidYet { time, not_before } => CertificateError::NotValidYetContext { time, not_before },
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::InvalidCertValidity => CertificateError::Expired,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::CertNotValidForName(name) => {
            CertificateError::NotValidForNameContext { expected: name.expected, presented: name.presented }
        }
        E::CertRevoked => CertificateError::Revoked,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        E::CrlExpired { time, next_update } => CertificateError::ExpiredRevocationListContext { time, next_update },
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}
