//! Where telemetry goes, compiled.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use ringway_api::Address;

use crate::raw;

/// An exporter.
#[derive(Debug)]
pub struct Exporter {
    /// What it was compiled from.
    pub raw: raw::Exporter,
    /// What it is.
    pub kind: ExporterKind,
}

/// What an exporter is.
#[derive(Debug)]
pub enum ExporterKind {
    /// An OpenTelemetry collector.
    Otlp {
        /// Where and how.
        collector: Collector,
        /// What OTLP is spoken over.
        protocol: raw::OtlpProtocol,
        /// How often statistics are sent.
        metrics: Option<Duration>,
    },
    /// Zipkin.
    Zipkin(Collector),
    /// A service of Envoy's access logs.
    AccessLogService {
        /// Where and how.
        collector: Collector,
        /// The log's name.
        log_name: String,
    },
    /// A statsd daemon.
    Statsd {
        /// Where.
        address: Address,
        /// What names begin with.
        prefix: String,
        /// How often.
        interval: Duration,
        /// Scopes are tags.
        tags: bool,
    },
}

/// A collector over HTTP.
#[derive(Debug)]
pub struct Collector {
    /// Its URL: `http` or `https`, with an authority.
    pub endpoint: Uri,
    /// Further fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long a request may take.
    pub timeout: Duration,
    /// How it is verified, of an `https` endpoint.
    pub tls: Option<raw::ClusterTls>,
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Access logs.
    Logs,
}

impl Exporter {
    /// Whether it takes this.
    pub fn takes(&self, signal: Signal) -> bool {
        match self.kind {
            ExporterKind::Otlp { .. } => true,
            ExporterKind::Zipkin(_) => signal == Signal::Traces,
            ExporterKind::AccessLogService { .. } => signal == Signal::Logs,
            ExporterKind::Statsd { .. } => false,
        }
    }

    /// How its collector is verified.
    pub fn tls(&self) -> Option<&raw::ClusterTls> {
        match &self.kind {
            ExporterKind::Otlp { collector, .. }
            | ExporterKind::Zipkin(collector)
            | ExporterKind::AccessLogService { collector, .. } => collector.tls.as_ref(),
            ExporterKind::Statsd { .. } => None,
        }
    }
}
