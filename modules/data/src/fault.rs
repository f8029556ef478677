//! Injects faults: delays, aborts, slow responses, resets, silence. As Envoy's fault filter, and some more.

mod decision;
mod options;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use ringway_api::{
    Action, Env, FilterCx, FilterStats, Request, Response, ResponseFlag, Resume, Stat, StreamCx, StreamFilter, Time,
};

use self::decision::End;
use self::options::Options;
pub use self::options::{AbortConfig, BlackholeConfig, DelayConfig, FaultConfig, ResetConfig, ResponseRateLimitConfig};
use crate::header_match::HeaderMatch;
use crate::pace::{Paced, default_burst};
use crate::token_bucket::{Rate, TokenBucket};

/// Does to some requests what networks and servers do to them on bad days.
pub struct Fault {
    options: Arc<Compiled>,
    active: Arc<AtomicU32>,
    stats: FilterStats,
    env: Rc<dyn Env>,
    /// The generator's state, where decisions are to be the same again.
    seeded: Option<Cell<u64>>,
}

/// The options of [`Fault`], ready for use.
#[derive(Debug)]
pub struct Compiled {
    options: Options,
    headers: Vec<HeaderMatch>,
    max_active: u32,
    seed: Option<u64>,
    /// Faults under way on all workers; those of the configuration before are among them.
    active: OnceLock<Arc<AtomicU32>>,
}

/// What is remembered of one stream.
#[derive(Debug, Default)]
pub struct State {
    active: Option<Active>,
    bytes_per_second: Option<u64>,
}

/// A fault under way.
#[derive(Debug)]
struct Active {
    all: Arc<AtomicU32>,
    stats: FilterStats,
}

/// Rows of [`Fault::STATS`].
mod row {
    pub(super) const DELAYS: usize = 0;
    pub(super) const ABORTS: usize = 1;
    pub(super) const RATE_LIMITS: usize = 2;
    pub(super) const RESETS: usize = 3;
    pub(super) const BLACKHOLES: usize = 4;
    pub(super) const OVERFLOW: usize = 5;
    pub(super) const ACTIVE: usize = 6;
}

impl StreamFilter for Fault {
    const NAME: &'static str = "fault";
    const STATS: &'static [Stat] = &[
        Stat::counter("delays_injected", "Requests that were delayed."),
        Stat::counter("aborts_injected", "Requests that were answered with an error."),
        Stat::counter("response_rl_injected", "Responses that were slowed down."),
        Stat::counter("resets_injected", "Streams that were reset."),
        Stat::counter("blackholes_injected", "Requests that got no answer."),
        Stat::counter("faults_overflow", "Faults that were not injected because of `max_active_faults`."),
        Stat::gauge("active_faults", "Faults under way."),
    ];
    type Config = FaultConfig;
    type Compiled = Compiled;
    type State = State;

    fn compile(mut config: FaultConfig) -> Result<Compiled, String> {
        Ok(Compiled {
            headers: HeaderMatch::compile_all(std::mem::take(&mut config.headers), "headers")?,
            max_active: config.max_active_faults.unwrap_or(u32::MAX),
            seed: config.seed,
            options: Options::compile(config)?,
            active: OnceLock::new(),
        })
    }

    fn build(options: Arc<Compiled>, old: Option<&Self>, cx: FilterCx) -> Self {
        let before = || old.map_or_else(Arc::default, |old| Arc::clone(&old.active));
        let active = Arc::clone(options.active.get_or_init(before));
        let seeded = options.seed.map(Cell::new);
        Self { options, active, stats: cx.stats, env: cx.env, seeded }
    }

    fn on_request(&self, state: &mut State, request: &mut Request, cx: &StreamCx) -> Action {
        if !HeaderMatch::all(&self.options.headers, &request.head) {
            return Action::Continue;
        }
        let decision = self.options.options.decide(&request.head, || self.random());
        if decision.is_nothing() {
            return Action::Continue;
        }
        let Some(active) = self.enter() else {
            self.stats.inc(row::OVERFLOW);
            return Action::Continue;
        };
        state.active = Some(active);
        if matches!(decision.end, End::Continue) {
            state.bytes_per_second = decision.bytes_per_second;
        }
        if matches!(decision.end, End::Reset | End::Silence(_)) {
            // An abort's reply brings it along.
            cx.note_flag(ResponseFlag::FaultInjected);
        }
        let (stats, env, end) = (self.stats.clone(), Rc::clone(&self.env), decision.end);
        let Some(delay) = decision.delay else { return act(end, &stats, &env) };
        self.stats.inc(row::DELAYS);
        cx.note_flag(ResponseFlag::DelayInjected);
        Action::Wait(Box::pin(async move {
            let mut timer = env.timer();
            timer.set_after(delay);
            timer.expired().await;
            let resume: Resume = Box::new(move |_| act(end, &stats, &env));
            resume
        }))
    }

    fn on_response(&self, state: &mut State, response: &mut Response, _: &StreamCx) {
        let Some(per_second) = state.bytes_per_second else { return };
        // It was checked, or came from a field that was.
        let Ok(rate) = Rate::per_second(per_second, default_burst(per_second)) else { return };
        self.stats.inc(row::RATE_LIMITS);
        let bucket = Arc::new(TokenBucket::new(rate, 1, self.env.now()));
        let body = std::mem::take(&mut response.body);
        response.body = Paced::wrap(body, bucket, &self.env, None, state.active.take());
    }
}

impl Fault {
    /// Counts one more, if there may be one more. An atomic of all workers, for the requests that a fault befalls.
    fn enter(&self) -> Option<Active> {
        let more = |active: u32| active.checked_add(1).filter(|active| *active <= self.options.max_active);
        self.active.try_update(Relaxed, Relaxed, more).ok()?;
        self.stats.inc(row::ACTIVE);
        Some(Active { all: Arc::clone(&self.active), stats: self.stats.clone() })
    }

    fn random(&self) -> u64 {
        let Some(state) = &self.seeded else { return self.env.random() };
        // SplitMix64 (Steele, Lea, Flood 2014).
        state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut bits = state.get();
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

/// What comes after a delay, or at once.
fn act(end: End, stats: &FilterStats, env: &Rc<dyn Env>) -> Action {
    match end {
        End::Continue => Action::Continue,
        End::Abort(reply) => {
            stats.inc(row::ABORTS);
            Action::Reply(reply)
        }
        End::Reset => {
            stats.inc(row::RESETS);
            Action::Reset
        }
        End::Silence(most) => {
            stats.inc(row::BLACKHOLES);
            let mut timer = env.timer();
            timer.set(most.map_or(Time(u64::MAX), |most| env.now() + most));
            Action::after(async move {
                timer.expired().await;
                Action::Reset
            })
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Relaxed);
        self.stats.dec(row::ACTIVE);
    }
}
