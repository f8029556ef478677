//! The worker's clocks.

use std::time::{Duration, Instant, SystemTime};

use ringway_api::Time;

/// Monotonic time since a little before the worker's start.
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        // An hour back, so that times before the start exist.
        Self { origin: now.checked_sub(Duration::from_secs(3600)).unwrap_or(now) }
    }

    #[allow(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub(crate) fn now(&self) -> Time {
        Time::default() + Instant::now().duration_since(self.origin)
    }
}

/// The system's wall clock, which may step.
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
