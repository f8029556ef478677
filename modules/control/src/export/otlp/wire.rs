//! Protobuf written straight from what is told: at full sampling the structures that stand for messages, with a string
//! of their own for each key, would cost more than all else that tracing does on the control plane.

use std::borrow::Cow;

use bytes::Bytes;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use ringway_telemetry::{Span, SpanKind, SpanStatus, SpanValue};

use super::{nanos, scope};

/// What surrounds the items of an export request. Those of spans and of log records have the same numbers
/// (`trace_service.proto`, `logs_service.proto`): resources 1 of { resource 1, scopes 2 of { scope 1, items 2 } }.
pub(super) struct Envelope {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Envelope {
    pub(super) fn new(resource: &Resource) -> Self {
        let mut this = Self { resource: Vec::new(), scope: Vec::new() };
        message(1, &resource.encode_to_vec(), &mut this.resource);
        message(1, &scope().encode_to_vec(), &mut this.scope);
        this
    }

    /// An export request of items as [`item`] makes them.
    pub(super) fn around(&self, items: &[Vec<u8>]) -> Bytes {
        let scoped = self.scope.len() + items.iter().map(Vec::len).sum::<usize>();
        let resources = self.resource.len() + delimited(scoped);
        let mut into = Vec::with_capacity(delimited(resources));
        head(1, resources, &mut into);
        into.extend_from_slice(&self.resource);
        head(2, scoped, &mut into);
        into.extend_from_slice(&self.scope);
        items.iter().for_each(|item| into.extend_from_slice(item));
        into.into()
    }
}

/// A message as one of the items of its scope.
pub(super) fn item(encoded: &[u8]) -> Vec<u8> {
    let mut into = Vec::with_capacity(delimited(encoded.len()));
    message(2, encoded, &mut into);
    into
}

/// A span (`trace.proto`, Span), without its head; what was in `into` is gone.
pub(super) fn span(span: &Span<'_>, scratch: &mut Vec<u8>, into: &mut Vec<u8>) {
    into.clear();
    message(1, &span.trace.get().to_be_bytes(), into);
    message(2, &span.id.get().to_be_bytes(), into);
    if let Some(parent) = span.parent {
        message(4, &parent.get().to_be_bytes(), into);
    }
    message(5, span.name.as_bytes(), into);
    number(
        6,
        match span.kind {
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        },
        into,
    );
    fixed(7, nanos(span.start), into);
    fixed(8, nanos(span.end), into);
    attributes(9, &span.attributes, into);
    for event in &span.events {
        scratch.clear();
        fixed(1, nanos(event.at), scratch);
        message(2, event.name.as_bytes(), scratch);
        attributes(3, &event.attributes, scratch);
        message(11, scratch, into);
    }
    if let SpanStatus::Error(why) = &span.status {
        scratch.clear();
        message(2, why.as_bytes(), scratch);
        number(3, 2, scratch);
        message(15, scratch, into);
    }
}

/// KeyValue { key 1, value 2 of AnyValue { string 1, bool 2, int 3 } } (`common.proto`), each below this number.
fn attributes(tag: u32, all: &[(Cow<'_, str>, SpanValue<'_>)], into: &mut Vec<u8>) {
    for (key, value) in all {
        let value_len = match value {
            SpanValue::Text(text) => delimited(text.len()),
            SpanValue::Number(number) => 1 + encoded_len_varint(number.cast_unsigned()),
            SpanValue::Bool(_) => 2,
        };
        head(tag, delimited(key.len()) + delimited(value_len), into);
        message(1, key.as_bytes(), into);
        head(2, value_len, into);
        match value {
            SpanValue::Text(text) => message(1, text.as_bytes(), into),
            SpanValue::Number(of) => number(3, of.cast_unsigned(), into),
            SpanValue::Bool(truth) => number(2, u64::from(*truth), into),
        }
    }
}

/// Bytes of so many behind a head whose number is below 16, as all are here.
fn delimited(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

fn head(tag: u32, len: usize, into: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(len as u64, into);
}

fn message(tag: u32, encoded: &[u8], into: &mut Vec<u8>) {
    head(tag, encoded.len(), into);
    into.extend_from_slice(encoded);
}

fn number(tag: u32, value: u64, into: &mut Vec<u8>) {
    encode_key(tag, WireType::Varint, into);
    encode_varint(value, into);
}

fn fixed(tag: u32, value: u64, into: &mut Vec<u8>) {
    encode_key(tag, WireType::SixtyFourBit, into);
    into.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU128;
    use std::time::{Duration, SystemTime};

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::trace::v1::{Span as Decoded, Status, span::Event};
    use ringway_telemetry::{SpanEvent, SpanId};

    use super::*;

    fn pair(key: &str, value: any_value::Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    /// What is written is what the generated code of the protocol reads.
    #[test]
    fn spans_are_read_as_they_were() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let long = "x".repeat(300);
        let told = Span {
            trace: NonZeroU128::new(0xabc).unwrap(),
            id: SpanId::new(7).unwrap(),
            parent: SpanId::new(9),
            name: "GET".into(),
            kind: SpanKind::Client,
            start: at(5),
            end: at(6),
            attributes: vec![
                ("text".into(), SpanValue::Text("ä".into())),
                ("empty".into(), SpanValue::Text("".into())),
                ("long".into(), SpanValue::Text(long.as_str().into())),
                (long.as_str().into(), SpanValue::Number(-1)),
                ("zero".into(), SpanValue::Number(0)),
                ("most".into(), SpanValue::Number(i64::MAX)),
                ("no".into(), SpanValue::Bool(false)),
            ],
            events: vec![SpanEvent {
                name: "retry",
                at: at(5),
                attributes: vec![("yes".into(), SpanValue::Bool(true))],
            }],
            status: SpanStatus::Error("reset".into()),
        };
        let (mut scratch, mut body) = (Vec::new(), b"left over".to_vec());
        span(&told, &mut scratch, &mut body);
        let resource = Resource { attributes: vec![pair("a", any_value::Value::IntValue(1))], ..Resource::default() };
        let request = Envelope::new(&resource).around(&[item(&body), item(&body)]);
        let read = ExportTraceServiceRequest::decode(request).unwrap();
        assert_eq!(read.resource_spans[0].resource.as_ref(), Some(&resource));
        let scoped = &read.resource_spans[0].scope_spans[0];
        assert_eq!((scoped.scope.as_ref(), scoped.spans.len()), (Some(&scope()), 2));
        let expected = Decoded {
            trace_id: 0xabc_u128.to_be_bytes().to_vec(),
            span_id: 7_u64.to_be_bytes().to_vec(),
            parent_span_id: 9_u64.to_be_bytes().to_vec(),
            name: "GET".into(),
            kind: 3,
            start_time_unix_nano: 5_000_000_000,
            end_time_unix_nano: 6_000_000_000,
            attributes: vec![
                pair("text", any_value::Value::StringValue("ä".into())),
                pair("empty", any_value::Value::StringValue(String::new())),
                pair("long", any_value::Value::StringValue(long.clone())),
                pair(&long, any_value::Value::IntValue(-1)),
                pair("zero", any_value::Value::IntValue(0)),
                pair("most", any_value::Value::IntValue(i64::MAX)),
                pair("no", any_value::Value::BoolValue(false)),
            ],
            events: vec![Event {
                time_unix_nano: 5_000_000_000,
                name: "retry".into(),
                attributes: vec![pair("yes", any_value::Value::BoolValue(true))],
                ..Event::default()
            }],
            status: Some(Status { message: "reset".into(), code: 2 }),
            ..Decoded::default()
        };
        assert_eq!(scoped.spans[1], expected);
    }
}
