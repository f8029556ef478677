//! The one self-signed ECDSA P-256 certificate of a run, and the client and server sides of TLS that go with it.
//!
//! The client offers TLS 1.3 with TLS_AES_128_GCM_SHA256 and X25519 alone, so that every peer does the same work.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};

/// ALPN names.
pub(crate) const H1: &[u8] = b"http/1.1";
pub(crate) const H2: &[u8] = b"h2";

/// Where the certificate lies; all files are PEM.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// Chain and key in one file.
    pub(crate) both: PathBuf,
}

impl Certificate {
    /// Names the files in `dir`; [`Certificate::generate`] makes them.
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self { chain: dir.join("chain.pem"), key: dir.join("key.pem"), both: dir.join("chain-and-key.pem") }
    }

    /// Writes a fresh certificate for `host` into `dir`.
    pub(crate) fn generate(dir: &Path, host: &str) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).context("making the certificate")?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let files = Self::in_dir(dir);
        for (file, text) in [(&files.chain, &chain), (&files.key, &key), (&files.both, &format!("{chain}{key}"))] {
            fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
        }
        Ok(files)
    }

    /// A client that offers `protocol` and never resumes a session.
    pub(crate) fn client(&self, protocol: &[u8]) -> Result<Arc<ClientConfig>> {
        let builder =
            ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
        let pinned = Arc::new(Pinned(self.read_chain()?));
        let mut config = builder.dangerous().with_custom_certificate_verifier(pinned).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// A server that takes HTTP/2 and HTTP/1.1.
    pub(crate) fn server(&self) -> Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::from_pem_file(&self.key).with_context(|| format!("reading {}", self.key.display()))?;
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = builder.with_no_client_auth().with_single_cert(vec![self.read_chain()?], key)?;
        config.alpn_protocols = vec![H2.to_vec(), H1.to_vec()];
        Ok(Arc::new(config))
    }

    fn read_chain(&self) -> Result<CertificateDer<'static>> {
        CertificateDer::from_pem_file(&self.chain).with_context(|| format!("reading {}", self.chain.display()))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    })
}

/// Takes this certificate and no other. It does not check the signature of the handshake: that would cost the load
/// side more than a proxy pays to make it, and the far end is on this machine.
#[derive(Debug)]
struct Pinned(CertificateDer<'static>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 was not offered".into()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
