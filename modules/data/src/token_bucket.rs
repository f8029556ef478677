//! Token buckets that all workers share. No clock: time is passed in.
//!
//! A bucket is one atomic: how many tokens have ever been taken, never less than have been filled in. What is left
//! follows from the time. Nothing has to be refilled by anybody, and nothing drifts.
//!
//! Workers lease tokens in batches of `max(1, max_tokens / (64 * workers))`, so that a request touches the atomic once
//! in a batch. In any span of time, what is granted is off by at most batch x workers ([`TokenBucket::error`]) from
//! `max_tokens` and what was filled in; below 64 tokens per worker it is exact.

mod keyed;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ringway_api::{Millis, Time};
use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use keyed::KeyedBuckets;

/// A token bucket.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBucketConfig {
    /// How many tokens it holds, and has at first: the longest burst.
    pub max_tokens: u32,
    /// How many come back in each `fill_interval`, spread evenly over it. `max_tokens` by default.
    pub tokens_per_fill: Option<u32>,
    /// In what time, at least 1ms.
    #[serde(default = "second")]
    pub fill_interval: Millis,
}

/// How a bucket fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Tokens it holds.
    pub(crate) max: u64,
    /// Tokens that come back per `interval`.
    pub(crate) fill: u64,
    /// Nanoseconds.
    pub(crate) interval: u64,
}

/// A bucket.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    rate: Rate,
    origin: Time,
    batch: u64,
    workers: u64,
    taken: Padded,
}

/// One worker's part in a bucket.
#[derive(Debug)]
pub(crate) struct Lease {
    bucket: Arc<TokenBucket>,
    /// Taken from the bucket and not yet granted.
    spare: Cell<u64>,
    /// What was spare at the last [`settle`](Self::settle).
    settled: Cell<u64>,
}

/// What is left of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) max: u64,
    pub(crate) remaining: u64,
    /// Until it is full again.
    pub(crate) reset: Duration,
}

/// Written by all workers: it shares a cache line with nothing.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(AtomicU64);

/// Batches per worker that a bucket is cut into.
const BATCHES_PER_WORKER: u64 = 64;

/// Tokens per second at most: so many can be counted for five years.
const MOST_PER_SECOND: u128 = 100_000_000_000;

const SECOND: u64 = 1_000_000_000;

fn second() -> Millis {
    Millis(1000)
}

// === impl Rate ===

impl Rate {
    /// Checks what users wrote.
    pub(crate) fn compile(config: &TokenBucketConfig) -> Result<Self, String> {
        let fill = config.tokens_per_fill.unwrap_or(config.max_tokens);
        if config.max_tokens == 0 || fill == 0 {
            return Err("max_tokens, tokens_per_fill: at least 1".to_owned());
        }
        if config.fill_interval.0 == 0 {
            return Err("fill_interval: at least 1ms".to_owned());
        }
        let interval = config.fill_interval.0.saturating_mul(1_000_000);
        if u128::from(fill) * u128::from(SECOND) > MOST_PER_SECOND * u128::from(interval) {
            return Err(format!("more than {MOST_PER_SECOND} tokens per second"));
        }
        Ok(Self { max: config.max_tokens.into(), fill: fill.into(), interval })
    }

    /// So many per second, of which `burst` may come at once. Errors say what is wrong with `per_second`.
    pub(crate) fn per_second(per_second: u64, burst: u64) -> Result<Self, String> {
        if per_second == 0 || u128::from(per_second) > MOST_PER_SECOND {
            return Err(format!("from 1 to {MOST_PER_SECOND} per second"));
        }
        Ok(Self { max: burst.clamp(1, MOST_PER_SECOND as u64), fill: per_second, interval: SECOND })
    }

    /// How many tokens have been filled in since the beginning.
    fn filled(self, since: Duration) -> u64 {
        let tokens = since.as_nanos() * u128::from(self.fill) / u128::from(self.interval.max(1));
        // Half of all there is, so that adding to it never overflows.
        u64::try_from(tokens).unwrap_or(u64::MAX).min(u64::MAX / 2)
    }

    /// How long so many tokens take.
    fn time_for(self, tokens: u64) -> Duration {
        let nanos = (u128::from(tokens) * u128::from(self.interval)).div_ceil(u128::from(self.fill.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Takes at most `want` tokens of those that are there; how many it was.
    fn take(self, taken: &AtomicU64, filled: u64, want: u64) -> u64 {
        let mut got = 0;
        let update = |before: u64| {
            let before = before.max(filled);
            got = want.min((filled + self.max).saturating_sub(before));
            (got > 0).then(|| before + got)
        };
        if taken.try_update(Relaxed, Relaxed, update).is_ok() { got } else { 0 }
    }

    fn quota(self, taken: u64, filled: u64, spare: u64) -> Quota {
        let missing = taken.saturating_sub(filled).saturating_sub(spare);
        Quota { max: self.max, remaining: self.max.saturating_sub(missing), reset: self.time_for(missing) }
    }
}

// === impl TokenBucket ===

impl TokenBucket {
    /// A full bucket for so many workers.
    pub(crate) fn new(rate: Rate, workers: usize, now: Time) -> Self {
        let workers = workers.max(1) as u64;
        let batch = (rate.max / (BATCHES_PER_WORKER * workers)).max(1);
        Self { rate, origin: now, batch, workers, taken: Padded(AtomicU64::new(0)) }
    }

    /// How it fills.
    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// By how many tokens grants may be off within any span of time: batch x workers, 0 where it is exact.
    #[cfg_attr(not(test), expect(dead_code, reason = "the bound that tests assert and documents state"))]
    pub(crate) fn error(&self) -> u64 {
        if self.batch == 1 { 0 } else { self.batch * self.workers }
    }

    /// The part of one worker.
    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        Lease { bucket: Arc::clone(self), spare: Cell::new(0), settled: Cell::new(0) }
    }

    /// Takes so many tokens whether they are there or not; how long until they are. Who has waited so long before it
    /// takes more keeps to the rate, and those who wait get theirs in the order in which they asked.
    pub(crate) fn reserve(&self, tokens: u64, now: Time) -> Duration {
        let filled = self.filled(now);
        let add = |before: u64| Some(before.max(filled).saturating_add(tokens));
        let before = match self.taken.0.try_update(Relaxed, Relaxed, add) {
            Ok(before) | Err(before) => before.max(filled),
        };
        self.rate.time_for(before.saturating_add(tokens).saturating_sub(filled + self.rate.max))
    }

    fn filled(&self, now: Time) -> u64 {
        self.rate.filled(now.since(self.origin))
    }
}

// === impl Lease ===

impl Lease {
    /// Takes one token if there is one.
    pub(crate) fn try_take(&self, now: Time) -> bool {
        match self.spare.get() {
            0 => {
                let bucket = &self.bucket;
                let got = bucket.rate.take(&bucket.taken.0, bucket.filled(now), bucket.batch);
                self.spare.set(got.saturating_sub(1));
                got > 0
            }
            spare => {
                self.spare.set(spare - 1);
                true
            }
        }
    }

    /// What is left, as far as this worker can know it.
    pub(crate) fn quota(&self, now: Time) -> Quota {
        let bucket = &self.bucket;
        bucket.rate.quota(bucket.taken.0.load(Relaxed), bucket.filled(now), self.spare.get())
    }
}

impl Lease {
    /// Gives back what is spare, if it was so at the last call too: others may use it.
    pub(crate) fn settle(&self) {
        if self.spare.get() > 0 && self.spare.get() == self.settled.get() {
            self.give_back();
        }
        self.settled.set(self.spare.get());
    }

    fn give_back(&self) {
        // It was added there before.
        self.bucket.taken.0.fetch_sub(self.spare.replace(0), Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back();
    }
}
