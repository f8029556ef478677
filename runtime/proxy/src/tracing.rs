//! The place of a request in a trace: found where it arrives, decided upon there, and told to the hosts that are tried.

use std::cell::Cell;
use std::num::NonZeroU128;
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{Address, Env, Headers, RequestHead, Time, rpc};
use ringway_config::FieldMatcher;
use ringway_telemetry::{Cells, Child, Propagation, Scope, SpanId, TraceIds, TracingStats};

/// How a chain's requests are traced.
pub struct TracePlan {
    /// The name of this service, where a format tells it.
    pub service: Arc<str>,
    /// The formats of ids: the first that a request has counts, all of them are written.
    pub propagation: Box<[&'static Propagation]>,
    /// Which traces are recorded.
    pub sampling: Sampling,
    /// Its statistics.
    pub stats: Arc<Scope<TracingStats>>,
}

/// Which traces are recorded: the first of these that says something decides.
#[derive(Debug, Default)]
pub struct Sampling {
    /// Fields whose presence asks for a record. For trusted callers only.
    pub force: Box<[Box<str>]>,
    /// What a caller's trace counts.
    pub parent: ParentTrace,
    /// Requests with such fields are recorded, within the rate.
    pub headers: Arc<[FieldMatcher]>,
    /// Of 2^32 requests so many are, within the rate.
    pub random: u64,
    /// Traces that are begun here and recorded per second at most, over all workers, each of which has its part.
    pub rate: Option<f64>,
}

/// What a caller's trace counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParentTrace {
    /// It goes on, and is recorded if the caller does so.
    #[default]
    Respect,
    /// It goes on; whether it is recorded is decided here.
    Continue,
    /// A new one begins.
    Ignore,
}

/// How a chain's requests are traced, on one worker.
pub(crate) struct Tracing {
    plan: Arc<TracePlan>,
    stats: Cells<TracingStats>,
    bucket: Option<Bucket>,
}

/// A token bucket.
struct Bucket {
    per_second: f64,
    tokens: Cell<f64>,
    filled: Cell<Time>,
}

/// The place of one request in a trace.
pub(crate) struct StreamTrace {
    tracing: Rc<Tracing>,
    pub(crate) ids: TraceIds,
    /// What the caller asked for: the path, for formats that tell it.
    endpoint: Box<[u8]>,
}

impl Tracing {
    /// The one before, if nothing has changed: its rate goes on.
    pub(crate) fn new(
        plan: &Arc<TracePlan>,
        old: Option<&Rc<Self>>,
        (worker, workers): (usize, usize),
        now: Time,
    ) -> Rc<Self> {
        if let Some(same) = old.filter(|old| Arc::ptr_eq(&old.plan, plan)) {
            return Rc::clone(same);
        }
        let bucket = plan.sampling.rate.map(|rate| Bucket::new(rate / workers.max(1) as f64, now));
        Rc::new(Self { stats: plan.stats.worker(worker), bucket, plan: Arc::clone(plan) })
    }

    /// Finds a request's place.
    pub(crate) fn begin(self: &Rc<Self>, head: &mut RequestHead, env: &dyn Env) -> StreamTrace {
        let (mut ids, mut decision) = (None, None);
        let follow = self.plan.sampling.parent != ParentTrace::Ignore;
        // What may not be edited cannot be told anything, and so begins no new trace either.
        let sealed = is_sealed(head);
        for format in &self.plan.propagation {
            match format.extract(&head.headers) {
                Ok(Some(parent)) if follow => {
                    if ids.is_none() && (parent.ids.is_some() || decision.is_none()) {
                        ids = parent.ids;
                        decision = parent.sampled.or(decision);
                    }
                }
                Ok(None) => {}
                told => {
                    if told.is_err() {
                        self.stats.malformed.inc();
                    }
                    if !sealed {
                        format.remove(&mut head.headers);
                    }
                }
            }
        }
        let (trace, parent) = match ids {
            Some((trace, span)) => (trace, Some(span)),
            None => (new_trace(env), None),
        };
        let respected = decision.filter(|_| self.plan.sampling.parent == ParentTrace::Respect);
        let sampled = self.sample(&head.headers, respected, env);
        let endpoint = match self.plan.propagation.iter().any(|format| format.name == "sw8") {
            true => head.path_and_query().into(),
            false => Box::default(),
        };
        let ids = TraceIds { trace, span: new_span(env), parent, sampled };
        StreamTrace { tracing: Rc::clone(self), ids, endpoint }
    }

    fn sample(&self, headers: &Headers, parent: Option<bool>, env: &dyn Env) -> bool {
        let Sampling { force, headers: wanted, random, .. } = &self.plan.sampling;
        if force.iter().any(|name| headers.first(name).is_some()) {
            self.stats.client_enabled.inc();
            return true;
        }
        if let Some(sampled) = parent {
            match sampled {
                true => self.stats.parent_sampled.inc(),
                false => self.stats.not_sampled.inc(),
            }
            return sampled;
        }
        let by_header = wanted.iter().any(|matcher| matcher.matches_fields(headers));
        if !by_header && env.random() >> 32 >= *random {
            self.stats.not_sampled.inc();
            return false;
        }
        if self.bucket.as_ref().is_some_and(|bucket| !bucket.take(env.now())) {
            self.stats.rate_limited.inc();
            return false;
        }
        match by_header {
            true => self.stats.header_sampling.inc(),
            false => self.stats.random_sampling.inc(),
        }
        true
    }
}

impl Bucket {
    fn new(per_second: f64, now: Time) -> Self {
        Self { per_second, tokens: Cell::new(per_second.max(1.0)), filled: Cell::new(now) }
    }

    fn take(&self, now: Time) -> bool {
        let since = now.since(self.filled.replace(now));
        let tokens = (self.tokens.get() + since.as_secs_f64() * self.per_second).min(self.per_second.max(1.0));
        let one = tokens >= 1.0;
        self.tokens.set(if one { tokens - 1.0 } else { tokens });
        one
    }
}

impl StreamTrace {
    /// The id of a try's span.
    pub(crate) fn new_span(&self, env: &dyn Env) -> SpanId {
        new_span(env)
    }

    /// Tells a host: `span` is its try's.
    pub(crate) fn tell(&self, head: &mut RequestHead, host: Option<&Address>, span: SpanId, sampled: bool) {
        if is_sealed(head) {
            return;
        }
        let child = Child {
            trace: self.ids.trace,
            span,
            parent: self.ids.span,
            sampled,
            service: &self.tracing.plan.service,
            endpoint: &self.endpoint,
            host,
        };
        self.tracing.plan.propagation.iter().for_each(|format| format.inject(&mut head.headers, &child));
    }
}

/// Whether a call can only go on as it came.
fn is_sealed(head: &RequestHead) -> bool {
    !head.version.is_http() && head.path_and_query() == rpc::UNREAD
}

fn new_trace(env: &dyn Env) -> NonZeroU128 {
    NonZeroU128::new(u128::from(env.random()) << 64 | u128::from(env.random())).unwrap_or(NonZeroU128::MIN)
}

fn new_span(env: &dyn Env) -> SpanId {
    SpanId::new(env.random()).unwrap_or(SpanId::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_and_saved_for_a_second_at_most() {
        let second = 1_000_000_000;
        let bucket = Bucket::new(2.0, Time(0));
        let taken = |at: u64| (0..10).filter(|_| bucket.take(Time(at))).count();
        assert_eq!([taken(0), taken(0), taken(second / 2), taken(100 * second)], [2, 0, 1, 2]);
        let slow = Bucket::new(0.5, Time(0));
        let taken = |at: u64| (0..10).filter(|_| slow.take(Time(at))).count();
        assert_eq!([taken(0), taken(second), taken(2 * second)], [1, 0, 1]);
    }
}
