//! Opens connections, in waves that no server's backlog overflows from.

use std::io;
use std::time::Duration;

use super::conn::State;
use super::{TICK, Worker, events, nanos, token};
use crate::clock::now;
use crate::codec::Limits;

/// Connections that are being opened at a time by all threads, fewer than any server's backlog (128 by custom).
pub(super) const WAVE: usize = 64;
/// Before the load, no more are begun than a wave in this time: a connection is open for us before the server has
/// accepted it, and waits in its backlog until then.
const WAVE_TIME: Duration = Duration::from_millis(10);
/// How long all connections may take to be open, beyond what their waves take, before the load begins without the rest.
const OPENING: Duration = Duration::from_secs(5);

impl Worker {
    /// Opens all connections, or gives up on the rest; what was not opened is counted.
    pub(super) fn open_all(&mut self) -> io::Result<()> {
        let waves = (self.conns.len() / self.wave) as u64;
        let give_up = now() + nanos(OPENING) + nanos(WAVE_TIME) * waves;
        let mut opened = Ok(());
        while opened.is_ok() && now() < give_up && self.still_opening() {
            opened = self.turn(None);
        }
        self.tally.unopened = self.conns.iter().filter(|conn| conn.state != State::Open).count() as u64;
        opened
    }

    fn still_opening(&self) -> bool {
        self.conns.iter().any(|conn| conn.failures == 0 && conn.state != State::Open)
    }

    /// Opens connections that are closed, some at a time.
    pub(super) fn open_some(&mut self, at: u64) {
        if self.closed == 0 || self.opening >= self.wave {
            return;
        }
        if at >= self.next_wave {
            (self.wave_left, self.next_wave) = (self.wave, at + nanos(WAVE_TIME));
        }
        let limits = Limits { streams: self.plan.streams, call: self.plan.call };
        for (index, conn) in self.conns.iter_mut().enumerate() {
            if self.opening >= self.wave || self.closed == 0 || !self.running && self.wave_left == 0 {
                return;
            }
            if !matches!(conn.state, State::Closed(when) if when <= at) {
                continue;
            }
            let codec = self.plan.protocol.codec(limits);
            let token = token(events::CONNECT, index as u32);
            match conn.open(&mut self.ring, &self.plan.place, self.secure.as_ref(), codec, (token, at)) {
                Ok(()) => {
                    self.closed -= 1;
                    self.opening += 1;
                    self.wave_left = self.wave_left.saturating_sub(1);
                }
                Err(why) => {
                    self.tally.fail(why);
                    conn.failures += 1;
                    conn.state = State::Closed(at + nanos(TICK));
                }
            }
        }
    }
}
