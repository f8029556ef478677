//! A small authority, a clock, and handshakes in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::client::ClientConnection;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ServerConnection;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, Error, HandshakeKind};

use super::{
    Certificate, ClientParams, ClientTls, Crls, ExpiredCrl, Pem, Roots, ServerNames, ServerParams, ServerTls,
    ServerTrust,
};

/// 2026-01-01, until it is advanced.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<AtomicU64>);

/// An authority that signs certificates.
pub(super) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

/// What an authority hands out.
pub(super) struct Issued {
    pub(super) cert: String,
    pub(super) key: String,
}

/// A handshake's outcome, as the client and the server see it.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) client: ClientConnection,
    pub(super) server: ServerConnection,
}

/// Who refused, and why.
#[derive(Debug)]
pub(super) enum Refused {
    Client(Error),
    Server(Error),
}

// === impl Clock ===

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1_767_225_600)))
    }
}

impl Clock {
    pub(super) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.now())
    }
}

// === impl Ca ===

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Of a P-256 key.
    pub(super) fn issue(&self, name: &str, sans: &[&str]) -> Issued {
        self.sign(params(name, sans), &KeyPair::generate().unwrap())
    }

    pub(super) fn sign(&self, params: CertificateParams, key: &KeyPair) -> Issued {
        Issued { cert: params.signed_by(key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A list in PEM that is to be replaced at the end of the year.
    pub(super) fn revoke(&self, serials: &[u64], year: i32) -> rcgen::CertificateRevocationList {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2025, 6, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 6, 1),
            next_update: date_time_ymd(year, 12, 31),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap()
    }

    pub(super) fn roots(&self) -> Roots {
        Roots::from_pem(&[Pem::new(self.pem.as_bytes(), "ca.pem")]).unwrap()
    }

    pub(super) fn crls(&self, serials: &[u64], year: i32, expired: ExpiredCrl) -> Crls {
        let pem = self.revoke(serials, year).pem().unwrap();
        Crls::new(&[Pem::new(pem.as_bytes(), "ca.crl")], expired).unwrap()
    }

    /// A client that trusts this authority and verifies the host's name.
    pub(super) fn client(&self) -> ClientParams {
        self.client_with(ServerNames::Host)
    }

    pub(super) fn client_with(&self, names: ServerNames) -> ClientParams {
        let trust = ServerTrust::Verify { roots: self.roots(), crls: Crls::default(), names };
        ClientParams { time: Arc::new(Clock::default()), ..ClientParams::new(trust) }
    }
}

/// Of a year's validity at the clock's beginning; a name that begins with `spiffe:` is a URI, an address an address.
pub(super) fn params(name: &str, sans: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = sans.iter().map(|san| san_type(san)).collect();
    params.not_before = date_time_ymd(2025, 7, 1);
    params.not_after = date_time_ymd(2026, 7, 1);
    params
}

fn san_type(san: &str) -> SanType {
    if let Ok(address) = san.parse() {
        return SanType::IpAddress(address);
    }
    match san.contains(':') {
        true => SanType::URI(san.try_into().unwrap()),
        false if san.contains('@') => SanType::Rfc822Name(san.try_into().unwrap()),
        false => SanType::DnsName(san.try_into().unwrap()),
    }
}

// === impl Issued ===

impl Issued {
    pub(super) fn load(&self) -> Certificate {
        Certificate::from_pem(Pem::new(self.cert.as_bytes(), "cert.pem"), Pem::new(self.key.as_bytes(), "key.pem"))
            .unwrap()
    }

    /// A server with this certificate alone.
    pub(super) fn server(&self) -> ServerParams {
        server(vec![self.load()])
    }
}

pub(super) fn server(certificates: Vec<Certificate>) -> ServerParams {
    ServerParams { time: Arc::new(Clock::default()), ..ServerParams::new(certificates) }
}

pub(super) fn tls(params: ServerParams) -> ServerTls {
    ServerTls::new(params, None).unwrap()
}

/// A handshake to the end, tickets included.
pub(super) fn meet(server: &ServerTls, client: &ClientTls, host: &str) -> Result<Met, Refused> {
    meet_raw(server, client.config(), client.server_name(host).unwrap())
}

pub(super) fn meet_raw(
    server: &ServerTls,
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Met, Refused> {
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server.config()).unwrap();
    loop {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut back = Vec::new();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().map_err(Refused::Server)?;
        }
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        let mut rest = &back[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(Refused::Client)?;
        }
        if wire.is_empty() && back.is_empty() {
            assert!(!client.is_handshaking() && !server.is_handshaking());
            return Ok(Met { client, server });
        }
    }
}

// === impl Met ===

impl Met {
    pub(super) fn resumed(&self) -> bool {
        assert_eq!(self.client.handshake_kind(), self.server.handshake_kind());
        self.server.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The subject of what the server showed.
    pub(super) fn shown(&self) -> String {
        subject(self.client.peer_certificates())
    }

    /// The subject of what the client showed.
    pub(super) fn client_shown(&self) -> String {
        subject(self.server.peer_certificates())
    }
}

fn subject(chain: Option<&[CertificateDer<'static>]>) -> String {
    super::peer::describe(chain.unwrap_or_default()).map(|peer| peer.subject.to_string()).unwrap_or_default()
}
