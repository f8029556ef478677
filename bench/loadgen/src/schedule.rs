//! When requests are meant to start, known before any of them is sent. Latency counts from here, so a server that
//! stalls cannot slow down the very requests that would have shown it.

use std::time::Duration;

use crate::clock::Random;

const SECOND: f64 = 1e9;

/// The load over time.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Closed loop: the next request follows the last reply, after the think time.
    Closed,
    /// So many requests per second, evenly.
    Constant(f64),
    /// Independent arrivals with exponential gaps and this mean rate.
    Poisson(f64),
    /// Requests per second and for how long, one after the other; the last goes on.
    Steps(Vec<(f64, Duration)>),
    /// From a rate to another in equal growth over a time; then the last goes on.
    Ramp {
        /// Requests per second at the start.
        from: f64,
        /// Requests per second after `over`.
        to: f64,
        /// How long it grows.
        over: Duration,
    },
    /// Nanoseconds from the start, in order; then it ends.
    Recorded(std::sync::Arc<[u64]>),
}

/// The intended starts of one of several threads, which share the requests in turn.
#[derive(Clone, Debug)]
pub struct Schedule {
    shape: Shape,
    next: u64,
    stride: u64,
    random: Random,
    /// The last arrival of a Poisson process.
    last: f64,
}

impl Schedule {
    /// The part of thread `index` of `threads`.
    pub fn new(shape: Shape, index: usize, threads: usize, seed: u64) -> Self {
        let random = Random::new(seed ^ (index as u64).wrapping_mul(0xd134_2543_de82_ef95));
        Self { shape, next: index as u64, stride: threads.max(1) as u64, random, last: 0.0 }
    }

    /// The next intended start in nanoseconds from the start of the run, and the request's number; `None` in a closed
    /// loop and when a recording has ended.
    pub fn take(&mut self) -> Option<(u64, u64)> {
        let number = self.next;
        let at = match &self.shape {
            Shape::Closed => return None,
            Shape::Recorded(times) => *times.get(usize::try_from(number).ok()?)?,
            Shape::Poisson(rate) => {
                self.last -= self.random.unit().ln() * self.stride as f64 / rate * SECOND;
                self.last as u64
            }
            Shape::Constant(rate) => (number as f64 / rate * SECOND) as u64,
            Shape::Ramp { from, to, over } => (ramp(*from, *to, over.as_secs_f64(), number as f64) * SECOND) as u64,
            Shape::Steps(steps) => (stepped(steps, number as f64)? * SECOND) as u64,
        };
        self.next += self.stride;
        Some((at, number))
    }
}

impl Shape {
    /// Requests meant to start within `time` seconds of the start; `None` in a closed loop.
    pub fn intended(&self, time: f64) -> Option<f64> {
        Some(match self {
            Self::Closed => return None,
            Self::Constant(rate) | Self::Poisson(rate) => rate * time,
            Self::Recorded(times) => times.partition_point(|at| (*at as f64) < time * SECOND) as f64,
            Self::Ramp { from, to, over } => {
                let growing = time.min(over.as_secs_f64());
                let reached = from + (to - from) * growing / over.as_secs_f64();
                (from + reached) / 2.0 * growing + to * (time - growing)
            }
            Self::Steps(steps) => {
                let (mut left, mut sum) = (time, 0.0);
                for (at, (rate, span)) in steps.iter().enumerate() {
                    let last = at + 1 == steps.len();
                    let part = if last { left } else { left.min(span.as_secs_f64()) };
                    sum += rate * part;
                    left -= part;
                }
                sum
            }
        })
    }
}

/// When a load that grows from `from` to `to` in `over` seconds has started `count` requests.
fn ramp(from: f64, to: f64, over: f64, count: f64) -> f64 {
    let growing = (from + to) / 2.0 * over;
    if count >= growing {
        return over + (count - growing) / to;
    }
    let slope = (to - from) / over;
    if slope.abs() < 1e-9 {
        return count / from;
    }
    ((from * from + 2.0 * slope * count).max(0.0).sqrt() - from) / slope
}

fn stepped(steps: &[(f64, Duration)], count: f64) -> Option<f64> {
    let (mut begun, mut before) = (0.0, 0.0);
    for (at, (rate, span)) in steps.iter().enumerate() {
        let within = rate * span.as_secs_f64();
        if count < before + within || at + 1 == steps.len() {
            return Some(begun + (count - before) / rate);
        }
        before += within;
        begun += span.as_secs_f64();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(shape: &Shape, until: u64) -> Vec<u64> {
        let mut schedule = Schedule::new(shape.clone(), 0, 1, 7);
        std::iter::from_fn(|| schedule.take()).map(|(at, _)| at).take_while(|at| *at < until).collect()
    }

    #[test]
    fn threads_share_a_constant_rate_without_gaps() {
        let mut all = Vec::new();
        for index in 0..3 {
            let mut part = Schedule::new(Shape::Constant(1000.0), index, 3, 0);
            all.extend((0..100).filter_map(|_| part.take()).map(|(at, _)| at));
        }
        all.sort_unstable();
        assert!(all.iter().enumerate().all(|(at, time)| time.abs_diff(at as u64 * 1_000_000) <= 1));
    }

    #[test]
    fn ramps_and_steps_start_as_many_as_they_say() {
        let ramp = Shape::Ramp { from: 100.0, to: 300.0, over: Duration::from_secs(2) };
        let steps =
            Shape::Steps(vec![(100.0, Duration::from_secs(1)), (50.0, Duration::from_secs(1)), (10.0, Duration::ZERO)]);
        for (shape, secs, count) in [(&ramp, 2, 400), (&ramp, 3, 700), (&steps, 1, 100), (&steps, 3, 160)] {
            let found = starts(shape, secs * 1_000_000_000);
            assert!(found.is_sorted());
            assert!(found.len().abs_diff(count) <= 1, "{shape:?} {secs} s: {}", found.len());
            let intended = shape.intended(secs as f64).unwrap();
            assert!((intended - count as f64).abs() < 1e-6, "{shape:?}: {intended}");
        }
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_spread_of_one() {
        let at = starts(&Shape::Poisson(1000.0), 20_000_000_000);
        assert!(at.len().abs_diff(20_000) < 500, "{}", at.len());
        let gaps: Vec<f64> = at.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((deviation / mean - 1.0).abs() < 0.05, "{}", deviation / mean);
    }

    /// A server that stalls for the first 200 ms of each second, in virtual time, with 4 connections.
    #[test]
    fn a_stall_shows_in_the_tail_because_starts_are_intended() {
        const MS: u64 = 1_000_000;
        let mut free = [0u64; 4];
        let (mut honest, mut omitted) = (Vec::new(), Vec::new());
        for intended in starts(&Shape::Constant(1000.0), 10_000 * MS) {
            let conn = free.iter_mut().min().unwrap();
            let sent = intended.max(*conn);
            let stalled_until = sent / (1000 * MS) * 1000 * MS + 200 * MS;
            let done = sent.max(stalled_until) + MS / 10;
            *conn = done;
            honest.push(done - intended);
            omitted.push(done - sent);
        }
        honest.sort_unstable();
        omitted.sort_unstable();
        let p99 = |sorted: &[u64]| sorted[sorted.len() * 99 / 100] / MS;
        assert!((180..=201).contains(&p99(&honest)), "{} ms", p99(&honest));
        assert!(p99(&omitted) < 1, "counted from the send, the stall is hidden: {} ms", p99(&omitted));
    }
}
