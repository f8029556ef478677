//! What happens in a cluster, for whoever counts it.

use std::time::Duration;

/// Sees what happens in one cluster on one worker. Every method has an empty default; all are called on the data
/// path and must only count. Names of Envoy's statistics are noted where they are the same thing.
pub trait ClusterEvents {
    /// A connection is there, `took` after it was asked for (`upstream_cx_total`, `upstream_cx_active`,
    /// `upstream_cx_connect_ms`).
    fn connection_opened(&self, _took: Duration) {}

    /// A connection that was opened is gone (`upstream_cx_destroy`, `upstream_cx_active`).
    fn connection_closed(&self, _cause: CloseCause) {}

    /// An attempt failed (`upstream_cx_connect_fail`).
    fn connect_failed(&self) {}

    /// An attempt took longer than the connect timeout (`upstream_cx_connect_fail`, `upstream_cx_connect_timeout`).
    fn connect_timed_out(&self) {}

    /// The limit on connections was in the way (`upstream_cx_overflow`).
    fn connection_overflow(&self) {}

    /// A request began to wait for a connection (`upstream_rq_pending_total`, `upstream_rq_pending_active`).
    fn pending_begun(&self) {}

    /// A request that waited got its connection, failed or was cancelled (`upstream_rq_pending_active`).
    fn pending_ended(&self) {}

    /// A request was refused by the limit on waiting or active requests (`upstream_rq_pending_overflow`).
    fn pending_overflow(&self) {}

    /// A request that waited was failed: no connection came about for it (`upstream_rq_pending_failure_eject`).
    fn pending_failed(&self) {}

    /// A request that waited was given up by whoever made it (`upstream_rq_cancelled`).
    fn pending_cancelled(&self) {}

    /// A request got its connection (`upstream_rq_total`, `upstream_rq_active`).
    fn request_begun(&self) {}

    /// A request gave its connection back (`upstream_rq_active`).
    fn request_ended(&self) {}

    /// No host may be picked (`upstream_cx_none_healthy`).
    fn no_healthy_host(&self) {}

    /// A host was picked among usable and unusable ones, because too few are usable (`lb_healthy_panic`).
    fn panicked(&self) {}

    /// The hosts are now these many (`membership_total`, `membership_healthy`).
    fn membership(&self, _total: usize, _usable: usize) {}
}

/// Counts nothing.
impl ClusterEvents for () {}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCause {
    /// Its last exchange or its protocol left it unfit for more.
    Spent,
    /// The peer closed it, or sent what nobody asked for, while it was idle.
    PeerClosed,
    /// Idle for longer than the idle timeout (`upstream_cx_idle_timeout`).
    IdleTimeout,
    /// It carried as many requests as it may (`upstream_cx_max_requests`).
    MaxRequests,
    /// Its host left, its transport's settings changed, or the cluster went away.
    Drained,
    /// Closed, while idle, to make room for one that must be fresh.
    MadeRoom,
    /// A raw connection whose user is done with it.
    Released,
}
