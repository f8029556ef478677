//! One thread of the generator: a ring, its connections, and the loop that every protocol and every load shares.

mod conn;
mod events;
mod opening;

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use anyhow::{Context, Result};
use ringway_io::ring::{Completion, Ring, RingConfig};
use ringway_io::thread_cpu_time;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::clock::{Random, now};
use crate::codec::{Call, Limits, Outcome, Prepared, Protocol};
use crate::request::{Place, Request};
use crate::schedule::{Schedule, Shape};
use crate::tally::Tally;
use conn::{Conn, Flight, Secure, State};

/// Chores, such as looking for requests that take too long, wait for this tick.
const TICK: Duration = Duration::from_millis(50);
const TICK_TOKEN: u64 = 1 << 40;
/// Requests given to the kernel at a time: their times of sending are read once for all of them.
const BATCH: usize = 8;
const SECOND: u64 = 1_000_000_000;
/// How long after its end a run still sends what was due before, for its latency to be known.
const GRACE: Duration = Duration::from_secs(1);
const SCRATCH: usize = 64 << 10;

/// What to do, the same for all threads.
#[derive(Clone)]
pub struct Plan {
    /// How requests become bytes.
    pub protocol: Protocol,
    /// Where to connect.
    pub place: Place,
    /// TLS, and the name to ask for.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Sent in turn; not empty.
    pub requests: Arc<[Request]>,
    /// Whether they go out as they are, placeholders and all: recorded text means nothing by them.
    pub literal: bool,
    /// When.
    pub shape: Shape,
    /// In all.
    pub connections: usize,
    /// Each with a ring.
    pub threads: usize,
    /// Requests at a time on each connection, where the protocol can.
    pub streams: usize,
    /// What each call of gRPC is made of.
    pub call: Call,
    /// What is measured.
    pub duration: Duration,
    /// Load before that, which is not measured.
    pub warmup: Duration,
    /// The most that a request, or the opening of a connection, may take.
    pub timeout: Duration,
    /// Requests after which a connection is closed and another opened.
    pub per_connection: u64,
    /// Between a reply and the next request of a closed loop.
    pub think: Duration,
    /// Of everything random.
    pub seed: u64,
    /// Ends after so many requests, or errors, per thread.
    pub most: u64,
}

/// What a thread tells of one interval.
pub(crate) struct Told {
    /// Which one, from 0; `None` for what came after the end of the last.
    pub interval: Option<usize>,
    /// What was counted in it.
    pub tally: Tally,
}

/// One thread's load.
pub(crate) struct Worker {
    plan: Plan,
    ring: Ring,
    conns: Vec<Conn>,
    secure: Option<Secure>,
    prepared: Vec<Prepared>,
    templates: bool,
    /// Places for requests: the connection, and its generation when the place became free.
    free: VecDeque<(u32, u32)>,
    /// Since when there has been a free place.
    free_since: u64,
    thinking: VecDeque<(u64, u32, u32)>,
    closed: usize,
    opening: usize,
    /// How many may be opened at a time, and how many more until the next wave.
    wave: usize,
    wave_left: usize,
    next_wave: u64,
    dirty: Vec<u32>,
    schedule: Schedule,
    due: Option<(u64, u64)>,
    tally: Tally,
    issued: u64,
    /// When requests must have been meant to start to count.
    counted_from: u64,
    closed_loop: bool,
    running: bool,
    random: Random,
    scratch: Box<[u8]>,
    done: Vec<(u32, Outcome, usize)>,
    completions: Vec<Completion>,
}

impl Worker {
    /// Thread `index` of a plan.
    ///
    /// # Errors
    /// The kernel's, when it gives no ring.
    pub(crate) fn new(plan: Plan, index: usize) -> Result<Self> {
        let ring = Ring::new(&RingConfig::default()).context("cannot make a ring (io_uring)")?;
        let count = plan.connections / plan.threads + usize::from(index < plan.connections % plan.threads);
        let secure = plan.tls.clone().map(|(config, name)| Secure { config, name });
        let limits = Limits { streams: plan.streams, call: plan.call };
        let templates = !plan.literal && plan.requests.iter().any(Request::is_template);
        let prepared = plan.requests.iter().map(|request| plan.protocol.prepare(request, secure.is_some())).collect();
        Ok(Self {
            ring,
            conns: (0..count).map(|_| Conn::new(plan.protocol.codec(limits))).collect(),
            secure,
            prepared,
            templates,
            free: VecDeque::new(),
            free_since: 0,
            thinking: VecDeque::new(),
            closed: count,
            opening: 0,
            wave: (opening::WAVE / plan.threads).max(1),
            wave_left: 0,
            next_wave: 0,
            dirty: Vec::new(),
            schedule: Schedule::new(plan.shape.clone(), index, plan.threads, plan.seed),
            due: None,
            tally: Tally::default(),
            issued: 0,
            counted_from: 0,
            closed_loop: plan.shape == Shape::Closed,
            running: false,
            random: Random::new(plan.seed ^ (index as u64) << 32),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            done: Vec::new(),
            completions: Vec::new(),
            plan,
        })
    }

    /// Opens the connections, waits for the other threads, makes the load, and tells what happened each second.
    ///
    /// # Errors
    /// The kernel's, when the ring fails.
    pub(crate) fn run(mut self, ready: &Barrier, to: &Sender<Told>) -> Result<()> {
        self.ring.tick(TICK, TICK_TOKEN);
        let opened = self.open_all();
        // The others wait for it whatever has happened here.
        ready.wait();
        opened?;
        if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
            eprintln!("ringway-bench: timers may be late: {error}");
        }
        let start = now();
        self.running = true;
        self.counted_from = start + nanos(self.plan.warmup);
        let end = self.counted_from + nanos(self.plan.duration);
        self.due = self.next_due();
        while now() < self.counted_from {
            self.turn(Some(start))?;
        }
        let Tally { connects, unopened, errors: failed_before, .. } = std::mem::take(&mut self.tally);
        (self.tally.connects, self.tally.unopened) = (connects, unopened);
        let (mut cpu, mut interval) = (thread_cpu_time(), 0);
        loop {
            let until = (self.counted_from + SECOND * (interval as u64 + 1)).min(end);
            while now() < until && !self.is_finished() {
                self.turn(Some(start))?;
            }
            let spent = thread_cpu_time();
            self.tally.cpu = (spent - cpu).as_nanos() as u64;
            cpu = spent;
            if until == end || self.is_finished() {
                break;
            }
            self.tell(Some(interval), to);
            interval += 1;
        }
        self.tell(Some(interval), to);
        self.wind_up(start, end)?;
        if self.tally.completed == 0 {
            for (kind, count) in failed_before {
                for _ in 0..count.min(1) {
                    self.tally.fail(format!("{kind} (during the warm-up)"));
                }
            }
        }
        self.tell(None, to);
        Ok(())
    }

    /// Waits for the replies under way, and counts what never was sent or never came.
    fn wind_up(&mut self, start: u64, end: u64) -> Result<()> {
        while !self.closed_loop && self.due.is_some() && !self.is_finished() && now() < end + nanos(GRACE) {
            self.turn(Some(start))?;
        }
        self.running = false;
        while let Some((at, _)) = self.due.filter(|_| !self.is_finished()) {
            self.tally.unsent += u64::from(start + at >= self.counted_from);
            self.due = self.next_due();
        }
        let last = now() + nanos(self.plan.timeout);
        while now() < last && self.conns.iter().any(|conn| conn.under_way > 0) {
            self.turn(None)?;
        }
        let counted = self.counted_from;
        for flight in self.conns.iter().flat_map(|conn| conn.flights.iter().flatten()) {
            if flight.intended >= counted {
                self.tally.fail("timeout: no reply".into());
            }
        }
        Ok(())
    }

    /// The next intended start before the end of the run.
    fn next_due(&mut self) -> Option<(u64, u64)> {
        let end = nanos(self.plan.warmup) + nanos(self.plan.duration);
        self.schedule.take().filter(|(at, _)| *at < end)
    }

    fn tell(&mut self, interval: Option<usize>, to: &Sender<Told>) {
        let tally = std::mem::take(&mut self.tally);
        // One message per second and thread. The reporting thread ends only after this one.
        to.send(Told { interval, tally }).unwrap_or_default();
    }

    /// Every request that may be sent was, or has failed before it could be.
    fn is_finished(&self) -> bool {
        let most = self.plan.most;
        most != u64::MAX && (self.issued >= most || self.tally.failed() >= most)
    }

    /// One turn of the loop: chores, what is due, the kernel, what it says.
    fn turn(&mut self, start: Option<u64>) -> io::Result<()> {
        let at = now();
        self.open_some(at);
        if let Some(start) = start.filter(|_| self.running) {
            self.issue(start, at)?;
        }
        self.flush();
        let limit = match start {
            Some(start) => self.patience(start, at),
            None if self.closed > 0 && self.wave_left == 0 => {
                Some(Duration::from_nanos(self.next_wave.saturating_sub(at)))
            }
            None => None,
        };
        self.ring.enter(limit != Some(Duration::ZERO), limit.filter(|limit| !limit.is_zero()))?;
        self.tally.turns += 1;
        self.reap();
        Ok(())
    }

    /// How long to wait at most: until the next request is due, if there is a place for it.
    fn patience(&self, start: u64, at: u64) -> Option<Duration> {
        let thought = self.thinking.front().map(|(ready, ..)| *ready);
        let due = self.due.filter(|_| !self.free.is_empty()).map(|(due, _)| start + due);
        let next = match (thought, due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        next.map(|next| Duration::from_nanos(next.saturating_sub(at)))
    }

    /// Sends what is due.
    fn issue(&mut self, start: u64, mut at: u64) -> io::Result<()> {
        while let Some((ready, index, generation)) = self.thinking.front().copied().filter(|(ready, ..)| *ready <= at) {
            debug_assert!(ready <= at);
            self.thinking.pop_front();
            self.free.push_back((index, generation));
        }
        let mut batch = 0;
        while self.issued < self.plan.most {
            let (intended, number) = match self.due {
                None if self.closed_loop => (at, self.issued),
                Some((due, number)) if start + due <= at => (start + due, number),
                _ => break,
            };
            let Some(index) = self.take_place() else { break };
            if !self.closed_loop {
                if intended >= self.counted_from {
                    let late = at - intended.max(self.free_since);
                    self.tally.lateness.saturating_record(late);
                }
                self.due = self.next_due();
            }
            self.issued += 1;
            self.tally.sent += 1;
            self.send(index, number, Flight { intended, sent: at });
            batch += 1;
            if batch == BATCH {
                batch = 0;
                self.flush();
                self.ring.enter(false, None)?;
                at = now();
            }
        }
        Ok(())
    }

    /// A connection that has room.
    fn take_place(&mut self) -> Option<u32> {
        loop {
            let (index, generation) = self.free.pop_front()?;
            let conn = self.conns.get(index as usize)?;
            if conn.generation == generation && conn.room(self.plan.per_connection) > 0 {
                return Some(index);
            }
        }
    }

    fn send(&mut self, index: u32, number: u64, flight: Flight) {
        let which = (number % self.prepared.len().max(1) as u64) as usize;
        let made;
        let request = if self.templates {
            let Some(request) = self.plan.requests.get(which) else { return };
            made = self.plan.protocol.prepare(&request.render(number, &mut self.random), self.secure.is_some());
            &made
        } else {
            let Some(request) = self.prepared.get(which) else { return };
            request
        };
        if let Some(conn) = self.conns.get_mut(index as usize) {
            conn.send(request, flight);
            if !std::mem::replace(&mut conn.dirty, true) {
                self.dirty.push(index);
            }
        }
    }

    /// Gives to the kernel what waits to be sent.
    fn flush(&mut self) {
        for index in self.dirty.drain(..) {
            let Some(conn) = self.conns.get_mut(index as usize) else { continue };
            conn.dirty = false;
            if !conn.sending && !conn.out.is_empty() && matches!(conn.state, State::Open | State::Handshake) {
                conn.sending = true;
                self.ring.send(conn.fd, &mut conn.out, token(events::SEND, index));
            }
        }
    }
}

fn token(kind: u64, index: u32) -> u64 {
    kind << 32 | u64::from(index)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}
