//! The bytes of one client connection: plain TCP, or TLS over it, with the same non-blocking face.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// A connected, non-blocking stream.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

pub(super) struct Tls {
    stream: TcpStream,
    session: ClientConnection,
}

impl Transport {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }

    /// A client's side of TLS; the handshake goes on with every read and write.
    pub(super) fn tls(stream: TcpStream, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Self> {
        let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(Tls { stream, session })))
    }

    /// Whether a read of `got` bytes into room for `room` has emptied the socket, so that what comes next is a new edge.
    pub(super) fn drained(&self, got: usize, room: usize) -> bool {
        matches!(self, Self::Plain(_)) && got < room
    }

    /// Sends what is sealed and not yet sent. Nothing to do on a plain connection.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Tells the other end that nothing follows; the socket is closed when this is dropped.
    pub(super) fn close(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            // The other end may have gone first.
            tls.flush().unwrap_or_default();
        }
    }
}

impl Read for Transport {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(tls) => tls.read(into),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(tls) => {
                let taken = tls.session.writer().write(bytes)?;
                tls.flush()?;
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Transport::flush(self)
    }
}

impl Tls {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(into) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            // The end of the socket shows in the next turn, as an end or as an error.
            self.session.read_tls(&mut self.stream)?;
            if let Err(e) = self.session.process_new_packets() {
                // The alert that says why; the error itself says more.
                self.flush().unwrap_or_default();
                return Err(io::Error::new(ErrorKind::InvalidData, e));
            }
            self.flush()?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
