//! Tracing: from what a configuration says to what workers do, and what comes of it.

use std::sync::Arc;

use ringway_config::{Snapshot, TraceSampling, Tracing, raw};
use ringway_proxy::{ParentTrace, Sampling, TracePlan};
use ringway_telemetry::{Format, Propagation, Registry, Sinks, SpanPlan, Tail, TraceRing, TraceSink};
use tokio::sync::Notify;

use super::exporters::Exporters;
use super::traces::Traces;

/// Streams that may wait on each worker for the control plane.
const CAPACITY: usize = 4096;
/// Streams that are taken at once, so that others have their turn.
const BATCH: usize = 512;

/// Tracing as configured, and the streams that were traced. Nothing of it is there while nothing is traced.
pub(crate) struct Tracer {
    registry: Arc<Registry>,
    workers: usize,
    wake: Arc<Notify>,
    running: Option<Running>,
}

struct Running {
    of: Arc<Tracing>,
    ring: Arc<TraceRing>,
    traces: Traces,
}

impl Tracer {
    /// `wake` is notified when a [round](Self::round) has something to do.
    pub(super) fn new(registry: Arc<Registry>, workers: usize, wake: Arc<Notify>) -> Self {
        Self { registry, workers, wake, running: None }
    }

    /// Traced streams that are kept; `None` while nothing is traced.
    pub(crate) fn traces(&self) -> Option<&Traces> {
        self.running.as_ref().map(|running| &running.traces)
    }

    /// Traces as a snapshot says, in the plans to come.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) {
        let Some(tracing) = &snapshot.tracing else {
            self.running = None;
            return;
        };
        match &mut self.running {
            Some(running) => {
                running.of = Arc::clone(tracing);
                running.traces.resize(tracing.raw.store);
            }
            None => {
                let wake = Arc::clone(&self.wake);
                self.running = Some(Running {
                    of: Arc::clone(tracing),
                    ring: TraceRing::new(self.workers, CAPACITY, move || wake.notify_one()),
                    traces: Traces::new(tracing.raw.store),
                });
            }
        }
    }

    /// How a listener's requests are traced. Their streams are told to `sinks` then.
    pub(super) fn of(&self, listener: &str, sinks: &mut Sinks) -> Option<Arc<TracePlan>> {
        let Running { of, ring, .. } = self.running.as_ref()?;
        let sampling = of.of(listener)?;
        let service: Arc<str> = of.raw.service_name.as_str().into();
        sinks.add(|needs| {
            // Checked when the snapshot was compiled.
            let tag = |(name, value): (&String, &String)| Some((name.as_str().into(), Format::value(value).ok()?));
            let tags = of.raw.tags.iter().filter_map(tag).collect();
            let tail = Tail { errors: of.tail.errors, slow: of.tail.slow, flags: of.tail.flags };
            TraceSink::new(Arc::new(SpanPlan::new(Arc::clone(&service), tail, tags, needs)), Arc::clone(ring))
        });
        let propagation = of.raw.propagation.iter().filter_map(|format| Propagation::named(format.name()));
        Some(Arc::new(TracePlan {
            service,
            propagation: propagation.collect(),
            sampling: self::sampling(sampling),
            stats: Arc::clone(&self.registry.tracing),
        }))
    }

    /// Takes what workers have reported: keeps it, and hands its spans on. True if there may be more.
    pub(super) fn round(&mut self, exporters: &Exporters) -> bool {
        let Some(Running { of, ring, traces }) = &mut self.running else { return false };
        let mut taken = Vec::new();
        let more = ring.drain(BATCH, |traced| taken.push(traced));
        let spans: Vec<_> = taken.iter().flat_map(|traced| traced.spans()).collect();
        let cells = self.registry.tracing.control();
        cells.spans_collected.add(spans.len() as u64);
        cells.reports_dropped.set(ring.dropped());
        if !spans.is_empty() {
            exporters.of_spans(&of.raw.exporters).for_each(|exporter| exporter.export(&spans));
        }
        drop(spans);
        taken.into_iter().for_each(|traced| traces.add(traced));
        more
    }

    /// Takes all that is left.
    pub(super) fn finish(&mut self, exporters: &Exporters) {
        for _ in 0..=self.workers * CAPACITY / BATCH {
            if !self.round(exporters) {
                break;
            }
        }
    }
}

fn sampling(of: &TraceSampling) -> Sampling {
    Sampling {
        force: of.force.iter().map(|name| name.as_str().into()).collect(),
        parent: match of.parent {
            raw::ParentTrace::Respect => ParentTrace::Respect,
            raw::ParentTrace::Continue => ParentTrace::Continue,
            raw::ParentTrace::Ignore => ParentTrace::Ignore,
        },
        headers: Arc::clone(&of.headers),
        random: of.random,
        rate: of.rate,
    }
}
