//! Spans in OTLP.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Encoded, Status, span, status};
use prost::Message;
use ringway_telemetry::{Span, SpanExporter, SpanKind, SpanStatus, SpanValue};

use super::{attribute, nanos, scope};
use crate::export::OtlpTransport;
use crate::export::queue::Queue;
use crate::export::sending::Batch;

/// Batches of spans.
pub(in crate::export) struct Spans {
    transport: OtlpTransport,
    resource: Resource,
}

/// Spans that wait.
pub(in crate::export) struct SpanQueue(pub(in crate::export) Arc<Queue<Encoded>>);

impl Spans {
    pub(in crate::export) fn new(transport: OtlpTransport, resource: &Resource) -> Self {
        Self { transport, resource: resource.clone() }
    }
}

impl Batch for Spans {
    type Item = Encoded;

    fn path(&self) -> &'static str {
        super::path(self.transport, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", "/v1/traces")
    }

    fn content_type(&self) -> &'static str {
        super::content_type(self.transport)
    }

    fn message(&self, items: &[Encoded]) -> Bytes {
        let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans: items.to_vec(), schema_url: String::new() }];
        let resource_spans =
            vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans, schema_url: String::new() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
    }

    fn rejected(&self, answer: &[u8]) -> u64 {
        let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
        answer.partial_success.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
    }
}

impl SpanExporter for SpanQueue {
    fn export(&self, spans: &[Span]) {
        for span in spans {
            let span = encoded(span);
            self.0.push(span.encoded_len(), span);
        }
    }
}

fn encoded(span: &Span) -> Encoded {
    let status = match &span.status {
        SpanStatus::Unset => None,
        SpanStatus::Error(message) => Some(Status { message: message.clone(), code: status::StatusCode::Error.into() }),
    };
    let event = |event: &ringway_telemetry::SpanEvent| span::Event {
        time_unix_nano: nanos(event.at),
        name: event.name.to_owned(),
        attributes: attributes(&event.attributes),
        dropped_attributes_count: 0,
    };
    let kind = match span.kind {
        SpanKind::Server => span::SpanKind::Server,
        SpanKind::Client => span::SpanKind::Client,
    };
    Encoded {
        trace_id: span.trace.get().to_be_bytes().to_vec(),
        span_id: span.id.get().to_be_bytes().to_vec(),
        parent_span_id: span.parent.map_or_else(Vec::new, |parent| parent.get().to_be_bytes().to_vec()),
        name: span.name.clone(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.start),
        end_time_unix_nano: nanos(span.end),
        attributes: attributes(&span.attributes),
        events: span.events.iter().map(event).collect(),
        status,
        ..Encoded::default()
    }
}

pub(super) fn attributes(all: &[(std::borrow::Cow<'static, str>, SpanValue)]) -> Vec<KeyValue> {
    let value = |value: &SpanValue| match value {
        SpanValue::Text(text) => any_value::Value::StringValue(text.clone()),
        SpanValue::Number(number) => any_value::Value::IntValue(*number),
        SpanValue::Bool(truth) => any_value::Value::BoolValue(*truth),
    };
    all.iter().map(|(key, one)| attribute(key, value(one))).collect()
}
