//! A snapshot as one worker sees it, and the listeners' handles that swap it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use ringway_api::RequestHead;
use ringway_config::RouteTable;
use ringway_telemetry::{Cells, ClusterStats, HttpStats, ListenerStats, TcpStats};
use ringway_upstream::Cluster;

use crate::attempt::Failure;
use crate::entry::{Options, ServeFn};
use crate::forward::ForwardPolicy;
use crate::log::AccessLog;
use crate::path::PathPolicy;
use crate::timers::TimerPool;

/// A listener of one snapshot on one worker. A request keeps the one it began with until its end.
pub(crate) struct ListenerView<I> {
    pub(crate) service: Service<I>,
    pub(crate) max_connections: Option<u32>,
    pub(crate) listener: Cells<ListenerStats>,
    pub(crate) routes: Option<Arc<RouteTable>>,
    pub(crate) clusters: Rc<[Rc<ClusterView<I>>]>,
    pub(crate) forward: Arc<ForwardPolicy>,
    pub(crate) path: PathPolicy,
    pub(crate) http: Cells<HttpStats>,
    pub(crate) tcp: Cells<TcpStats>,
    pub(crate) log: Option<AccessLog>,
    pub(crate) timers: Rc<TimerPool>,
}

/// What a listener does with its connections.
pub(crate) enum Service<I> {
    /// A protocol with requests.
    Streams { serve: ServeFn<I>, options: Options },
    /// Bytes to a cluster.
    Raw { cluster: usize, idle_timeout: Option<Duration> },
}

/// A cluster of one snapshot on one worker.
pub(crate) struct ClusterView<I> {
    pub(crate) name: Rc<str>,
    pub(crate) cluster: Rc<Cluster<I>>,
    pub(crate) stats: Cells<ClusterStats>,
}

/// A listener across snapshots: connections ask it for the view in force when a request begins.
pub struct ListenerHandle<I> {
    view: RefCell<Rc<ListenerView<I>>>,
    /// Its open connections on this worker.
    open: Cell<u32>,
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) cluster: usize,
    pub(crate) timeout: Option<Duration>,
    pub(crate) name: Option<Arc<str>>,
}

impl<I> ListenerView<I> {
    /// The route of a request.
    pub(crate) fn route(&self, head: &RequestHead, random: u64) -> Option<Target> {
        let route = self.routes.as_ref()?.find(head)?;
        Some(Target { cluster: route.pick(random), timeout: route.timeout, name: route.name.clone() })
    }

    pub(crate) fn cluster(&self, index: usize) -> Option<&Rc<ClusterView<I>>> {
        self.clusters.get(index)
    }
}

impl<I> ListenerHandle<I> {
    pub(crate) fn new(view: Rc<ListenerView<I>>) -> Rc<Self> {
        Rc::new(Self { view: RefCell::new(view), open: Cell::new(0) })
    }

    /// The view in force.
    pub(crate) fn view(&self) -> Rc<ListenerView<I>> {
        Rc::clone(&self.view.borrow())
    }

    /// Counts a new connection in, unless there are as many as may be.
    pub(crate) fn admit(&self, view: &ListenerView<I>) -> bool {
        let open = self.open.get();
        if view.max_connections.is_some_and(|max| open >= max) {
            return false;
        }
        self.open.set(open + 1);
        true
    }

    /// Counts an accept that failed.
    pub fn accept_failed(&self) {
        self.view().listener.downstream_accept_failed.inc();
    }

    pub(crate) fn leave(&self) {
        self.open.set(self.open.get().saturating_sub(1));
    }

    pub(crate) fn replace(&self, view: Rc<ListenerView<I>>) {
        let old = self.view.replace(view);
        // Outside the borrow: dropping the last reference may run arbitrary clean-up.
        drop(old);
    }
}

impl<I> ClusterView<I> {
    pub(crate) fn count_response(&self, status: StatusCode) {
        self.stats.upstream_rq_completed.inc();
        match status.as_u16() / 100 {
            2 => self.stats.upstream_rq_2xx.inc(),
            3 => self.stats.upstream_rq_3xx.inc(),
            4 => self.stats.upstream_rq_4xx.inc(),
            5 => self.stats.upstream_rq_5xx.inc(),
            _ => {}
        }
    }

    pub(crate) fn count_failure(&self, failure: &Failure) {
        use ringway_api::ExchangeErrorKind as Kind;
        match failure {
            Failure::Timeout => self.stats.upstream_rq_timeout.inc(),
            Failure::Exchange(error) if error.kind == Kind::Closed => self.stats.upstream_rq_rx_reset.inc(),
            Failure::Exchange(error) if error.kind == Kind::RequestBody => self.stats.upstream_rq_tx_reset.inc(),
            Failure::Exchange(_) => self.stats.upstream_cx_protocol_error.inc(),
            Failure::Acquire(_) => {}
        }
    }
}
