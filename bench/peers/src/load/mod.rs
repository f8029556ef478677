//! The closed-loop client: N connections, one request in flight on each, over plain TCP or TLS.
//!
//! One thread, edge-triggered epoll, one read and one write per small request: it shares its core with the
//! upstream, so every microsecond it saves raises the load that a proxy can be shown.

pub(crate) mod h2;
mod reply;
mod transport;

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

pub(crate) use reply::Expect;
use reply::{Progress, ReplyReader};
use transport::Transport;

use crate::message::HOST;

/// Connections opened at once: below the accept backlog of any proxy.
const WAVE: usize = 64;
/// A window with this many errors is over: the figures mean nothing any more.
const MAX_ERRORS: u64 = 10_000;
const SCRATCH: usize = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WAKE: Token = Token(usize::MAX);

/// What to ask, of whom, and what to expect.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) request: Arc<[u8]>,
    pub(crate) expect: Expect,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// A connection of its own for every request; its latency then begins with the connect.
    pub(crate) fresh: bool,
}

/// What happened in one window of time.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) completed: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) elapsed: Duration,
    /// Nanoseconds from the write of a request to the last byte of its reply.
    pub(crate) latency: Histogram<u64>,
}

impl Window {
    fn new() -> Result<Self> {
        let latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?;
        Ok(Self { completed: 0, errors: 0, first_error: None, elapsed: Duration::ZERO, latency })
    }

    /// Latency at `quantile` in microseconds.
    pub(crate) fn latency_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// Completed requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.completed as f64 / self.elapsed.as_secs_f64()
    }

    /// Adds what happened in the window after this one.
    pub(crate) fn add(&mut self, next: &Self) -> Result<()> {
        self.completed += next.completed;
        self.errors += next.errors;
        self.elapsed += next.elapsed;
        if self.first_error.is_none() {
            self.first_error.clone_from(&next.first_error);
        }
        self.latency.add(&next.latency)?;
        Ok(())
    }

    fn fail(&mut self, why: String) {
        self.errors += 1;
        self.first_error.get_or_insert(why);
    }
}

/// The client and its connections.
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    plan: Plan,
    conns: Vec<Conn>,
    scratch: Box<[u8]>,
    window: Window,
}

struct Conn {
    stream: Transport,
    reader: ReplyReader,
    /// Bytes of the request written so far.
    written: usize,
    sent_at: Instant,
    /// One more request follows when the current one is complete.
    looping: bool,
    dead: bool,
}

impl Load {
    /// A client with `connections` open connections, each with its first request under way.
    pub(crate) fn start(plan: Plan, connections: usize) -> Result<Self> {
        let mut load = Self::new(plan)?;
        for _ in 0..connections {
            load.open(true)?;
        }
        Ok(load)
    }

    /// A client whose `connections` connections have each completed one request and are idle.
    pub(crate) fn start_idle(plan: Plan, connections: usize, patience: Duration) -> Result<Self> {
        let mut load = Self::new(plan)?;
        let deadline = Instant::now() + patience;
        while load.conns.len() < connections {
            for _ in 0..WAVE.min(connections - load.conns.len()) {
                load.open(false)?;
            }
            let goal = load.conns.len() as u64;
            let left = deadline.saturating_duration_since(Instant::now());
            load.turn_until(left, |window| window.completed + window.errors >= goal)?;
            if load.window.completed != goal {
                let why = load.window.first_error.take().unwrap_or_else(|| "no reply in time".into());
                bail!("only {} of {goal} connections were served: {why}", load.window.completed);
            }
        }
        Ok(load)
    }

    /// Runs for `time` and returns what happened in it. Requests that straddle its end belong to the next window.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Window> {
        self.window = Window::new()?;
        let start = Instant::now();
        self.turn_until(time, |window| window.errors >= MAX_ERRORS)?;
        self.window.elapsed = start.elapsed();
        Ok(std::mem::replace(&mut self.window, Window::new()?))
    }

    /// Connections that the proxy has closed, as far as the last turns have shown.
    pub(crate) fn dead(&self) -> usize {
        self.conns.iter().filter(|c| c.dead).count()
    }

    fn new(plan: Plan) -> Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let scratch = vec![0; SCRATCH].into_boxed_slice();
        let (events, conns, window) = (Events::with_capacity(1024), Vec::new(), Window::new()?);
        Ok(Self { poll, events, waker, plan, conns, scratch, window })
    }

    fn open(&mut self, looping: bool) -> Result<()> {
        let token = Token(self.conns.len());
        let mut conn = self.connect(token, looping)?;
        conn.write(&self.plan.request)?;
        self.conns.push(conn);
        Ok(())
    }

    fn connect(&self, token: Token, looping: bool) -> Result<Conn> {
        let (target, begun) = (self.plan.target, Instant::now());
        let stream = std::net::TcpStream::connect_timeout(&target, CONNECT_TIMEOUT)
            .with_context(|| format!("connecting to {target}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let stream = match &self.plan.tls {
            None => Transport::plain(stream),
            Some(config) => Transport::tls(stream, config.clone(), ServerName::try_from(HOST)?)?,
        };
        let sent_at = if self.plan.fresh { begun } else { Instant::now() };
        Ok(Conn { stream, reader: ReplyReader::default(), written: 0, sent_at, looping, dead: false })
    }

    /// Serves events until `time` has passed or `done`. The end comes from a thread, because a timeout given to
    /// every wait would program a timer each time, which costs microseconds on virtual machines.
    fn turn_until(&mut self, time: Duration, done: impl Fn(&Window) -> bool) -> Result<()> {
        let (ended, alarm) = std::sync::mpsc::channel::<()>();
        let waker = self.waker.clone();
        let timer = thread::spawn(move || match alarm.recv_timeout(time) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => waker.wake(),
            _ => Ok(()),
        });
        let mut woken = false;
        while !woken && !done(&self.window) {
            match self.poll.poll(&mut self.events, None) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
            for event in &events {
                match event.token() {
                    WAKE => woken = true,
                    token => self.drive(token)?,
                }
            }
            self.events = events;
        }
        drop(ended);
        timer.join().map_err(|_| anyhow::anyhow!("the timer thread panicked"))??;
        Ok(())
    }

    fn drive(&mut self, token: Token) -> Result<()> {
        let Some(conn) = self.conns.get_mut(token.0) else { return Ok(()) };
        if conn.dead {
            return Ok(());
        }
        let why = match conn.drive(&self.plan, &mut self.scratch, &mut self.window) {
            Ok(Next::Wait) => return Ok(()),
            Ok(Next::Reconnect) => None,
            Err(why) => Some(why),
        };
        let looping = conn.looping;
        if let Some(why) = why {
            self.window.fail(why);
        }
        if !looping {
            if let Some(conn) = self.conns.get_mut(token.0) {
                conn.dead = true;
            }
            return Ok(());
        }
        let mut fresh = self.connect(token, true)?;
        // A connection that dies at once shows it again as an event.
        fresh.write(&self.plan.request).unwrap_or_default();
        if let Some(conn) = self.conns.get_mut(token.0) {
            conn.stream.close();
            *conn = fresh;
        }
        Ok(())
    }
}

enum Next {
    Wait,
    /// The connection ends after a good reply, by the peer's will or by the plan.
    Reconnect,
}

impl Conn {
    fn drive(&mut self, plan: &Plan, scratch: &mut [u8], window: &mut Window) -> Result<Next, String> {
        self.stream.flush().map_err(|e| format!("write: {e}"))?;
        if self.written < plan.request.len() {
            self.write(&plan.request).map_err(|e| format!("write: {e}"))?;
        }
        loop {
            let got = match self.stream.read(scratch) {
                Ok(0) => return Err("connection closed before the reply was complete".into()),
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(format!("read: {e}")),
            };
            if let Progress::Complete { close } = self.reader.feed(plan.expect, scratch.get(..got).unwrap_or(&[]))? {
                let now = Instant::now();
                window.completed += 1;
                window.latency.saturating_record((now - self.sent_at).as_nanos() as u64);
                if close || (plan.fresh && self.looping) {
                    return Ok(Next::Reconnect);
                }
                if self.looping {
                    self.written = 0;
                    self.sent_at = now;
                    self.write(&plan.request).map_err(|e| format!("write: {e}"))?;
                }
                // Edge-triggered without reading to EAGAIN: nothing can be queued before the next request's reply,
                // and that reply is a new edge.
                return Ok(Next::Wait);
            }
            if self.stream.drained(got, scratch.len()) {
                return Ok(Next::Wait);
            }
        }
    }

    fn write(&mut self, request: &[u8]) -> io::Result<()> {
        while let Some(rest) = request.get(self.written..).filter(|r| !r.is_empty()) {
            match self.stream.write(rest) {
                Ok(sent) => self.written += sent,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
