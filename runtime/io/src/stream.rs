//! A connected stream socket.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ringway_api::{Address, Blame, Chunk, ChunkQueue, ConnError, Io, Secured};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use socket2::SockRef;

use crate::driver::Driver;
use crate::slots::{Slot, SlotId};
use crate::socket::{Fin, Socket};
use crate::sys;
use crate::tls::{self, TlsStream};

/// A TCP or unix stream of a worker, with or without TLS on it.
pub struct Stream(Kind);

/// A plain stream is one reference away from its socket, as before there was TLS; a secured one is boxed, so that a
/// stream stays as small as a plain one.
enum Kind {
    Plain(PlainStream),
    Secured(SecuredStream),
}

/// TLS on a socket. Dropped, it leaves to the driver what it has sealed, however much that is, as a plain one does.
struct SecuredStream(Box<TlsStream<PlainStream>>);

/// The socket itself.
pub(crate) struct PlainStream {
    driver: Rc<Driver>,
    id: SlotId,
}

/// Calls the same method of either kind.
macro_rules! either {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream {
            Kind::Plain($io) => $call,
            Kind::Secured(SecuredStream($io)) => $call,
        }
    };
}

impl Stream {
    pub(crate) fn new(driver: &Rc<Driver>, socket: OwnedFd) -> Self {
        let id = driver.add(Slot::Socket(Box::new(Socket::new(socket.into_raw_fd()))));
        Self(Kind::Plain(PlainStream { driver: Rc::clone(driver), id }))
    }

    /// Our address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_address(&self) -> io::Result<Address> {
        match &self.0 {
            Kind::Plain(stream) => stream.local_address(),
            Kind::Secured(SecuredStream(stream)) => stream.inner().local_address(),
        }
    }

    /// True when TLS is on it.
    pub fn is_secured(&self) -> bool {
        matches!(self.0, Kind::Secured(_))
    }

    /// Does the server's side of a TLS handshake. The time it may take is the caller's to limit: dropping the future
    /// gives the connection up. What was put back by [`unread`](Io::unread) is read first.
    ///
    /// # Errors
    /// As [`tls::accept`].
    pub async fn secure_accept(self, config: Arc<ServerConfig>) -> Result<Secured<Self>, ConnError> {
        Ok(Self::secured(tls::accept(config, self.plain()?).await?))
    }

    /// Does the client's side of a TLS handshake with the host called `name`. See
    /// [`secure_accept`](Self::secure_accept).
    ///
    /// # Errors
    /// As [`tls::connect`].
    pub async fn secure_connect(
        self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Secured<Self>, ConnError> {
        Ok(Self::secured(tls::connect(config, name, self.plain()?).await?))
    }

    fn plain(self) -> Result<PlainStream, ConnError> {
        match self.0 {
            Kind::Plain(stream) => Ok(stream),
            // Nothing has TLS within TLS.
            Kind::Secured(_) => Err(ConnError::new(Blame::Local, "tls_already")),
        }
    }

    fn secured(secured: Secured<TlsStream<PlainStream>>) -> Secured<Self> {
        Secured { io: Self(Kind::Secured(SecuredStream(Box::new(secured.io)))), info: secured.info }
    }
}

impl Io for Stream {
    #[inline]
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        either!(&mut self.0, io => io.poll_recv(cx))
    }

    #[inline]
    fn unread(&mut self, chunk: Chunk) {
        either!(&mut self.0, io => io.unread(chunk));
    }

    #[inline]
    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut ChunkQueue) -> Poll<io::Result<()>> {
        either!(&mut self.0, io => io.poll_send(cx, out))
    }

    #[inline]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.0, io => io.poll_flush(cx))
    }

    #[inline]
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.0, io => io.poll_shutdown(cx))
    }

    fn abort(&mut self) {
        either!(&mut self.0, io => io.abort());
    }

    fn provably_unseen(&self) -> bool {
        either!(&self.0, io => io.provably_unseen())
    }

    fn mark_sent(&mut self) {
        either!(&mut self.0, io => io.mark_sent());
    }
}

impl Drop for SecuredStream {
    fn drop(&mut self) {
        let (io, sealed) = self.0.farewell();
        io.leave(sealed);
    }
}

// === impl PlainStream ===

impl PlainStream {
    /// Leaves chunks to the driver beyond the limit of what may wait; for a stream that is about to be dropped.
    fn leave(&self, rest: &mut ChunkQueue) {
        if !rest.is_empty() {
            self.driver.with_socket(self.id, |socket| {
                if socket.fin == Fin::Open && socket.send_error.is_none() && !socket.aborted {
                    socket.tx.extend(std::iter::from_fn(|| rest.pop()));
                }
            });
        }
    }

    fn local_address(&self) -> io::Result<Address> {
        let fd = self.driver.socket_fd(self.id).and_then(sys::borrow).ok_or(io::ErrorKind::NotConnected)?;
        let addr = SockRef::from(&fd).local_addr()?;
        Ok(match addr.as_socket() {
            Some(ip) => Address::Ip(ip),
            None => Address::Unix(addr.as_pathname().map(Into::into).unwrap_or_default()),
        })
    }
}

impl Io for PlainStream {
    #[inline]
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        self.driver.poll_recv(self.id, cx)
    }

    fn unread(&mut self, chunk: Chunk) {
        self.driver.with_socket(self.id, |socket| socket.rx.push_front(chunk));
    }

    #[inline]
    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut ChunkQueue) -> Poll<io::Result<()>> {
        self.driver.poll_send(self.id, cx, out)
    }

    #[inline]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.driver.poll_flush(self.id, cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.driver.poll_shutdown(self.id, cx)
    }

    fn abort(&mut self) {
        self.driver.close(self.id, false);
    }

    fn provably_unseen(&self) -> bool {
        let Some(Some(acked)) = self.driver.socket_fd(self.id).map(sys::bytes_acked) else { return false };
        self.driver.with_socket(self.id, |socket| socket.nothing_behind_mark(acked)).unwrap_or(false)
    }

    fn mark_sent(&mut self) {
        self.driver.with_socket(self.id, Socket::set_mark);
    }
}

impl Drop for PlainStream {
    fn drop(&mut self) {
        self.driver.close(self.id, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_stays_as_small_as_a_plain_one() {
        assert_eq!(size_of::<Stream>(), size_of::<PlainStream>());
        assert_eq!(size_of::<Stream>(), 16);
    }

    #[test]
    fn a_handshake_leaves_no_room_behind_in_its_task() {
        fn size<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
            size_of::<F>()
        }

        assert!(size(|(stream, config): (Stream, _)| stream.secure_accept(config)) <= 128);
        assert!(size(|(stream, config, name): (Stream, _, _)| stream.secure_connect(config, name)) <= 256);
    }
}
