//! A certificate authority for tests, and a client that speaks TLS.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

/// An authority whose certificates are files.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) cert: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        // Each has a name of its own, or a stranger's certificates would look like forged ones.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("Test authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// A certificate for a name: a URI when it holds `://`, a host name otherwise.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, |_| {})
    }

    /// One that is expired.
    pub(crate) fn issue_expired(&self, name: &str) -> Identity {
        self.issue_with(name, |params| params.not_after = date_time_ymd(2020, 1, 1))
    }

    /// One that is revoked by the list written to `FILE`.
    pub(crate) fn issue_revoked(&self, name: &str, dir: &Path, file: &str) -> Identity {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(7),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        std::fs::write(dir.join(file), list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        self.issue_with(name, |params| params.serial_number = Some(SerialNumber::from(7)))
    }

    fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let text = name.try_into().unwrap();
        let san = if name.contains("://") { SanType::URI(text) } else { SanType::DnsName(text) };
        params.subject_alt_names.push(san);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Identity { cert: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    /// Writes `ca.pem`.
    pub(crate) fn save(&self, dir: &Path, file: &str) {
        std::fs::write(dir.join(file), self.issuer.pem()).unwrap();
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

impl Identity {
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.cert.der().clone()]
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    /// Writes `NAME.pem` and `NAME.key`, each in one step.
    pub(crate) fn save(&self, dir: &Path, name: &str) {
        for (end, text) in [("pem", self.cert.pem()), ("key", self.key.serialize_pem())] {
            let (next, path) = (dir.join(format!("next.{end}")), dir.join(format!("{name}.{end}")));
            std::fs::write(&next, text).unwrap();
            std::fs::rename(next, path).unwrap();
        }
    }
}

/// A client's configuration.
pub(crate) fn client_config(
    trust: &Authority,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let config = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(trust.roots());
    match identity {
        None => config.with_no_client_auth(),
        Some(identity) => config.with_client_auth_cert(identity.chain(), identity.private_key()).unwrap(),
    }
}

/// A connection over TLS.
pub(crate) struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl TlsClient {
    /// Connects and asks for `name`; the handshake is done, or its error is returned.
    pub(crate) fn connect(
        to: SocketAddr,
        name: &str,
        trust: &Authority,
        identity: Option<&Identity>,
        alpn: &[&str],
    ) -> std::io::Result<Self> {
        let mut config = client_config(trust, identity, rustls::ALL_VERSIONS);
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self::connect_as(to, name, config)
    }

    /// [`connect`](Self::connect) with a configuration.
    pub(crate) fn connect_as(to: SocketAddr, name: &str, config: ClientConfig) -> std::io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let conn = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(to)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.set_nodelay(true)?;
        let mut stream = StreamOwned::new(conn, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream })
    }

    /// Sends the bytes but for the end of their last record, and ends the connection without saying so in TLS.
    pub(crate) fn cut(mut self, bytes: &[u8], missing: usize) -> TcpStream {
        self.stream.conn.writer().write_all(bytes).unwrap();
        let mut records = Vec::new();
        while self.stream.conn.wants_write() {
            self.stream.conn.write_tls(&mut records).unwrap();
        }
        records.truncate(records.len() - missing);
        self.stream.sock.write_all(&records).unwrap();
        self.stream.sock.shutdown(Shutdown::Write).unwrap();
        self.stream.sock
    }

    /// Ends what is sent, in TLS and below.
    pub(crate) fn finish(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().unwrap();
        self.stream.sock.shutdown(Shutdown::Write).unwrap();
    }

    /// What comes back.
    pub(crate) fn stream(&mut self) -> &mut impl Read {
        &mut self.stream
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and reads the whole response: head and content.
    pub(crate) fn get(&mut self, path: &str) -> std::io::Result<String> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())?;
        let mut all = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&all).into_owned();
            if let Some((head, content)) = text.split_once("\r\n\r\n")
                && content.len() >= crate::proxy::content_length(head)
            {
                return Ok(text);
            }
            let mut part = [0; 4096];
            let count = self.stream.read(&mut part)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            all.extend_from_slice(part.get(..count).unwrap_or_default());
        }
    }

    /// The application protocol that was agreed on.
    pub(crate) fn alpn(&self) -> Option<String> {
        self.stream.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// The server's certificate.
    pub(crate) fn server(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().unwrap().first().unwrap().clone().into_owned()
    }
}
