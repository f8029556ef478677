//! Who is told of the streams of a filter chain, on one worker.

use std::sync::Arc;

use http::HeaderName;
use ringway_telemetry::{Field, Sinks, StreamRecord, StreamSink};

/// The sinks of a chain. There is at least one.
pub(crate) struct ChainSinks {
    plan: Arc<Sinks>,
    sinks: Box<[Box<dyn StreamSink>]>,
    timed: bool,
}

impl ChainSinks {
    pub(crate) fn new(plan: &Arc<Sinks>, worker: usize) -> Option<Self> {
        let sinks = plan.on_worker(worker);
        let timed = plan.needs().has(Field::Timings) || plan.needs().has(Field::Attempts);
        (!sinks.is_empty()).then(|| Self { plan: Arc::clone(plan), sinks, timed })
    }

    pub(crate) fn request_headers(&self) -> &[HeaderName] {
        &self.plan.needs().request_headers
    }

    pub(crate) fn response_headers(&self) -> &[HeaderName] {
        &self.plan.needs().response_headers
    }

    /// Whether any of them wants to know when what happened.
    pub(crate) fn are_timed(&self) -> bool {
        self.timed
    }

    /// Tells all of them.
    pub(crate) fn ended(&self, record: &StreamRecord<'_>) {
        self.sinks.iter().for_each(|sink| sink.ended(record));
    }
}
