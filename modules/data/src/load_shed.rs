//! Sheds load by priority: what matters least is refused first.

mod loop_delay;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use ringway_api::{
    Action, Env, FilterCx, FilterStats, LocalReply, Millis, Request, Response, ResponseFlag, Stat, StreamCx,
    StreamFilter,
};
use schemars::JsonSchema;
use serde::Deserialize;

use self::loop_delay::LoopDelay;
use crate::header_match::{HeaderMatch, HeaderMatchConfig};
use crate::held::{Kept, hold};
use crate::percent::Percent;

/// Answers requests with 503 when their worker has so much to do that there is no room for those of their priority.
pub struct LoadShed {
    options: Arc<Compiled>,
    load: Rc<Load>,
    stats: FilterStats,
}

/// What a worker has to do.
struct Load {
    env: Rc<dyn Env>,
    active: Cell<u32>,
    delay: LoopDelay,
    /// Somebody measures the delay: while requests are under way, and no longer.
    watched: Cell<bool>,
}

/// The options of [`LoadShed`]: `max_active_requests`, `max_loop_delay` or both.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadShedConfig {
    /// Requests under way at most, on each worker.
    #[serde(default)]
    pub max_active_requests: Option<u32>,
    /// How much later than planned a worker may come to what it has to do, on average over a short time.
    #[serde(default)]
    pub max_loop_delay: Option<Millis>,
    /// Requests that matter most. They have all the room there is.
    #[serde(default)]
    pub high: PriorityConfig,
    /// Requests that matter least. They have 60 % of the room by default.
    #[serde(default)]
    pub low: PriorityConfig,
    /// The part of the room that all other requests have.
    #[serde(default)]
    pub normal_share: Option<Percent>,
    /// Count requests that would be refused, and let them through.
    #[serde(default)]
    pub dry_run: bool,
}

/// Requests of a priority.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PriorityConfig {
    /// Which requests these are: those that meet all of these conditions. None, by default.
    pub headers: Vec<HeaderMatchConfig>,
    /// The part of `max_active_requests` and of `max_loop_delay` up to which they are let through.
    pub share: Option<Percent>,
}

/// The options, checked.
#[derive(Debug)]
pub struct Compiled {
    high: Vec<HeaderMatch>,
    low: Vec<HeaderMatch>,
    /// By priority.
    room: [Room; 3],
    watch: bool,
    dry_run: bool,
}

/// Up to where requests are let through.
#[derive(Clone, Copy, Debug)]
struct Room {
    active: u32,
    delay: Duration,
}

/// How much a request matters; also its row of [`LoadShed::STATS`].
#[derive(Clone, Copy)]
enum Priority {
    High,
    Normal,
    Low,
}

/// A request under way.
#[derive(Default)]
pub struct State(Option<Running>);

struct Running {
    load: Rc<Load>,
    stats: FilterStats,
}

/// Rows of [`LoadShed::STATS`] behind those of the priorities.
mod row {
    pub(super) const SHADOW: usize = 3;
    pub(super) const ACTIVE: usize = 4;
}

impl StreamFilter for LoadShed {
    const NAME: &'static str = "load_shed";
    const STATS: &'static [Stat] = &[
        Stat::counter("high_shed", "Requests of high priority that were refused."),
        Stat::counter("normal_shed", "Requests of normal priority that were refused."),
        Stat::counter("low_shed", "Requests of low priority that were refused."),
        Stat::counter("shadow_shed", "Requests that would have been refused without `dry_run`."),
        Stat::gauge("rq_active", "Requests under way."),
    ];
    type Config = LoadShedConfig;
    type Compiled = Compiled;
    type State = State;

    fn compile(config: LoadShedConfig) -> Result<Compiled, String> {
        let LoadShedConfig { max_active_requests, max_loop_delay, high, low, normal_share, dry_run } = config;
        if max_active_requests.is_none() && max_loop_delay.is_none() {
            return Err("`max_active_requests`, `max_loop_delay` or both are needed".to_owned());
        }
        if max_active_requests == Some(0) || max_loop_delay == Some(Millis(0)) {
            return Err("max_active_requests, max_loop_delay: at least 1".to_owned());
        }
        let shares = [
            high.share.unwrap_or(Percent::ALL).fraction(),
            normal_share.map_or(NORMAL_SHARE, Percent::fraction),
            low.share.map_or(LOW_SHARE, Percent::fraction),
        ];
        if !shares.is_sorted_by(|more, less| more >= less) {
            return Err("shares: high at least normal, normal at least low".to_owned());
        }
        Ok(Compiled {
            high: HeaderMatch::compile_all(high.headers, "high.headers")?,
            low: HeaderMatch::compile_all(low.headers, "low.headers")?,
            room: shares.map(|share| Room {
                active: max_active_requests.map_or(u32::MAX, |max| (f64::from(max) * share).ceil() as u32),
                delay: max_loop_delay.map_or(Duration::MAX, |max| max.duration().mul_f64(share)),
            }),
            watch: max_loop_delay.is_some(),
            dry_run,
        })
    }

    fn build(options: Arc<Compiled>, old: Option<&Self>, cx: FilterCx) -> Self {
        let load = old.map_or_else(|| Rc::new(Load::new(cx.env)), |old| Rc::clone(&old.load));
        Self { options, load, stats: cx.stats }
    }

    fn on_request(&self, state: &mut State, request: &mut Request, _: &StreamCx) -> Action {
        let Compiled { high, low, room: [for_high, for_normal, for_low], dry_run, .. } = &*self.options;
        let is = |conditions: &[HeaderMatch]| !conditions.is_empty() && HeaderMatch::all(conditions, &request.head);
        let (priority, room) = if is(high) {
            (Priority::High, for_high)
        } else if is(low) {
            (Priority::Low, for_low)
        } else {
            (Priority::Normal, for_normal)
        };
        if !self.load.fits(*room) {
            if !dry_run {
                self.stats.inc(priority as usize);
                // The flag has the reply say `x-envoy-overloaded`.
                let reply = LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "load_shed");
                return Action::Reply(Box::new(reply.flag(ResponseFlag::UpstreamOverflow)));
            }
            self.stats.inc(row::SHADOW);
        }
        self.load.active.set(self.load.active.get() + 1);
        if self.options.watch {
            Load::watch(&self.load);
        }
        self.stats.inc(row::ACTIVE);
        state.0 = Some(Running { load: Rc::clone(&self.load), stats: self.stats.clone() });
        Action::Continue
    }

    fn on_response(&self, state: &mut State, response: &mut Response, _: &StreamCx) {
        if let Some(running) = state.0.take() {
            response.body = hold(std::mem::take(&mut response.body), running);
        }
    }
}

/// The parts of the room for requests of normal and of low priority.
const NORMAL_SHARE: f64 = 0.9;
const LOW_SHARE: f64 = 0.6;

impl Load {
    fn new(env: Rc<dyn Env>) -> Self {
        Self { env, active: Cell::new(0), delay: LoopDelay::default(), watched: Cell::new(false) }
    }

    fn fits(&self, room: Room) -> bool {
        self.active.get() < room.active && self.delay.average() < room.delay
    }

    /// Measures the delay until no request is under way. An idle worker has nothing to wake up for.
    fn watch(this: &Rc<Self>) {
        if this.watched.replace(true) {
            return;
        }
        let load = Rc::clone(this);
        this.env.spawn(Box::pin(async move {
            let mut timer = load.env.timer();
            while load.active.get() > 0 {
                let planned = load.env.now() + LoopDelay::INTERVAL;
                timer.set(planned);
                timer.expired().await;
                load.delay.note(load.env.now().since(planned));
            }
            load.delay.forget();
            load.watched.set(false);
        }));
    }
}

impl Kept for Running {
    fn complete(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        self.load.active.set(self.load.active.get() - 1);
        self.stats.dec(row::ACTIVE);
    }
}
