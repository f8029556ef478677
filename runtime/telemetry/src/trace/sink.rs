//! Traced streams on their way from the workers to the control plane.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ringway_api::{ResponseFlags, rpc};

use super::span::{self, Span, SpanValue, Thrown};
use crate::{
    Field, Format, Needs, ReportLane, ReportRing, SinkPlan, StreamRecord, StreamReport, StreamSink, grpc_failed,
};

/// Which streams are reported at their end although the trace is not sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Those that failed: see [`Traced::has_failed`].
    pub errors: bool,
    /// Those that took so long or longer.
    pub slow: Option<Duration>,
    /// Those with any of these flags.
    pub flags: ResponseFlags,
}

/// Traced streams on their way.
pub type TraceRing = ReportRing<Box<Traced>>;

/// What the spans of a filter chain's streams are made with.
#[derive(Debug)]
pub struct SpanPlan {
    /// The name of this service.
    pub service: Arc<str>,
    /// What is reported besides sampled streams.
    pub tail: Tail,
    tags: Vec<(Box<str>, Format)>,
    places: Places,
}

/// Reports the streams of a filter chain that are sampled, or that their ends make worth it.
pub struct TraceSink {
    plan: Arc<SpanPlan>,
    ring: Arc<TraceRing>,
}

/// A stream that is traced, with what makes spans of it.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The stream.
    pub report: StreamReport,
    plan: Arc<SpanPlan>,
}

/// Where captured fields are.
#[derive(Debug)]
struct Places {
    exception: usize,
    class: usize,
    text: usize,
    stack: usize,
    /// Of a gRPC call that fails at once, and of others.
    grpc_message: (usize, usize),
}

struct Lane {
    plan: Arc<SpanPlan>,
    lane: ReportLane<Box<Traced>>,
}

impl Tail {
    /// Whether anything is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl SpanPlan {
    /// Spans of a service with tags of their own: names, and values in the access log's operators
    /// ([`Format::value`]); a tag whose value is empty is left out. Takes part in what the chain's sinks need.
    pub fn new(service: Arc<str>, tail: Tail, mut tags: Vec<(Box<str>, Format)>, needs: &mut Needs) -> Self {
        for field in [Field::Path, Field::Authority, Field::Attempts, Field::Trace, Field::GrpcStatus, Field::Call] {
            needs.add(field);
        }
        tags.iter_mut().for_each(|(_, format)| format.share(needs));
        let mut response = |name| needs.response_header(HeaderName::from_static(name));
        let (exception, class) = (response(rpc::EXCEPTION), response(rpc::EXCEPTION_CLASS));
        let (text, stack) = (response(rpc::EXCEPTION_MESSAGE), response(rpc::EXCEPTION_STACK));
        let at_once = response("grpc-message");
        let grpc_message = (at_once, needs.response_trailer(HeaderName::from_static("grpc-message")));
        Self { service, tail, tags, places: Places { exception, class, text, stack, grpc_message } }
    }

    fn wants(&self, record: &StreamRecord<'_>) -> bool {
        let Tail { errors, slow, flags } = self.tail;
        slow.is_some_and(|slow| record.duration >= slow)
            || flags.intersects(record.flags)
            || (errors && self.has_failed(record))
    }

    fn has_failed(&self, record: &StreamRecord<'_>) -> bool {
        record.response_code.is_none_or(|code| code >= 500)
            || record.grpc_status.is_some_and(grpc_failed)
            || record.response_headers.value(self.places.exception).is_some()
    }

    fn thrown<'a>(&self, record: &StreamRecord<'a>) -> Option<Thrown<'a>> {
        let (now, later) = self.places.grpc_message;
        let headers = record.response_headers;
        if headers.value(self.places.exception).is_some() {
            return Some(Thrown {
                class: headers.value(self.places.class),
                message: headers.value(self.places.text),
                stack: headers.value(self.places.stack),
            });
        }
        record.grpc_status.filter(|status| grpc_failed(*status))?;
        let message = record.response_trailers.value(later).or_else(|| headers.value(now));
        Some(Thrown { class: None, message, stack: None })
    }
}

impl TraceSink {
    /// What a plan asks for, into these queues.
    pub fn new(plan: Arc<SpanPlan>, ring: Arc<TraceRing>) -> Self {
        Self { plan, ring }
    }
}

impl SinkPlan for TraceSink {
    fn on_worker(&self, worker: usize) -> Option<Box<dyn StreamSink>> {
        Some(Box::new(Lane { plan: Arc::clone(&self.plan), lane: self.ring.lane(worker)? }))
    }
}

impl StreamSink for Lane {
    fn ended(&self, record: &StreamRecord<'_>) {
        let Some(ids) = record.trace else { return };
        if ids.sampled || self.plan.wants(record) {
            self.lane.push(Box::new(Traced { report: StreamReport::of(record), plan: Arc::clone(&self.plan) }));
        }
    }
}

impl Traced {
    /// The name of the service that it was served by.
    pub fn service(&self) -> &Arc<str> {
        &self.plan.service
    }

    /// Whether it failed: a status of 500 or more or none at all, a gRPC status that says so, or an exception.
    pub fn has_failed(&self) -> bool {
        self.plan.has_failed(&self.report.record())
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.report.heap_bytes()
    }

    /// Its spans, with tags and what was thrown.
    pub fn spans(&self) -> Vec<Span<'_>> {
        let record = self.report.record();
        let mut spans = span::spans_of(&record, self.plan.thrown(&record));
        if let Some(server) = spans.first_mut() {
            let mut value = Vec::new();
            for (name, format) in &self.plan.tags {
                value.clear();
                format.render(&record, &mut value);
                if !value.is_empty() {
                    let value = SpanValue::Text(String::from_utf8_lossy(&value).into_owned().into());
                    server.attributes.push(((&**name).into(), value));
                }
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU128;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::SystemTime;

    use super::*;
    use crate::{Captured, Sinks, SpanId, TraceIds};

    fn sinks(tail: Tail, bell: &Arc<AtomicUsize>) -> (Sinks, Arc<TraceRing>) {
        let bell = Arc::clone(bell);
        let ring = TraceRing::new(1, 8, move || {
            bell.fetch_add(1, Ordering::Relaxed);
        });
        let mut sinks = Sinks::default();
        sinks.add(|needs| {
            let tags = vec![
                ("tenant".into(), Format::value("%REQ(x-tenant)%").unwrap()),
                ("none".into(), Format::value("%REQ(x-none)%").unwrap()),
            ];
            TraceSink::new(Arc::new(SpanPlan::new("shop".into(), tail, tags, needs)), Arc::clone(&ring))
        });
        (sinks, ring)
    }

    fn record(sampled: bool) -> StreamRecord<'static> {
        let mut record = StreamRecord::new(SystemTime::UNIX_EPOCH);
        let span = SpanId::MIN;
        record.trace = Some(TraceIds { trace: NonZeroU128::MIN, span, parent: None, sampled });
        record.response_code = Some(200);
        record
    }

    fn drained(ring: &TraceRing) -> Vec<Traced> {
        let mut all = Vec::new();
        ring.drain(8, |traced| all.push(*traced));
        all
    }

    #[test]
    fn ends_decide_where_the_head_said_no() {
        let bell = Arc::default();
        let slow = Some(Duration::from_millis(500));
        let flags = ResponseFlags::of(crate::ResponseFlag::UpstreamRequestTimeout);
        let (sinks, ring) = sinks(Tail { errors: true, slow, flags }, &bell);
        let lanes = sinks.on_worker(0);
        let told = |change: &dyn Fn(&mut StreamRecord<'static>)| {
            let mut record = record(false);
            change(&mut record);
            lanes.iter().for_each(|lane| lane.ended(&record));
            drained(&ring).len()
        };
        assert_eq!(told(&|_| {}), 0);
        assert_eq!(told(&|record| record.response_code = Some(503)), 1);
        assert_eq!(told(&|record| record.response_code = None), 1);
        assert_eq!(told(&|record| record.grpc_status = Some(14)), 1);
        assert_eq!(told(&|record| record.grpc_status = Some(5)), 0, "NOT_FOUND is the caller's affair");
        assert_eq!(told(&|record| record.duration = Duration::from_millis(499)), 0);
        assert_eq!(told(&|record| record.duration = Duration::from_millis(500)), 1);
        assert_eq!(told(&|record| record.flags = flags), 1);
        assert_eq!(told(&|record| record.trace.as_mut().unwrap().sampled = true), 1);
        assert_eq!(told(&|record| record.trace = None), 0);
    }

    #[test]
    fn tags_come_from_what_was_captured_and_the_bell_rings_once() {
        let bell: Arc<AtomicUsize> = Arc::default();
        let (sinks, ring) = sinks(Tail::default(), &bell);
        let headers = Captured::capture(&sinks.needs().request_headers, |name| {
            (name.as_str() == "x-tenant").then_some(&b"acme"[..])
        });
        let lanes = sinks.on_worker(0);
        let mut record = record(true);
        record.request_headers = &headers;
        for _ in 0..3 {
            lanes.iter().for_each(|lane| lane.ended(&record));
        }
        assert_eq!(bell.load(Ordering::Relaxed), 1);
        let [first, ..] = &drained(&ring)[..] else { panic!() };
        let spans = first.spans();
        let tags: Vec<_> = spans[0].attributes.iter().filter(|(name, _)| name == "tenant" || name == "none").collect();
        assert_eq!(tags, [&("tenant".into(), SpanValue::Text("acme".into()))]);
        lanes.iter().for_each(|lane| lane.ended(&record));
        assert_eq!(bell.load(Ordering::Relaxed), 2, "heard, and rung again");
    }
}
