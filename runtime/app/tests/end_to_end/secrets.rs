//! A certificate authority for tests, and a client that speaks TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

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
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Test authority");
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// A certificate for a name: a URI when it holds `://`, a host name otherwise.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let text = name.try_into().unwrap();
        let san = if name.contains("://") { SanType::URI(text) } else { SanType::DnsName(text) };
        params.subject_alt_names.push(san);
        let key = KeyPair::generate().unwrap();
        Identity { cert: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    /// Writes `ca.pem`.
    pub(crate) fn save(&self, dir: &Path, file: &str) {
        std::fs::write(dir.join(file), self.issuer.pem()).unwrap();
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

impl Identity {
    /// Writes `NAME.pem` and `NAME.key`, each in one step.
    pub(crate) fn save(&self, dir: &Path, name: &str) {
        for (end, text) in [("pem", self.cert.pem()), ("key", self.key.serialize_pem())] {
            let (next, path) = (dir.join(format!("next.{end}")), dir.join(format!("{name}.{end}")));
            std::fs::write(&next, text).unwrap();
            std::fs::rename(next, path).unwrap();
        }
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
        let config = ClientConfig::builder().with_root_certificates(trust.roots());
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
                config.with_client_auth_cert(vec![identity.cert.der().clone()], key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
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
