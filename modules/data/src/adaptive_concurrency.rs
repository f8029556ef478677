//! Lets as many requests through at once as bring the most, which it finds out. As Envoy's adaptive concurrency.

mod gradient;
mod histogram;
mod options;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::time::Duration;

use http::StatusCode;
use ringway_api::{
    Action, Env, FilterCx, FilterStats, Limit, LocalReply, Permit, Request, Response, ResponseFlag, SharedLimit, Stat,
    StreamCx, StreamFilter, Time,
};

use self::gradient::{Gradient, Params};
use self::histogram::Histogram;
pub use self::options::{AdaptiveConcurrencyConfig, ConcurrencyLimitParams, MinRttParams};
use crate::held::{Kept, hold};
use crate::percent::Percent;

/// Answers requests beyond the limit with 503.
pub struct AdaptiveConcurrency {
    options: Arc<Compiled>,
    worker: Rc<Worker>,
}

/// The options of [`AdaptiveConcurrency`], ready for use.
#[derive(Debug)]
pub struct Compiled {
    params: Params,
    status: StatusCode,
    enabled: Percent,
    enforced: Percent,
    control: OnceLock<Arc<Control>>,
}

/// One worker's part: requests under way hold it.
struct Worker {
    control: Arc<Control>,
    permits: Rc<Limit>,
    stats: FilterStats,
    env: Rc<dyn Env>,
    /// What this worker has added to each gauge of all.
    shown: [Cell<i64>; SHOWN.len()],
}

/// What workers share.
#[derive(Debug)]
struct Control {
    /// Held for moments, when an interval ends, by whichever worker is there first; nobody waits for it.
    gradient: Mutex<Gradient>,
    seen: Histogram,
    limit: SharedLimit,
    /// [`Gradient::due`].
    due: AtomicU64,
    needed: AtomicU32,
    /// [`Gradient::measuring_since`], 0 for none.
    since: AtomicU64,
    /// What the gauges of [`SHOWN`] are at.
    levels: [AtomicI64; SHOWN.len()],
    params: Params,
}

/// A request under way.
#[derive(Default)]
pub struct State(Option<Running>);

struct Running {
    worker: Rc<Worker>,
    began: Time,
    _permit: Permit,
}

/// Rows of [`AdaptiveConcurrency::STATS`].
mod row {
    pub(super) const RQ_BLOCKED: usize = 0;
    pub(super) const SHADOW_BLOCKED: usize = 1;
    pub(super) const CONCURRENCY_LIMIT: usize = 2;
    pub(super) const MIN_RTT_MSECS: usize = 3;
    pub(super) const SAMPLE_RTT_MSECS: usize = 4;
    pub(super) const MEASURING: usize = 5;
}

/// Rows whose value is one for all workers. A gauge is the sum of what workers have: each brings the sum up to it.
const SHOWN: [usize; 4] = [row::CONCURRENCY_LIMIT, row::MIN_RTT_MSECS, row::SAMPLE_RTT_MSECS, row::MEASURING];

impl StreamFilter for AdaptiveConcurrency {
    const NAME: &'static str = "adaptive_concurrency";
    const STATS: &'static [Stat] = &[
        Stat::counter("rq_blocked", "Requests that were refused."),
        Stat::counter("rq_shadow_blocked", "Requests beyond the limit that were let through because of `enforced`."),
        Stat::gauge("concurrency_limit", "How many requests may be under way."),
        Stat::gauge("min_rtt_msecs", "How long requests take where nothing queues."),
        Stat::gauge("sample_rtt_msecs", "How long requests took in the last interval."),
        Stat::gauge("min_rtt_calculation_active", "1 while `min_rtt_msecs` is being measured."),
    ];
    type Config = AdaptiveConcurrencyConfig;
    type Compiled = Compiled;
    type State = State;

    fn compile(config: AdaptiveConcurrencyConfig) -> Result<Compiled, String> {
        config.compile()
    }

    fn build(options: Arc<Compiled>, old: Option<&Self>, cx: FilterCx) -> Self {
        let now = cx.env.now();
        let before = || old.map(|old| &old.worker.control).filter(|control| control.params == options.params);
        let make = || before().map_or_else(|| Arc::new(Control::new(&options.params, cx.workers, now)), Arc::clone);
        let control = Arc::clone(options.control.get_or_init(make));
        // The worker's part goes on where the control does.
        let worker = old.map(|old| &old.worker).filter(|worker| Arc::ptr_eq(&worker.control, &control));
        let worker = worker.map_or_else(|| Rc::new(Worker::new(&control, cx)), Rc::clone);
        if let Ok(gradient) = control.gradient.try_lock() {
            worker.show(&gradient);
        }
        Self { options, worker }
    }

    fn on_request(&self, state: &mut State, _: &mut Request, _: &StreamCx) -> Action {
        let Worker { env, stats, permits, .. } = &*self.worker;
        if !self.options.enabled.hits(env.random()) {
            return Action::Continue;
        }
        let began = env.now();
        self.worker.advance(began);
        if let Some(permit) = Permit::of(permits) {
            state.0 = Some(Running { worker: Rc::clone(&self.worker), began, _permit: permit });
            return Action::Continue;
        }
        if !self.options.enforced.hits(env.random()) {
            stats.inc(row::SHADOW_BLOCKED);
            return Action::Continue;
        }
        stats.inc(row::RQ_BLOCKED);
        let reply = LocalReply::new(self.options.status, "reached concurrency limit", "reached_concurrency_limit");
        Action::Reply(Box::new(reply.flag(ResponseFlag::UpstreamOverflow)))
    }

    fn settle(&self) {
        self.worker.permits.settle();
    }

    fn on_response(&self, state: &mut State, response: &mut Response, _: &StreamCx) {
        if let Some(running) = state.0.take() {
            response.body = hold(std::mem::take(&mut response.body), running);
        }
    }
}

// === impl Worker ===

impl Worker {
    fn new(control: &Arc<Control>, cx: FilterCx) -> Self {
        let shown = SHOWN.map(|_| Cell::new(0));
        Self { control: Arc::clone(control), permits: control.limit.worker(), stats: cx.stats, env: cx.env, shown }
    }

    /// Ends an interval if it is over.
    fn advance(&self, now: Time) {
        let control = &self.control;
        if now.0 < control.due.load(Relaxed) || control.seen.count() < control.needed.load(Relaxed) {
            return;
        }
        let mut gradient = match control.gradient.try_lock() {
            Ok(gradient) => gradient,
            Err(TryLockError::Poisoned(gradient)) => gradient.into_inner(),
            // Another worker is at it.
            Err(TryLockError::WouldBlock) => return,
        };
        let (due, needed) = gradient.due();
        if now < due || control.seen.count() < needed {
            return;
        }
        gradient.advance(&control.seen.take(), now, self.env.random());
        control.publish(&gradient);
        self.show(&gradient);
    }

    /// Brings the gauges up to date. What they show is the sum of what workers have added, which is kept with the control;
    /// the lock on the controller keeps changes apart.
    fn show(&self, gradient: &Gradient) {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let values = [
            gradient.limit().into(),
            millis(gradient.min_rtt()),
            millis(gradient.sample_rtt()),
            gradient.measuring_since().is_some().into(),
        ];
        let rows = SHOWN.into_iter().zip(&self.shown).zip(&self.control.levels).zip(values);
        for (((row, shown), level), value) in rows {
            let more = value - level.swap(value, Relaxed);
            shown.set(shown.get() + more);
            self.stats.add(row, more);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        SHOWN.into_iter().zip(&self.shown).for_each(|(row, shown)| self.stats.add(row, -shown.get()));
    }
}

// === impl Control ===

impl Control {
    fn new(params: &Params, workers: usize, now: Time) -> Self {
        let gradient = Gradient::new(params.clone(), now);
        let control = Self {
            seen: Histogram::new(),
            limit: SharedLimit::new(gradient.limit(), workers),
            due: AtomicU64::default(),
            needed: AtomicU32::default(),
            since: AtomicU64::default(),
            levels: Default::default(),
            params: params.clone(),
            gradient: Mutex::new(gradient),
        };
        if let Ok(gradient) = control.gradient.lock() {
            control.publish(&gradient);
        }
        control
    }

    fn publish(&self, gradient: &Gradient) {
        if u64::from(gradient.limit()) != self.limit.limit() {
            self.limit.resize(gradient.limit());
        }
        let (due, needed) = gradient.due();
        self.due.store(due.0, Relaxed);
        self.needed.store(needed, Relaxed);
        self.since.store(gradient.measuring_since().map_or(0, |since| since.0), Relaxed);
    }
}

impl Kept for Running {
    fn complete(self) {
        let Worker { control, env, .. } = &*self.worker;
        let now = env.now();
        if self.began.0 >= control.since.load(Relaxed) {
            control.seen.note(now.since(self.began));
        }
        self.worker.advance(now);
    }
}
