//! Who is told of finished streams: access logs, metrics, traces, taps.
//!
//! The control plane makes a [`SinkPlan`] for each and joins those of a filter chain in [`Sinks`], which know what all
//! of them need of a stream; a worker captures that once and shows every sink the same [`StreamRecord`].

use std::cell::RefCell;
use std::sync::Arc;

use crate::{Format, LogFile, LogLane, Needs, StreamRecord};

/// A sink, prepared by the control plane for all workers.
pub trait SinkPlan: Send + Sync {
    /// The sink's part on one worker, to be taken on that worker; `None` for a worker that is not there.
    fn on_worker(&self, worker: usize) -> Option<Box<dyn StreamSink>>;
}

/// A sink's part on one worker. It must not block and bounds what it keeps.
pub trait StreamSink {
    /// A stream or connection has ended. The record holds what the sink has asked for and may hold more.
    fn ended(&self, record: &StreamRecord<'_>);
}

/// The sinks of a filter chain, and what they need together.
#[derive(Default)]
pub struct Sinks {
    needs: Needs,
    plans: Vec<Box<dyn SinkPlan>>,
}

/// An access log in a file: one line for each stream.
pub struct FileLog {
    format: Arc<Format>,
    file: Arc<LogFile>,
}

struct FileLane {
    format: Arc<Format>,
    lane: RefCell<LogLane>,
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
        Self { format: Arc::new(format), file }
    }
}

impl SinkPlan for FileLog {
    fn on_worker(&self, worker: usize) -> Option<Box<dyn StreamSink>> {
        let lane = RefCell::new(self.file.lane(worker)?);
        Some(Box::new(FileLane { format: Arc::clone(&self.format), lane }))
    }
}

impl StreamSink for FileLane {
    /// Hands a line to the log thread, or drops and counts it when that is behind.
    fn ended(&self, record: &StreamRecord<'_>) {
        self.lane.borrow_mut().log(&self.format, record);
    }
}
