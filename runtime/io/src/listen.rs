//! Listening sockets.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ringway_api::Address;
use socket2::{Domain, SockAddr, SockRef, Socket as Socket2, Type};

use crate::driver::Driver;
use crate::ring::Completion;
use crate::slots::{Kind, Slot, SlotId};
use crate::socket::Interest;
use crate::stream::Stream;

/// Connections accepted and not taken by the worker, at which accepting pauses.
const READY_LIMIT: usize = 1024;

/// A bound and listening socket that no worker accepts from yet. Binding happens on the control plane, once per
/// worker and address, so that a taken port refuses a configuration before anything has changed.
#[derive(Clone, Debug)]
pub struct Bound {
    socket: Arc<OwnedFd>,
    address: Address,
}

/// How to bind.
#[derive(Clone, Copy, Debug)]
pub struct BindOptions {
    /// Several sockets share the address; the kernel spreads connections over them (TCP only).
    pub reuse_port: bool,
    /// Connections that wait in the kernel; clipped to `net.core.somaxconn`.
    pub backlog: i32,
}

impl Default for BindOptions {
    fn default() -> Self {
        Self { reuse_port: true, backlog: 4096 }
    }
}

impl Bound {
    /// Binds and listens. A unix socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// The kernel's: the address is taken, is not local, or may not be bound by this user.
    pub fn bind(address: &Address, options: BindOptions) -> io::Result<Self> {
        let socket = match address {
            Address::Ip(ip) => {
                let socket = Socket2::new(Domain::for_address(*ip), Type::STREAM.cloexec(), None)?;
                socket.set_reuse_address(true)?;
                socket.set_reuse_port(options.reuse_port)?;
                // Inherited by accepted sockets.
                socket.set_tcp_nodelay(true)?;
                if ip.is_ipv6() {
                    socket.set_only_v6(true)?;
                }
                socket.bind(&SockAddr::from(*ip))?;
                socket
            }
            Address::Unix(path) => {
                let socket = Socket2::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
                let addr = SockAddr::unix(path)?;
                match socket.bind(&addr) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&addr) => {
                        std::fs::remove_file(path)?;
                        socket.bind(&addr)?;
                    }
                    bound => bound?,
                }
                socket
            }
        };
        socket.listen(options.backlog)?;
        let address = match address {
            Address::Ip(_) => socket.local_addr()?.as_socket().map_or_else(|| address.clone(), Address::Ip),
            Address::Unix(_) => address.clone(),
        };
        Ok(Self { socket: Arc::new(OwnedFd::from(socket)), address })
    }

    /// Whether nobody listens on a TCP address yet: two processes of one user could otherwise share it by accident,
    /// each taking some of the other's connections.
    ///
    /// # Errors
    /// The kernel's: `AddrInUse`, or that the address may not be bound at all.
    pub fn check_free(address: &Address) -> io::Result<()> {
        let Address::Ip(ip) = address else { return Ok(()) };
        let socket = Socket2::new(Domain::for_address(*ip), Type::STREAM.cloexec(), None)?;
        socket.set_reuse_address(true)?;
        if ip.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&SockAddr::from(*ip))
    }

    /// The address, with the port that was chosen if 0 was asked for.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// True when a unix socket's file is there but nobody answers.
fn is_stale(addr: &SockAddr) -> bool {
    let probe = Socket2::new(Domain::UNIX, Type::STREAM.cloexec().nonblocking(), None);
    probe.is_ok_and(|probe| probe.connect(addr).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// A worker's end of a listening socket: a multishot accept.
pub struct Listener {
    driver: Rc<Driver>,
    id: SlotId,
    address: Address,
    /// Kept open until the accept has ended; see [`Listener::drain`].
    socket: Arc<OwnedFd>,
}

/// What the driver keeps for an accept.
pub(crate) struct Accepting {
    socket: Arc<OwnedFd>,
    ready: VecDeque<OwnedFd>,
    pub(crate) acceptor: Interest,
    error: Option<i32>,
    /// The listener was dropped.
    closing: bool,
    paused: bool,
}

impl Listener {
    pub(crate) fn start(driver: &Rc<Driver>, bound: &Bound) -> Self {
        let accepting = Accepting {
            socket: Arc::clone(&bound.socket),
            ready: VecDeque::new(),
            acceptor: Interest::default(),
            error: None,
            closing: false,
            paused: false,
        };
        let id = driver.add(Slot::Accept(Box::new(accepting)));
        let fd = bound.socket.as_raw_fd();
        driver.start(id, |ring, id| ring.accept(fd, id.token(Kind::Accept)));
        let (address, socket) = (bound.address.clone(), Arc::clone(&bound.socket));
        Self { driver: Rc::clone(driver), id, address, socket }
    }

    /// The address it listens on.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next accepted connection, not yet a stream: it may be handed to another worker.
    pub async fn accept(&self) -> io::Result<Accepted> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`accept`](Self::accept), for a task that waits for more than one thing.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let mut again = None;
        let polled = self.driver.with_slot(self.id, |slot| {
            let Slot::Accept(accept) = slot else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
            if let Some(socket) = accept.ready.pop_front() {
                if accept.paused && accept.ready.is_empty() {
                    accept.paused = false;
                    again = Some(accept.socket.as_raw_fd());
                }
                return Poll::Ready(Ok(Accepted { socket, local: self.address.clone() }));
            }
            if let Some(error) = accept.error.take() {
                accept.paused = false;
                again = Some(accept.socket.as_raw_fd());
                return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
            }
            accept.acceptor.register(cx);
            Poll::Pending
        });
        if let Some(fd) = again {
            self.driver.start(self.id, |ring, id| ring.accept(fd, id.token(Kind::Accept)));
        }
        polled.unwrap_or(Poll::Ready(Err(io::ErrorKind::NotConnected.into())))
    }

    /// Takes the connections that the kernel has queued on the socket, for a listener that is to be closed: closing
    /// resets those that nobody took. Call it once, then drop the listener.
    ///
    /// # Errors
    /// The kernel's, other than that the queue is empty.
    pub fn drain(&self) -> io::Result<Vec<Accepted>> {
        let mut taken = Vec::new();
        self.driver.with_slot(self.id, |slot| {
            if let Slot::Accept(accept) = slot {
                taken.extend(accept.ready.drain(..));
            }
        });
        let listener = SockRef::from(&*self.socket);
        listener.set_nonblocking(true)?;
        loop {
            match listener.accept() {
                Ok((socket, _)) => taken.push(OwnedFd::from(socket)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken.into_iter().map(|socket| Accepted { socket, local: self.address.clone() }).collect())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let known = self.driver.with_slot(self.id, |slot| match slot {
            Slot::Accept(accept) => {
                accept.closing = true;
                accept.acceptor.forget();
                // Paused: no accept is under way, so no completion would free the slot.
                accept.paused || accept.error.is_some()
            }
            _ => false,
        });
        match known {
            Some(true) => self.driver.free(self.id),
            Some(false) => self.driver.abandon(self.id, Kind::Accept),
            None => {}
        }
    }
}

impl Accepting {
    /// Takes an accepted connection; false when nobody wants it any more.
    pub(crate) fn completed(&mut self, completion: &Completion) -> bool {
        let Ok(fd) = completion.result else { return false };
        if self.closing {
            return false;
        }
        self.ready.push_back(own(fd as RawFd));
        self.acceptor.wake();
        true
    }

    /// The accept ended.
    pub(crate) fn ended(&mut self, result: Result<u32, i32>) -> After {
        match result {
            _ if self.closing => After::Free,
            // Out of descriptors or memory: told to the worker, who waits a little before it asks again.
            Err(error) if !matches!(error, libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::ECANCELED) => {
                self.error = Some(error);
                self.acceptor.wake();
                self.paused = true;
                After::Keep
            }
            _ if self.ready.len() >= READY_LIMIT => {
                self.paused = true;
                After::Keep
            }
            _ => After::Again(self.socket.as_raw_fd()),
        }
    }
}

/// What becomes of a slot whose accept has ended.
pub(crate) enum After {
    /// Accept again from this socket.
    Again(RawFd),
    /// The listener will.
    Keep,
    /// Nobody needs it.
    Free,
}

/// An accepted connection that belongs to no worker yet: it may be sent to another thread.
#[derive(Debug)]
pub struct Accepted {
    socket: OwnedFd,
    local: Address,
}

impl Accepted {
    /// Our and the peer's address.
    ///
    /// # Errors
    /// The kernel's, when the peer has gone already.
    pub fn addresses(&self) -> io::Result<(Address, Address)> {
        let socket = SockRef::from(&self.socket);
        let peer = socket.peer_addr()?;
        let peer = match peer.as_socket() {
            Some(ip) => Address::Ip(ip),
            None => Address::Unix(peer.as_pathname().map(Into::into).unwrap_or_default()),
        };
        let wildcard = self.local.ip().is_some_and(|ip| ip.ip().is_unspecified());
        let local = match wildcard.then(|| socket.local_addr()).transpose()?.and_then(|addr| addr.as_socket()) {
            Some(ip) => Address::Ip(ip),
            None => self.local.clone(),
        };
        Ok((local, peer))
    }

    /// Where the connection was going before the firewall redirected it to us (netfilter's `REDIRECT`,
    /// `SO_ORIGINAL_DST`); `None` if it was not.
    pub fn original_destination(&self) -> Option<Address> {
        let socket = SockRef::from(&self.socket);
        let local = socket.local_addr().ok()?.as_socket()?;
        let original = match local {
            std::net::SocketAddr::V4(_) => socket.original_dst_v4(),
            std::net::SocketAddr::V6(_) => socket.original_dst_v6(),
        };
        // Fails where nothing is tracked or redirected.
        let original = original.ok()?.as_socket()?;
        (original != local).then_some(Address::Ip(original))
    }

    pub(crate) fn into_stream(self, driver: &Rc<Driver>) -> Stream {
        Stream::new(driver, self.socket)
    }
}

#[allow(unsafe_code, reason = "the kernel hands descriptors over as numbers")]
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the number comes from an accept's completion, which made it ours and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
