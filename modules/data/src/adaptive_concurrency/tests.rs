//! The controller against a server that is made up: so many requests at once take the time it needs, more take their turn.

use std::collections::BinaryHeap;

use super::gradient::{Gradient, Params};
use super::histogram::Histogram;
use super::*;

fn params() -> Params {
    Params {
        percentile: 0.5,
        min_limit: 3,
        max_limit: 1000,
        update_interval: Duration::from_millis(100),
        min_rtt_interval: Duration::from_secs(60),
        min_rtt_requests: 50,
        jitter: 0.15,
        buffer: 0.25,
        fixed_min_rtt: None,
    }
}

struct Server {
    gradient: Gradient,
    seen: Histogram,
    now: Time,
    /// When requests under way began and end, the first to end at the top.
    open: BinaryHeap<(std::cmp::Reverse<u64>, u64)>,
    measurements: u32,
}

impl Server {
    fn new(params: Params) -> Self {
        let now = Time(1_000_000_000);
        let gradient = Gradient::new(params, now);
        Self { gradient, seen: Histogram::new(), now, open: BinaryHeap::new(), measurements: 0 }
    }

    /// Runs for a while, with more demand than there is room for. `slots` requests at once take `base` each; what is more
    /// than that takes longer by as much.
    fn run(&mut self, span: Duration, slots: usize, base: Duration) {
        let end = self.now + span;
        while self.now < end {
            while self.open.len() < self.gradient.limit() as usize {
                let crowd = (self.open.len() + 1).max(slots) as f64 / slots as f64;
                let ends = self.now + base.mul_f64(crowd);
                self.open.push((std::cmp::Reverse(ends.0), self.now.0));
            }
            self.now = self.now + Duration::from_micros(500);
            while self.open.peek().is_some_and(|(ends, _)| ends.0 <= self.now.0) {
                let (_, began) = self.open.pop().unwrap();
                if self.gradient.measuring_since().is_none_or(|since| began >= since.0) {
                    self.seen.note(self.now.since(Time(began)));
                }
            }
            let (at, needed) = self.gradient.due();
            if self.now >= at && self.seen.count() >= needed {
                let measuring = self.gradient.measuring_since().is_some();
                self.gradient.advance(&self.seen.take(), self.now, 0);
                self.measurements += u32::from(measuring && self.gradient.measuring_since().is_none());
            }
        }
    }
}

const BASE: Duration = Duration::from_millis(10);

#[test]
fn the_limit_settles_above_what_the_server_takes_at_once() {
    let mut server = Server::new(params());
    assert_eq!(server.gradient.limit(), 3, "it starts by measuring");
    server.run(Duration::from_secs(10), 40, BASE);
    let min_rtt = server.gradient.min_rtt();
    assert!(min_rtt.abs_diff(BASE) < Duration::from_millis(1), "{min_rtt:?}");
    // 25 % more, and the square root's room: where gradient * limit + sqrt is limit again.
    let limit = server.gradient.limit();
    assert!((45..=70).contains(&limit), "{limit}");
    assert!(server.gradient.sample_rtt() < BASE.mul_f64(1.8), "{:?}", server.gradient.sample_rtt());
}

#[test]
fn a_server_that_gets_slower_gets_less_and_one_that_recovers_gets_more() {
    let mut server = Server::new(params());
    server.run(Duration::from_secs(10), 100, BASE);
    let before = server.gradient.limit();
    assert!(before > 100, "{before}");
    server.run(Duration::from_secs(5), 10, BASE);
    let slow = server.gradient.limit();
    assert!(slow < 30, "{slow}");
    server.run(Duration::from_secs(5), 100, BASE);
    let after = server.gradient.limit();
    assert!(after > 100, "{after}");
}

#[test]
fn the_min_rtt_is_measured_again_in_time_and_when_nothing_else_helps() {
    let mut server = Server::new(params());
    server.run(Duration::from_secs(130), 40, BASE);
    assert_eq!(server.measurements, 3, "at the start, and after 60 s and 120 s");
    // Every request takes ten times as long, however few there are: the limit sinks to the floor, then this is the new normal.
    let before = server.measurements;
    server.run(Duration::from_secs(10), 40, BASE * 10);
    assert_eq!(server.measurements, before + 1);
    assert!(server.gradient.min_rtt() > BASE * 9, "{:?}", server.gradient.min_rtt());
    assert!(server.gradient.limit() > 30, "{}", server.gradient.limit());
}

#[test]
fn limits_stay_within_their_bounds() {
    let mut server = Server::new(Params { max_limit: 20, ..params() });
    server.run(Duration::from_secs(5), 1000, BASE);
    assert_eq!(server.gradient.limit(), 20);
    let fixed = Params { fixed_min_rtt: Some(BASE), min_limit: 5, ..params() };
    let mut server = Server::new(fixed);
    assert!(server.gradient.measuring_since().is_none());
    server.run(Duration::from_secs(20), 1000, BASE * 100);
    assert_eq!((server.gradient.limit(), server.measurements), (5, 0), "what is known is not measured");
}
