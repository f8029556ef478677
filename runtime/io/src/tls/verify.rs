//! What a peer's certificate must be: the chain, then the names.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use webpki::KeyUsage;

use super::peer::{Facts, sha256};
use super::san::SanRules;
use super::trust::{Chain, Crls, Roots, refused};

/// Whether clients show certificates.
#[derive(Clone, Debug, Default)]
pub enum ClientAuth {
    /// They are not asked to.
    #[default]
    None,
    /// They are asked to and may decline; what they show must hold.
    Optional(ClientTrust),
    /// They must.
    Required(ClientTrust),
}

/// Which certificates of clients hold.
#[derive(Clone, Debug)]
pub struct ClientTrust {
    /// The authorities.
    pub roots: Roots,
    /// What the authorities have revoked.
    pub crls: Crls,
    /// Rules on the names in the certificate.
    pub names: SanRules,
}

/// Whether and how a server's certificate is verified.
#[derive(Clone, Debug)]
pub enum ServerTrust {
    /// As it must be.
    Verify {
        /// The authorities.
        roots: Roots,
        /// What the authorities have revoked.
        crls: Crls,
        /// Rules on the names in the certificate.
        names: ServerNames,
    },
    /// Anybody who answers is believed. Connections are encrypted and worth nothing against who can redirect them.
    InsecureSkipVerify,
}

/// Which names a server's certificate must have.
#[derive(Clone, Debug)]
pub enum ServerNames {
    /// The name or address that was asked for (RFC 6125).
    Host,
    /// By rules instead, such as a SPIFFE identity.
    Rules(SanRules),
    /// Both.
    HostAndRules(SanRules),
}

/// Verifies clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    chain: Chain,
    names: SanRules,
    mandatory: bool,
    hints: Vec<DistinguishedName>,
}

/// Verifies servers.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    chain: Chain,
    host: bool,
    rules: SanRules,
}

/// Verifies nothing but that the server has the key of the certificate that it shows.
#[derive(Debug)]
pub(super) struct Believer(pub(super) WebPkiSupportedAlgorithms);

/// The chain holds, and none of the names is allowed.
#[derive(Debug)]
pub(super) struct NotAllowed {
    presented: Vec<String>,
    allowed: SanRules,
}

// === impl ClientAuth ===

impl ClientAuth {
    /// Equal digests let the same clients in: a session of one may be resumed under the other.
    pub(super) fn digest(&self) -> [u8; 32] {
        let (mode, trust) = match self {
            Self::None => (&b"none"[..], None),
            Self::Optional(trust) => (&b"optional"[..], Some(trust)),
            Self::Required(trust) => (&b"required"[..], Some(trust)),
        };
        let trust = trust.map(|trust| [trust.roots.digest(), trust.crls.digest(), trust.names.digest()].concat());
        sha256(&[mode, &trust.unwrap_or_default()])
    }

    pub(super) fn trust(&self) -> Option<(&ClientTrust, bool)> {
        match self {
            Self::None => None,
            Self::Optional(trust) => Some((trust, false)),
            Self::Required(trust) => Some((trust, true)),
        }
    }
}

// === impl ClientVerifier ===

impl ClientVerifier {
    pub(super) fn new(trust: &ClientTrust, mandatory: bool, algorithms: WebPkiSupportedAlgorithms) -> Self {
        let hints = trust.roots.subjects();
        let chain = Chain { roots: trust.roots.clone(), crls: trust.crls.clone(), algorithms };
        Self { chain, names: trust.names.clone(), mandatory, hints }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.chain.verify(leaf, intermediates, KeyUsage::client_auth(), now)?;
        check_rules(&self.names, leaf)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.chain.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.chain.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.algorithms.supported_schemes()
    }
}

// === impl ServerVerifier ===

impl ServerVerifier {
    pub(super) fn new(roots: Roots, crls: Crls, names: ServerNames, algorithms: WebPkiSupportedAlgorithms) -> Self {
        let (host, rules) = match names {
            ServerNames::Host => (true, SanRules::default()),
            ServerNames::Rules(rules) => (false, rules),
            ServerNames::HostAndRules(rules) => (true, rules),
        };
        Self { chain: Chain { roots, crls, algorithms }, host, rules }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = self.chain.verify(leaf, intermediates, KeyUsage::server_auth(), now)?;
        if self.host {
            certificate.verify_is_valid_for_subject_name(server_name).map_err(refused)?;
        }
        check_rules(&self.rules, leaf)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.chain.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.chain.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.algorithms.supported_schemes()
    }
}

// === impl Believer ===

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

// === impl NotAllowed ===

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = if self.presented.is_empty() { "none".to_owned() } else { self.presented.join(", ") };
        write!(f, "no name in the certificate is allowed: it has {names}; allowed is {}", self.allowed)
    }
}

impl std::error::Error for NotAllowed {}

fn check_rules(rules: &SanRules, leaf: &CertificateDer<'_>) -> Result<(), Error> {
    if rules.is_empty() {
        return Ok(());
    }
    let facts = Facts::read(leaf).ok_or(CertificateError::BadEncoding)?;
    if rules.allow(&facts.names) {
        return Ok(());
    }
    let why = NotAllowed { presented: facts.names.iter().take(SHOWN).collect(), allowed: rules.clone() };
    Err(CertificateError::Other(OtherError(Arc::new(why))).into())
}

/// Names shown in an error; a certificate can have thousands.
const SHOWN: usize = 8;
