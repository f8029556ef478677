//! One connection: its socket, its TLS session, its codec, and the requests under way.

use std::io::{Read, Write};
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::Arc;

use ringway_api::{Chunk, ChunkQueue};
use ringway_io::ring::Ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::codec::{Codec, Outcome, Prepared};
use crate::request::Place;

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    /// When it was meant to start.
    pub(super) intended: u64,
    pub(super) sent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is no socket; one may be made at this time.
    Closed(u64),
    Connecting,
    /// Connected; TLS is not done.
    Handshake,
    Open,
    /// Everything on it was cancelled; closed once the kernel has said so.
    Ending,
}

/// How TLS is done.
#[derive(Clone)]
pub(super) struct Secure {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

pub(super) struct Conn {
    pub(super) state: State,
    pub(super) fd: RawFd,
    /// Counts sockets, so that what is known of the last one is not believed of this one.
    pub(super) generation: u32,
    pub(super) codec: Box<dyn Codec>,
    tls: Option<Box<ClientConnection>>,
    pub(super) out: ChunkQueue,
    plain: ChunkQueue,
    /// Operations of the kernel: a connect, a receive, a send.
    pub(super) connecting: bool,
    pub(super) receiving: bool,
    pub(super) sending: bool,
    pub(super) flights: Vec<Option<Flight>>,
    pub(super) under_way: usize,
    /// Requests sent on this socket.
    pub(super) served: u64,
    /// Since when it is in its state, where that has a limit.
    pub(super) since: u64,
    /// Failures in a row, which make the next attempt wait longer.
    pub(super) failures: u32,
    pub(super) dirty: bool,
}

impl Conn {
    pub(super) fn new(codec: Box<dyn Codec>) -> Self {
        Self {
            state: State::Closed(0),
            fd: -1,
            generation: 0,
            codec,
            tls: None,
            out: ChunkQueue::new(),
            plain: ChunkQueue::new(),
            connecting: false,
            receiving: false,
            sending: false,
            flights: Vec::new(),
            under_way: 0,
            served: 0,
            since: 0,
            failures: 0,
            dirty: false,
        }
    }

    /// Makes a socket and has the kernel connect it.
    pub(super) fn open(
        &mut self,
        ring: &mut Ring,
        place: &Place,
        secure: Option<&Secure>,
        codec: Box<dyn Codec>,
        (token, now): (u64, u64),
    ) -> Result<(), String> {
        self.tls = match secure {
            None => None,
            Some(Secure { config, name }) => {
                let mut session =
                    ClientConnection::new(Arc::clone(config), name.clone()).map_err(|error| format!("TLS: {error}"))?;
                session.set_buffer_limit(None);
                Some(Box::new(session))
            }
        };
        let made = match place {
            Place::Ip(address) => Socket::new(Domain::for_address(*address), Type::STREAM, None)
                .and_then(|socket| socket.set_tcp_nodelay(true).map(|()| (socket, SockAddr::from(*address)))),
            Place::Unix(path) => {
                SockAddr::unix(path).and_then(|address| Ok((Socket::new(Domain::UNIX, Type::STREAM, None)?, address)))
            }
        };
        let (socket, address) = made.map_err(|error| format!("socket: {error}"))?;
        self.fd = socket.into_raw_fd();
        self.generation = self.generation.wrapping_add(1);
        self.codec = codec;
        self.out.clear();
        self.plain.clear();
        self.flights.clear();
        (self.under_way, self.served, self.since) = (0, 0, now);
        (self.state, self.connecting) = (State::Connecting, true);
        ring.connect(self.fd, &address, token);
        Ok(())
    }

    /// The socket is connected.
    pub(super) fn connected(&mut self) {
        self.state = if self.tls.is_some() { State::Handshake } else { State::Open };
        self.codec.greet(&mut self.plain);
        self.seal();
    }

    /// Sends a request.
    pub(super) fn send(&mut self, request: &Prepared, flight: Flight) {
        let tag = self.flights.iter().position(Option::is_none).unwrap_or(self.flights.len());
        if tag == self.flights.len() {
            self.flights.push(None);
        }
        if let Some(place) = self.flights.get_mut(tag) {
            *place = Some(flight);
        }
        self.under_way += 1;
        self.served += 1;
        if self.tls.is_none() {
            self.codec.send(request, tag as u32, &mut self.out);
        } else {
            self.codec.send(request, tag as u32, &mut self.plain);
            self.seal();
        }
    }

    /// Takes bytes that the server sent.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        scratch: &mut [u8],
        done: &mut Vec<(u32, Outcome, usize)>,
        expected_alpn: Option<&str>,
    ) -> Result<(), String> {
        let Some(session) = &mut self.tls else {
            return self.codec.receive(bytes, &mut self.out, done).map_err(|fault| format!("protocol: {}", fault.0));
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            session.read_tls(&mut rest).map_err(|error| format!("TLS: {error}"))?;
            let state = session.process_new_packets().map_err(|error| match error {
                rustls::Error::InvalidMessage(_) => format!("TLS: the server answers with no TLS ({error})"),
                _ => format!("TLS: {error}"),
            })?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let read = session.reader().read(scratch).map_err(|error| format!("TLS: {error}"))?;
                let piece = scratch.get(..read).unwrap_or_default();
                self.codec.receive(piece, &mut self.plain, done).map_err(|fault| format!("protocol: {}", fault.0))?;
                left = left.saturating_sub(read.max(1));
            }
        }
        if self.state == State::Handshake && !session.is_handshaking() {
            let chosen = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
            if let Some(expected) = expected_alpn.filter(|expected| *expected == "h2")
                && chosen.as_deref() != Some(expected)
            {
                return Err(format!("TLS: the server did not agree on {expected}"));
            }
            self.state = State::Open;
        }
        self.seal();
        Ok(())
    }

    /// Everything that waited has been sent.
    pub(super) fn drained(&mut self) {
        if self.tls.is_none() {
            self.codec.drained(&mut self.out);
        } else {
            self.codec.drained(&mut self.plain);
            self.seal();
        }
    }

    /// Ends what is under way; the socket is closed when the kernel is done with it.
    pub(super) fn end(&mut self, ring: &mut Ring) {
        if self.state != State::Ending {
            self.state = State::Ending;
            self.out.clear();
            if self.busy() {
                ring.cancel_fd(self.fd);
            }
        }
    }

    /// Whether the kernel works on anything of it.
    pub(super) fn busy(&self) -> bool {
        self.connecting || self.receiving || self.sending
    }

    /// Requests it could take now.
    pub(super) fn room(&self, per_connection: u64) -> usize {
        if self.state != State::Open {
            return 0;
        }
        let left = usize::try_from(per_connection.saturating_sub(self.served)).unwrap_or(usize::MAX);
        self.codec.room().min(left)
    }

    /// Encrypts what waits.
    fn seal(&mut self) {
        let Some(session) = &mut self.tls else {
            self.out.extend(std::iter::from_fn(|| self.plain.pop()));
            return;
        };
        while let Some(chunk) = self.plain.pop() {
            // Into memory without a limit: cannot fail.
            session.writer().write_all(&chunk).unwrap_or_default();
        }
        let mut sealed = Vec::new();
        while session.wants_write() {
            if session.write_tls(&mut sealed).is_err() {
                break;
            }
        }
        if !sealed.is_empty() {
            self.out.push(Chunk::from(sealed));
        }
    }
}
