//! The OpenTelemetry protocol (OTLP 1.x) in protobuf, over gRPC or HTTP.

mod logs;
mod metrics;
mod spans;
mod wire;

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource as Encoded;

pub(super) use self::logs::{LogQueue, Logs};
pub(super) use self::metrics::{Metrics, report};
pub(super) use self::spans::{SpanQueue, Spans};
use super::OtlpTransport;

/// Who reports: OpenTelemetry's resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// `service.name`
    pub service: String,
    /// Further attributes: `service.namespace`, `k8s.pod.name`.
    pub attributes: Vec<(String, String)>,
}

impl Resource {
    pub(super) fn encoded(&self) -> Encoded {
        let further = self.attributes.iter().map(|(key, value)| text(key, value.clone()));
        let attributes = std::iter::once(text("service.name", self.service.clone())).chain(further).collect();
        Encoded { attributes, ..Encoded::default() }
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "ringway".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    }
}

fn text(key: &str, value: String) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Nanoseconds since 1970.
fn nanos(at: std::time::SystemTime) -> u64 {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Where a kind of telemetry is sent to.
fn path(transport: OtlpTransport, grpc: &'static str, http: &'static str) -> &'static str {
    match transport {
        OtlpTransport::Grpc => grpc,
        OtlpTransport::Http => http,
    }
}

fn content_type(transport: OtlpTransport) -> &'static str {
    match transport {
        OtlpTransport::Grpc => "application/grpc",
        OtlpTransport::Http => "application/x-protobuf",
    }
}
