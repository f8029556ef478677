//! The worker's clocks.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use ringway_api::Time;

/// Monotonic time since a little before the first worker's start.
pub(crate) struct Clock {
    origin: Instant,
}

/// One for the process, so that what workers share (a token bucket, say) may hold times.
static ORIGIN: OnceLock<Instant> = OnceLock::new();

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub(crate) fn start() -> Self {
        let origin = ORIGIN.get_or_init(|| {
            let now = Instant::now();
            // An hour back, so that times before the start exist.
            now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
        });
        Self { origin: *origin }
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
