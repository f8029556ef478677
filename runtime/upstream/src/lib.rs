//! The upstream side of one worker: clusters, hosts, connection pools and load balancers.
//!
//! A [`Cluster`] belongs to the worker that built it: nothing here is `Send`, locked or shared for writing, but the
//! process-wide [`SharedLimit`]s, which workers lease from in batches. The crate knows no protocol and no socket:
//! connections come from [`Connect`](ringway_api::Connect) and a [`Factory`] that makes an
//! [`UpstreamConn`](ringway_api::UpstreamConn) of them.
//!
//! The way of a request: [`Cluster::pick`] asks the balancer, [`Cluster::acquire`] takes a connection of that host's
//! pool (or waits for one), [`Lease::open`] begins the exchange, and dropping the [`Lease`] gives the connection back.

#![forbid(unsafe_code)]

pub mod balance;
mod cluster;
mod dial;
mod error;
mod events;
mod grouping;
mod health;
mod host;
mod host_set;
mod levels;
mod original;
pub mod outlier;
mod params;
mod pool;
mod retries;

pub use cluster::{Cluster, RawLease, Want};
pub use error::{AcquireError, Breaker};
pub use events::{CloseCause, ClusterEvents};
pub use grouping::{Fallback, Grouping, Locality, SlowStart, Subsets, ZoneAware};
pub use health::{HealthBell, HealthFlags, HealthSignals, HostHealth, Outcome, PassiveParams, Totals};
pub use host::{Host, HostReport};
pub use host_set::key;
pub use original::OriginalDestination;
pub use params::{BreakerLimits, ClusterParams, Describe, Factory, HostLimits, HostParams, Reach, Secure, Services};
pub use pool::{Lease, Reuse};
pub use retries::{RetryAllowance, RetryLimit, RetryPermit};
pub use ringway_api::{Limit, Permit, SharedLimit};
