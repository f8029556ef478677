//! Responses of the past for when the upstream fails: `stale-if-error` (RFC 5861, section 4) from a small cache.

mod body;
mod rules;
mod store;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{
    Action, Body, ByteSize, Chunk, Env, FilterCx, FilterStats, Headers, Known, LocalSource, Millis, Request, Response,
    ResponseFlags, ResponseHead, Stat, StreamCx, StreamFilter,
};
use schemars::JsonSchema;
use serde::Deserialize;

use self::body::Recorded;
use self::rules::Freshness;
use self::store::{Entry, Reservation, Store};
use crate::media_type::is_call;
use crate::upstream_failure::UpstreamFailure;

/// Keeps responses, and answers with them when the upstream has failed. Nothing is answered from the cache while the
/// upstream is well.
///
/// Only what a shared cache may keep without a doubt is kept (RFC 9111, section 3), by each worker for itself.
pub struct StaleCache {
    rules: Arc<CacheRules>,
    stats: Rc<FilterStats>,
    env: Rc<dyn Env>,
    store: Rc<RefCell<Store>>,
}

/// What users write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StaleCacheConfig {
    /// How long a response may be stale. A response that says `stale-if-error` itself may shorten it.
    #[serde(default = "stale_if_error")]
    stale_if_error: Millis,
    /// The failures that are answered from the cache.
    #[serde(default = "usual")]
    on: Vec<UpstreamFailure>,
    /// The most that a worker keeps.
    #[serde(default = "max_bytes")]
    max_bytes: ByteSize,
    /// The longest content that is kept.
    #[serde(default = "max_entry_bytes")]
    max_entry_bytes: ByteSize,
    /// What is kept is not replaced more often than this.
    #[serde(default = "refresh")]
    refresh: Millis,
    /// The fields of requests that a response may depend on (`Vary`); one that depends on others is not kept.
    #[serde(default = "vary")]
    vary: Vec<String>,
    /// Keep responses to requests with cookies too, and give them to anyone. Only where cookies change no response.
    #[serde(default)]
    ignore_cookies: bool,
}

/// [`StaleCacheConfig`], checked.
#[derive(Debug)]
pub struct CacheRules {
    window: Millis,
    on: Box<[UpstreamFailure]>,
    max_bytes: usize,
    max_entry_bytes: usize,
    refresh: Millis,
    vary: Box<[String]>,
    ignore_cookies: bool,
}

/// What is known of a request whose response may come from the cache or go there.
#[derive(Debug)]
pub struct Lookup {
    /// Authority and target.
    target: Box<[u8]>,
    /// The values of all fields that a response may depend on.
    variant: Box<[u8]>,
    may_serve: bool,
    may_store: bool,
}

const HITS_STALE: usize = 0;
const MISSES: usize = 1;
const STORED: usize = 2;
const EVICTED: usize = 3;
const NOT_STORED: usize = 4;

impl StreamFilter for StaleCache {
    const NAME: &'static str = "stale_cache";
    const STATS: &'static [Stat] = &[
        Stat::counter("hits_stale", "Failures that were answered from the cache."),
        Stat::counter("misses", "Failures for which the cache had nothing."),
        Stat::counter("stored", "Responses that were put into the cache."),
        Stat::counter("evicted", "Responses that made room for others."),
        Stat::counter("not_stored", "Responses that could have been kept but were too long, or broke off."),
    ];
    type Config = StaleCacheConfig;
    type Compiled = CacheRules;
    type State = Option<Box<Lookup>>;

    fn compile(config: StaleCacheConfig) -> Result<CacheRules, String> {
        UpstreamFailure::check(&config.on)?;
        let (most, entry) = (config.max_bytes.bytes(), config.max_entry_bytes.bytes());
        if entry == 0 || most < entry {
            return Err("max_bytes: not less than max_entry_bytes, which is at least 1".to_owned());
        }
        if let Some(bad) = config.vary.iter().find(|name| !Headers::can_hold(name.as_bytes(), b"")) {
            return Err(format!("vary: {bad:?} is no name of a field"));
        }
        Ok(CacheRules {
            window: config.stale_if_error,
            on: config.on.into(),
            max_bytes: most,
            max_entry_bytes: entry,
            refresh: config.refresh,
            vary: config.vary.iter().map(|name| name.to_ascii_lowercase()).collect(),
            ignore_cookies: config.ignore_cookies,
        })
    }

    fn build(rules: Arc<CacheRules>, old: Option<&Self>, cx: FilterCx) -> Self {
        // What the old one had is kept as far as there is room, unless it was kept by other rules.
        let same = |old: &&Self| old.rules.vary == rules.vary && old.rules.ignore_cookies == rules.ignore_cookies;
        let store = old.filter(same).map(|old| Rc::clone(&old.store)).unwrap_or_default();
        let evicted = store.borrow_mut().set_limit(rules.max_bytes);
        let stats = Rc::new(cx.stats);
        stats.add(EVICTED, evicted as i64);
        Self { rules, stats, env: cx.env, store }
    }

    fn on_request(&self, state: &mut Self::State, request: &mut Request, _: &StreamCx) -> Action {
        let head = &request.head;
        if head.tunnel.is_some() || is_call(head) {
            return Action::Continue;
        }
        let Some(allowed) = rules::of_request(head, self.rules.ignore_cookies) else { return Action::Continue };
        // Memory is taken for each such request: the response has no other way to know what it answers.
        let mut variant = Vec::new();
        for name in &self.rules.vary {
            for value in head.headers.all(name) {
                variant.extend_from_slice(value);
                variant.push(b'\n');
            }
            variant.push(0);
        }
        *state = Some(Box::new(Lookup {
            target: [head.scheme.as_str().as_bytes(), b"://", head.authority(), head.path_and_query()].concat().into(),
            variant: variant.into(),
            may_serve: allowed.serve,
            may_store: allowed.store,
        }));
        Action::Continue
    }

    fn on_response(&self, state: &mut Self::State, response: &mut Response, _: &StreamCx) {
        let Some(lookup) = state.take() else { return };
        if UpstreamFailure::any(&self.rules.on, &response.head) {
            if lookup.may_serve {
                self.serve(&lookup, response);
            }
        } else if lookup.may_store
            && response.head.local.is_none()
            && let Some(freshness) = rules::of_response(&response.head, &self.rules.vary)
        {
            self.record(&lookup, freshness, response);
        }
    }
}

impl StaleCache {
    fn serve(&self, lookup: &Lookup, response: &mut Response) {
        let now = self.env.now();
        let store = self.store.borrow();
        let Some(entry) = store.find(&lookup.target, &lookup.variant).filter(|entry| now < entry.until) else {
            self.stats.inc(MISSES);
            return;
        };
        self.stats.inc(HITS_STALE);
        let mut head = entry.head.clone();
        let kept = now.since(entry.stored).as_secs();
        let age = kept.saturating_add(entry.age).to_string();
        let left = (entry.freshness as i64).saturating_sub(kept as i64);
        let status = format!("ringway; hit; ttl={left}; detail=stale-if-error");
        // RFC 9111, section 5.1, and RFC 9211.
        let set = head.headers.set("age", age.as_bytes()).and(head.headers.append("cache-status", status.as_bytes()));
        debug_assert!(set.is_ok());
        // It is nothing to be kept anew.
        head.set_local(LocalSource::Filter, ResponseFlags::NONE, "stale_if_error");
        let body = if entry.content.is_empty() { Body::Empty } else { Body::Full(entry.content.clone()) };
        // What is replaced may be what the store records.
        drop(store);
        *response = Response { head, body };
    }

    /// Has a response kept once it has gone by.
    fn record(&self, lookup: &Lookup, freshness: Freshness, response: &mut Response) {
        let now = self.env.now();
        let window = freshness.stale_if_error.map_or(self.rules.window, |own| self.rules.window.min(own));
        let until = now + (std::time::Duration::from_secs(freshness.seconds) + window.duration());
        let variant = if freshness.varies { &*lookup.variant } else { &[] };
        {
            let store = self.store.borrow();
            let known = store.exactly(&lookup.target, variant);
            if known.is_some_and(|known| now.since(known.stored) < self.rules.refresh.duration()) {
                return;
            }
        }
        if response.body.remaining().is_some_and(|length| length > self.rules.max_entry_bytes as u64) {
            self.stats.inc(NOT_STORED);
            return;
        }
        let mut head: ResponseHead = response.head.clone();
        head.headers.detach();
        head.headers.remove("age");
        // What was read of it may differ from what is sent.
        head.headers.remove_known(Known::ContentLength);
        let size = head.headers.wire_len() + head.headers.block().len() + lookup.target.len() + variant.len();
        let reservation = Reservation::new(Rc::clone(&self.store), self.rules.max_entry_bytes);
        let (target, variant) = (lookup.target.clone(), Box::from(variant));
        let stats = Rc::clone(&self.stats);
        let keep = move |store: &Rc<RefCell<Store>>, content: Option<Vec<u8>>| {
            let Some(content) = content else {
                stats.inc(NOT_STORED);
                return;
            };
            let entry = Entry {
                size: size + content.len() + store::OVERHEAD,
                head,
                content: Chunk::from(content),
                stored: now,
                until,
                age: freshness.age,
                freshness: freshness.seconds,
            };
            match store.borrow_mut().insert(target, variant, entry) {
                Some(evicted) => {
                    stats.inc(STORED);
                    stats.add(EVICTED, evicted as i64);
                }
                None => stats.inc(NOT_STORED),
            }
        };
        let body = std::mem::take(&mut response.body);
        response.body = match body {
            Body::Stream(_) => Body::Stream(Box::new(Recorded::new(body, reservation, Box::new(keep)))),
            Body::Full(content) => {
                keep(&self.store, Some(content.to_vec()));
                Body::Full(content)
            }
            Body::Empty => {
                keep(&self.store, Some(Vec::new()));
                Body::Empty
            }
        };
    }
}

const fn stale_if_error() -> Millis {
    Millis(60_000)
}

fn usual() -> Vec<UpstreamFailure> {
    use UpstreamFailure::{ConnectFailure, NoHealthyUpstream, Overflow, Reset, ServerError, Timeout};
    vec![NoHealthyUpstream, ConnectFailure, Reset, Timeout, Overflow, ServerError]
}

const fn max_bytes() -> ByteSize {
    ByteSize(8 << 20)
}

const fn max_entry_bytes() -> ByteSize {
    ByteSize(256 << 10)
}

const fn refresh() -> Millis {
    Millis(1000)
}

fn vary() -> Vec<String> {
    ["accept", "accept-encoding", "accept-language", "origin"].map(str::to_owned).into()
}
