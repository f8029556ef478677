//! Whether the peer is still there. Sans-I/O.

use std::time::Duration;

use ringway_api::Time;

/// When to send a heartbeat, and when to give up.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Option<Duration>,
    misses: u32,
    /// When something was received last.
    heard: Time,
    /// Heartbeats since then, and when the last one was sent.
    sent: u32,
    last: Time,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before this time.
    At(Time),
    /// Nothing.
    Never,
    /// Send a heartbeat.
    Beat,
    /// The peer is gone.
    Dead,
}

impl Heartbeat {
    pub(crate) fn new(interval: Option<Duration>, misses: u32, now: Time) -> Self {
        Self { interval, misses: misses.max(1), heard: now, sent: 0, last: now }
    }

    /// Something was received.
    pub(crate) fn heard(&mut self, now: Time) {
        (self.heard, self.sent) = (now, 0);
    }

    /// A heartbeat was sent; or there is none in this protocol, and there is nothing to wait for.
    pub(crate) fn sent(&mut self, now: Time, exists: bool) {
        if !exists {
            self.interval = None;
        }
        self.sent += 1;
        self.last = now;
    }

    pub(crate) fn due(&self, now: Time) -> Due {
        let Some(interval) = self.interval else { return Due::Never };
        let next = if self.sent == 0 { self.heard } else { self.last } + interval;
        if now < next {
            Due::At(next)
        } else if self.sent >= self.misses {
            Due::Dead
        } else {
            Due::Beat
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_dead_after_so_many_misses() {
        let second = Duration::from_secs(1);
        let mut now = Time(0);
        let mut heartbeat = Heartbeat::new(Some(second), 2, now);
        assert_eq!(heartbeat.due(now), Due::At(now + second));
        for _ in 0..2 {
            now = now + second;
            assert_eq!(heartbeat.due(now), Due::Beat);
            heartbeat.sent(now, true);
            assert_eq!(heartbeat.due(now), Due::At(now + second));
        }
        assert_eq!(heartbeat.due(now + second), Due::Dead);
        heartbeat.heard(now);
        assert_eq!(heartbeat.due(now), Due::At(now + second));
        heartbeat.sent(now, false);
        assert_eq!(heartbeat.due(now + second), Due::Never);
    }
}
