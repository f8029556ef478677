//! Streams that somebody looks on at, for a while.

use std::sync::Arc;

use crate::{Field, LogFilter, Needs, ReportLane, ReportRing, SinkPlan, StreamRecord, StreamReport, StreamSink};

/// Tapped streams on their way.
pub type TapRing = ReportRing<Box<Tapped>>;

/// A stream for one tap.
#[derive(Debug)]
pub struct Tapped {
    /// Which tap it is for.
    pub tap: u64,
    /// The stream, with all header fields.
    pub report: StreamReport,
}

/// Reports the streams of a filter chain that a tap's filter lets pass.
pub struct TapSink {
    tap: u64,
    filter: Option<Arc<LogFilter>>,
    ring: Arc<TapRing>,
}

struct Lane {
    tap: u64,
    filter: Option<Arc<LogFilter>>,
    lane: ReportLane<Box<Tapped>>,
}

impl TapSink {
    /// For the tap of this number; `filter` as of a [`FileLog`](crate::FileLog::filtered). Takes part in what the chain's
    /// sinks need.
    pub fn new(tap: u64, filter: Option<(LogFilter, Needs)>, ring: Arc<TapRing>, needs: &mut Needs) -> Self {
        for field in [Field::Path, Field::Authority, Field::AllHeaders, Field::GrpcStatus, Field::Call] {
            needs.add(field);
        }
        let filter = filter.map(|(filter, asked)| Arc::new(filter.placed(&asked, needs)));
        Self { tap, filter, ring }
    }
}

impl SinkPlan for TapSink {
    fn on_worker(&self, worker: usize) -> Option<Box<dyn StreamSink>> {
        Some(Box::new(Lane { tap: self.tap, filter: self.filter.clone(), lane: self.ring.lane(worker)? }))
    }
}

impl StreamSink for Lane {
    fn ended(&self, record: &StreamRecord<'_>) {
        if self.filter.as_ref().is_none_or(|filter| filter.holds(record)) {
            self.lane.push(Box::new(Tapped { tap: self.tap, report: StreamReport::of(record) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{Comparison, Sinks};

    #[test]
    fn a_tap_is_told_of_what_its_filter_lets_pass_with_all_fields() {
        let ring = TapRing::new(1, 8, || ());
        let mut sinks = Sinks::default();
        let filter = (LogFilter::StatusCode(Comparison::Ge, 500), Needs::default());
        sinks.add(|needs| TapSink::new(7, Some(filter), Arc::clone(&ring), needs));
        assert!(sinks.needs().has(Field::AllHeaders));
        let fields = [(b"x-a"[..].into(), b"1"[..].into())];
        for code in [200, 503] {
            let mut record = StreamRecord::new(SystemTime::UNIX_EPOCH);
            (record.response_code, record.request_fields) = (Some(code), &fields);
            sinks.on_worker(0).iter().for_each(|lane| lane.ended(&record));
        }
        let mut told = Vec::new();
        ring.drain(8, |tapped| told.push(tapped));
        let [one] = &told[..] else { panic!("{told:?}") };
        let record = one.report.record();
        assert_eq!((one.tap, record.response_code, record.request_fields), (7, Some(503), &fields[..]));
    }
}
