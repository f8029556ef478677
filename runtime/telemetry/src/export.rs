//! What the control plane does with reports: the seam between what is collected and where it goes.

use std::sync::Arc;

use crate::{
    AccessLogStats, Cells, Field, Format, LogFilter, LogType, Needs, ReportLane, ReportRing, Scope, SinkPlan, Span,
    StreamRecord, StreamReport, StreamSink,
};

/// Takes spans away. Called on the control plane's thread, once per batch; must not block and bounds what it keeps.
pub trait SpanExporter: Send + Sync {
    /// Some spans, each at most once, in no order.
    fn export(&self, spans: &[Span<'_>]);
}

/// Takes finished streams away as log records. As [`SpanExporter`].
pub trait LogExporter: Send + Sync {
    /// A finished stream.
    fn export(&self, entry: &LogEntry<'_>);
}

/// A finished stream as an exporter is told of it.
#[derive(Debug)]
pub struct LogEntry<'a> {
    /// The stream.
    pub record: StreamRecord<'a>,
    /// What stands for it in a line; the exporter's own words if there is nothing.
    pub body: Option<String>,
    /// What it is given besides what is known of every stream.
    pub attributes: Vec<(&'a str, String)>,
}

/// Streams on their way to an exporter.
pub type LogRing = ReportRing<Box<Logged>>;

/// How the streams of a log are told to an exporter.
#[derive(Debug)]
pub struct LogPlan {
    exporter: Box<str>,
    body: Option<Format>,
    attributes: Vec<(Box<str>, Format)>,
}

/// A stream for an exporter.
#[derive(Debug)]
pub struct Logged {
    report: StreamReport,
    plan: Arc<LogPlan>,
}

/// An access log that goes to an exporter: a record of each stream that its filter lets pass.
pub struct ExportLog {
    log: Arc<Log>,
    ring: Arc<LogRing>,
    stats: Arc<Scope<AccessLogStats>>,
}

struct Log {
    plan: Arc<LogPlan>,
    filter: Option<LogFilter>,
    /// Connections that were closed before they were served are told too.
    refusals: bool,
}

struct Lane {
    log: Arc<Log>,
    lane: ReportLane<Box<Logged>>,
    stats: Cells<AccessLogStats>,
}

impl LogPlan {
    /// To the exporter of this name, with a body and further attributes if there are formats of them; an attribute
    /// whose value is empty is left out. Takes part in what the chain's sinks need.
    pub fn new(
        exporter: &str,
        mut body: Option<Format>,
        mut attributes: Vec<(Box<str>, Format)>,
        needs: &mut Needs,
    ) -> Self {
        for field in [Field::Path, Field::Authority, Field::Attempts, Field::Trace, Field::GrpcStatus, Field::Call] {
            needs.add(field);
        }
        body.iter_mut().for_each(|format| format.share(needs));
        attributes.iter_mut().for_each(|(_, format)| format.share(needs));
        Self { exporter: exporter.into(), body, attributes }
    }
}

impl ExportLog {
    /// A log that goes through these queues; `filter` and `refusals` as for [`FileLog`](crate::FileLog::filtered).
    pub fn new(
        plan: LogPlan,
        filter: Option<(LogFilter, Needs)>,
        refusals: bool,
        (ring, stats): (Arc<LogRing>, Arc<Scope<AccessLogStats>>),
        needs: &mut Needs,
    ) -> Self {
        let filter = filter.map(|(filter, asked)| filter.placed(&asked, needs));
        Self { log: Arc::new(Log { plan: Arc::new(plan), filter, refusals }), ring, stats }
    }
}

impl SinkPlan for ExportLog {
    fn on_worker(&self, worker: usize) -> Option<Box<dyn StreamSink>> {
        let lane = self.ring.lane(worker)?;
        Some(Box::new(Lane { log: Arc::clone(&self.log), lane, stats: self.stats.worker(worker) }))
    }
}

impl StreamSink for Lane {
    fn ended(&self, record: &StreamRecord<'_>) {
        if let Some(filter) = &self.log.filter
            && !filter.holds(record)
        {
            self.stats.logs_filtered.inc();
            return;
        }
        self.stats.logs_exported.inc();
        self.lane.push(Box::new(Logged { report: StreamReport::of(record), plan: Arc::clone(&self.log.plan) }));
    }

    fn noted(&self, record: &StreamRecord<'_>) {
        if self.log.refusals || record.kind != LogType::NotSet {
            self.ended(record);
        }
    }
}

impl Logged {
    /// The name of the exporter that is to have it.
    pub fn exporter(&self) -> &str {
        &self.plan.exporter
    }

    /// What the exporter is told.
    pub fn entry(&self) -> LogEntry<'_> {
        let record = self.report.record();
        let rendered = |format: &Format| {
            let mut value = Vec::new();
            format.render(&record, &mut value);
            String::from_utf8_lossy(&value).into_owned()
        };
        let attributes = self.plan.attributes.iter().map(|(name, format)| (&**name, rendered(format)));
        let attributes = attributes.filter(|(_, value)| !value.is_empty()).collect();
        let body = self.plan.body.as_ref().map(|format| {
            let mut line = rendered(format);
            line.truncate(line.trim_end_matches('\n').len());
            line
        });
        LogEntry { record, body, attributes }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{Captured, Comparison, Registry, Sinks};

    #[test]
    fn streams_that_pass_the_filter_are_told_with_what_was_asked_for() {
        let registry = Registry::new(1);
        let ring = LogRing::new(1, 2, || ());
        let mut sinks = Sinks::default();
        sinks.add(|needs| {
            let attributes = vec![
                ("tenant".into(), Format::value("%REQ(x-tenant)%").unwrap()),
                ("none".into(), Format::value("%REQ(x-none)%").unwrap()),
            ];
            let body = Format::parse("%RESPONSE_CODE% %REQ(x-tenant)%").unwrap();
            let plan = LogPlan::new("collector", Some(body), attributes, needs);
            let filter = (LogFilter::StatusCode(Comparison::Ge, 500), Needs::default());
            let through = (Arc::clone(&ring), Arc::clone(&registry.access_logs));
            ExportLog::new(plan, Some(filter), false, through, needs)
        });
        let headers = Captured::capture(&sinks.needs().request_headers, |name| {
            (name.as_str() == "x-tenant").then_some(&b"acme"[..])
        });
        let lanes = sinks.on_worker(0);
        for code in [200, 501, 502, 503] {
            let mut record = StreamRecord::new(SystemTime::UNIX_EPOCH);
            (record.response_code, record.request_headers) = (Some(code), &headers);
            lanes.iter().for_each(|lane| lane.ended(&record));
        }
        let mut refused = StreamRecord::new(SystemTime::UNIX_EPOCH);
        (refused.kind, refused.response_code) = (LogType::NotSet, Some(500));
        lanes.iter().for_each(|lane| lane.noted(&refused));
        let mut told = Vec::new();
        assert!(!ring.drain(8, |logged| told.push(logged)));
        let bodies: Vec<_> = told.iter().filter_map(|logged| logged.entry().body).collect();
        assert_eq!(bodies, ["502 acme", "503 acme"], "the oldest made room");
        let entry = told[0].entry();
        assert_eq!((told[0].exporter(), &entry.attributes[..]), ("collector", &[("tenant", "acme".to_owned())][..]));
        let cells = registry.access_logs.worker(0);
        assert_eq!((cells.logs_exported.value(), cells.logs_filtered.value(), ring.dropped()), (3, 1, 1));
    }
}
