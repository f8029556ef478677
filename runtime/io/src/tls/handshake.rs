//! Handshakes (RFC 8446, section 2; RFC 5246, section 7.3).

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{Blame, Chunk, ChunkQueue, ConnError, Io, Secured, TlsInfo};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::time_provider::TimeProvider;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedConnectionCommon, UnbufferedStatus};
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, Error, ExtractedSecrets, HandshakeKind, InvalidMessage,
    ProtocolVersion, ServerConfig,
};

use super::fault::{Fault, refused};
use super::hello::Hello;
use super::peer;
use super::record::Incoming;
use super::session::{Schedule, Session};
use super::stream::TlsStream;

/// Bytes of unfinished handshake messages that are kept at most; certificate chains are the largest.
const MAX_FLIGHT: usize = 80 << 10;

/// Secures an accepted stream as `config` says. Dropping the future gives the handshake up, which is how to limit its
/// time.
///
/// Set `enable_secret_extraction` in the configuration and leave `max_early_data_size` at 0; a configuration of other
/// settings works, but is copied for each connection, for the keys are used here and early data is never accepted.
///
/// # Errors
/// `details` is one word, such as `tls_no_shared_cipher`, `tls_certificate_required`, `tls_truncated`, `tls_not_tls`.
/// The peer has been sent the alert.
pub async fn accept<I: Io>(config: Arc<ServerConfig>, io: I) -> Result<Secured<TlsStream<I>>, ConnError> {
    // Boxed, so that a connection's task does not keep the room of its handshake.
    Box::pin(accepting(config, io)).await
}

/// Secures a stream that was connected to the host called `name`, as `config` says. See [`accept`]; here it is
/// `enable_early_data` that is taken for false.
///
/// # Errors
/// As [`accept`]; for the server's certificate such as `tls_unknown_ca`, `tls_certificate_expired`, `tls_name_mismatch`.
pub async fn connect<I: Io>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    io: I,
) -> Result<Secured<TlsStream<I>>, ConnError> {
    Box::pin(connecting(config, name, io)).await
}

async fn accepting<I: Io>(config: Arc<ServerConfig>, io: I) -> Result<Secured<TlsStream<I>>, ConnError> {
    let config = if config.enable_secret_extraction && config.max_early_data_size == 0 {
        config
    } else {
        let mut copy = ServerConfig::clone(&config);
        (copy.enable_secret_extraction, copy.max_early_data_size) = (true, 0);
        Arc::new(copy)
    };
    let time = Arc::clone(&config.time_provider);
    let conn = UnbufferedServerConnection::new(config).map_err(|error| refused(&error, Blame::Local))?;
    Handshake::new(conn, io, Blame::Downstream, time).run().await
}

async fn connecting<I: Io>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    io: I,
) -> Result<Secured<TlsStream<I>>, ConnError> {
    let config = if config.enable_secret_extraction && !config.enable_early_data {
        config
    } else {
        let mut copy = ClientConfig::clone(&config);
        (copy.enable_secret_extraction, copy.enable_early_data) = (true, false);
        Arc::new(copy)
    };
    let asked = match &name {
        ServerName::DnsName(name) => Some(name.as_ref().to_ascii_lowercase().into()),
        _ => None,
    };
    let time = Arc::clone(&config.time_provider);
    let conn = UnbufferedClientConnection::new(config, name).map_err(|error| refused(&error, Blame::Local))?;
    let mut secured = Handshake::new(conn, io, Blame::Upstream, time).run().await?;
    if let Some(info) = Rc::get_mut(&mut secured.info) {
        info.server_name = asked;
    }
    Ok(secured)
}

/// A handshake under way. Its memory goes with it.
struct Handshake<C, I> {
    conn: C,
    io: I,
    side: Blame,
    time: Arc<dyn TimeProvider>,
    incoming: Incoming,
    /// Records of handshake messages that are not whole yet.
    flight: Vec<u8>,
    out: ChunkQueue,
    hello: Hello,
}

/// What rustls wants next.
enum Step {
    Send(Vec<u8>),
    Again,
    Receive,
}

impl<C: Peer, I: Io> Handshake<C, I> {
    fn new(conn: C, io: I, side: Blame, time: Arc<dyn TimeProvider>) -> Self {
        let (incoming, hello) = (Incoming::default(), Hello::default());
        Self { conn, io, side, time, incoming, flight: Vec::new(), out: ChunkQueue::new(), hello }
    }

    async fn run(mut self) -> Result<Secured<TlsStream<I>>, ConnError> {
        loop {
            if let Err(error) = self.advance() {
                return Err(self.refuse(&error).await);
            }
            self.send().await?;
            if !self.conn.common().is_handshaking() {
                return self.finish().await;
            }
            self.receive().await?;
        }
    }

    /// Goes as far as what was received allows.
    fn advance(&mut self) -> Result<(), Error> {
        loop {
            let (used, step) = self.conn.step(&mut self.flight);
            self.flight.drain(..used.min(self.flight.len()));
            match step? {
                Step::Send(record) => self.out.push(Chunk::from(record)),
                Step::Again => {}
                Step::Receive => break,
            }
        }
        if self.flight.is_empty() {
            self.flight = Vec::new();
        }
        Ok(())
    }

    /// Gets one more record; never more, so that what follows the handshake is not rustls's to open.
    async fn receive(&mut self) -> Result<(), ConnError> {
        loop {
            match self.incoming.next() {
                Ok(Some(record)) => {
                    if self.flight.len() + record.bytes().len() > MAX_FLIGHT {
                        let error = Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge);
                        return Err(refused(&error, self.side));
                    }
                    if self.side == Blame::Downstream {
                        self.hello.look(record.bytes());
                    }
                    self.flight.extend_from_slice(record.bytes());
                    return Ok(());
                }
                Ok(None) => {}
                Err(fault) => {
                    // rustls comes to the same conclusion, and has the alert.
                    self.flight.extend_from_slice(self.incoming.head());
                    return Err(match self.advance() {
                        Err(error) => self.refuse(&error).await,
                        Ok(()) => ConnError { source: Some(fault.into()), ..ConnError::new(self.side, fault.word) },
                    });
                }
            }
            match poll_fn(|cx| self.io.poll_recv(cx)).await {
                Ok(Some(chunk)) => self.incoming.push(chunk),
                Ok(None) => {
                    let source = Some(Fault::TRUNCATED.into());
                    return Err(ConnError { source, ..ConnError::new(self.side, Fault::TRUNCATED.word) });
                }
                Err(error) => return Err(ConnError::io(self.side, error)),
            }
        }
    }

    async fn send(&mut self) -> Result<(), ConnError> {
        let Self { io, out, side, .. } = self;
        if out.is_empty() {
            return Ok(());
        }
        poll_fn(|cx| io.poll_send(cx, out)).await.map_err(|error| ConnError::io(*side, error))
    }

    /// Tells the peer why, and ends our side.
    async fn refuse(&mut self, error: &Error) -> ConnError {
        // The alert is what rustls still has to send; it must not look at what was received again.
        while self.conn.common().wants_write() {
            let (used, Ok(Step::Send(record))) = self.conn.step(&mut self.flight) else { break };
            self.flight.drain(..used.min(self.flight.len()));
            self.out.push(Chunk::from(record));
        }
        tell(&mut self.io, &mut self.out).await;
        refused(error, self.side)
    }

    /// A resumed session shows no certificate, and rustls does not look at the dates of the first one again.
    fn check_resumed(&self) -> Result<(), Error> {
        let common = self.conn.common();
        match common.peer_certificates() {
            Some(chain) if common.handshake_kind() == Some(HandshakeKind::Resumed) => {
                let now = self.time.current_time().ok_or(Error::FailedToGetCurrentTime)?;
                Ok(peer::check_validity(chain, now)?)
            }
            _ => Ok(()),
        }
    }

    async fn finish(mut self) -> Result<Secured<TlsStream<I>>, ConnError> {
        if !self.flight.is_empty() {
            // A message that began under the keys of the handshake cannot go on under others.
            return Err(ConnError::new(self.side, "tls_unexpected_message"));
        }
        let checked = self.check_resumed();
        let common = self.conn.common();
        let suite = common.negotiated_cipher_suite().map(|suite| suite.suite());
        let info = TlsInfo {
            version: if common.protocol_version() == Some(ProtocolVersion::TLSv1_3) { "TLSv1.3" } else { "TLSv1.2" },
            cipher: suite.map_or("", iana_name),
            server_name: self.hello.into_name(),
            alpn: common.alpn_protocol().map(|name| String::from_utf8_lossy(name).into()),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            peer: common.peer_certificates().and_then(peer::describe),
        };
        let session = self.conn.into_schedule().and_then(|(secrets, schedule)| Session::new(secrets, schedule));
        let mut session = session.map_err(|error| refused(&error, Blame::Local))?;
        let mut io = self.io;
        if let Err(error) = checked {
            if session.seal_alert(AlertDescription::CertificateExpired, &mut self.out).is_ok() {
                tell(&mut io, &mut self.out).await;
            }
            return Err(refused(&error, self.side));
        }
        debug_assert!(self.out.is_empty());
        Ok(Secured { io: TlsStream::new(io, session, self.incoming), info: Rc::new(info) })
    }
}

/// Sends what is there and ends our side. A peer that is gone cannot be told; the error says what came first.
async fn tell<I: Io>(io: &mut I, out: &mut ChunkQueue) {
    if poll_fn(|cx| io.poll_send(cx, out)).await.is_ok() {
        let _told_or_gone = poll_fn(|cx| io.poll_shutdown(cx)).await;
    }
}

/// What the two sides of rustls have in common.
trait Peer: Sized {
    type Data;

    fn common(&self) -> &UnbufferedConnectionCommon<Self::Data>;

    /// One step; returns how much of `received` has been used.
    fn step(&mut self, received: &mut [u8]) -> (usize, Result<Step, Error>);

    fn into_schedule(self) -> Result<(ExtractedSecrets, Schedule), Error>;
}

impl Peer for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn common(&self) -> &UnbufferedConnectionCommon<ServerConnectionData> {
        self
    }

    fn step(&mut self, received: &mut [u8]) -> (usize, Result<Step, Error>) {
        step(self.process_tls_records(received))
    }

    fn into_schedule(self) -> Result<(ExtractedSecrets, Schedule), Error> {
        self.dangerous_into_kernel_connection().map(|(secrets, kernel)| (secrets, Schedule::Server(kernel)))
    }
}

impl Peer for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn common(&self) -> &UnbufferedConnectionCommon<ClientConnectionData> {
        self
    }

    fn step(&mut self, received: &mut [u8]) -> (usize, Result<Step, Error>) {
        step(self.process_tls_records(received))
    }

    fn into_schedule(self) -> Result<(ExtractedSecrets, Schedule), Error> {
        self.dangerous_into_kernel_connection().map(|(secrets, kernel)| (secrets, Schedule::Client(kernel)))
    }
}

fn step<Data>(status: UnbufferedStatus<'_, '_, Data>) -> (usize, Result<Step, Error>) {
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::EncodeTlsData(mut data)) => match data.encode(&mut []) {
            Err(EncodeError::InsufficientSize(size)) => {
                let mut record = vec![0; size.required_size];
                match data.encode(&mut record) {
                    Ok(_) => Ok(Step::Send(record)),
                    Err(_) => Err(Error::EncryptError),
                }
            }
            Ok(_) => Ok(Step::Again),
            Err(EncodeError::AlreadyEncoded) => Err(Error::EncryptError),
        },
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        // `WriteTraffic` comes before the end of a server's handshake.
        Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Ok(Step::Receive),
        // The peer gave up, or sent data before it may.
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
            Err(Error::AlertReceived(AlertDescription::CloseNotify))
        }
        Ok(_) => Err(Error::InvalidMessage(InvalidMessage::UnexpectedMessage("application data in a handshake"))),
    };
    (status.discard, step)
}

/// The name in IANA's registry; rustls writes those of TLS 1.3 in its own way.
fn iana_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or_default(),
    }
}
