//! An established connection: what its records mean (RFC 8446, sections 4.6 and 6; RFC 5246, section 7). Bytes in,
//! bytes out; no I/O.

use std::ops::Range;

use ringway_api::ChunkQueue;
use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::OutboundChunks;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ContentType, Error, ExtractedSecrets, ProtocolVersion, SupportedCipherSuite};

use super::fault::Fault;
use super::keys::{Opener, Sealer};
use super::record::{ALERT, APPLICATION_DATA, HANDSHAKE};

/// Records in a row that carry no data: more is a peer that keeps us busy for nothing.
const MAX_QUIET: u8 = 32;
/// The longest message after the handshake: a ticket.
const MAX_MESSAGE: usize = 1 << 16;

/// Handshake messages (RFC 8446, appendix B.3).
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Keys, key schedule, and the little that is remembered between records.
pub(super) struct Session {
    tx: Sealer,
    rx: Opener,
    suite: SupportedCipherSuite,
    client: bool,
    /// For key updates and tickets; TLS 1.2 has neither after its handshake.
    schedule: Option<Box<Schedule>>,
    /// A handshake message whose end has not arrived.
    fragment: Vec<u8>,
    quiet: u8,
    /// The peer asked us to update our keys (RFC 8446, section 4.6.3).
    owes_update: bool,
    /// A renegotiation was refused; a second wish is a fault.
    refused: bool,
}

/// rustls's part of an established connection.
pub(super) enum Schedule {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// What a record was.
pub(super) enum Opened {
    /// Plaintext, in this part of the record.
    Data(Range<usize>),
    /// Something that has been dealt with.
    Nothing,
    /// The peer's orderly end.
    Closed,
}

// === impl Session ===

impl Session {
    pub(super) fn new(secrets: ExtractedSecrets, schedule: Schedule) -> Result<Self, Error> {
        let (suite, version) = match &schedule {
            Schedule::Server(kernel) => (kernel.negotiated_cipher_suite(), kernel.protocol_version()),
            Schedule::Client(kernel) => (kernel.negotiated_cipher_suite(), kernel.protocol_version()),
        };
        let client = matches!(schedule, Schedule::Client(_));
        let (tx, rx) = (secrets.tx, secrets.rx);
        Ok(Self {
            tx: Sealer::new(suite, tx.0, tx.1)?,
            rx: Opener::new(suite, rx.0, rx.1)?,
            suite,
            client,
            schedule: (version == ProtocolVersion::TLSv1_3).then(|| Box::new(schedule)),
            fragment: Vec::new(),
            quiet: 0,
            owes_update: false,
            refused: false,
        })
    }

    /// Opens a whole record in place. What must be answered is sealed onto `out`.
    pub(super) fn open(&mut self, record: &mut [u8], out: &mut ChunkQueue) -> Result<Opened, Fault> {
        // All of TLS 1.3's records look like application data by now (RFC 8446, section 5.1).
        if self.schedule.is_some() && record.first() != Some(&APPLICATION_DATA) {
            return Err(UNEXPECTED);
        }
        let (kind, range) = self.rx.open(record).map_err(|error| Fault::of(&error))?;
        if kind == APPLICATION_DATA && !range.is_empty() {
            if !self.fragment.is_empty() {
                return Err(UNEXPECTED);
            }
            self.quiet = 0;
            return Ok(Opened::Data(range));
        }
        self.quiet += 1;
        if self.quiet > MAX_QUIET {
            return Err(Fault::protocol("tls_flood", AlertDescription::UnexpectedMessage));
        }
        let content = record.get(range).unwrap_or_default();
        match kind {
            APPLICATION_DATA => Ok(Opened::Nothing),
            // Only data may be empty (RFC 8446, section 5.1).
            _ if content.is_empty() => Err(UNEXPECTED),
            ALERT => self.alert(content),
            HANDSHAKE => self.handshake(content, out).map(|()| Opened::Nothing),
            _ => Err(UNEXPECTED),
        }
    }

    /// Seals a record of application data onto `out`.
    pub(super) fn seal(&mut self, content: OutboundChunks<'_>, out: &mut ChunkQueue) -> Result<(), Fault> {
        if self.tx.count() >= self.limit() {
            // TLS 1.2 cannot change keys without a new handshake: the connection ends here.
            if self.schedule.is_none() {
                return Err(Fault::SEAL);
            }
            self.update_keys(out)?;
        }
        out.push(self.tx.seal(ContentType::ApplicationData, content)?);
        Ok(())
    }

    /// Updates our keys if the peer asked for it. Waits until nothing is queued, so that a peer which asks and does
    /// not read cannot make the queue grow.
    pub(super) fn settle(&mut self, out: &mut ChunkQueue) -> Result<(), Fault> {
        if self.owes_update && out.is_empty() {
            self.update_keys(out)?;
        }
        Ok(())
    }

    /// Seals the closure alert, or a fatal one.
    pub(super) fn seal_alert(&mut self, alert: AlertDescription, out: &mut ChunkQueue) -> Result<(), Fault> {
        let level = if alert == AlertDescription::CloseNotify { 1 } else { 2 };
        self.seal_control(ContentType::Alert, &[level, alert.into()], out)
    }

    /// How many records one key may seal.
    fn limit(&self) -> u64 {
        match self.suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        }
    }

    fn seal_control(&mut self, kind: ContentType, content: &[u8], out: &mut ChunkQueue) -> Result<(), Fault> {
        out.push(self.tx.seal(kind, OutboundChunks::Single(content))?);
        Ok(())
    }

    fn alert(&mut self, content: &[u8]) -> Result<Opened, Fault> {
        let &[level, alert] = content else {
            return Err(Fault::protocol("tls_malformed", AlertDescription::DecodeError));
        };
        match AlertDescription::from(alert) {
            AlertDescription::CloseNotify => Ok(Opened::Closed),
            AlertDescription::UserCanceled => Ok(Opened::Nothing),
            // TLS 1.3 has no other warnings (RFC 8446, section 6).
            _ if level == 1 && self.schedule.is_none() => Ok(Opened::Nothing),
            alert => Err(Fault::received(alert)),
        }
    }

    fn handshake(&mut self, content: &[u8], out: &mut ChunkQueue) -> Result<(), Fault> {
        let mut gathered = std::mem::take(&mut self.fragment);
        gathered.extend_from_slice(content);
        let mut rest = gathered.as_slice();
        while let Some((&[kind, a, b, c], after)) = rest.split_first_chunk::<4>() {
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            if len > MAX_MESSAGE || !self.expects(kind) {
                return Err(UNEXPECTED);
            }
            let Some((body, after)) = after.split_at_checked(len) else { break };
            rest = after;
            self.message(kind, body, rest.is_empty(), out)?;
        }
        self.fragment = rest.to_vec();
        Ok(())
    }

    fn expects(&self, kind: u8) -> bool {
        match (&self.schedule, kind) {
            (Some(_), KEY_UPDATE) => true,
            (Some(_), NEW_SESSION_TICKET) | (None, HELLO_REQUEST) => self.client,
            (None, CLIENT_HELLO) => !self.client,
            _ => false,
        }
    }

    /// A whole handshake message. `last` says that its record ends with it.
    fn message(&mut self, kind: u8, body: &[u8], last: bool, out: &mut ChunkQueue) -> Result<(), Fault> {
        match (kind, self.schedule.as_deref_mut()) {
            (KEY_UPDATE, Some(schedule)) => {
                // Keys change between records only (RFC 8446, section 5.1).
                let &[asks @ 0..=1] = body else {
                    return Err(Fault::protocol("tls_malformed", AlertDescription::IllegalParameter));
                };
                if !last {
                    return Err(UNEXPECTED);
                }
                let (seq, secrets) = match schedule {
                    Schedule::Server(kernel) => kernel.update_rx_secret(),
                    Schedule::Client(kernel) => kernel.update_rx_secret(),
                }
                .map_err(|error| Fault::of(&error))?;
                self.rx = Opener::new(self.suite, seq, secrets).map_err(|error| Fault::of(&error))?;
                self.owes_update |= asks == 1;
                self.settle(out)
            }
            (NEW_SESSION_TICKET, Some(Schedule::Client(kernel))) => {
                kernel.handle_new_session_ticket(body).map_err(|error| Fault::of(&error))
            }
            // A wish to renegotiate (RFC 5246, sections 7.2.2 and 7.4.1): declined once.
            (HELLO_REQUEST | CLIENT_HELLO, None) if !self.refused => {
                self.refused = true;
                self.seal_control(ContentType::Alert, &[1, AlertDescription::NoRenegotiation.into()], out)
            }
            (HELLO_REQUEST | CLIENT_HELLO, None) => {
                Err(Fault::protocol("tls_renegotiation", AlertDescription::NoRenegotiation))
            }
            _ => Err(UNEXPECTED),
        }
    }

    /// Announces new keys under the old ones, and takes them.
    fn update_keys(&mut self, out: &mut ChunkQueue) -> Result<(), Fault> {
        self.owes_update = false;
        self.seal_control(ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, 0], out)?;
        let (seq, secrets) = match self.schedule.as_deref_mut() {
            Some(Schedule::Server(kernel)) => kernel.update_tx_secret(),
            Some(Schedule::Client(kernel)) => kernel.update_tx_secret(),
            None => return Err(Fault::SEAL),
        }
        .map_err(|_| Fault::SEAL)?;
        self.tx = Sealer::new(self.suite, seq, secrets).map_err(|_| Fault::SEAL)?;
        Ok(())
    }
}

const UNEXPECTED: Fault = Fault::protocol("tls_unexpected_message", AlertDescription::UnexpectedMessage);
