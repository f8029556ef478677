//! Distributed tracing, compiled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::ResponseFlags;

use crate::raw;
use crate::route::FieldMatcher;

/// Distributed tracing.
#[derive(Debug)]
pub struct Tracing {
    /// What it was compiled from.
    pub raw: raw::Tracing,
    /// Which traces are recorded.
    pub sampling: Arc<TraceSampling>,
    /// What is recorded at the end.
    pub tail: TraceTail,
    /// How listeners differ, by name: `None` where nothing is traced.
    pub listeners: BTreeMap<String, Option<Arc<TraceSampling>>>,
    /// What listeners say of it; with `raw`, what it is known again by.
    pub(crate) overrides: Vec<(String, raw::ListenerTracing)>,
}

/// Which traces are recorded.
#[derive(Debug)]
pub struct TraceSampling {
    /// Fields whose presence forces it.
    pub force: Vec<String>,
    /// What a caller's trace counts.
    pub parent: raw::ParentTrace,
    /// Requests with such fields are.
    pub headers: Arc<[FieldMatcher]>,
    /// Of 2^32 requests so many are.
    pub random: u64,
    /// So many per second at most.
    pub rate: Option<f64>,
}

/// What is recorded at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceTail {
    /// Failures.
    pub errors: bool,
    /// What takes so long.
    pub slow: Option<Duration>,
    /// What has any of these flags.
    pub flags: ResponseFlags,
}

impl Tracing {
    /// How the requests of a listener are sampled; `None` if they are not traced.
    pub fn of(&self, listener: &str) -> Option<&Arc<TraceSampling>> {
        match self.listeners.get(listener) {
            Some(own) => own.as_ref(),
            None => Some(&self.sampling),
        }
    }
}
