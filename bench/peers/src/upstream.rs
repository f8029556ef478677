//! The upstream: fixed HTTP/1.1 replies by path on one port and on a unix socket, an echo of 1 KB messages on another
//! port, HTTP/2 and TLS on two more.
//!
//! A process of its own on the load core. It ends when its standard input closes, so it never outlives the run.

mod conn;
mod modern;

use std::cell::Cell;
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result};
use mio::net::{TcpListener, UnixListener};
use mio::{Events, Interest, Poll, Token};

use crate::certificate::Certificate;
use crate::launch;
use crate::message;
use conn::{Conn, Served, Socket};

const HTTP: Token = Token(0);
const TCP: Token = Token(1);
const UNIX: Token = Token(2);
const FIRST: usize = 3;
const SCRATCH: usize = 256 * 1024;

/// Where the upstream listens.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// HTTP/1.1.
    pub(crate) http: SocketAddr,
    /// The echo.
    pub(crate) tcp: SocketAddr,
    /// HTTP/2 with prior knowledge.
    pub(crate) h2c: SocketAddr,
    /// HTTP/2 and HTTP/1.1 over TLS: what clients are measured against without a proxy.
    pub(crate) tls: SocketAddr,
    /// A directory with the certificate, in which the socket for HTTP/1.1 is made.
    pub(crate) dir: PathBuf,
}

impl Addresses {
    /// Free ports; `dir` must hold the certificate.
    pub(crate) fn free(dir: PathBuf) -> Result<Self> {
        let next = launch::free_address;
        Ok(Self { http: next()?, tcp: next()?, h2c: next()?, tls: next()?, dir })
    }

    /// HTTP/1.1 on a unix socket.
    pub(crate) fn unix(&self) -> PathBuf {
        self.dir.join("http.sock")
    }

    pub(crate) fn ports(&self) -> [SocketAddr; 4] {
        [self.http, self.tcp, self.h2c, self.tls]
    }

    /// As arguments of the process that serves them.
    pub(crate) fn to_args(&self) -> Vec<OsString> {
        let ports = self.ports().into_iter().map(|port| port.to_string().into());
        std::iter::once(self.dir.clone().into_os_string()).chain(ports).collect()
    }

    /// Reads what [`Addresses::to_args`] wrote.
    pub(crate) fn parse(args: &[OsString]) -> Result<Self> {
        let port = |index: usize| -> Result<SocketAddr> {
            let text = args.get(index).and_then(|a| a.to_str()).context("an address is missing")?;
            text.parse().with_context(|| format!("address {text:?}"))
        };
        let dir = args.first().context("the directory is missing")?.into();
        Ok(Self { dir, http: port(1)?, tcp: port(2)?, h2c: port(3)?, tls: port(4)? })
    }
}

/// The replies of the HTTP port, built once.
pub(crate) struct Replies {
    by_path: Vec<(&'static str, Rc<[u8]>)>,
    /// How many of those were asked for.
    served: Cell<u64>,
    not_found: Rc<[u8]>,
    /// The answer to a POST, and to any path that asks for no body in particular.
    small: Rc<[u8]>,
    tcp: Rc<[u8]>,
}

impl Replies {
    pub(crate) fn new() -> Self {
        let by_path = message::BODIES.iter().map(|(path, size)| (*path, message::reply(*size).into())).collect();
        let tcp: Vec<u8> = message::body(message::TCP_MESSAGE).collect();
        Self {
            by_path,
            served: Cell::new(0),
            not_found: message::not_found().into(),
            small: message::reply(message::SMALL).into(),
            tcp: tcp.into(),
        }
    }

    fn to(&self, path: &str) -> Rc<[u8]> {
        if path == message::UPLOAD || path.starts_with(message::PROBE) {
            return self.small.clone();
        }
        if let Some((_, reply)) = self.by_path.iter().find(|(known, _)| *known == path) {
            self.served.set(self.served.get() + 1);
            return reply.clone();
        }
        if path == message::SERVED {
            let (digits, served) = (message::SERVED_DIGITS, self.served.get());
            return format!("HTTP/1.1 200 OK\r\ncontent-length: {digits}\r\n\r\n{served:0digits$}").into_bytes().into();
        }
        self.not_found.clone()
    }
}

/// Serves until standard input closes.
pub(crate) fn run(addresses: &Addresses) -> Result<()> {
    std::thread::spawn(|| {
        let mut sink = [0; 64];
        while std::io::stdin().read(&mut sink).is_ok_and(|n| n > 0) {}
        std::process::exit(0);
    });
    let (h2c, tls) = (addresses.h2c, addresses.tls);
    let config = Certificate::in_dir(&addresses.dir).server()?;
    std::thread::spawn(move || {
        if let Err(why) = modern::run(h2c, tls, config) {
            eprintln!("the upstream: {why:#}");
            std::process::exit(1);
        }
    });
    let bind = |port: SocketAddr| TcpListener::bind(port).with_context(|| format!("binding {port}"));
    let unix = addresses.unix();
    let mut server = Server {
        poll: Poll::new()?,
        http: bind(addresses.http)?,
        tcp: bind(addresses.tcp)?,
        unix: UnixListener::bind(&unix).with_context(|| format!("binding {}", unix.display()))?,
        conns: Vec::new(),
        free: Vec::new(),
        replies: Replies::new(),
        scratch: vec![0; SCRATCH].into_boxed_slice(),
    };
    server.poll.registry().register(&mut server.http, HTTP, Interest::READABLE)?;
    server.poll.registry().register(&mut server.tcp, TCP, Interest::READABLE)?;
    server.poll.registry().register(&mut server.unix, UNIX, Interest::READABLE)?;
    server.serve()
}

struct Server {
    poll: Poll,
    http: TcpListener,
    tcp: TcpListener,
    unix: UnixListener,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    replies: Replies,
    scratch: Box<[u8]>,
}

impl Server {
    fn serve(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    token @ (HTTP | TCP | UNIX) => self.accept(token)?,
                    Token(token) => self.drive(token - FIRST),
                }
            }
        }
    }

    fn accept(&mut self, port: Token) -> Result<()> {
        loop {
            let accepted = match port {
                UNIX => self.unix.accept().map(|(stream, _)| Socket::Unix(stream)),
                TCP => self.tcp.accept().map(|(stream, _)| Socket::Tcp(stream)),
                _ => self.http.accept().map(|(stream, _)| Socket::Tcp(stream)),
            };
            let mut stream = match accepted {
                Ok(stream) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The peer gave up while it waited in the queue.
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(e) => return Err(e).context("accepting"),
            };
            stream.prepare()?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.conns.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(slot + FIRST), interest)?;
            if let Some(place) = self.conns.get_mut(slot) {
                *place = Some(if port == TCP { Conn::echo(stream) } else { Conn::http(stream) });
            }
        }
    }

    fn drive(&mut self, slot: usize) {
        let Some(place) = self.conns.get_mut(slot) else { return };
        let Some(conn) = place else { return };
        if conn.drive(&self.replies, &mut self.scratch) == Served::Closed {
            // Dropping the stream closes it, which takes it out of the poll.
            *place = None;
            self.free.push(slot);
        }
    }
}
