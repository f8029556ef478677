//! Where telemetry goes.

use std::collections::BTreeMap;
use std::fmt;

use ringway_api::{ByteSize, Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::ClusterTls;

/// Something that takes telemetry away. Exactly one of `otlp`, `zipkin`, `access_log_service` and `statsd`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Exporter {
    /// The name by which others refer to it.
    pub name: String,
    /// Who reports: `service.name`.
    #[serde(default = "ringway")]
    pub service_name: String,
    /// What else is said of who reports (OpenTelemetry's resource attributes).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// When it sends.
    #[serde(default)]
    pub batch: Batch,
    /// An OpenTelemetry collector: spans, access logs, statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
    /// Zipkin, or what takes its JSON: spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<Collector>,
    /// A service of Envoy's access logs over gRPC: access logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log_service: Option<AccessLogService>,
    /// A statsd daemon: statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statsd: Option<Statsd>,
}

/// When an exporter sends, and how much may wait.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// So many bytes are sent at once.
    pub bytes: ByteSize,
    /// What is there is sent after this time at the latest.
    pub interval: Millis,
    /// Bytes that may wait; the oldest are dropped beyond, and counted.
    pub queue: ByteSize,
}

/// A text that is not shown: in dumps of the configuration it is `[redacted]`. `%ENVIRONMENT(NAME)%` as a whole is the
/// value of that environment variable, so that the file need not have it either.
#[derive(Clone, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text.
    ///
    /// # Errors
    /// When the environment variable that it is taken from is not there.
    pub fn reveal(&self) -> Result<String, String> {
        let variable = self.0.strip_prefix("%ENVIRONMENT(").and_then(|rest| rest.strip_suffix(")%"));
        match variable {
            None => Ok(self.0.clone()),
            Some(name) => std::env::var(name).map_err(|_| format!("there is no environment variable `{name}`")),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("[redacted]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A collector over HTTP.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Collector {
    /// Its URL, `http://` or `https://`.
    pub endpoint: String,
    /// Further fields of each request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    /// How long a request may take.
    #[serde(default = "ten_seconds")]
    pub timeout: Millis,
    /// How it is verified, for `https://`; by the system's authorities by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClusterTls>,
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Its URL, `http://` or `https://`: usually port 4317 for gRPC, 4318 for HTTP.
    pub endpoint: String,
    /// What OTLP is spoken over.
    #[serde(default)]
    pub protocol: OtlpProtocol,
    /// Further fields of each request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    /// How long a request may take.
    #[serde(default = "ten_seconds")]
    pub timeout: Millis,
    /// How it is verified, for `https://`; by the system's authorities by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClusterTls>,
    /// Sends all statistics so often; not at all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_interval: Option<Millis>,
}

/// What OTLP is spoken over.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OtlpProtocol {
    /// gRPC.
    #[default]
    Grpc,
    /// Protobuf over HTTP/1.1, at `/v1/traces` and the like below the endpoint's path.
    Http,
}

/// A service of Envoy's access logs.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct AccessLogService {
    /// Its URL, `http://` or `https://`.
    pub endpoint: String,
    /// The log's name.
    #[serde(default = "ringway")]
    pub log_name: String,
    /// Further fields of each request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    /// How long a request may take.
    #[serde(default = "ten_seconds")]
    pub timeout: Millis,
    /// How it is verified, for `https://`; by the system's authorities by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClusterTls>,
}

/// A statsd daemon.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Statsd {
    /// `ip:port` for UDP, `unix:/path` for datagrams.
    pub address: String,
    /// What all names begin with.
    #[serde(default = "ringway")]
    pub prefix: String,
    /// How often.
    #[serde(default = "ten_seconds")]
    pub interval: Millis,
    /// Clusters and listeners are tags (`|#envoy_cluster_name:app`, as DogStatsD reads them) instead of parts of names.
    #[serde(default)]
    pub tags: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Self { bytes: ByteSize(16 << 10), interval: Millis(1_000), queue: ByteSize(4 << 20) }
    }
}

fn ringway() -> String {
    "ringway".into()
}

fn ten_seconds() -> Millis {
    Millis(10_000)
}
