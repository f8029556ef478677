//! What completions do to connections.

use ringway_io::ring::Completion;

use super::conn::State;
use super::{TICK_TOKEN, Worker, nanos, token};
use crate::clock::now;
use crate::codec::Outcome;

pub(super) const CONNECT: u64 = 1;
pub(super) const RECV: u64 = 2;
pub(super) const SEND: u64 = 3;

/// The first and the longest time before a connection that failed is tried again, in nanoseconds.
const FIRST_DELAY: u64 = 10_000_000;
const LONGEST_DELAY: u64 = 1_000_000_000;

impl Worker {
    /// Handles everything that the kernel has completed, as of one moment.
    pub(super) fn reap(&mut self) {
        let at = now();
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.reap(|completion| completions.push(completion));
        for completion in completions.drain(..) {
            if completion.token == TICK_TOKEN {
                self.look_for_timeouts(at);
                continue;
            }
            let index = completion.token as u32;
            match completion.token >> 32 {
                CONNECT => self.connected(index, completion.result, at),
                RECV => self.received(index, completion, at),
                _ => self.sent(index, completion.result, at),
            }
        }
        self.completions = completions;
    }

    fn connected(&mut self, index: u32, result: Result<u32, i32>, at: u64) {
        let Some(conn) = self.conns.get_mut(index as usize) else { return };
        conn.connecting = false;
        self.opening = self.opening.saturating_sub(1);
        if conn.state == State::Ending {
            return self.settle(index, at);
        }
        if let Err(errno) = result {
            return self.broke(index, format!("connect: {}", describe(errno)), at);
        }
        self.tally.connects += 1;
        conn.connected();
        conn.receiving = true;
        self.ring.recv(conn.fd, token(RECV, index));
        self.mark(index);
        self.offer(index, at);
    }

    fn received(&mut self, index: u32, completion: Completion, at: u64) {
        let Some(conn) = self.conns.get_mut(index as usize) else { return };
        if !completion.more {
            conn.receiving = false;
        }
        if conn.state == State::Ending {
            return self.settle(index, at);
        }
        match completion.result {
            Ok(0) => self.ended(index, at),
            Ok(_) => {
                let before = conn.state;
                let mut done = std::mem::take(&mut self.done);
                let bytes = completion.chunk.unwrap_or_default();
                let alpn = self.plan.protocol.alpn().first().copied();
                let taken = conn.receive(&bytes, &mut self.scratch, &mut done, alpn);
                self.tally.messages.add(conn.codec.messages());
                let rearm = !conn.receiving;
                let opened = before != State::Open && conn.state == State::Open;
                if !conn.out.is_empty() {
                    self.mark(index);
                }
                self.finish(index, &mut done, at);
                self.done = done;
                if let Err(why) = taken {
                    return self.broke(index, why, at);
                }
                if opened {
                    self.offer(index, at);
                }
                if rearm {
                    self.receive_again(index);
                }
            }
            Err(libc::ENOBUFS) => self.receive_again(index),
            Err(errno) => self.broke(index, format!("read: {}", describe(errno)), at),
        }
    }

    fn receive_again(&mut self, index: u32) {
        if let Some(conn) = self.conns.get_mut(index as usize)
            && matches!(conn.state, State::Open | State::Handshake)
            && !conn.receiving
        {
            conn.receiving = true;
            self.ring.recv(conn.fd, token(RECV, index));
        }
    }

    fn sent(&mut self, index: u32, result: Result<u32, i32>, at: u64) {
        let Some(conn) = self.conns.get_mut(index as usize) else { return };
        conn.sending = false;
        match (conn.state, result) {
            (State::Ending, _) => self.settle(index, at),
            (_, Err(errno)) => self.broke(index, format!("write: {}", describe(errno)), at),
            _ => {
                if conn.out.is_empty() {
                    conn.drained();
                }
                if !conn.out.is_empty() {
                    self.mark(index);
                }
            }
        }
    }

    /// Counts requests that ended, and offers their places again.
    fn finish(&mut self, index: u32, done: &mut Vec<(u32, Outcome, usize)>, at: u64) {
        for (tag, outcome, bytes) in done.drain(..) {
            let Some(conn) = self.conns.get_mut(index as usize) else { return };
            let Some(flight) = conn.flights.get_mut(tag as usize).and_then(Option::take) else { continue };
            conn.under_way = conn.under_way.saturating_sub(1);
            conn.failures = 0;
            let generation = conn.generation;
            if flight.intended >= self.counted_from {
                match outcome {
                    Outcome::Good => {}
                    Outcome::Status(status) => self.tally.fail(format!("status {status}")),
                    Outcome::Wrong(what) => self.tally.fail(what.into()),
                    Outcome::Reset => self.tally.fail("stream reset".into()),
                }
                if outcome != Outcome::Reset {
                    self.tally.completed += 1;
                    self.tally.bytes += bytes as u64;
                    self.tally.latency.saturating_record(at.saturating_sub(flight.intended));
                    if !self.closed_loop {
                        self.tally.service.saturating_record(at.saturating_sub(flight.sent));
                    }
                }
            }
            let spent = conn.served >= self.plan.per_connection || !conn.codec.reusable();
            if spent {
                if conn.under_way == 0 {
                    conn.end(&mut self.ring);
                    self.settle(index, at);
                }
            } else if self.plan.think.is_zero() {
                self.free_place(index, generation, at);
            } else {
                self.thinking.push_back((at + nanos(self.plan.think), index, generation));
            }
        }
    }

    /// Offers all places of a connection that has just opened.
    fn offer(&mut self, index: u32, at: u64) {
        let Some(conn) = self.conns.get(index as usize) else { return };
        let (generation, room) = (conn.generation, conn.room(self.plan.per_connection));
        for _ in 0..room {
            self.free_place(index, generation, at);
        }
    }

    fn free_place(&mut self, index: u32, generation: u32, at: u64) {
        if self.free.is_empty() {
            self.free_since = at;
        }
        self.free.push_back((index, generation));
    }

    /// The server ended its side.
    fn ended(&mut self, index: u32, at: u64) {
        let Some(conn) = self.conns.get_mut(index as usize) else { return };
        let early = conn.state == State::Handshake;
        if let Some((tag, outcome)) = conn.codec.ended() {
            let mut done = vec![(tag, outcome, 0)];
            self.finish(index, &mut done, at);
        }
        let Some(conn) = self.conns.get_mut(index as usize) else { return };
        if conn.under_way > 0 || early {
            let what = if early { "TLS: closed during the handshake" } else { "closed before the reply was complete" };
            self.broke(index, what.into(), at);
        } else {
            // Between requests: a server may.
            conn.end(&mut self.ring);
            self.settle(index, at);
        }
    }

    /// The connection has failed, and the requests on it with it.
    fn broke(&mut self, index: u32, why: String, at: u64) {
        let Some(conn) = self.conns.get_mut(index as usize) else { return };
        let counted = conn.flights.iter_mut().filter_map(Option::take).filter(|f| f.intended >= self.counted_from);
        let lost = counted.count().max(1);
        conn.under_way = 0;
        conn.failures = conn.failures.saturating_add(1);
        for _ in 0..lost {
            self.tally.fail(why.clone());
        }
        conn.end(&mut self.ring);
        self.settle(index, at);
    }

    /// Closes the socket of a connection that ends, once the kernel works on nothing of it.
    fn settle(&mut self, index: u32, at: u64) {
        let Some(conn) = self.conns.get_mut(index as usize) else { return };
        if conn.state != State::Ending || conn.busy() {
            return;
        }
        self.ring.close(conn.fd);
        conn.fd = -1;
        let delay = match conn.failures {
            0 => 0,
            count => (FIRST_DELAY << (count - 1).min(7)).min(LONGEST_DELAY),
        };
        conn.state = State::Closed(at + delay);
        self.closed += 1;
    }

    fn look_for_timeouts(&mut self, at: u64) {
        let limit = nanos(self.plan.timeout);
        for index in 0..self.conns.len() as u32 {
            let Some(conn) = self.conns.get(index as usize) else { continue };
            let why = match conn.state {
                State::Connecting if at > conn.since + limit => "timeout: connect",
                State::Handshake if at > conn.since + limit => "timeout: TLS handshake",
                State::Open if conn.flights.iter().flatten().any(|f| at > f.sent + limit) => "timeout: no reply",
                _ => continue,
            };
            self.broke(index, why.into(), at);
        }
    }

    fn mark(&mut self, index: u32) {
        if let Some(conn) = self.conns.get_mut(index as usize)
            && !std::mem::replace(&mut conn.dirty, true)
        {
            self.dirty.push(index);
        }
    }
}

fn describe(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}
