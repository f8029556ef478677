//! Who is told of finished streams: access logs, metrics, traces, taps.
//!
//! The control plane makes a [`SinkPlan`] for each and joins those of a filter chain in [`Sinks`], which know what all
//! of them need of a stream; a worker captures that once and shows every sink the same [`StreamRecord`].

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::{AccessLogStats, Cells, Format, LogFile, LogFilter, LogLane, LogType, Needs, StreamRecord};

/// A sink, prepared by the control plane for all workers.
pub trait SinkPlan: Send + Sync {
    /// The sink's part on one worker, to be taken on that worker; `None` for a worker that is not there.
    fn on_worker(&self, worker: usize) -> Option<Box<dyn StreamSink>>;
}

/// A sink's part on one worker. It must not block and bounds what it keeps.
pub trait StreamSink {
    /// A stream or connection has ended. The record holds what the sink has asked for and may hold more.
    fn ended(&self, record: &StreamRecord<'_>);

    /// Something else than an end has happened; the record's [kind](crate::LogType) says what. Most do not care.
    fn noted(&self, _record: &StreamRecord<'_>) {}

    /// A connection of bytes has got its host. Told to sinks of a chain one of which [wants](Sinks::connections) it.
    fn connected(&self, _record: &StreamRecord<'_>) {}
}

/// What sinks of connections of bytes are told besides their ends (Envoy's `access_log_options`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Further {
    /// That a connection has got its host.
    pub connected: bool,
    /// That a connection goes on, so often.
    pub interval: Option<Duration>,
}

/// The sinks of a filter chain, and what they need together.
#[derive(Default)]
pub struct Sinks {
    /// What connections of bytes are noted besides their ends.
    pub further: Further,
    /// Sinks want to know when connections of bytes have their hosts.
    pub connections: bool,
    needs: Needs,
    plans: Vec<Box<dyn SinkPlan>>,
}

/// An access log in a file: one line for each stream that its filter lets pass.
pub struct FileLog {
    line: Arc<Line>,
    file: Arc<LogFile>,
}

struct Line {
    format: Format,
    filter: Option<LogFilter>,
    /// Connections that were closed before they were served have a line too.
    refusals: bool,
}

struct FileLane {
    line: Arc<Line>,
    lane: RefCell<LogLane>,
    stats: Cells<AccessLogStats>,
}

impl Sinks {
    /// Adds a sink. It adds what it needs to the [`Needs`] that it is lent, and finds headers at the places that they
    /// have there.
    pub fn add<P: SinkPlan + 'static>(&mut self, make: impl FnOnce(&mut Needs) -> P) {
        let plan = make(&mut self.needs);
        self.plans.push(Box::new(plan));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }

    /// What must be captured of a stream.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Their parts on one worker.
    pub fn on_worker(&self, worker: usize) -> Box<[Box<dyn StreamSink>]> {
        self.plans.iter().filter_map(|plan| plan.on_worker(worker)).collect()
    }
}

impl FileLog {
    /// A log of this format into this file. Takes part in what the chain's sinks need.
    pub fn new(mut format: Format, file: Arc<LogFile>, needs: &mut Needs) -> Self {
        format.share(needs);
        Self { line: Arc::new(Line { format, filter: None, refusals: false }), file }
    }

    /// A log of the streams that a filter lets pass; `asked` is what the filter's headers have their places in. With
    /// `refusals` connections that were closed before they were served have a line too.
    pub fn filtered(
        format: Format,
        filter: Option<(LogFilter, Needs)>,
        refusals: bool,
        file: Arc<LogFile>,
        needs: &mut Needs,
    ) -> Self {
        let mut log = Self::new(format, file, needs);
        let filter = filter.map(|(filter, asked)| filter.placed(&asked, needs));
        if let Some(line) = Arc::get_mut(&mut log.line) {
            (line.filter, line.refusals) = (filter, refusals);
        }
        log
    }
}

impl SinkPlan for FileLog {
    fn on_worker(&self, worker: usize) -> Option<Box<dyn StreamSink>> {
        let lane = RefCell::new(self.file.lane(worker)?);
        Some(Box::new(FileLane { line: Arc::clone(&self.line), lane, stats: self.file.stats(worker) }))
    }
}

impl StreamSink for FileLane {
    /// Hands a line to the log thread, or drops and counts it when that is behind.
    fn ended(&self, record: &StreamRecord<'_>) {
        if let Some(filter) = &self.line.filter
            && !filter.holds(record)
        {
            self.stats.logs_filtered.inc();
            return;
        }
        self.lane.borrow_mut().log(&self.line.format, record);
    }

    fn noted(&self, record: &StreamRecord<'_>) {
        if self.line.refusals || record.kind != LogType::NotSet {
            self.ended(record);
        }
    }
}
