//! What workers do for Istio's metrics.

use std::sync::Arc;

use super::Istio;
use super::facts::Facts;
use super::mesh::{MeshService, Reporter};
use super::table::{Counts, Table};
use crate::{Cells, Field, MetricsStats, Needs, SinkPlan, StreamRecord, StreamSink};

/// Counts the streams of a filter chain.
pub struct IstioSink {
    istio: Arc<Istio>,
    reporter: Reporter,
}

struct Lane {
    istio: Arc<Istio>,
    table: Arc<Table>,
    reporter: Reporter,
    stats: Cells<MetricsStats>,
}

impl IstioSink {
    /// Streams that this side of a call reports. Takes part in what the chain's sinks need.
    pub fn new(istio: Arc<Istio>, reporter: Reporter, needs: &mut Needs) -> Self {
        for field in [Field::GrpcStatus, Field::Call] {
            needs.add(field);
        }
        needs.add(match reporter {
            Reporter::Source => Field::UpstreamTls,
            Reporter::Destination => Field::DownstreamTls,
        });
        if istio.mesh.by_authority {
            needs.add(Field::Authority);
        }
        Self { istio, reporter }
    }
}

impl SinkPlan for IstioSink {
    fn on_worker(&self, worker: usize) -> Option<Box<dyn StreamSink>> {
        Some(Box::new(Lane {
            table: Arc::clone(self.istio.tables.get(worker)?),
            stats: self.istio.stats.worker(worker),
            reporter: self.reporter,
            istio: Arc::clone(&self.istio),
        }))
    }
}

impl Lane {
    fn counts(&self, facts: Facts<'_>) -> &Counts {
        let (counts, own) = self.table.find(facts);
        if !own {
            self.stats.overflowed.inc();
        }
        counts
    }

    fn facts<'a>(&self, record: &StreamRecord<'a>) -> Facts<'a> {
        let mesh = &self.istio.mesh;
        let unknown = |cluster: &str| !mesh.services.contains_key(cluster) && !MeshService::is_name(cluster);
        Facts::of(self.reporter, record, |cluster| mesh.by_authority && unknown(cluster))
    }
}

impl StreamSink for Lane {
    fn ended(&self, record: &StreamRecord<'_>) {
        let facts = self.facts(record);
        let counts = self.counts(facts);
        if facts.tcp {
            // One without a host has not been told of before.
            if record.upstream_host.is_none() {
                counts.began.inc();
            }
            counts.closed.inc();
            counts.received.add(record.bytes_received);
            counts.sent.add(record.bytes_sent);
            return;
        }
        counts.began.inc();
        let http = counts.http.get_or_init(Box::default);
        let sampled = record.trace.filter(|trace| trace.sampled).map(|trace| trace.trace);
        http.duration.record(record.duration, sampled, || record.start + record.duration);
        http.request_bytes.record(record.bytes_received);
        http.response_bytes.record(record.bytes_sent);
    }

    fn connected(&self, record: &StreamRecord<'_>) {
        self.counts(self.facts(record)).began.inc();
    }
}
