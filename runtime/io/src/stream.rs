//! A connected stream socket.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_api::{Address, Chunk, ChunkQueue, Io};
use socket2::SockRef;

use crate::driver::Driver;
use crate::slots::{Slot, SlotId};
use crate::socket::Socket;
use crate::sys;

/// A TCP or unix stream of a worker.
pub struct Stream {
    driver: Rc<Driver>,
    id: SlotId,
}

impl Stream {
    pub(crate) fn new(driver: &Rc<Driver>, socket: OwnedFd) -> Self {
        let id = driver.add(Slot::Socket(Box::new(Socket::new(socket.into_raw_fd()))));
        Self { driver: Rc::clone(driver), id }
    }

    /// Our address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_address(&self) -> io::Result<Address> {
        let fd = self.driver.socket_fd(self.id).and_then(sys::borrow).ok_or(io::ErrorKind::NotConnected)?;
        let addr = SockRef::from(&fd).local_addr()?;
        Ok(match addr.as_socket() {
            Some(ip) => Address::Ip(ip),
            None => Address::Unix(addr.as_pathname().map(Into::into).unwrap_or_default()),
        })
    }
}

impl Io for Stream {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        self.driver.poll_recv(self.id, cx)
    }

    fn unread(&mut self, chunk: Chunk) {
        self.driver.with_socket(self.id, |socket| socket.rx.push_front(chunk));
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut ChunkQueue) -> Poll<io::Result<()>> {
        self.driver.poll_send(self.id, cx, out)
    }

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
        let Some((fd, Some(mark))) = self.driver.with_socket(self.id, |socket| (socket.fd, socket.mark)) else {
            return false;
        };
        // The kernel may count our SYN as one byte.
        sys::bytes_acked(fd).is_some_and(|acked| acked <= mark + 1)
    }

    fn mark_sent(&mut self) {
        self.driver.with_socket(self.id, |socket| socket.mark = Some(socket.sent));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.driver.close(self.id, true);
    }
}
