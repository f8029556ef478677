//! What the clients of the scenarios send, over what, and the client for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::certificate;
use crate::load::h2::{Call, H2Load, H2Plan};
use crate::load::{Expect, Load, Plan, Window};
use crate::message::{self, HOST};
use crate::peers::Mode;

/// Either kind of traffic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Traffic {
    H1(H1),
    H2(H2),
}

/// One request at a time on each connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct H1 {
    pub(super) ask: Ask,
    pub(super) over: Over,
}

/// HTTP/2 with [`STREAMS`] requests at a time on each connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct H2 {
    pub(super) call: Call,
    /// Over TLS to an HTTP/1.1 upstream, or with prior knowledge to an HTTP/2 one.
    pub(super) tls: bool,
}

/// What is sent and what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// GET of a path with a body of this size.
    Get(&'static str, u64),
    /// POST of this many bytes, small reply.
    Post(usize),
    /// 1 KB each way, no HTTP.
    Tcp,
    /// Several Dubbo calls at a time, 1 KB each way.
    Dubbo,
}

/// How HTTP/1.1 travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Plain,
    /// Plain to the proxy, from there over a unix socket.
    UnixUpstream,
    /// Plain through a proxy with many features on.
    Mesh,
    /// TLS to the proxy, plain from there.
    Tls,
    /// The same with a new connection for every request.
    FreshTls,
    /// The proxy writes an access log.
    Logged,
    /// The proxy traces so many of a hundred requests.
    Traced(u8),
}

pub(super) const GET_1K: H1 = H1 { ask: Ask::Get("/1k", 1024), over: Over::Plain };
/// Streams at a time on one HTTP/2 connection.
pub(super) const STREAMS: usize = 32;

const CHECK_PATIENCE: Duration = Duration::from_secs(10);

/// A running client.
pub(super) enum Client {
    H1(Box<Load>),
    H2(H2Load),
}

impl Client {
    pub(super) fn run(&mut self, time: Duration) -> Result<Window> {
        match self {
            Self::H1(load) => load.run(time),
            Self::H2(load) => load.run(time),
        }
    }
}

impl Traffic {
    /// What a proxy must do to carry it.
    pub(super) fn mode(self) -> Mode {
        match self {
            Self::H1(h1) => h1.mode(),
            Self::H2(h2) => h2.mode(),
        }
    }

    /// The client of `connections` connections to `target`.
    pub(super) fn start(self, bench: &Bench, target: SocketAddr, connections: usize) -> Result<Client> {
        match self {
            Self::H1(h1) => Load::start(h1.plan(bench, target)?, connections).map(|load| Client::H1(Box::new(load))),
            Self::H2(h2) => H2Load::start(h2.plan(bench, target, connections)?).map(Client::H2),
        }
    }

    /// Sends one request and waits for its reply: the proxy at `target` works.
    pub(super) fn check(self, bench: &Bench, target: SocketAddr) -> Result<()> {
        match self {
            Self::H1(h1) => Load::start_idle(h1.plan(bench, target)?, 1, CHECK_PATIENCE).map(drop),
            Self::H2(h2) => H2Load::check(h2.plan(bench, target, 1)?, CHECK_PATIENCE),
        }
    }
}

impl H1 {
    pub(super) fn mode(self) -> Mode {
        match (self.ask, self.over) {
            (Ask::Tcp, _) => Mode::Tcp,
            (Ask::Dubbo, _) => Mode::Dubbo,
            (_, Over::Plain) => Mode::Http,
            (_, Over::UnixUpstream) => Mode::Unix,
            (_, Over::Mesh) => Mode::Mesh,
            (_, Over::Logged) => Mode::Logged,
            (_, Over::Traced(percent)) => Mode::Traced(percent),
            (_, Over::Tls | Over::FreshTls) => Mode::Tls,
        }
    }

    pub(super) fn plan(self, bench: &Bench, target: SocketAddr) -> Result<Plan> {
        let (request, expect) = match self.ask {
            Ask::Get(path, size) => (message::get(HOST, path), Expect::Http(size)),
            Ask::Post(size) => (message::post(HOST, message::UPLOAD, size), Expect::Http(message::SMALL as u64)),
            Ask::Tcp => (message::body(message::TCP_MESSAGE).collect(), Expect::Fixed(message::TCP_MESSAGE as u64)),
            Ask::Dubbo => (message::dubbo::calls(), Expect::Fixed(message::dubbo::answers_len() as u64)),
        };
        let tls = match self.over {
            Over::Plain | Over::UnixUpstream | Over::Mesh | Over::Logged | Over::Traced(_) => None,
            Over::Tls | Over::FreshTls => Some(bench.certificate.client(certificate::H1)?),
        };
        Ok(Plan { target, request: Arc::from(request), expect, tls, fresh: self.over == Over::FreshTls })
    }
}

impl H2 {
    fn mode(self) -> Mode {
        match (self.tls, self.call) {
            (true, _) => Mode::Tls,
            (false, Call::Get(..)) => Mode::H2c,
            (false, Call::Unary) => Mode::Grpc,
        }
    }

    fn plan(self, bench: &Bench, target: SocketAddr, connections: usize) -> Result<H2Plan> {
        let tls = if self.tls { Some(bench.certificate.client(certificate::H2)?) } else { None };
        Ok(H2Plan { target, tls, connections, streams: STREAMS, call: self.call })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_are_asked_for_are_served() {
        for (path, size) in message::BODIES {
            assert!(message::reply(*size).len() > *size, "{path}");
        }
        let Ask::Get(path, size) = GET_1K.ask else { panic!("a GET") };
        assert!(message::BODIES.iter().any(|(p, s)| *p == path && *s as u64 == size));
    }
}
