//! Lets content pass at a rate. As Envoy's bandwidth limit.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use ringway_api::{
    Action, Body, ByteSize, Env, FilterCx, FilterStats, Request, Response, Stat, StreamCx, StreamFilter, Time,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::pace::{Paced, default_burst};
use crate::token_bucket::{Rate, TokenBucket};

/// Slows content down to so many bytes per second, all streams of all workers together.
pub struct BandwidthLimit {
    request: Option<Arc<TokenBucket>>,
    response: Option<Arc<TokenBucket>>,
    stats: FilterStats,
    env: Rc<dyn Env>,
}

/// The options of [`BandwidthLimit`]: a limit of `requests`, of `responses`, or one of each.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BandwidthLimitConfig {
    /// For the content of requests.
    pub requests: Option<BandwidthConfig>,
    /// For the content of responses.
    pub responses: Option<BandwidthConfig>,
}

/// A bandwidth.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BandwidthConfig {
    /// Bytes per second, of all streams together.
    pub bytes_per_second: ByteSize,
    /// Bytes that may pass at once after a pause; a 16th of a second's by default.
    pub burst: Option<ByteSize>,
}

/// The options, checked, and the buckets once there are some.
#[derive(Debug)]
pub struct Compiled {
    request: Option<Side>,
    response: Option<Side>,
}

#[derive(Debug)]
struct Side {
    rate: Rate,
    bucket: OnceLock<Arc<TokenBucket>>,
}

/// Rows of [`BandwidthLimit::STATS`].
mod row {
    pub(super) const REQUEST_ENABLED: usize = 0;
    pub(super) const REQUEST_ENFORCED: usize = 1;
    pub(super) const RESPONSE_ENABLED: usize = 2;
    pub(super) const RESPONSE_ENFORCED: usize = 3;
}

impl StreamFilter for BandwidthLimit {
    const NAME: &'static str = "bandwidth_limit";
    const STATS: &'static [Stat] = &[
        Stat::counter("request_enabled", "Requests with content that is under the limit."),
        Stat::counter("request_enforced", "Pieces of requests' content that had to wait."),
        Stat::counter("response_enabled", "Responses with content that is under the limit."),
        Stat::counter("response_enforced", "Pieces of responses' content that had to wait."),
    ];
    type Config = BandwidthLimitConfig;
    type Compiled = Compiled;
    type State = ();

    fn compile(config: BandwidthLimitConfig) -> Result<Compiled, String> {
        if config.requests.is_none() && config.responses.is_none() {
            return Err("`requests`, `responses` or both are needed".to_owned());
        }
        let side = |config: Option<BandwidthConfig>, key: &str| {
            config.map(|config| Side::compile(&config).map_err(|error| format!("{key}.{error}"))).transpose()
        };
        Ok(Compiled { request: side(config.requests, "requests")?, response: side(config.responses, "responses")? })
    }

    fn build(options: Arc<Compiled>, old: Option<&Self>, cx: FilterCx) -> Self {
        let now = cx.env.now();
        let bucket = |side: &Option<Side>, old: Option<&Arc<TokenBucket>>| {
            side.as_ref().map(|side| side.bucket(old, cx.workers, now))
        };
        Self {
            request: bucket(&options.request, old.and_then(|old| old.request.as_ref())),
            response: bucket(&options.response, old.and_then(|old| old.response.as_ref())),
            stats: cx.stats,
            env: cx.env,
        }
    }

    fn on_request(&self, (): &mut (), request: &mut Request, _: &StreamCx) -> Action {
        let rows = (row::REQUEST_ENABLED, row::REQUEST_ENFORCED);
        self.slow_down(&mut request.body, self.request.as_ref(), rows);
        Action::Continue
    }

    fn on_response(&self, (): &mut (), response: &mut Response, _: &StreamCx) {
        let rows = (row::RESPONSE_ENABLED, row::RESPONSE_ENFORCED);
        self.slow_down(&mut response.body, self.response.as_ref(), rows);
    }
}

impl BandwidthLimit {
    fn slow_down(&self, body: &mut Body, bucket: Option<&Arc<TokenBucket>>, (enabled, enforced): (usize, usize)) {
        let Some(bucket) = bucket.filter(|_| !body.is_empty()) else { return };
        self.stats.inc(enabled);
        let waited = Some((self.stats.clone(), enforced));
        *body = Paced::wrap(std::mem::take(body), Arc::clone(bucket), &self.env, waited, ());
    }
}

impl Side {
    fn compile(config: &BandwidthConfig) -> Result<Self, String> {
        let rate = config.bytes_per_second.0;
        if config.burst.is_some_and(|burst| burst.0 == 0) {
            return Err("burst: at least 1 byte".to_owned());
        }
        let burst = config.burst.map_or(default_burst(rate), |burst| burst.0);
        let rate = Rate::per_second(rate, burst).map_err(|error| format!("bytes_per_second: {error}"))?;
        Ok(Self { rate, bucket: OnceLock::new() })
    }

    /// The bucket that was there before goes on if its rate is the same.
    fn bucket(&self, old: Option<&Arc<TokenBucket>>, workers: usize, now: Time) -> Arc<TokenBucket> {
        let make = || match old.filter(|bucket| bucket.rate() == self.rate) {
            Some(bucket) => Arc::clone(bucket),
            None => Arc::new(TokenBucket::new(self.rate, workers, now)),
        };
        Arc::clone(self.bucket.get_or_init(make))
    }
}
