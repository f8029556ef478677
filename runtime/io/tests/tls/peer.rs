//! The other end: rustls's buffered connections, their configurations, and our end's wishes in one word each.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{Chunk, ChunkQueue, ConnError, Io, Secured};
use ringway_io::tls::{self, TlsStream};
use ringway_testkit::{MemoryIo, PairOptions, Sim, Split, pair};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};

pub(crate) const NAME: &str = "example.test";
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A certificate that is its own authority.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Identity {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    pub(crate) fn with(name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        Self { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).unwrap()
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.chain[0].clone()).unwrap();
        Arc::new(roots)
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A server's configuration; `client` is whose certificates it demands.
pub(crate) fn server(
    identity: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    client: Option<&Identity>,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let builder = match client {
        Some(client) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(client.roots(), provider()).build().unwrap(),
        ),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(identity.chain.clone(), identity.key()).unwrap();
    config.enable_secret_extraction = true;
    config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
    config
}

/// A client's configuration; `own` is the certificate it shows.
pub(crate) fn client(
    trusted: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    own: Option<&Identity>,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(trusted.roots());
    let mut config = match own {
        Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.enable_secret_extraction = true;
    config
}

/// rustls's own idea of a connection, over one end of a pair in memory.
pub(crate) struct Peer {
    pub(crate) conn: Connection,
    pub(crate) io: MemoryIo,
    plain: Vec<u8>,
}

/// How a peer's reading ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a closure alert.
    Closed,
    /// Without one.
    Cut,
    /// By an error.
    Failed(String),
}

impl Peer {
    pub(crate) fn client(config: ClientConfig, io: MemoryIo) -> Self {
        let conn = ClientConnection::new(Arc::new(config), name()).unwrap();
        Self { conn: conn.into(), io, plain: Vec::new() }
    }

    pub(crate) fn server(config: ServerConfig, io: MemoryIo) -> Self {
        Self { conn: ServerConnection::new(Arc::new(config)).unwrap().into(), io, plain: Vec::new() }
    }

    /// Sends what rustls has to send.
    pub(crate) async fn flush(&mut self) {
        let mut records = Vec::new();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut records).unwrap();
        }
        if !records.is_empty() {
            // A peer that has failed is seen by what is received.
            self.io.send(records).await.ok();
        }
    }

    /// Receives once. `None` means to go on.
    pub(crate) async fn receive(&mut self) -> Option<End> {
        self.flush().await;
        let chunk = match self.io.recv().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Some(End::Cut),
            Err(error) => return Some(End::Failed(error.to_string())),
        };
        let mut bytes: &[u8] = &chunk;
        while !bytes.is_empty() {
            if self.conn.read_tls(&mut bytes).unwrap() == 0 {
                return Some(End::Closed);
            }
            let state = match self.conn.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    self.flush().await;
                    return Some(End::Failed(error.to_string()));
                }
            };
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = self.conn.reader().read(&mut buffer) {
                self.plain.extend_from_slice(&buffer[..len]);
            }
            if state.peer_has_closed() {
                return Some(End::Closed);
            }
        }
        None
    }

    pub(crate) async fn handshake(&mut self) -> Option<End> {
        while self.conn.is_handshaking() {
            if let Some(end) = self.receive().await {
                return Some(end);
            }
        }
        self.flush().await;
        None
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(32 << 10) {
            self.conn.writer().write_all(part).unwrap();
            self.flush().await;
        }
    }

    /// Everything up to the end.
    pub(crate) async fn recv_to_end(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Some(end) = self.receive().await {
                return (std::mem::take(&mut self.plain), end);
            }
        }
    }

    pub(crate) async fn recv_exactly(&mut self, len: usize) -> Vec<u8> {
        while self.plain.len() < len {
            if let Some(end) = self.receive().await {
                assert!(self.plain.len() >= len, "{end:?} after {} bytes", self.plain.len());
            }
        }
        self.plain.drain(..len).collect()
    }

    pub(crate) async fn close(&mut self) {
        self.conn.send_close_notify();
        self.flush().await;
    }
}

pub(crate) fn name() -> ServerName<'static> {
    NAME.try_into().unwrap()
}

pub(crate) fn split(split: Split) -> PairOptions {
    PairOptions { split, seed: 7, ..PairOptions::default() }
}

/// Our end as a server, the peer as a client, after their handshake.
pub(crate) fn serve(sim: &Sim, version: usize, options: PairOptions) -> (Secured<TlsStream<MemoryIo>>, Peer) {
    let identity = Identity::new(NAME);
    let (ours, theirs) = pair(options);
    let peer = Peer::client(client(&identity, &VERSIONS[version..=version], None), theirs);
    let config = Arc::new(server(&identity, &VERSIONS[version..=version], None));
    meet(sim, tls::accept(config, ours), peer)
}

/// Our end as a client, the peer as a server, after their handshake.
pub(crate) fn dial(sim: &Sim, version: usize, options: PairOptions) -> (Secured<TlsStream<MemoryIo>>, Peer) {
    let identity = Identity::new(NAME);
    let (ours, theirs) = pair(options);
    let peer = Peer::server(server(&identity, &VERSIONS[version..=version], None), theirs);
    let config = Arc::new(client(&identity, &VERSIONS[version..=version], None));
    meet(sim, tls::connect(config, name(), ours), peer)
}

pub(crate) fn meet(
    sim: &Sim,
    ours: impl Future<Output = Result<Secured<TlsStream<MemoryIo>>, ConnError>>,
    peer: Peer,
) -> (Secured<TlsStream<MemoryIo>>, Peer) {
    let (result, peer, end) = try_meet(sim, ours, peer);
    assert_eq!(end, None);
    (result.unwrap(), peer)
}

/// A handshake that may fail, on either side.
pub(crate) fn try_meet<T>(sim: &Sim, ours: impl Future<Output = T>, mut peer: Peer) -> (T, Peer, Option<End>) {
    let theirs = sim.spawn_with_result(async move {
        let end = peer.handshake().await;
        (peer, end)
    });
    let result = sim.block_on(ours);
    sim.run_until_quiet();
    let (peer, end) = theirs.take().unwrap();
    (result, peer, end)
}

pub(crate) async fn recv<I: Io>(io: &mut I) -> std::io::Result<Option<Chunk>> {
    poll_fn(|cx| io.poll_recv(cx)).await
}

pub(crate) async fn recv_to_end<I: Io>(io: &mut I) -> (Vec<u8>, Option<std::io::Error>) {
    let mut all = Vec::new();
    loop {
        match recv(io).await {
            Ok(Some(chunk)) => {
                assert!(!chunk.is_empty());
                all.extend_from_slice(&chunk);
            }
            Ok(None) => return (all, None),
            Err(error) => return (all, Some(error)),
        }
    }
}

pub(crate) async fn send<I: Io>(io: &mut I, bytes: &[u8]) -> std::io::Result<()> {
    let mut out = ChunkQueue::new();
    let whole = Rc::new(bytes.to_vec());
    // Chunks of every size: within a record, across records.
    let (mut at, mut size) = (0, 1);
    while at < bytes.len() {
        let len = size.min(bytes.len() - at);
        out.push(Chunk::shared(whole.clone(), at, len));
        (at, size) = (at + len, (size * 3 + 1) % 40_000 + 1);
    }
    poll_fn(|cx| io.poll_send(cx, &mut out)).await
}

pub(crate) async fn shutdown<I: Io>(io: &mut I) -> std::io::Result<()> {
    poll_fn(|cx| io.poll_shutdown(cx)).await
}

/// Bytes that repeat nowhere at a small distance.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}
