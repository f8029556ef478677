//! How much content should be on its way to us: the product of bandwidth and delay, measured by pings. Sans-I/O.
//!
//! A window below that product slows the peer down; one above it only holds memory. So windows begin small, and double
//! while a round trip brings nearly a window's worth.

use ringway_api::Time;

/// A measurement.
#[derive(Debug)]
pub(crate) struct Bdp {
    window: u32,
    max: u32,
    /// The round trip under way: when it began, and what had been received then.
    ping: Option<(Time, u64)>,
    /// Bytes per second, the most so far.
    bandwidth: f64,
    /// The next measurement is not before so much has been received.
    next: u64,
}

/// So many windows' worth is received between a measurement that brought nothing and the next one. Servers of gRPC count
/// the pings of their clients that come without content between them; a path that carries little needs none.
const PAUSE: u64 = 2;

impl Bdp {
    pub(crate) fn new(window: u32, max: u32) -> Self {
        Self { window, max: max.max(window), ping: None, bandwidth: 0.0, next: 0 }
    }

    /// Whether a ping would be of use now: content is being received, and the window can grow.
    pub(crate) fn wants_ping(&self, received: u64, before: u64) -> bool {
        self.ping.is_none() && self.window < self.max && received > before && received >= self.next
    }

    pub(crate) fn pinged(&mut self, now: Time, received: u64) {
        self.ping = Some((now, received));
    }

    /// The pong is there: the new window, if it should be another.
    pub(crate) fn ponged(&mut self, now: Time, received: u64) -> Option<u32> {
        let (began, before) = self.ping.take()?;
        let bytes = received.saturating_sub(before);
        let seconds = now.since(began).as_secs_f64().max(1e-6);
        let bandwidth = bytes as f64 / seconds;
        // Two thirds of the window in one round trip, faster than ever: it may be the window that slows the peer.
        if bytes < u64::from(self.window) * 2 / 3 || bandwidth <= self.bandwidth {
            self.next = received + u64::from(self.window) * PAUSE;
            return None;
        }
        self.bandwidth = bandwidth;
        self.window = self.window.saturating_mul(2).min(self.max);
        Some(self.window)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Runs round trips of `delay` over a path of `rate` bytes per second; the window that comes of it.
    fn settle(delay: Duration, rate: f64) -> u32 {
        let (mut bdp, mut now, mut received) = (Bdp::new(65_535, 16 << 20), Time(0), 0_u64);
        let mut window = 65_535_u32;
        for _ in 0..40 {
            bdp.pinged(now, received);
            now = now + delay;
            received += (rate * delay.as_secs_f64()).min(f64::from(window)) as u64;
            window = bdp.ponged(now, received).unwrap_or(window);
        }
        window
    }

    #[test]
    fn the_window_follows_the_path() {
        // 100 ms at 100 MB/s: 10 MB on the way.
        assert!(settle(Duration::from_millis(100), 1e8) > 10_000_000);
        // 1 ms at 100 MB/s: 100 KB; a window or two above that is enough.
        assert!((100_000..400_000).contains(&settle(Duration::from_millis(1), 1e8)));
        // A slow path needs no more than what it began with.
        assert_eq!(settle(Duration::from_millis(10), 1e5), 65_535);
    }

    #[test]
    fn nothing_received_is_nothing_to_measure() {
        let mut bdp = Bdp::new(65_535, 1 << 20);
        assert!(!bdp.wants_ping(10, 10));
        assert!(bdp.wants_ping(11, 10));
        bdp.pinged(Time(0), 11);
        assert!(!bdp.wants_ping(12, 11));
        assert_eq!(bdp.ponged(Time(1_000_000), 12), None);
        // What brings nothing is repeated after a few windows' worth: 100,000 small messages are 50 windows.
        let (mut pings, mut received) = (0, 12);
        for _ in 0..100_000 {
            received += 33;
            if bdp.wants_ping(received, received - 33) {
                pings += 1;
                bdp.pinged(Time(0), received);
                assert_eq!(bdp.ponged(Time(1_000_000), received), None);
            }
        }
        assert!((20..30).contains(&pings), "{pings}");
    }
}
