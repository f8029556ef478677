//! Exporters: telemetry on its way to collectors.
//!
//! Each has a queue that is bounded by bytes and loses its oldest when a collector is slow or away, which is counted;
//! a task sends what is there when it is worth a message or has waited long enough, and tries again when the collector
//! says that this might help. Nothing here is ever waited for by who reports.

mod als;
mod collector;
mod otlp;
mod queue;
mod sending;
mod statsd;
#[cfg(test)]
mod tests;
mod zipkin;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use ringway_api::Address;
use ringway_telemetry::{Cells, ExporterStats, LogExporter, Registry, Scope, SpanExporter};

use self::collector::Collector;
pub use self::otlp::Resource;
use self::queue::Queue;
use crate::Secure;

/// When a batch is sent, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// So many bytes are sent at once. 16 KiB.
    pub bytes: usize,
    /// What is there is sent after this time at the latest. 1 s.
    pub interval: Duration,
    /// Bytes that may wait; the oldest are dropped beyond. 4 MiB.
    pub queue_bytes: usize,
}

/// Where telemetry goes and how.
#[derive(Clone)]
pub struct Destination {
    /// The collector's URL. Only its authority counts over gRPC.
    pub endpoint: Uri,
    /// Further fields of each request: an API key, say.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long a request may take.
    pub timeout: Duration,
    /// Secures connections; none in plaintext.
    pub secure: Option<Secure>,
}

/// What protocol OTLP is spoken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpTransport {
    /// gRPC (OTLP/gRPC).
    Grpc,
    /// Protobuf over HTTP/1.1 (OTLP/HTTP), below the endpoint's path.
    Http,
}

/// A running exporter. Its tasks end when it is dropped; what waits then is lost, unless it was
/// [flushed](Self::flush).
pub struct Exporter {
    /// Takes spans, if it can.
    pub spans: Option<Arc<dyn SpanExporter>>,
    /// Takes log records, if it can.
    pub logs: Option<Arc<dyn LogExporter>>,
    flushers: Vec<Arc<dyn Flush>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What exporters are made with.
pub struct Exporting<'a> {
    /// The exporter's name, for its statistics.
    pub name: &'a str,
    /// All statistics.
    pub registry: &'a Arc<Registry>,
    /// When it sends.
    pub batching: Batching,
    /// Who reports.
    pub resource: &'a Resource,
    /// Is told, in a sentence, when the collector begins to fail and when it is well again.
    pub tell: Tell,
}

/// Takes a sentence for the operator.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// A queue whose end can be waited for.
trait Flush: Send + Sync {
    fn is_empty(&self) -> bool;
    fn hurry(&self);
}

impl Default for Batching {
    fn default() -> Self {
        Self { bytes: 16 << 10, interval: Duration::from_secs(1), queue_bytes: 4 << 20 }
    }
}

impl Exporter {
    /// To an OpenTelemetry collector: spans, log records and, each `metrics` interval, all statistics.
    pub fn otlp(with: &Exporting<'_>, to: Destination, transport: OtlpTransport, metrics: Option<Duration>) -> Self {
        let mut this = Self::idle();
        let resource = with.resource.encoded();
        let (spans, sending) = this.queue(with, &to, collector_of(transport), otlp::Spans::new(transport, &resource));
        this.tasks.push(sending);
        this.spans = Some(Arc::new(otlp::SpanQueue(spans)));
        let (logs, sending) = this.queue(with, &to, collector_of(transport), otlp::Logs::new(transport, &resource));
        this.tasks.push(sending);
        this.logs = Some(Arc::new(otlp::LogQueue(logs)));
        if let Some(interval) = metrics {
            let format = otlp::Metrics::new(transport, &resource);
            let (metrics, sending) = this.queue(with, &to, collector_of(transport), format);
            this.tasks.push(sending);
            this.tasks.push(tokio::spawn(otlp::report(Arc::clone(with.registry), metrics, interval)));
        }
        this
    }

    /// To Zipkin or what takes its JSON: spans.
    pub fn zipkin(with: &Exporting<'_>, to: Destination) -> Self {
        let mut this = Self::idle();
        let (spans, sending) = this.queue(with, &to, Collector::http, zipkin::Spans);
        this.tasks.push(sending);
        this.spans = Some(Arc::new(zipkin::SpanQueue::new(spans, with.resource)));
        this
    }

    /// To an access-log service as Envoy has it: log records, over one gRPC stream for each batch.
    pub fn als(with: &Exporting<'_>, to: Destination, log_name: &str) -> Self {
        let mut this = Self::idle();
        let (http, sending) = this.queue(with, &to, Collector::grpc, als::Entries::new(with.resource, log_name));
        this.tasks.push(sending);
        let (tcp, sending) = this.queue(with, &to, Collector::grpc, als::Entries::new(with.resource, log_name));
        this.tasks.push(sending);
        this.logs = Some(Arc::new(als::EntryQueue { http, tcp }));
        this
    }

    /// To a statsd daemon over UDP or a unix datagram socket: all statistics, each `interval`.
    pub fn statsd(with: &Exporting<'_>, to: Address, prefix: &str, interval: Duration, tags: bool) -> Self {
        let mut this = Self::idle();
        let stats = with.registry.exporter(with.name);
        let lines = statsd::Lines::new(prefix, tags);
        this.tasks.push(tokio::spawn(statsd::run(Arc::clone(with.registry), to, lines, interval, stats)));
        this
    }

    fn idle() -> Self {
        Self { spans: None, logs: None, flushers: Vec::new(), tasks: Vec::new() }
    }

    fn queue<F: sending::Batch>(
        &mut self,
        with: &Exporting<'_>,
        to: &Destination,
        collector: fn(Destination) -> Collector,
        format: F,
    ) -> (Arc<Queue<F::Item>>, tokio::task::JoinHandle<()>) {
        let stats: Arc<Scope<ExporterStats>> = with.registry.exporter(with.name);
        let queue = Arc::new(Queue::new(with.batching, Arc::clone(&stats)));
        self.flushers.push(Arc::clone(&queue) as Arc<dyn Flush>);
        let task = tokio::spawn(sending::run(
            Arc::clone(&queue),
            collector(to.clone()),
            format,
            stats,
            Arc::clone(&with.tell),
        ));
        (queue, task)
    }

    /// Sends what waits; done when it was sent, or `within` has passed.
    pub async fn flush(&self, within: Duration) {
        let sent = async {
            while self.flushers.iter().any(|queue| !queue.is_empty()) {
                self.flushers.iter().for_each(|queue| queue.hurry());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // What is left is lost, and counted as waiting.
        let _in_time = tokio::time::timeout(within, sent).await;
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn collector_of(transport: OtlpTransport) -> fn(Destination) -> Collector {
    match transport {
        OtlpTransport::Grpc => Collector::grpc,
        OtlpTransport::Http => Collector::http,
    }
}

/// The statistics of an exporter, on the control plane.
type Stats = Cells<ExporterStats>;
