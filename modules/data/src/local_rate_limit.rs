//! Lets requests pass at a rate: a token bucket for all of them, and others for some. As Envoy's local rate limit.

mod options;

use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use ringway_api::{
    Action, Address, ConnInfo, Env, FilterCx, FilterStats, LocalReply, Request, RequestHead, Response, ResponseFlag,
    Stat, StreamCx, StreamFilter, Time,
};

use self::options::{Compiled, Descriptor, Entry};
pub use self::options::{DescriptorConfig, EntryConfig, LocalRateLimitConfig};
use crate::token_bucket::{KeyedBuckets, Lease, Quota, Rate, TokenBucket};

/// Answers requests for which there is no token with 429.
pub struct LocalRateLimit {
    options: Arc<Compiled>,
    buckets: Arc<Buckets>,
    /// Of the bucket for all, and of those descriptors that have one bucket.
    general: Option<Lease>,
    special: Vec<Option<Lease>>,
    stats: FilterStats,
    env: Rc<dyn Env>,
}

/// The buckets, shared by all workers.
#[derive(Debug)]
pub(crate) struct Buckets {
    general: Option<Arc<TokenBucket>>,
    special: Vec<Special>,
}

/// The buckets of a descriptor.
#[derive(Clone, Debug)]
enum Special {
    One(Arc<TokenBucket>),
    Keyed(Arc<KeyedBuckets>),
}

/// What is remembered of one stream.
#[derive(Debug, Default)]
pub struct State {
    limited: bool,
    /// Of the bucket that has the least left.
    quota: Option<Quota>,
}

/// Rows of [`LocalRateLimit::STATS`].
mod row {
    pub(super) const ENABLED: usize = 0;
    pub(super) const OK: usize = 1;
    pub(super) const RATE_LIMITED: usize = 2;
    pub(super) const ENFORCED: usize = 3;
    pub(super) const EVICTED: usize = 4;
}

impl StreamFilter for LocalRateLimit {
    const NAME: &'static str = "local_rate_limit";
    const STATS: &'static [Stat] = &[
        Stat::counter("enabled", "Requests that were looked at."),
        Stat::counter("ok", "Requests for which there was a token."),
        Stat::counter("rate_limited", "Requests for which there was none, refused or not."),
        Stat::counter("enforced", "Requests that were refused."),
        Stat::counter("descriptors_evicted", "Keys that lost their bucket to another key before it was full again."),
    ];
    type Config = LocalRateLimitConfig;
    type Compiled = Compiled;
    type State = State;

    fn compile(config: LocalRateLimitConfig) -> Result<Compiled, String> {
        Compiled::new(config)
    }

    fn build(options: Arc<Compiled>, old: Option<&Self>, cx: FilterCx) -> Self {
        let make = || Arc::new(Buckets::new(&options, old, cx.workers, cx.env.now()));
        let buckets = Arc::clone(options.buckets.get_or_init(make));
        let general = buckets.general.as_ref().map(TokenBucket::lease);
        let lease = |special: &Special| match special {
            Special::One(bucket) => Some(bucket.lease()),
            Special::Keyed(_) => None,
        };
        let special = buckets.special.iter().map(lease).collect();
        Self { options, buckets, general, special, stats: cx.stats, env: cx.env }
    }

    fn on_request(&self, state: &mut State, request: &mut Request, cx: &StreamCx) -> Action {
        if !self.options.enabled.hits(self.env.random()) {
            return Action::Continue;
        }
        self.stats.inc(row::ENABLED);
        if self.take(state, &request.head, &cx.conn.info) {
            self.stats.inc(row::OK);
            return Action::Continue;
        }
        self.stats.inc(row::RATE_LIMITED);
        if !self.options.enforced.hits(self.env.random()) {
            return Action::Continue;
        }
        self.stats.inc(row::ENFORCED);
        state.limited = true;
        let reply = LocalReply::new(self.options.status, "local_rate_limited", "local_rate_limited");
        let reply = reply.flag(ResponseFlag::RateLimited);
        let exhausted = self.options.as_resource_exhausted && self.options.status == StatusCode::TOO_MANY_REQUESTS;
        Action::Reply(Box::new(if exhausted { reply.grpc_status(RESOURCE_EXHAUSTED) } else { reply }))
    }

    fn settle(&self) {
        self.general.iter().chain(self.special.iter().flatten()).for_each(Lease::settle);
    }

    fn on_response(&self, state: &mut State, response: &mut Response, _: &StreamCx) {
        let headers = &mut response.head.headers;
        let mut set = |name: &str, value: &[u8]| {
            let set = headers.set(name, value);
            debug_assert!(set.is_ok(), "checked, or a number");
        };
        if state.limited {
            // Tells clients, and retries by `envoy-ratelimited`, who it was.
            set("x-envoy-ratelimited", b"true");
            self.options.response_headers.iter().for_each(|(name, value)| set(name, value.as_bytes()));
        }
        if self.options.x_ratelimit_headers
            && let Some(quota) = state.quota
        {
            let reset = quota.reset.as_secs() + u64::from(quota.reset.subsec_nanos() > 0);
            set("x-ratelimit-limit", quota.max.to_string().as_bytes());
            set("x-ratelimit-remaining", quota.remaining.to_string().as_bytes());
            set("x-ratelimit-reset", reset.to_string().as_bytes());
        }
    }
}

/// Of gRPC.
const RESOURCE_EXHAUSTED: u8 = 8;

impl LocalRateLimit {
    /// Takes a token of every bucket that the request is for, until one has none.
    fn take(&self, state: &mut State, head: &RequestHead, conn: &ConnInfo) -> bool {
        let now = self.env.now();
        let mut special = false;
        let all = self.options.descriptors.iter().zip(&self.buckets.special).zip(&self.special);
        for ((descriptor, buckets), lease) in all {
            if !descriptor.matches(head) {
                continue;
            }
            special = true;
            let granted = match (buckets, lease) {
                (Special::Keyed(keyed), _) => {
                    let taken = keyed.try_take(Key { descriptor, head, conn }, now);
                    if taken.evicted {
                        self.stats.inc(row::EVICTED);
                    }
                    state.note(|| taken.quota);
                    taken.granted
                }
                (Special::One(_), Some(lease)) => self.take_one(state, lease, now),
                (Special::One(_), None) => true,
            };
            if !granted {
                return false;
            }
        }
        match &self.general {
            Some(lease) if self.options.always_consume_default || !special => self.take_one(state, lease, now),
            _ => true,
        }
    }

    fn take_one(&self, state: &mut State, lease: &Lease, now: Time) -> bool {
        let granted = lease.try_take(now);
        if self.options.x_ratelimit_headers {
            state.note(|| lease.quota(now));
        }
        granted
    }
}

impl State {
    fn note(&mut self, quota: impl FnOnce() -> Quota) {
        let quota = quota();
        if self.quota.is_none_or(|known| quota.remaining < known.remaining) {
            self.quota = Some(quota);
        }
    }
}

impl Buckets {
    /// Full buckets; those that are as they were in the configuration before go on where they are.
    fn new(options: &Compiled, old: Option<&LocalRateLimit>, workers: usize, now: Time) -> Self {
        let make = |rate: Rate| Arc::new(TokenBucket::new(rate, workers, now));
        let general = options.general.map(|rate| {
            let before = old.and_then(|old| old.buckets.general.as_ref());
            before.filter(|bucket| bucket.rate() == rate).map_or_else(|| make(rate), Arc::clone)
        });
        let special = |wanted: &Descriptor| {
            let known = old.into_iter().flat_map(|old| old.options.descriptors.iter().zip(&old.buckets.special));
            let before = known.filter(|(descriptor, _)| *descriptor == wanted).map(|(_, buckets)| buckets.clone());
            let before = before.filter(|buckets| match buckets {
                Special::One(bucket) => bucket.rate() == wanted.rate,
                Special::Keyed(keyed) => {
                    keyed.rate() == wanted.rate && keyed.capacity() >= options.max_dynamic_descriptors
                }
            });
            before.last().unwrap_or_else(|| {
                if wanted.is_keyed() {
                    Special::Keyed(Arc::new(KeyedBuckets::new(wanted.rate, options.max_dynamic_descriptors, now)))
                } else {
                    Special::One(make(wanted.rate))
                }
            })
        };
        Self { general, special: options.descriptors.iter().map(special).collect() }
    }
}

impl Descriptor {
    fn matches(&self, head: &RequestHead) -> bool {
        self.entries.iter().all(|entry| match entry {
            Entry::Header(name) => head.headers.first(name).is_some(),
            Entry::HeaderValue(name, value) => head.headers.first(name) == Some(value.as_bytes()),
            Entry::Path(path) => head.path() == path.as_bytes(),
            Entry::RemoteAddress => true,
        })
    }
}

/// What a request's bucket is found by: the values of the entries that have no fixed one.
struct Key<'a> {
    descriptor: &'a Descriptor,
    head: &'a RequestHead,
    conn: &'a ConnInfo,
}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for entry in &self.descriptor.entries {
            match entry {
                Entry::Header(name) => self.head.headers.first(name).hash(hasher),
                // Those without an IP address share a bucket.
                Entry::RemoteAddress => match &self.conn.peer {
                    Address::Ip(address) => Some(address.ip().to_canonical()).hash(hasher),
                    Address::Unix(_) => None::<std::net::IpAddr>.hash(hasher),
                },
                Entry::HeaderValue(..) | Entry::Path(_) => {}
            }
        }
    }
}
