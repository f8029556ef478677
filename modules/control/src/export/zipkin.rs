//! Spans in Zipkin's JSON, version 2 of its API.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use ringway_telemetry::{Span, SpanExporter, SpanKind, SpanStatus, SpanValue};
use serde_json::{Map, Value, json};

use super::Resource;
use super::queue::Queue;
use super::sending::Batch;

/// Batches of spans.
pub(super) struct Spans;

/// Spans that wait, as JSON each.
pub(super) struct SpanQueue {
    queue: Arc<Queue<String>>,
    service: String,
}

impl SpanQueue {
    pub(super) fn new(queue: Arc<Queue<String>>, resource: &Resource) -> Self {
        Self { queue, service: resource.service.clone() }
    }
}

impl Batch for Spans {
    type Item = String;

    fn path(&self) -> &'static str {
        ""
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn message(&self, items: &[String]) -> Bytes {
        format!("[{}]", items.join(",")).into()
    }
}

impl SpanExporter for SpanQueue {
    fn export(&self, spans: &[Span<'_>]) {
        for span in spans {
            let text = encoded(span, &self.service).to_string();
            self.queue.push(text.len(), text);
        }
    }
}

fn encoded(span: &Span<'_>, service: &str) -> Value {
    let mut tags: Map<String, Value> = Map::new();
    for (key, value) in &span.attributes {
        let text = match value {
            SpanValue::Text(text) => text.to_string(),
            SpanValue::Number(number) => number.to_string(),
            SpanValue::Bool(truth) => truth.to_string(),
        };
        tags.insert(key.to_string(), text.into());
    }
    if let SpanStatus::Error(why) = &span.status {
        tags.insert("error".into(), (**why).into());
    }
    let annotations: Vec<Value> =
        span.events.iter().map(|event| json!({ "timestamp": micros(event.at), "value": event.name })).collect();
    let took = span.end.duration_since(span.start).unwrap_or_default();
    let mut encoded = json!({
        "traceId": format!("{:032x}", span.trace),
        "id": format!("{:016x}", span.id),
        "name": &*span.name,
        "kind": match span.kind { SpanKind::Server => "SERVER", SpanKind::Client => "CLIENT" },
        "timestamp": micros(span.start),
        // Zero is not allowed.
        "duration": u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1),
        "localEndpoint": { "serviceName": service },
        "tags": tags,
        "annotations": annotations,
    });
    if let (Some(parent), Some(object)) = (span.parent, encoded.as_object_mut()) {
        object.insert("parentId".into(), format!("{parent:016x}").into());
    }
    encoded
}

fn micros(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
