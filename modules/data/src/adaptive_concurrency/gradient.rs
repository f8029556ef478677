//! The gradient controller: how many requests at once bring the most, found out from how long they take. After Envoy's,
//! which is after Netflix's concurrency-limits. No clock: time is passed in.
//!
//! From time to time very few requests are let through at once, to see how long one takes where nothing queues: the
//! minRTT. In between, every update interval sets the limit by how long requests take now:
//!
//! ```text
//! gradient = minRTT * (1 + buffer) / sampleRTT, from 0.5 to 2
//! limit    = limit * gradient + sqrt(limit * gradient)
//! ```
//!
//! The square root is room to grow by.

use std::time::Duration;

use ringway_api::Time;

/// What the controller goes by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Params {
    /// Which of the sorted times stands for all of them, from 0 to 1.
    pub(super) percentile: f64,
    pub(super) min_limit: u32,
    pub(super) max_limit: u32,
    pub(super) update_interval: Duration,
    /// From the end of one measurement of the minRTT to the next.
    pub(super) min_rtt_interval: Duration,
    /// Requests that a measurement takes.
    pub(super) min_rtt_requests: u32,
    /// A random part of the interval that is added to it, up to this one.
    pub(super) jitter: f64,
    /// By which part more than the minRTT requests may take.
    pub(super) buffer: f64,
    /// The minRTT, where it is known and not measured.
    pub(super) fixed_min_rtt: Option<Duration>,
}

/// The controller.
#[derive(Debug)]
pub(super) struct Gradient {
    params: Params,
    limit: u32,
    min_rtt: Duration,
    sample_rtt: Duration,
    /// Updates in a row that ended at the smallest limit.
    at_floor: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The minRTT is being measured. `before` is the limit to go back to.
    Measuring { since: Time, before: u32 },
    /// Until the next update, and the next measurement.
    Sampling { update: Time, measure: Time },
}

/// Times that were seen, of which the controller wants one.
pub(super) trait Samples {
    /// How many there are.
    fn count(&self) -> u32;
    /// The one that this part of them, from 0 to 1, do not exceed.
    fn percentile(&self, part: f64) -> Duration;
}

/// After so many updates at the smallest limit the minRTT may have risen: it is measured again (as in Envoy).
const FLOORS: u32 = 5;

impl Gradient {
    pub(super) fn new(params: Params, now: Time) -> Self {
        let (limit, min_rtt) = (params.min_limit, params.fixed_min_rtt);
        let phase = match min_rtt {
            Some(_) => Phase::Sampling { update: now + params.update_interval, measure: Time(u64::MAX) },
            None => Phase::Measuring { since: now, before: limit },
        };
        let min_rtt = min_rtt.unwrap_or_default();
        Self { params, limit, min_rtt, sample_rtt: Duration::ZERO, at_floor: 0, phase }
    }

    /// How many requests may be under way.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// The last minRTT that was measured.
    pub(super) fn min_rtt(&self) -> Duration {
        self.min_rtt
    }

    /// What requests took in the last interval.
    pub(super) fn sample_rtt(&self) -> Duration {
        self.sample_rtt
    }

    /// The time from which on requests must have begun to count, where that matters: those from before a measurement began
    /// met the others.
    pub(super) fn measuring_since(&self) -> Option<Time> {
        match self.phase {
            Phase::Measuring { since, .. } => Some(since),
            Phase::Sampling { .. } => None,
        }
    }

    /// When [`advance`](Self::advance) has something to do: at a time, once there are so many samples.
    pub(super) fn due(&self) -> (Time, u32) {
        match self.phase {
            Phase::Measuring { since, .. } => (since, self.params.min_rtt_requests),
            Phase::Sampling { update, .. } => (update, 0),
        }
    }

    /// Ends a measurement or an interval, with the times of all requests that ended in it. `random` is for the jitter.
    pub(super) fn advance(&mut self, samples: &impl Samples, now: Time, random: u64) {
        let count = samples.count();
        match self.phase {
            Phase::Measuring { before, .. } => {
                if count < self.params.min_rtt_requests {
                    return;
                }
                // Zero would stop everything: faster than can be told is a microsecond.
                self.min_rtt = samples.percentile(self.params.percentile).max(Duration::from_micros(1));
                self.limit = before;
                let part = (random >> 11) as f64 / (1_u64 << 53) as f64 * self.params.jitter;
                let interval = self.params.min_rtt_interval;
                let measure = now + interval + interval.mul_f64(part);
                self.phase = Phase::Sampling { update: now + self.params.update_interval, measure };
            }
            Phase::Sampling { update, measure } => {
                if now < update {
                    return;
                }
                if count > 0 {
                    self.update(samples.percentile(self.params.percentile));
                }
                let worn_out = self.at_floor >= FLOORS && self.params.fixed_min_rtt.is_none();
                self.phase = if now >= measure || worn_out {
                    let before = std::mem::replace(&mut self.limit, self.params.min_limit);
                    self.at_floor = 0;
                    Phase::Measuring { since: now, before }
                } else {
                    Phase::Sampling { update: now + self.params.update_interval, measure }
                };
            }
        }
    }

    fn update(&mut self, sample: Duration) {
        self.sample_rtt = sample.max(Duration::from_micros(1));
        let ideal = self.min_rtt.mul_f64(1.0 + self.params.buffer);
        let gradient = (ideal.as_secs_f64() / self.sample_rtt.as_secs_f64()).clamp(0.5, 2.0);
        let limit = f64::from(self.limit) * gradient;
        let limit = (limit + limit.sqrt()) as u32;
        self.limit = limit.clamp(self.params.min_limit, self.params.max_limit);
        self.at_floor = if self.limit == self.params.min_limit { self.at_floor + 1 } else { 0 };
    }
}
