//! Istio's standard metrics: requests and connections by who called whom and how it went.
//!
//! Each worker counts in a [table](table::Table) of its own, by what it knows of a stream ([`Facts`](facts::Facts));
//! the control plane adds the tables up, turns facts into Istio's labels and keeps to the limit of all
//! ([`Istio::families`]).

mod buckets;
mod facts;
mod mesh;
mod read;
mod sink;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::buckets::Exemplar;
pub use self::mesh::{Mesh, MeshService, Reporter, Workload};
pub use self::read::{Bucket, Family, Labels, Point, Unit};
pub use self::sink::IstioSink;

use self::read::Shown;
use self::table::Table;
use crate::{MetricsStats, Scope};

/// Istio's metrics of a process. What they are called by does not change: another [`Mesh`] begins anew, at zero.
pub struct Istio {
    mesh: Mesh,
    tables: Box<[Arc<Table>]>,
    shown: Shown,
    stats: Arc<Scope<MetricsStats>>,
}

impl Istio {
    /// The metrics of so many workers, each of which has room for [`Mesh::max_series`].
    pub fn new(mesh: Mesh, workers: usize, stats: Arc<Scope<MetricsStats>>) -> Arc<Self> {
        let tables = (0..workers).map(|_| Arc::new(Table::new(mesh.max_series))).collect();
        Arc::new(Self { mesh, tables, shown: Shown::default(), stats })
    }
}
