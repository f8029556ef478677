//! Lets so many requests through at once, on all workers, and no more.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use http::StatusCode;
use ringway_api::{
    Action, FilterCx, FilterStats, Limit, LocalReply, Permit, Request, Response, ResponseFlag, SharedLimit, Stat,
    StreamCx, StreamFilter,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::held::{Kept, hold};

/// Answers requests beyond the limit with 503 at once: nothing waits.
pub struct ConcurrencyLimit {
    options: Arc<Compiled>,
    limit: SharedLimit,
    permits: Rc<Limit>,
    stats: FilterStats,
}

/// The options of [`ConcurrencyLimit`].
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConcurrencyLimitConfig {
    /// Requests under way at most, on all workers, from their heads to the ends of their responses.
    pub max_requests: u32,
    /// The status of those beyond, from 400 to 599.
    #[serde(default = "unavailable")]
    pub status: u16,
    /// Count requests beyond the limit, and let them through.
    #[serde(default)]
    pub dry_run: bool,
}

/// The options, checked, and what workers share.
#[derive(Debug)]
pub struct Compiled {
    max_requests: u32,
    status: StatusCode,
    dry_run: bool,
    limit: OnceLock<SharedLimit>,
}

/// A request under way.
#[derive(Default)]
pub struct State(Option<Running>);

struct Running {
    stats: FilterStats,
    _permit: Permit,
}

/// Rows of [`ConcurrencyLimit::STATS`].
mod row {
    pub(super) const RQ_BLOCKED: usize = 0;
    pub(super) const SHADOW_BLOCKED: usize = 1;
    pub(super) const RQ_ACTIVE: usize = 2;
}

fn unavailable() -> u16 {
    503
}

impl StreamFilter for ConcurrencyLimit {
    const NAME: &'static str = "concurrency_limit";
    const STATS: &'static [Stat] = &[
        Stat::counter("rq_blocked", "Requests that were refused."),
        Stat::counter("rq_shadow_blocked", "Requests that would have been refused without `dry_run`."),
        Stat::gauge("rq_active", "Requests under way."),
    ];
    type Config = ConcurrencyLimitConfig;
    type Compiled = Compiled;
    type State = State;

    fn compile(config: ConcurrencyLimitConfig) -> Result<Compiled, String> {
        let ConcurrencyLimitConfig { max_requests, status: code, dry_run } = config;
        if max_requests == 0 {
            return Err("max_requests: at least 1".to_owned());
        }
        let status = StatusCode::from_u16(code).ok().filter(|_| (400..600).contains(&code));
        let status = status.ok_or_else(|| format!("status: {code} is not from 400 to 599"))?;
        Ok(Compiled { max_requests, status, dry_run, limit: OnceLock::new() })
    }

    fn build(options: Arc<Compiled>, old: Option<&Self>, cx: FilterCx) -> Self {
        let make = || {
            let new = || SharedLimit::new(options.max_requests, cx.workers);
            let limit = old.map_or_else(new, |old| old.limit.clone());
            limit.resize(options.max_requests);
            limit
        };
        let limit = options.limit.get_or_init(make).clone();
        // Requests under way count in the part of the worker that they began with.
        let part = old.map(|old| &old.permits).filter(|part| limit.owns(part));
        let permits = part.map_or_else(|| limit.worker(), Rc::clone);
        Self { options, limit, permits, stats: cx.stats }
    }

    fn on_request(&self, state: &mut State, _: &mut Request, _: &StreamCx) -> Action {
        if let Some(permit) = Permit::of(&self.permits) {
            self.stats.inc(row::RQ_ACTIVE);
            state.0 = Some(Running { stats: self.stats.clone(), _permit: permit });
            return Action::Continue;
        }
        if self.options.dry_run {
            self.stats.inc(row::SHADOW_BLOCKED);
            return Action::Continue;
        }
        self.stats.inc(row::RQ_BLOCKED);
        let reply = LocalReply::new(self.options.status, "reached concurrency limit", "reached_concurrency_limit");
        Action::Reply(Box::new(reply.flag(ResponseFlag::UpstreamOverflow)))
    }

    fn settle(&self) {
        self.permits.settle();
    }

    fn on_response(&self, state: &mut State, response: &mut Response, _: &StreamCx) {
        if let Some(running) = state.0.take() {
            response.body = hold(std::mem::take(&mut response.body), running);
        }
    }
}

impl Kept for Running {
    fn complete(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stats.dec(row::RQ_ACTIVE);
    }
}
