//! TLS for connections to hosts.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use super::certificates::Certificate;
use super::params::TlsParams;
use super::pem::TlsConfigError;
use super::verify::{Believer, ServerNames, ServerTrust, ServerVerifier};

/// What a cluster's TLS is made of.
#[derive(Clone, Debug)]
pub struct ClientParams {
    /// Whom to believe.
    pub trust: ServerTrust,
    /// The name to ask for and to find in the certificate, for all hosts; by default each host's own. Hosts that are
    /// addresses are asked for no name (RFC 6066 section 3), and the address is looked for in the certificate.
    pub sni: Option<String>,
    /// Versions, suites, protocols.
    pub tls: TlsParams,
    /// Shown to servers that ask for one.
    pub certificate: Option<Certificate>,
    /// Names of servers whose sessions are kept, shared by all workers; 0 for none.
    pub sessions: usize,
    /// The clock for dates; the system's by default.
    pub time: Arc<dyn TimeProvider>,
}

/// A cluster's TLS, ready for handshakes on any worker. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    sni: Option<ServerName<'static>>,
    certificate: Option<Certificate>,
    warnings: Arc<[String]>,
}

/// A cluster mostly has a name or a few; each costs some kilobytes once used.
const SESSIONS: usize = 256;

// === impl ClientParams ===

impl ClientParams {
    /// The defaults.
    pub fn new(trust: ServerTrust) -> Self {
        Self {
            trust,
            sni: None,
            tls: TlsParams::default(),
            certificate: None,
            sessions: SESSIONS,
            time: Arc::new(DefaultTimeProvider),
        }
    }
}

// === impl ClientTls ===

impl ClientTls {
    /// Makes the context, with no session yet to resume.
    ///
    /// # Errors
    /// An `sni` that is no host name; rules that are to replace the host's name, and are none; versions, suites or
    /// protocols that cannot be.
    pub fn new(params: ClientParams) -> Result<Self, TlsConfigError> {
        let ClientParams { trust, sni, tls, certificate, sessions, time } = params;
        let sni = sni.map(|name| parse_sni(&name)).transpose()?;
        let provider = tls.provider()?;
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_details(provider, time.clone())
            .with_protocol_versions(&tls.versions()?)
            .map_err(|error| TlsConfigError::new("tls", error.to_string()))?
            .dangerous();
        let mut warnings = Vec::new();
        let now = time.current_time();
        let builder = match trust {
            ServerTrust::InsecureSkipVerify => builder.with_custom_certificate_verifier(Arc::new(Believer(algorithms))),
            ServerTrust::Verify { names: ServerNames::Rules(rules), .. } if rules.is_empty() => {
                let problem = "there is no rule, so that every certificate of the authorities would do; add one or \
                               have the host's name verified";
                return Err(TlsConfigError::new("names", problem));
            }
            ServerTrust::Verify { roots, crls, names } => {
                if let Some(now) = now {
                    warnings.extend(roots.warnings(now).chain(crls.warnings(now)));
                }
                let verifier = ServerVerifier::new(roots, crls, names, algorithms);
                builder.with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let mut config = match &certificate {
            Some(own) => {
                warnings.extend(now.and_then(|now| own.date_warning(now)));
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified())))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = tls.alpn()?;
        // The stream seals and opens records itself once the handshake is done.
        config.enable_secret_extraction = true;
        config.resumption = match sessions {
            0 => Resumption::disabled(),
            _ => Resumption::store(Arc::new(ClientSessionMemoryCache::new(sessions))),
        };
        Ok(Self { config: Arc::new(config), sni, certificate, warnings: warnings.into() })
    }

    /// For [`rustls::client::UnbufferedClientConnection::new`].
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The name to ask `host` for and to verify: `sni` if there is one, or else the host's, which may be an address,
    /// also in brackets. Neither has a port.
    ///
    /// # Errors
    /// The host has no name that TLS could use, such as the path of a unix socket.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsConfigError> {
        if let Some(sni) = &self.sni {
            return Ok(sni.clone());
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // RFC 6066 section 3: without the dot at the end.
        ServerName::try_from(bare.strip_suffix('.').unwrap_or(bare).to_owned())
            .map_err(|_| TlsConfigError::new("sni", format!("`{host}` is no host name or address; set `sni`")))
    }

    /// The one shown to servers, for whoever reports its dates.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// What works and deserves a line in the log, such as an authority that has expired.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("sni", &self.sni)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

fn parse_sni(name: &str) -> Result<ServerName<'static>, TlsConfigError> {
    match ServerName::try_from(name.to_owned()) {
        Ok(parsed @ ServerName::DnsName(_)) => Ok(parsed),
        _ => Err(TlsConfigError::new("sni", format!("`{name}` is no host name; leave it out for hosts by address"))),
    }
}
