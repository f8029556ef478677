//! Metrics besides the statistics that are always there, compiled.

use crate::raw;

/// Istio's standard metrics.
#[derive(Debug)]
pub struct IstioMetrics {
    /// What it was compiled from: its listeners and clusters exist, and its numbers are within their limits.
    pub raw: raw::IstioMetrics,
}

impl IstioMetrics {
    /// Which side of a call a listener is; `None` if it is not counted.
    pub fn reporter(&self, listener: &str) -> Option<raw::Reporter> {
        let reporter = self.raw.listeners.get(listener).copied().unwrap_or(self.raw.reporter);
        Some(reporter).filter(|reporter| *reporter != raw::Reporter::None)
    }
}
