//! Filter chains and clusters of a snapshot as one worker sees them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use ringway_api::{Address, Blame, EndReason, Headers, Io, LocalReply, RequestHead, ResponseHead, rpc};
use ringway_config::{Asked, Forward, Picked, Route, RouteAt, RouteTable};
use ringway_telemetry::{Cells, ClusterStats, HttpStats, Scope, TcpStats};
use ringway_upstream::{Cluster, RetryLimit, RetryPermit, Secure};

use crate::attempt::{Failure, ReplayMemory, Tries};
use crate::entry::{Options, ProtocolEntry};
use crate::filter_sets::{FilterSets, NamedFilter};
use crate::forward::ForwardPolicy;
use crate::path::PathPolicy;
use crate::plan::TlsPlan;
use crate::sinks::ChainSinks;
use crate::timers::TimerPool;
use crate::tracing::Tracing;

/// A filter chain of one snapshot on one worker. A request keeps the one it began with until its end.
pub(crate) struct ChainView<I: Io> {
    pub(crate) name: Arc<str>,
    pub(crate) tls: Option<TlsPlan>,
    pub(crate) service: Service<I>,
    pub(crate) routes: Option<Arc<RouteTable>>,
    pub(crate) filters: FilterSets,
    pub(crate) clusters: Rc<[Rc<ClusterView<I>>]>,
    /// The places of clusters by name.
    pub(crate) names: Rc<HashMap<Arc<str>, usize>>,
    /// For choices among clusters with weights.
    pub(crate) shares: Rc<Shares>,
    pub(crate) forward: Arc<ForwardPolicy>,
    pub(crate) path: PathPolicy,
    pub(crate) http: Cells<HttpStats>,
    pub(crate) tcp: Cells<TcpStats>,
    pub(crate) sinks: Option<ChainSinks>,
    pub(crate) tracing: Option<Rc<Tracing>>,
    pub(crate) timers: Rc<TimerPool>,
}

/// Numbers that are spread evenly over all there are, whatever the stretch that one looks at: shares of them come true
/// over time, with an error that does not grow. Multiples of the golden ratio (a Weyl sequence).
#[derive(Debug)]
pub(crate) struct Shares(Cell<u64>);

impl Shares {
    /// Numbers that begin anywhere.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        self.0.get()
    }
}

/// What a chain does with its connections.
pub(crate) enum Service<I: Io> {
    /// One of some protocols with requests, best first.
    Streams(Rc<[Spoken<I>]>),
    /// Bytes to a cluster.
    Raw { cluster: usize, idle_timeout: Option<Duration> },
}

/// A protocol with its options.
pub(crate) struct Spoken<I: Io> {
    pub(crate) entry: &'static ProtocolEntry<I>,
    pub(crate) options: Options,
}

/// A cluster of one snapshot on one worker.
pub(crate) struct ClusterView<I> {
    pub(crate) name: Rc<str>,
    pub(crate) cluster: Rc<Cluster<I>>,
    /// Of a cluster of bytes.
    pub(crate) raw: Option<RawTransport<I>>,
    pub(crate) stats: Cells<ClusterStats>,
    pub(crate) retries: RetryLimit,
    /// The statistics of all workers, to know the cluster's load by.
    pub(crate) scope: Arc<Scope<ClusterStats>>,
    pub(crate) replay: Rc<ReplayMemory>,
}

/// How connections of bytes begin.
pub(crate) struct RawTransport<I> {
    pub(crate) secure: Option<Secure<I>>,
    /// The version of the PROXY header.
    pub(crate) proxy_protocol: Option<u8>,
    /// How long it may take from the connection to the first byte.
    pub(crate) timeout: Duration,
}

/// A filter chain across snapshots: connections ask it for the view in force when a request begins.
pub(crate) struct ChainHandle<I: Io> {
    view: RefCell<Rc<ChainView<I>>>,
}

/// Where a request goes, as places in the tables of its view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) at: RouteAt,
    /// The cluster, if there is one.
    pub(crate) cluster: Option<usize>,
    /// Which of a weighted route's clusters it is.
    pub(crate) weighted: Option<u16>,
}

impl<I: Io> ChainView<I> {
    /// The route of a request, whose path is made comparable first; the refusal of one that cannot be.
    pub(crate) fn find(
        &self,
        head: &mut RequestHead,
        peer: &Address,
        random: u64,
    ) -> Result<Option<Target>, LocalReply> {
        self.path
            .apply(head)
            .map_err(|_| LocalReply::new(StatusCode::BAD_REQUEST, "malformed path", "path_normalization_failed"))?;
        let Some(routes) = &self.routes else { return Ok(None) };
        let asked = Asked { head, source: peer.ip().map(|peer| peer.ip().to_canonical()), random };
        let Some(at) = routes.find(asked) else { return Ok(None) };
        let picked = routes.route(at).and_then(Route::forward).map(|forward| forward.pick(head, self.shares.next()));
        let (cluster, weighted) = match picked {
            Some(Picked::Cluster(cluster, weighted)) => (Some(cluster), weighted),
            Some(Picked::Named(name)) => (self.named(name), None),
            Some(Picked::Nothing) | None => (None, None),
        };
        Ok(Some(Target { at, cluster, weighted }))
    }

    /// The route at a place.
    pub(crate) fn route(&self, target: &Target) -> Option<&Route> {
        self.routes.as_ref()?.route(target.at)
    }

    /// Where a request goes that is about to be sent: to its route's fallback if the cluster is down.
    pub(crate) fn available(&self, target: Target, forward: &Forward) -> Target {
        let Some(fallback) = forward.fallback else { return target };
        let down = match target.cluster.and_then(|at| self.cluster(at)) {
            None => fallback.cluster_not_found,
            Some(upstream) => {
                let cluster = &upstream.cluster;
                let down = (fallback.no_healthy_upstream && !cluster.has_healthy_host())
                    || (fallback.connect_failure && cluster.is_unreachable())
                    || (fallback.overflow && cluster.is_full());
                if down {
                    upstream.stats.upstream_rq_fallback.inc();
                }
                down
            }
        };
        if down { Target { cluster: Some(fallback.cluster as usize), weighted: None, ..target } } else { target }
    }

    /// The filters of a request with this route.
    pub(crate) fn filters_of(&self, target: Option<&Target>) -> Rc<[NamedFilter]> {
        Rc::clone(self.filters.of(target.and_then(|target| self.route(target)?.filters)))
    }

    /// The place of the cluster of this name.
    fn named(&self, name: &[u8]) -> Option<usize> {
        self.names.get(std::str::from_utf8(name).ok()?).copied()
    }

    pub(crate) fn cluster(&self, index: usize) -> Option<&Rc<ClusterView<I>>> {
        self.clusters.get(index)
    }
}

impl<I: Io> ChainHandle<I> {
    pub(crate) fn new(view: Rc<ChainView<I>>) -> Rc<Self> {
        Rc::new(Self { view: RefCell::new(view) })
    }

    /// The view in force.
    pub(crate) fn view(&self) -> Rc<ChainView<I>> {
        Rc::clone(&self.view.borrow())
    }

    pub(crate) fn replace(&self, view: Rc<ChainView<I>>) {
        let old = self.view.replace(view);
        // Outside the borrow: dropping the last reference may run arbitrary clean-up.
        drop(old);
    }
}

impl<I> ClusterView<I> {
    /// A place among the cluster's retries, if there is one. Reads what every worker counts: retries are rare, and
    /// each worker's share of a small budget would be nothing.
    pub(crate) fn allow_retry(&self) -> Option<RetryPermit> {
        let of = |stats: &ClusterStats| stats.upstream_rq_active.value() + stats.upstream_rq_pending_active.value();
        let load: i64 = self.scope.blocks().map(of).sum();
        self.retries.try_acquire(u64::try_from(load).unwrap_or(0))
    }

    pub(crate) fn count_response(&self, head: &ResponseHead) {
        self.stats.upstream_rq_completed.inc();
        if !head.version.is_http() && head.headers.first(rpc::EXCEPTION).is_some() {
            self.stats.upstream_rq_exception.inc();
        }
        match head.status.as_u16() / 100 {
            2 => self.stats.upstream_rq_2xx.inc(),
            3 => self.stats.upstream_rq_3xx.inc(),
            4 => self.stats.upstream_rq_4xx.inc(),
            5 => self.stats.upstream_rq_5xx.inc(),
            _ => {}
        }
    }

    /// Counts what a request that was meant for it came to, with the bytes of the bodies.
    pub(crate) fn count_end(&self, tries: &Tries, reason: &EndReason, sent: u64, received: u64) {
        self.stats.upstream_rq_1xx.add(tries.interim.into());
        if tries.count > 0 {
            self.stats.upstream_cx_tx_bytes_total.add(received);
        }
        if tries.answered {
            self.stats.upstream_cx_rx_bytes_total.add(sent);
            if tries.retried {
                self.stats.upstream_rq_retry_success.inc();
            }
        }
        match reason {
            EndReason::Body(error) if error.details == "response_timeout" => self.stats.upstream_rq_timeout.inc(),
            // Cut off within a body; what fails before a response is counted with its failure.
            EndReason::Body(error) if error.blame == Blame::Upstream => self.stats.upstream_rq_rx_reset.inc(),
            _ => {}
        }
    }

    /// Counts the outcome of a gRPC call, if these fields tell it.
    pub(crate) fn count_grpc(&self, fields: &Headers) -> bool {
        let Some(status) = fields.first("grpc-status") else { return false };
        match status {
            b"0" => self.stats.upstream_rq_grpc_ok.inc(),
            _ => self.stats.upstream_rq_grpc_failed.inc(),
        }
        true
    }

    pub(crate) fn count_failure(&self, failure: &Failure) {
        use ringway_api::ExchangeErrorKind as Kind;
        match failure {
            Failure::PerTryTimeout => {}
            Failure::PerTryIdle => self.stats.upstream_rq_per_try_idle_timeout.inc(),
            Failure::Timeout => self.stats.upstream_rq_timeout.inc(),
            Failure::Exchange(error) if error.kind == Kind::Closed => self.stats.upstream_rq_rx_reset.inc(),
            Failure::Exchange(error) if error.kind == Kind::RequestBody => self.stats.upstream_rq_tx_reset.inc(),
            Failure::Exchange(_) => self.stats.upstream_cx_protocol_error.inc(),
            Failure::Acquire(_) => {}
        }
    }
}
