//! What a certificate says of its holder (RFC 5280 section 4).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use ringway_api::PeerCertificate;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Describes the peer by its chain, leaf first, as [`rustls::CommonState::peer_certificates`] has it.
///
/// Verifies nothing: pass only what a handshake has verified. `None` if there is no certificate or the leaf cannot be
/// read; such a peer counts as unknown.
pub fn describe(chain: &[CertificateDer<'_>]) -> Option<Arc<PeerCertificate>> {
    let leaf = chain.first()?;
    let facts = Facts::read(leaf)?;
    Some(Arc::new(PeerCertificate {
        chain: chain.iter().map(|certificate| certificate.as_ref().into()).collect(),
        sha256: facts.sha256,
        subject: facts.subject,
        issuer: facts.issuer,
        serial: facts.serial,
        not_before: system(facts.not_before),
        not_after: system(facts.not_after),
        uri_sans: facts.names.uri,
        dns_sans: facts.names.dns,
    }))
}

/// Whether the leaf of a chain that was verified once is still within its dates at `now`; yes, if there is none.
///
/// A resumed session shows no certificate, so that rustls does not look at the dates again: ask here after every
/// resumed handshake, and close the connection on an error. Only the leaf is looked at, since peers send along
/// certificates that nothing was built on.
///
/// # Errors
/// The leaf is not valid now, or cannot be read.
pub fn check_validity(chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), CertificateError> {
    match chain.first() {
        Some(leaf) => Facts::read(leaf).ok_or(CertificateError::BadEncoding)?.check_validity(now),
        None => Ok(()),
    }
}

/// A certificate's contents, as far as anybody here asks for them.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) subject: Box<str>,
    pub(super) issuer: Box<str>,
    pub(super) serial: Box<[u8]>,
    pub(super) names: Names,
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
    pub(super) sha256: [u8; 32],
}

/// Subject alternative names (RFC 5280 section 4.2.1.6); DNS names in lower case, addresses as text.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) dns: Vec<Box<str>>,
    pub(super) uri: Vec<Box<str>>,
    pub(super) email: Vec<Box<str>>,
    pub(super) ip: Vec<Box<str>>,
}

// === impl Facts ===

impl Facts {
    /// `None` for what is not a certificate, also when only its alternative names cannot be read.
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        // `Raw`: serial numbers that break RFC 5280's rules are in use, and here they are only shown.
        let certificate = CertificateInner::<Raw>::from_der(der).ok()?;
        let tbs = certificate.tbs_certificate();
        let validity = tbs.validity();
        let names = match tbs.get_extension::<SubjectAltName>().ok()? {
            Some((_critical, names)) => Names::read(&names),
            None => Names::default(),
        };
        Some(Self {
            subject: tbs.subject().to_string().into(),
            issuer: tbs.issuer().to_string().into(),
            serial: without_zeros(tbs.serial_number().as_bytes()).into(),
            names,
            not_before: unix(validity.not_before.to_unix_duration()),
            not_after: unix(validity.not_after.to_unix_duration()),
            sha256: sha256(&[der]),
        })
    }

    pub(super) fn check_validity(&self, now: UnixTime) -> Result<(), CertificateError> {
        if now < self.not_before {
            return Err(CertificateError::NotValidYetContext { time: now, not_before: self.not_before });
        }
        if now > self.not_after {
            return Err(CertificateError::ExpiredContext { time: now, not_after: self.not_after });
        }
        Ok(())
    }
}

// === impl Names ===

impl Names {
    fn read(names: &SubjectAltName) -> Self {
        let mut out = Self::default();
        for name in &names.0 {
            match name {
                GeneralName::DnsName(name) => out.dns.push(name.as_str().to_ascii_lowercase().into()),
                GeneralName::UniformResourceIdentifier(uri) => out.uri.push(uri.as_str().into()),
                GeneralName::Rfc822Name(address) => out.email.push(address.as_str().into()),
                GeneralName::IpAddress(octets) => out.ip.extend(address(octets.as_bytes())),
                _ => {}
            }
        }
        out
    }

    /// All of them, each with the prefix that OpenSSL prints.
    pub(super) fn iter(&self) -> impl Iterator<Item = String> + '_ {
        let kinds = [("DNS", &self.dns), ("URI", &self.uri), ("email", &self.email), ("IP", &self.ip)];
        kinds.into_iter().flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind}:{name}")))
    }
}

/// SHA-256 of the parts, one after the other.
pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn address(octets: &[u8]) -> Option<Box<str>> {
    let address = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
    };
    Some(address.to_string().into())
}

/// The sign of a DER integer is no part of the number.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

fn system(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

fn unix(since_epoch: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(since_epoch)
}
