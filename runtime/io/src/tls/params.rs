//! What both sides of TLS have in common: versions, cipher suites, application protocols.

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};

use super::pem::TlsConfigError;

/// A version of TLS; older ones do not exist here (RFC 8996).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// What is offered and agreed to.
#[derive(Clone, Debug)]
pub struct TlsParams {
    /// The oldest version; 1.2 by default.
    pub min_version: TlsVersion,
    /// The newest version; 1.3 by default.
    pub max_version: TlsVersion,
    /// IANA names such as `TLS_AES_128_GCM_SHA256`, in the order to offer them; empty for all, which are all secure.
    pub cipher_suites: Vec<String>,
    /// Application protocols (RFC 7301), the preferred first; empty for no negotiation. A server that has some refuses
    /// a client that offers only others.
    pub alpn: Vec<String>,
}

impl Default for TlsParams {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            cipher_suites: Vec::new(),
            alpn: Vec::new(),
        }
    }
}

impl TlsParams {
    pub(super) fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, TlsConfigError> {
        match (self.min_version, self.max_version) {
            (TlsVersion::V1_2, TlsVersion::V1_2) => Ok(vec![&TLS12]),
            (TlsVersion::V1_2, TlsVersion::V1_3) => Ok(vec![&TLS13, &TLS12]),
            (TlsVersion::V1_3, TlsVersion::V1_3) => Ok(vec![&TLS13]),
            (TlsVersion::V1_3, TlsVersion::V1_2) => {
                Err(TlsConfigError::new("min_version", "is above max_version; no version is left"))
            }
        }
    }

    /// X25519MLKEM768 comes first among the key exchanges, as rustls is built here.
    pub(super) fn provider(&self) -> Result<Arc<CryptoProvider>, TlsConfigError> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        if self.cipher_suites.is_empty() {
            return Ok(Arc::new(provider));
        }
        let known = std::mem::take(&mut provider.cipher_suites);
        for wanted in &self.cipher_suites {
            let blame = |problem: String| TlsConfigError::new("cipher_suites", problem);
            let Some(suite) = known.iter().find(|suite| iana_name(**suite) == *wanted) else {
                let names: Vec<_> = known.iter().map(|suite| iana_name(*suite)).collect();
                return Err(blame(format!("`{wanted}` is unknown or not secure; there are {}", names.join(", "))));
            };
            if provider.cipher_suites.contains(suite) {
                return Err(blame(format!("`{wanted}` is there twice")));
            }
            provider.cipher_suites.push(*suite);
        }
        // A version without a suite would be switched off in silence.
        for version in self.versions()? {
            if !provider.cipher_suites.iter().any(|suite| suite.version() == version) {
                let version = if version == &TLS13 { "1.3" } else { "1.2" };
                let problem = format!("none is for TLS {version}; add one or exclude the version");
                return Err(TlsConfigError::new("cipher_suites", problem));
            }
        }
        Ok(Arc::new(provider))
    }

    pub(super) fn alpn(&self) -> Result<Vec<Vec<u8>>, TlsConfigError> {
        let wrong = |name: &&String| name.is_empty() || name.len() > 255;
        match self.alpn.iter().find(wrong) {
            Some(name) => {
                Err(TlsConfigError::new("alpn", format!("a protocol's name has 1 to 255 bytes, not {}", name.len())))
            }
            None => Ok(self.alpn.iter().map(|name| name.clone().into_bytes()).collect()),
        }
    }
}

/// rustls writes `TLS13_` for what IANA calls `TLS_`.
fn iana_name(suite: rustls::SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}
