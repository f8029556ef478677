//! What happens in clusters, counted in the worker's cells.

use std::time::Duration;

use ringway_telemetry::{Cells, ClusterStats};
use ringway_upstream::{CloseCause, ClusterEvents};

/// Counts a cluster's events.
pub(crate) struct Counted(pub(crate) Cells<ClusterStats>);

impl ClusterEvents for Counted {
    fn connection_opened(&self, took: Duration) {
        self.0.upstream_cx_total.inc();
        self.0.upstream_cx_active.inc();
        self.0.upstream_cx_connect_ms.record(took);
    }

    fn connection_closed(&self, cause: CloseCause) {
        self.0.upstream_cx_active.dec();
        self.0.upstream_cx_destroy.inc();
        match cause {
            CloseCause::PeerClosed => self.0.upstream_cx_destroy_remote.inc(),
            CloseCause::IdleTimeout => self.0.upstream_cx_idle_timeout.inc(),
            CloseCause::MaxRequests => self.0.upstream_cx_max_requests.inc(),
            CloseCause::Spent | CloseCause::Drained | CloseCause::MadeRoom | CloseCause::Released => {}
        }
        if cause != CloseCause::PeerClosed {
            self.0.upstream_cx_destroy_local.inc();
        }
    }

    fn connect_failed(&self) {
        self.0.upstream_cx_connect_fail.inc();
    }

    fn connect_timed_out(&self) {
        self.0.upstream_cx_connect_fail.inc();
        self.0.upstream_cx_connect_timeout.inc();
    }

    fn connection_overflow(&self) {
        self.0.upstream_cx_overflow.inc();
    }

    fn panicked(&self) {
        self.0.lb_healthy_panic.inc();
    }

    fn pending_begun(&self) {
        self.0.upstream_rq_pending_total.inc();
        self.0.upstream_rq_pending_active.inc();
    }

    fn pending_ended(&self) {
        self.0.upstream_rq_pending_active.dec();
    }

    fn pending_overflow(&self) {
        self.0.upstream_rq_pending_overflow.inc();
    }

    fn pending_failed(&self) {
        self.0.upstream_rq_pending_failure_eject.inc();
    }

    fn pending_cancelled(&self) {
        self.0.upstream_rq_cancelled.inc();
    }

    fn request_begun(&self) {
        self.0.upstream_rq_total.inc();
        self.0.upstream_rq_active.inc();
    }

    fn request_ended(&self) {
        self.0.upstream_rq_active.dec();
    }

    fn no_healthy_host(&self) {
        self.0.upstream_cx_none_healthy.inc();
    }

    fn membership(&self, total: usize, usable: usize) {
        self.0.membership_total.set(total as u64);
        self.0.membership_healthy.set(usable as u64);
    }
}
