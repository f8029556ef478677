//! TLS for connections from clients.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use super::certificates::{BySni, Certificate};
use super::params::TlsParams;
use super::pem::TlsConfigError;
use super::tickets::{MAX_LIFETIME, Tickets};
use super::verify::{ClientAuth, ClientVerifier};

/// What a listener's TLS is made of.
#[derive(Clone, Debug)]
pub struct ServerParams {
    /// At least one; the first is for clients that ask for no name or one that nobody has.
    pub certificates: Vec<Certificate>,
    /// Versions, suites, protocols.
    pub tls: TlsParams,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// For how long after a handshake, be it a full or a resumed one, clients may resume a session; `None` for never.
    /// Two hours by default, at most seven days.
    pub tickets: Option<Duration>,
    /// The clock for dates and tickets; the system's by default.
    pub time: Arc<dyn TimeProvider>,
}

/// A listener's TLS, ready for handshakes on any worker. Cheap to clone.
///
/// There is no early data (a replay would be a request), nothing is written before the handshake ends, and sessions
/// are kept by clients alone.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    tickets: Option<Arc<Tickets>>,
    /// Of who is let in.
    policy: [u8; 32],
    certificates: Arc<[Certificate]>,
    warnings: Arc<[String]>,
}

/// As in BoringSSL.
const TICKET_LIFETIME: Duration = Duration::from_secs(2 * 3600);

// === impl ServerParams ===

impl ServerParams {
    /// The defaults.
    pub fn new(certificates: Vec<Certificate>) -> Self {
        Self {
            certificates,
            tls: TlsParams::default(),
            client_auth: ClientAuth::None,
            tickets: Some(TICKET_LIFETIME),
            time: Arc::new(DefaultTimeProvider),
        }
    }
}

// === impl ServerTls ===

impl ServerTls {
    /// Makes the context. Pass as `old` the one that it replaces: clients keep their sessions, unless who is let in
    /// has changed (authorities, revocations, rules). Then the keys of the tickets are new, since a resumed session
    /// is not verified again.
    ///
    /// # Errors
    /// No certificate; versions, suites, protocols or a lifetime that cannot be.
    pub fn new(params: ServerParams, old: Option<&Self>) -> Result<Self, TlsConfigError> {
        let ServerParams { certificates, tls, client_auth, tickets, time } = params;
        if certificates.is_empty() {
            return Err(TlsConfigError::new("certificates", "a server needs at least one"));
        }
        let policy = client_auth.digest();
        let old = old.filter(|old| old.policy == policy).and_then(|old| old.tickets.as_ref());
        let tickets = tickets.map(|lifetime| make_tickets(lifetime, &time, old)).transpose()?;

        let provider = tls.provider()?;
        let algorithms = provider.signature_verification_algorithms;
        let builder = ServerConfig::builder_with_details(provider, time.clone())
            .with_protocol_versions(&tls.versions()?)
            .map_err(|error| TlsConfigError::new("tls", error.to_string()))?;
        let builder = match client_auth.trust() {
            Some((trust, mandatory)) => {
                builder.with_client_cert_verifier(Arc::new(ClientVerifier::new(trust, mandatory, algorithms)))
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(BySni::new(&certificates)));
        config.alpn_protocols = tls.alpn()?;
        // The stream seals and opens records itself once the handshake is done.
        config.enable_secret_extraction = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match &tickets {
            Some(tickets) => config.ticketer = tickets.clone(),
            None => config.send_tls13_tickets = 0,
        }

        let mut warnings = Vec::new();
        if let Some(now) = time.current_time() {
            warnings.extend(certificates.iter().filter_map(|certificate| certificate.date_warning(now)));
            if let Some((trust, _)) = client_auth.trust() {
                warnings.extend(trust.roots.warnings(now).chain(trust.crls.warnings(now)));
            }
        }
        Ok(Self {
            config: Arc::new(config),
            tickets,
            policy,
            certificates: certificates.into(),
            warnings: warnings.into(),
        })
    }

    /// For [`rustls::server::UnbufferedServerConnection::new`].
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// In the order of the configuration, for whoever reports their dates.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// What works and deserves a line in the log, such as a certificate that has expired.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("certificates", &self.certificates)
            .field("tickets", &self.tickets)
            .finish_non_exhaustive()
    }
}

fn make_tickets(
    lifetime: Duration,
    time: &Arc<dyn TimeProvider>,
    old: Option<&Arc<Tickets>>,
) -> Result<Arc<Tickets>, TlsConfigError> {
    if lifetime < Duration::from_secs(1) || lifetime > MAX_LIFETIME {
        return Err(TlsConfigError::new("session_tickets", "a ticket lives for one second to seven days"));
    }
    Ok(Arc::new(match old {
        Some(old) => old.sharing(lifetime, time.clone()),
        None => Tickets::new(lifetime, time.clone()).map_err(|_| {
            TlsConfigError::new("session_tickets", "the system has no randomness for a key, or no time")
        })?,
    }))
}
