//! Istio's metrics: from what a configuration says to what workers count.

use std::sync::Arc;

use ringway_config::{IstioMetrics, Snapshot, raw};
use ringway_telemetry::{Istio, IstioSink, Mesh, MeshService, Registry, Reporter, Sinks, Workload};

/// The metrics of the snapshot in force. They go on across snapshots that say the same of them.
pub(super) struct Meter {
    registry: Arc<Registry>,
    workers: usize,
    running: Option<(Arc<IstioMetrics>, Arc<Istio>)>,
}

impl Meter {
    pub(super) fn new(registry: Arc<Registry>, workers: usize) -> Self {
        Self { registry, workers, running: None }
    }

    /// Counts as a snapshot says, in the plans to come.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) {
        let same =
            |running: &&(Arc<IstioMetrics>, _)| snapshot.istio.as_ref().is_some_and(|of| Arc::ptr_eq(of, &running.0));
        if self.running.as_ref().filter(same).is_some() {
            return;
        }
        self.running = snapshot.istio.as_ref().map(|of| {
            let istio = Istio::new(mesh(&of.raw), self.workers, Arc::clone(&self.registry.metrics));
            (Arc::clone(of), istio)
        });
        self.registry.show_istio(self.running.as_ref().map(|(_, istio)| Arc::clone(istio)));
    }

    /// Has a listener's streams counted.
    pub(super) fn add(&self, listener: &str, sinks: &mut Sinks) {
        let Some((of, istio)) = &self.running else { return };
        let reporter = match of.reporter(listener) {
            Some(raw::Reporter::Source) => Reporter::Source,
            Some(raw::Reporter::Destination) => Reporter::Destination,
            Some(raw::Reporter::None) | None => return,
        };
        sinks.connections = true;
        sinks.add(|needs| IstioSink::new(Arc::clone(istio), reporter, needs));
    }
}

fn mesh(raw: &raw::IstioMetrics) -> Mesh {
    let service = |(cluster, service): (&String, &raw::MeshService)| {
        let known = MeshService {
            host: service.host.as_str().into(),
            name: service.name.as_str().into(),
            namespace: service.namespace.as_str().into(),
            workload: workload(&service.workload),
        };
        (cluster.as_str().into(), known)
    };
    Mesh {
        local: workload(&raw.workload),
        services: raw.services.iter().map(service).collect(),
        by_authority: raw.host_header_fallback,
        max_series: raw.max_series as usize,
    }
}

fn workload(raw: &raw::Workload) -> Workload {
    Workload {
        name: raw.name.as_str().into(),
        namespace: raw.namespace.as_str().into(),
        canonical_service: raw.canonical_service.as_str().into(),
        canonical_revision: raw.canonical_revision.as_str().into(),
        app: raw.app.as_str().into(),
        version: raw.version.as_str().into(),
        principal: raw.principal.as_str().into(),
        cluster: raw.cluster.as_str().into(),
    }
}
