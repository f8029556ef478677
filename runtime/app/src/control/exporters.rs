//! The exporters that run: those of the snapshot in force.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::Address;
use ringway_config::{Collector, Exporter as Configured, ExporterKind, Snapshot, raw};
use ringway_control::{Batching, Destination, Exporter, Exporting, OtlpTransport, Resource, Tell};
use ringway_io::tls::ClientTls;
use ringway_telemetry::{LogExporter, Registry, SpanExporter};

use super::health::Secured;
use super::tls::Contexts;

/// How long what waits is given when an exporter ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Exporters by name. One whose configuration and TLS are as before goes on, with what it has not sent yet.
#[derive(Default)]
pub(crate) struct Exporters(BTreeMap<String, Running>);

struct Running {
    of: Arc<Configured>,
    context: Option<Arc<ClientTls>>,
    exporter: Exporter,
}

impl Exporters {
    /// Runs those of a snapshot. Those that are gone send what they have, in the background.
    pub(crate) fn follow(&mut self, snapshot: &Snapshot, contexts: &Contexts, registry: &Arc<Registry>) {
        let mut before = std::mem::take(&mut self.0);
        for configured in &snapshot.exporters {
            let name = &configured.raw.name;
            let context = contexts.exporter(name).cloned();
            let same = |running: &Running| {
                Arc::ptr_eq(&running.of, configured)
                    && running.context.as_ref().map(Arc::as_ptr) == context.as_ref().map(Arc::as_ptr)
            };
            let running = match before.remove(name) {
                Some(running) if same(&running) => running,
                other => {
                    before.extend(other.map(|gone| (name.clone(), gone)));
                    let exporter = start(configured, context.as_ref(), registry);
                    Running { of: Arc::clone(configured), context, exporter }
                }
            };
            self.0.insert(name.clone(), running);
        }
        for (_, gone) in before {
            tokio::spawn(async move { gone.exporter.flush(FAREWELL).await });
        }
    }

    /// Those of these names that take spans.
    pub(crate) fn of_spans<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a Arc<dyn SpanExporter>> {
        names.iter().filter_map(|name| self.0.get(name)?.exporter.spans.as_ref())
    }

    /// The one of this name, if it takes access logs.
    pub(crate) fn of_logs(&self, name: &str) -> Option<&Arc<dyn LogExporter>> {
        self.0.get(name)?.exporter.logs.as_ref()
    }

    /// Has all of them send what they have.
    pub(crate) async fn flush(&self) {
        let until = tokio::time::Instant::now() + FAREWELL;
        for running in self.0.values() {
            running.exporter.flush(until.saturating_duration_since(tokio::time::Instant::now())).await;
        }
    }
}

fn start(configured: &Configured, context: Option<&Arc<ClientTls>>, registry: &Arc<Registry>) -> Exporter {
    let raw = &configured.raw;
    let resource = Resource {
        service: raw.service_name.clone(),
        attributes: raw.attributes.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
    };
    let bytes = |size: ringway_api::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    let name = raw.name.clone();
    let tell: Tell = Arc::new(move |what: &str| eprintln!("ringway: exporter={name} {what}"));
    let with = Exporting {
        name: &raw.name,
        registry,
        batching: Batching {
            bytes: bytes(raw.batch.bytes),
            interval: raw.batch.interval.duration(),
            queue_bytes: bytes(raw.batch.queue),
        },
        resource: &resource,
        tell,
    };
    match &configured.kind {
        ExporterKind::Otlp { collector, protocol, metrics } => {
            let transport = match protocol {
                raw::OtlpProtocol::Grpc => OtlpTransport::Grpc,
                raw::OtlpProtocol::Http => OtlpTransport::Http,
            };
            Exporter::otlp(&with, destination(collector, context), transport, *metrics)
        }
        ExporterKind::Zipkin(collector) => Exporter::zipkin(&with, destination(collector, context)),
        ExporterKind::AccessLogService { collector, log_name } => {
            Exporter::als(&with, destination(collector, context), log_name)
        }
        ExporterKind::Statsd { address, prefix, interval, tags } => {
            Exporter::statsd(&with, address.clone(), prefix, *interval, *tags)
        }
    }
}

fn destination(collector: &Collector, context: Option<&Arc<ClientTls>>) -> Destination {
    let host = collector.endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
    let secure = context.map(|context| {
        // The name decides, not the address.
        Secured::with(context).host(&Address::Unix(Default::default()), Some(host))
    });
    Destination {
        endpoint: collector.endpoint.clone(),
        headers: collector.headers.clone(),
        timeout: collector.timeout,
        secure,
    }
}
