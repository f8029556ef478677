//! A listener's access log on one worker.

use std::cell::RefCell;
use std::sync::Arc;

use http::HeaderName;
use ringway_telemetry::{Format, LogLane, StreamRecord};

/// The format and this worker's lane to the log thread.
pub(crate) struct AccessLog {
    format: Arc<Format>,
    lane: RefCell<LogLane>,
}

impl AccessLog {
    pub(crate) fn new(format: Arc<Format>, lane: LogLane) -> Self {
        Self { format, lane: RefCell::new(lane) }
    }

    pub(crate) fn request_headers(&self) -> &[HeaderName] {
        &self.format.needs().request_headers
    }

    pub(crate) fn response_headers(&self) -> &[HeaderName] {
        &self.format.needs().response_headers
    }

    /// Hands a line to the log thread, or drops and counts it when that is behind.
    pub(crate) fn write(&self, record: &StreamRecord<'_>) {
        self.lane.borrow_mut().log(&self.format, record);
    }
}
