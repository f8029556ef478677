//! Accepts connections and starts one to the upstream for each.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::time::Duration;

use anyhow::{Context, Result};
use ringway_io::ring::{Completion, Ring};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::pairs::Pairs;
use crate::token::{Kind, Side, Token};

/// How long to wait for a pair to close before an accept that failed is tried again.
const PATIENCE: Duration = Duration::from_millis(50);

/// The listening socket and the address that its connections are pumped to.
pub(crate) struct Acceptor {
    listener: Socket,
    upstream: SocketAddr,
    /// Pairs that were open when accepting failed, mostly for want of descriptors. Trying at once would spin.
    paused: Option<usize>,
}

impl Acceptor {
    pub(crate) fn bind(address: SocketAddr, upstream: SocketAddr) -> Result<Self> {
        let listener = listener(address).with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self { listener, upstream, paused: None })
    }

    pub(crate) fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr()?.as_socket().context("the listener has no IP address")
    }

    pub(crate) fn arm(&self, ring: &mut Ring) {
        ring.accept(self.listener.as_raw_fd(), Token::ACCEPT.pack());
    }

    pub(crate) fn accepted(&mut self, ring: &mut Ring, pairs: &mut Pairs, completion: &Completion) {
        match completion.result {
            Ok(fd) => self.begin(ring, pairs, fd as RawFd),
            Err(_) => self.paused = Some(pairs.open()),
        }
        if !completion.more && self.paused.is_none() {
            self.arm(ring);
        }
    }

    /// How long the next wait may take: without limit unless accepting has to be tried again.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.paused.map(|_| PATIENCE)
    }

    /// Accepts again once a pair has closed, or when a whole wait brought nothing.
    pub(crate) fn resume(&mut self, ring: &mut Ring, open: usize, quiet: bool) {
        if self.paused.is_some_and(|then| quiet || open < then) {
            self.paused = None;
            self.arm(ring);
        }
    }

    fn begin(&self, ring: &mut Ring, pairs: &mut Pairs, downstream: RawFd) {
        let socket = Socket::new(Domain::for_address(self.upstream), Type::STREAM, None);
        let socket = socket.and_then(|socket| socket.set_tcp_nodelay(true).map(|()| socket));
        match socket {
            Ok(socket) => {
                let fd = socket.into_raw_fd();
                let token = pairs.insert(downstream, fd).with(Kind::Connect, Side::Up);
                ring.connect(fd, &SockAddr::from(self.upstream), token.pack());
            }
            // Out of descriptors: this connection is given up, the others go on.
            Err(_) => ring.close(downstream),
        }
    }
}

fn listener(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Inherited by accepted sockets.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket)
}
