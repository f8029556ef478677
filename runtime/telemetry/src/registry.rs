//! Where the cells are: one block per scope and core, found by name, kept as long as somebody holds the scope.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crossbeam::utils::CachePadded;

use ringway_api::Stat;

use crate::filters::{FilterScope, Filters};
use crate::{
    AccessLogStats, ClusterManagerStats, ClusterStats, ConfigStats, ExporterStats, HealthCheckStats, HttpStats, Istio,
    ListenerManagerStats, ListenerStats, MetricsStats, OutlierStats, ServerStats, StatSet, TcpStats, TracingStats,
    WorkerStats,
};

/// All statistics of a process. The control plane makes one, registers scopes while it prepares a snapshot, and reads.
pub struct Registry {
    workers: usize,
    /// The process.
    pub server: Arc<Scope<ServerStats>>,
    /// Configurations.
    pub config: Arc<Scope<ConfigStats>>,
    /// All listeners.
    pub listener_manager: Arc<Scope<ListenerManagerStats>>,
    /// All clusters.
    pub cluster_manager: Arc<Scope<ClusterManagerStats>>,
    /// All access logs.
    pub access_logs: Arc<Scope<AccessLogStats>>,
    /// Tracing's.
    pub tracing: Arc<Scope<TracingStats>>,
    /// Metrics by sets of labels.
    pub metrics: Arc<Scope<MetricsStats>>,
    istio: Mutex<Option<Arc<Istio>>>,
    pub(crate) workers_stats: Vec<Arc<Scope<WorkerStats>>>,
    pub(crate) listeners: Named<ListenerStats>,
    pub(crate) http: Named<HttpStats>,
    pub(crate) tcp: Named<TcpStats>,
    pub(crate) clusters: Named<ClusterStats>,
    pub(crate) filters: Filters,
    pub(crate) outliers: Named<OutlierStats>,
    pub(crate) health_checks: Named<HealthCheckStats>,
    pub(crate) exporters: Named<ExporterStats>,
}

/// The statistics of one named thing: a block of cells for each worker and one for the control plane.
///
/// A snapshot holds the scopes of its listeners and clusters. A scope asked for again by name while anybody holds it
/// is the same one, which is how counts survive a swap of the configuration.
#[derive(Debug)]
pub struct Scope<S> {
    name: Box<str>,
    workers: Box<[Arc<CachePadded<S>>]>,
    control: Arc<CachePadded<S>>,
}

/// One writer's block of cells. It stays on the thread that took it; the block has cache lines of its own.
#[derive(Debug)]
pub struct Cells<S> {
    block: Arc<CachePadded<S>>,
    /// Not `Send`: whoever takes the block on a thread writes it from that thread only.
    thread: PhantomData<*const ()>,
}

impl Registry {
    /// The registry of a process with so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            server: Scope::new("", workers),
            config: Scope::new("", workers),
            listener_manager: Scope::new("", workers),
            cluster_manager: Scope::new("", workers),
            access_logs: Scope::new("", workers),
            tracing: Scope::new("", workers),
            metrics: Scope::new("", workers),
            istio: Mutex::new(None),
            // Each worker is a scope of its own with a single block, so that workers can be told apart.
            workers_stats: (0..workers).map(|worker| Scope::new(&worker.to_string(), 0)).collect(),
            listeners: Named::default(),
            http: Named::default(),
            tcp: Named::default(),
            clusters: Named::default(),
            filters: Filters::default(),
            outliers: Named::default(),
            health_checks: Named::default(),
            exporters: Named::default(),
        }
    }

    /// The block of a worker's own statistics, to be taken on that worker; `None` for a worker that is not there.
    pub fn worker(&self, worker: usize) -> Option<Cells<WorkerStats>> {
        self.workers_stats.get(worker).map(|scope| scope.control())
    }

    /// Istio's metrics, if they are wanted. Not for workers.
    pub fn istio(&self) -> Option<Arc<Istio>> {
        self.istio.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows these metrics from now on.
    pub fn show_istio(&self, istio: Option<Arc<Istio>>) {
        *self.istio.lock().unwrap_or_else(PoisonError::into_inner) = istio;
    }

    /// The scope of a listener, named by its address.
    pub fn listener(&self, address: &str) -> Arc<Scope<ListenerStats>> {
        self.listeners.scope(address, self.workers)
    }

    /// The scope of a listener's HTTP, named by its statistics prefix.
    pub fn http(&self, prefix: &str) -> Arc<Scope<HttpStats>> {
        self.http.scope(prefix, self.workers)
    }

    /// The scope of a listener's TCP proxy, named by its statistics prefix.
    pub fn tcp(&self, prefix: &str) -> Arc<Scope<TcpStats>> {
        self.tcp.scope(prefix, self.workers)
    }

    /// The scope of a stream filter on a listener's requests: one for all filters of that name there.
    pub fn filter(&self, prefix: &str, name: &'static str, stats: &'static [Stat]) -> Arc<FilterScope> {
        self.filters.scope(prefix, name, stats, self.workers)
    }

    /// The scope of a cluster.
    pub fn cluster(&self, name: &str) -> Arc<Scope<ClusterStats>> {
        self.clusters.scope(name, self.workers)
    }

    /// The scope of a cluster's outlier detection; the control plane alone writes it.
    pub fn outliers(&self, cluster: &str) -> Arc<Scope<OutlierStats>> {
        self.outliers.scope(cluster, 0)
    }

    /// The scope of an exporter; the control plane alone writes it.
    pub fn exporter(&self, name: &str) -> Arc<Scope<ExporterStats>> {
        self.exporters.scope(name, 0)
    }

    /// The scope of a cluster's active health checks; the control plane alone writes it.
    pub fn health_checks(&self, cluster: &str) -> Arc<Scope<HealthCheckStats>> {
        self.health_checks.scope(cluster, 0)
    }
}

impl<S: StatSet> Scope<S> {
    pub(crate) fn new(name: &str, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            name: shown(name),
            workers: (0..workers).map(|_| Arc::default()).collect(),
            control: Arc::default(),
        })
    }

    /// The name as it is shown: a colon becomes `_`, as Envoy writes addresses, and so does a control character.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A worker's block, to be taken on that worker. A worker beyond the registry's number shares the control block,
    /// which could lose counts.
    pub fn worker(&self, worker: usize) -> Cells<S> {
        debug_assert!(worker < self.workers.len(), "worker {worker} of {}", self.workers.len());
        Cells::of(self.workers.get(worker).unwrap_or(&self.control))
    }

    /// The block that no worker writes: the control plane's, or the log thread's.
    pub fn control(&self) -> Cells<S> {
        Cells::of(&self.control)
    }

    /// Every block, for reading.
    pub fn blocks(&self) -> impl Iterator<Item = &S> {
        self.workers.iter().chain([&self.control]).map(|block| &***block)
    }
}

impl<S> Cells<S> {
    fn of(block: &Arc<CachePadded<S>>) -> Self {
        Self { block: block.clone(), thread: PhantomData }
    }
}

impl<S> Clone for Cells<S> {
    fn clone(&self) -> Self {
        Self::of(&self.block)
    }
}

impl<S> Deref for Cells<S> {
    type Target = S;

    #[inline]
    fn deref(&self) -> &S {
        &self.block
    }
}

/// Scopes of one kind by name; does not keep them alive.
pub(crate) struct Named<S>(Mutex<Known<S>>);

struct Known<S> {
    scopes: BTreeMap<Box<str>, Weak<Scope<S>>>,
    /// The size at which the dead are looked for, so that looking costs little per scope.
    sweep_at: usize,
}

impl<S> Default for Named<S> {
    fn default() -> Self {
        Self(Mutex::new(Known { scopes: BTreeMap::new(), sweep_at: 64 }))
    }
}

impl<S: StatSet> Named<S> {
    fn scope(&self, name: &str, workers: usize) -> Arc<Scope<S>> {
        let mut known = self.lock();
        if let Some(scope) = known.scopes.get(name).and_then(Weak::upgrade) {
            return scope;
        }
        let scope = Scope::new(name, workers);
        known.scopes.insert(name.into(), Arc::downgrade(&scope));
        if known.scopes.len() >= known.sweep_at {
            known.scopes.retain(|_, scope| scope.strong_count() > 0);
            known.sweep_at = (2 * known.scopes.len()).max(64);
        }
        scope
    }

    /// The scopes that somebody holds, by name.
    pub(crate) fn live(&self) -> Vec<Arc<Scope<S>>> {
        self.lock().scopes.values().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A scope's name as it may stand in a line of text.
pub(crate) fn shown(name: &str) -> Box<str> {
    name.chars().map(|c| if c == ':' || c.is_control() || c.is_whitespace() { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(registry: &Registry, name: &str) -> Option<u64> {
        let scope = registry.clusters.live().into_iter().find(|scope| scope.name() == name)?;
        Some(scope.blocks().map(|block| block.upstream_rq_total.value()).sum())
    }

    #[test]
    fn a_scope_survives_as_long_as_it_is_held() {
        let registry = Registry::new(2);
        let old_snapshot = registry.cluster("app");
        let old_view = old_snapshot.worker(1);
        old_view.upstream_rq_total.add(3);

        let new_snapshot = registry.cluster("app");
        drop(old_snapshot);
        new_snapshot.worker(0).upstream_rq_total.inc();
        old_view.upstream_rq_total.inc();
        assert_eq!(total(&registry, "app"), Some(5));

        drop(new_snapshot);
        assert_eq!(total(&registry, "app"), None, "no snapshot names it");
        assert_eq!(registry.cluster("app").worker(1).upstream_rq_total.value(), 0, "a new thing of the same name");
    }

    #[test]
    fn the_forgotten_do_not_pile_up() {
        let registry = Registry::new(1);
        let kept = registry.cluster("kept");
        for at in 0..10_000 {
            registry.cluster(&format!("gone-{at}"));
        }
        assert!(registry.clusters.lock().scopes.len() < 130);
        assert!(Arc::ptr_eq(&kept, &registry.cluster("kept")));
    }

    #[test]
    fn workers_write_lines_of_their_own() {
        let scope = Registry::new(2).cluster("app");
        let at = |cells: &Cells<ClusterStats>| &raw const **cells as usize;
        let (one, two) = (scope.worker(0), scope.worker(1));
        assert_eq!(at(&one) % 128, 0);
        assert!(at(&one).abs_diff(at(&two)) >= size_of::<ClusterStats>().next_multiple_of(128));
    }

    #[test]
    fn names_cannot_break_a_line() {
        let registry = Registry::new(1);
        assert_eq!(registry.listener("[::1]:80").name(), "[__1]_80");
        assert_eq!(registry.cluster("a\nserver.live: 0").name(), "a_server.live__0");
    }
}
