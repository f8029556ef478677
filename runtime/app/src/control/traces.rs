//! Traced streams that are kept in memory, for people to look at.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU128;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringway_config::raw::TraceStore;
use ringway_telemetry::{Span, SpanEvent, SpanKind, SpanStatus, SpanValue, Traced};
use serde_json::{Map, Value, json};

/// How long a slow stream is worth showing.
const SLOW_FOR: Duration = Duration::from_secs(3600);
/// How often slow streams that are too old make room: looking at all of them for each that comes would cost more than
/// all else that is done with it.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The most recent streams, the slowest of the last hour, and the last that failed. Each kind is bounded by number and
/// by bytes, and loses its oldest or its fastest.
pub(crate) struct Traces {
    limits: TraceStore,
    recent: Ring,
    failed: Ring,
    slow: BTreeMap<(Duration, u64), Arc<Kept>>,
    slow_bytes: usize,
    /// When the slow ones were looked through for old ones, by the ends of streams.
    looked: SystemTime,
    number: u64,
}

/// What streams are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Recent,
    Slow,
    Failed,
}

#[derive(Default)]
struct Ring {
    kept: VecDeque<Arc<Kept>>,
    bytes: usize,
}

struct Kept {
    number: u64,
    traced: Box<Traced>,
    failed: bool,
    bytes: usize,
}

impl Kind {
    /// The kind of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "recent" => Some(Self::Recent),
            "slow" => Some(Self::Slow),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }
}

impl Traces {
    pub(super) fn new(limits: TraceStore) -> Self {
        Self {
            limits,
            recent: Ring::default(),
            failed: Ring::default(),
            slow: BTreeMap::new(),
            slow_bytes: 0,
            looked: SystemTime::UNIX_EPOCH,
            number: 0,
        }
    }

    pub(super) fn resize(&mut self, limits: TraceStore) {
        self.limits = limits;
        self.trim();
    }

    pub(super) fn add(&mut self, traced: Box<Traced>) {
        if self.limits.entries == 0 {
            return;
        }
        self.number += 1;
        let (failed, bytes) = (traced.has_failed(), traced.bytes());
        let kept = Arc::new(Kept { number: self.number, traced, failed, bytes });
        if failed {
            self.failed.push(&kept);
        }
        self.forget_old(kept.ended());
        self.slow_bytes += kept.bytes;
        self.slow.insert((kept.took(), kept.number), Arc::clone(&kept));
        self.recent.push(&kept);
        self.trim();
    }

    /// Drops slow streams that nobody is shown any more.
    fn forget_old(&mut self, now: SystemTime) {
        // Streams come in no order, and clocks are set back.
        let since = now.duration_since(self.looked).unwrap_or_else(|before| before.duration());
        if since < LOOK_EVERY {
            return;
        }
        self.looked = now;
        self.slow.retain(|_, kept| !kept.is_older(now, SLOW_FOR));
        self.slow_bytes = self.slow.values().map(|kept| kept.bytes).sum();
    }

    fn trim(&mut self) {
        let (entries, bytes) = (self.limits.entries as usize, self.limits.max_bytes.bytes());
        self.recent.trim(entries, bytes);
        self.failed.trim(entries, bytes);
        while self.slow.len() > entries || self.slow_bytes > bytes {
            let Some((_, fastest)) = self.slow.pop_first() else { break };
            self.slow_bytes -= fastest.bytes;
        }
    }

    /// So many of a kind, the most recent or slowest first.
    pub(crate) fn list(&self, kind: Kind, limit: usize) -> Value {
        let now = SystemTime::now();
        let lines: Vec<Value> = match kind {
            Kind::Recent => self.recent.kept.iter().rev().take(limit).map(|kept| kept.line()).collect(),
            Kind::Failed => self.failed.kept.iter().rev().take(limit).map(|kept| kept.line()).collect(),
            Kind::Slow => {
                let young = self.slow.values().rev().filter(|kept| !kept.is_older(now, SLOW_FOR));
                young.take(limit).map(|kept| kept.line()).collect()
            }
        };
        json!({ "traces": lines })
    }

    /// All that is known of a trace, in the order of time.
    pub(crate) fn find(&self, trace: NonZeroU128) -> Option<Value> {
        let all = self.recent.kept.iter().chain(&self.failed.kept).chain(self.slow.values());
        let of_it = all.filter(|kept| kept.trace() == Some(trace));
        let mut found: Vec<_> = of_it.collect();
        found.sort_by_key(|kept| kept.number);
        found.dedup_by_key(|kept| kept.number);
        if found.is_empty() {
            return None;
        }
        let mut spans: Vec<(Span<'_>, &str)> = Vec::new();
        for kept in found {
            let service = &**kept.traced.service();
            spans.extend(kept.traced.spans().into_iter().map(|span| (span, service)));
        }
        spans.sort_by_key(|(span, _)| span.start);
        let spans: Vec<_> = spans.iter().map(|(span, service)| shown(span, service)).collect();
        Some(json!({ "trace_id": format!("{trace:032x}"), "spans": spans }))
    }
}

impl Ring {
    fn push(&mut self, kept: &Arc<Kept>) {
        self.bytes += kept.bytes;
        self.kept.push_back(Arc::clone(kept));
    }

    fn trim(&mut self, entries: usize, bytes: usize) {
        while self.kept.len() > entries || self.bytes > bytes {
            let Some(gone) = self.kept.pop_front() else { break };
            self.bytes -= gone.bytes;
        }
    }
}

impl Kept {
    fn took(&self) -> Duration {
        self.traced.report.record().duration
    }

    fn trace(&self) -> Option<NonZeroU128> {
        self.traced.report.record().trace.map(|ids| ids.trace)
    }

    fn is_older(&self, now: SystemTime, than: Duration) -> bool {
        now.duration_since(self.traced.report.record().start).is_ok_and(|age| age > than)
    }

    fn ended(&self) -> SystemTime {
        let record = self.traced.report.record();
        record.start + record.duration
    }

    /// The stream in a list.
    fn line(&self) -> Value {
        let spans = self.traced.spans();
        let first = spans.first();
        json!({
            "trace_id": self.trace().map(|trace| format!("{trace:032x}")),
            "service": &**self.traced.service(),
            "name": first.map(|span| &*span.name),
            "start_us": first.map(|span| micros(span.start)),
            "duration_us": self.took().as_micros() as u64,
            "failed": self.failed,
            "spans": spans.len(),
            "response_code": self.traced.report.record().response_code,
            "response_flags": self.traced.report.record().flags.to_string(),
        })
    }
}

fn shown(span: &Span<'_>, service: &str) -> Value {
    let status = match &span.status {
        SpanStatus::Unset => json!({ "code": "unset" }),
        SpanStatus::Error(why) => json!({ "code": "error", "message": &**why }),
    };
    let event = |event: &SpanEvent<'_>| json!({ "name": event.name, "at_us": micros(event.at), "attributes": attributes(&event.attributes) });
    json!({
        "id": format!("{:016x}", span.id),
        "parent": span.parent.map(|parent| format!("{parent:016x}")),
        "name": &*span.name,
        "kind": match span.kind {
            SpanKind::Server => "server",
            SpanKind::Client => "client",
        },
        "service": service,
        "start_us": micros(span.start),
        "end_us": micros(span.end),
        "attributes": attributes(&span.attributes),
        "events": span.events.iter().map(event).collect::<Vec<_>>(),
        "status": status,
    })
}

fn attributes(all: &[(std::borrow::Cow<'_, str>, SpanValue<'_>)]) -> Value {
    let value = |value: &SpanValue<'_>| match value {
        SpanValue::Text(text) => Value::from(&**text),
        SpanValue::Number(number) => Value::from(*number),
        SpanValue::Bool(truth) => Value::from(*truth),
    };
    Value::Object(all.iter().map(|(name, of)| (name.to_string(), value(of))).collect::<Map<_, _>>())
}

/// Microseconds since 1970.
fn micros(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

#[cfg(test)]
mod tests {
    use ringway_api::ByteSize;
    use ringway_telemetry::{Sinks, SpanId, SpanPlan, StreamRecord, Tail, TraceIds, TraceRing, TraceSink};

    use super::*;

    /// A stream of this trace that took so many milliseconds.
    fn traced(trace: u128, millis: u64, status: u16) -> Box<Traced> {
        started(SystemTime::now(), trace, millis, status)
    }

    fn started(start: SystemTime, trace: u128, millis: u64, status: u16) -> Box<Traced> {
        let ring = TraceRing::new(1, 1, || ());
        let mut sinks = Sinks::default();
        sinks.add(|needs| {
            let plan = SpanPlan::new("shop".into(), Tail::default(), Vec::new(), needs);
            TraceSink::new(Arc::new(plan), Arc::clone(&ring))
        });
        let mut record = StreamRecord::new(start);
        let trace = NonZeroU128::new(trace).unwrap();
        record.trace = Some(TraceIds { trace, span: SpanId::MIN, parent: None, sampled: true });
        (record.duration, record.response_code) = (Duration::from_millis(millis), Some(status));
        sinks.on_worker(0).iter().for_each(|sink| sink.ended(&record));
        let mut taken = None;
        ring.drain(1, |traced| taken = Some(traced));
        taken.unwrap()
    }

    fn ids(traces: &Traces, kind: Kind) -> Vec<u128> {
        let list = traces.list(kind, 100);
        let id = |line: &Value| u128::from_str_radix(line["trace_id"].as_str().unwrap(), 16).unwrap();
        list["traces"].as_array().unwrap().iter().map(id).collect()
    }

    #[test]
    fn each_kind_keeps_its_own() {
        let mut traces = Traces::new(TraceStore { entries: 2, max_bytes: ByteSize(1 << 20) });
        for (trace, millis, status) in [(1, 50, 503), (2, 90, 200), (3, 10, 200), (4, 20, 200)] {
            traces.add(traced(trace, millis, status));
        }
        assert_eq!(ids(&traces, Kind::Recent), [4, 3]);
        assert_eq!(ids(&traces, Kind::Slow), [2, 1]);
        assert_eq!(ids(&traces, Kind::Failed), [1]);
        let found = traces.find(NonZeroU128::new(1).unwrap()).unwrap();
        assert_eq!(found["spans"][0]["status"]["code"], "error");
        assert!(traces.find(NonZeroU128::new(9).unwrap()).is_none());
        traces.resize(TraceStore { entries: 0, max_bytes: ByteSize(1 << 20) });
        assert!(ids(&traces, Kind::Slow).is_empty() && ids(&traces, Kind::Failed).is_empty());
    }

    #[test]
    fn slow_streams_of_hours_ago_make_room() {
        let mut traces = Traces::new(TraceStore { entries: 2, max_bytes: ByteSize(1 << 20) });
        let now = SystemTime::now();
        traces.add(started(now - 2 * SLOW_FOR, 1, 500, 200));
        traces.add(started(now, 2, 10, 200));
        assert_eq!(traces.slow.len(), 1, "the new one has made it go");
        traces.add(started(now, 3, 20, 200));
        assert_eq!(ids(&traces, Kind::Slow), [3, 2]);
        assert_eq!(traces.slow_bytes, traces.slow.values().map(|kept| kept.bytes).sum::<usize>());
    }

    #[test]
    fn bytes_bound_them_too() {
        let one = traced(1, 1, 500);
        let mut traces = Traces::new(TraceStore { entries: 100, max_bytes: ByteSize(3 * one.bytes() as u64) });
        (1..20).for_each(|trace| traces.add(traced(trace, trace as u64, 500)));
        for kind in [Kind::Recent, Kind::Failed, Kind::Slow] {
            assert_eq!(ids(&traces, kind), [19, 18, 17]);
        }
    }
}
