//! The upstream: fixed HTTP/1.1 replies by path on one port, an echo of 1 KB messages on another.
//!
//! A process of its own on the load core. It ends when its standard input closes, so it never outlives the run.

mod conn;

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::message;
use conn::{Conn, Served};

const HTTP: Token = Token(0);
const TCP: Token = Token(1);
const FIRST: usize = 2;
const SCRATCH: usize = 256 * 1024;

/// The replies of the HTTP port, built once.
pub(crate) struct Replies {
    by_path: Vec<(&'static str, Rc<[u8]>)>,
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
            not_found: message::not_found().into(),
            small: message::reply(message::SMALL).into(),
            tcp: tcp.into(),
        }
    }

    fn to(&self, path: &str) -> Rc<[u8]> {
        if path == message::UPLOAD || path.starts_with(message::PROBE) {
            return self.small.clone();
        }
        self.by_path.iter().find(|(known, _)| *known == path).map_or(&self.not_found, |(_, reply)| reply).clone()
    }
}

/// Serves until standard input closes.
pub(crate) fn run(http: SocketAddr, tcp: SocketAddr) -> Result<()> {
    std::thread::spawn(|| {
        let mut sink = [0; 64];
        while std::io::stdin().read(&mut sink).is_ok_and(|n| n > 0) {}
        std::process::exit(0);
    });
    let mut server = Server {
        poll: Poll::new()?,
        http: TcpListener::bind(http).with_context(|| format!("binding {http}"))?,
        tcp: TcpListener::bind(tcp).with_context(|| format!("binding {tcp}"))?,
        conns: Vec::new(),
        free: Vec::new(),
        replies: Replies::new(),
        scratch: vec![0; SCRATCH].into_boxed_slice(),
    };
    server.poll.registry().register(&mut server.http, HTTP, Interest::READABLE)?;
    server.poll.registry().register(&mut server.tcp, TCP, Interest::READABLE)?;
    server.serve()
}

struct Server {
    poll: Poll,
    http: TcpListener,
    tcp: TcpListener,
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
                    token @ (HTTP | TCP) => self.accept(token)?,
                    Token(token) => self.drive(token - FIRST),
                }
            }
        }
    }

    fn accept(&mut self, port: Token) -> Result<()> {
        loop {
            let listener = if port == HTTP { &self.http } else { &self.tcp };
            let mut stream: TcpStream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The peer gave up while it waited in the queue.
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(e) => return Err(e).context("accepting"),
            };
            stream.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.conns.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(slot + FIRST), interest)?;
            if let Some(place) = self.conns.get_mut(slot) {
                *place = Some(if port == HTTP { Conn::http(stream) } else { Conn::echo(stream) });
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
