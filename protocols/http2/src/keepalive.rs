//! Pings: whether the peer is still there. Sans-I/O; one ping is under way at most, which the measurement of the
//! bandwidth shares.

use std::time::Duration;

use ringway_api::Time;

/// When to ping and when to give up.
#[derive(Debug)]
pub(crate) struct Keepalive {
    interval: Option<Duration>,
    timeout: Duration,
    /// When something was received last.
    heard: Time,
    received: u64,
    pinged: Option<Time>,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before this time.
    At(Time),
    /// Nothing.
    Never,
    /// Send a ping.
    Ping,
    /// The peer is gone.
    Dead,
}

impl Keepalive {
    pub(crate) fn new(interval: Option<Duration>, timeout: Duration, now: Time) -> Self {
        Self { interval, timeout, heard: now, received: 0, pinged: None }
    }

    /// Notes how many bytes were received so far.
    pub(crate) fn received(&mut self, bytes: u64, now: Time) {
        if std::mem::replace(&mut self.received, bytes) != bytes {
            self.heard = now;
            self.pinged = None;
        }
    }

    /// Notes that a ping went out.
    pub(crate) fn pinged(&mut self, now: Time) {
        self.pinged = Some(now);
    }

    pub(crate) fn due(&self, now: Time) -> Due {
        let Some(interval) = self.interval else { return Due::Never };
        match self.pinged {
            Some(at) if now >= at + self.timeout => Due::Dead,
            Some(at) => Due::At(at + self.timeout),
            None if now >= self.heard + interval => Due::Ping,
            None => Due::At(self.heard + interval),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_pinged_and_then_fatal() {
        let at = |seconds: u32| Time(0) + SECOND * seconds;
        let mut keepalive = Keepalive::new(Some(10 * SECOND), 5 * SECOND, at(0));
        assert_eq!(keepalive.due(at(9)), Due::At(at(10)));
        assert_eq!(keepalive.due(at(10)), Due::Ping);
        keepalive.pinged(at(10));
        assert_eq!(keepalive.due(at(14)), Due::At(at(15)));
        keepalive.received(1, at(14));
        assert_eq!(keepalive.due(at(15)), Due::At(at(24)));
        keepalive.pinged(at(24));
        keepalive.received(1, at(28));
        assert_eq!(keepalive.due(at(29)), Due::Dead);
        assert_eq!(Keepalive::new(None, SECOND, at(0)).due(at(1000)), Due::Never);
    }
}
