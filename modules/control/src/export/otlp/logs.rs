//! Finished streams as log records in OTLP.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use ringway_telemetry::{LogEntry, LogExporter, SpanValue, stream_attributes};

use super::wire::{self, Envelope};
use super::{attribute, nanos};
use crate::export::OtlpTransport;
use crate::export::queue::Queue;
use crate::export::sending::Batch;

/// Batches of log records.
pub(in crate::export) struct Logs {
    transport: OtlpTransport,
    envelope: Envelope,
}

/// Log records that wait, in protobuf.
pub(in crate::export) struct LogQueue(pub(in crate::export) Arc<Queue<Vec<u8>>>);

impl Logs {
    pub(in crate::export) fn new(transport: OtlpTransport, resource: &Resource) -> Self {
        Self { transport, envelope: Envelope::new(resource) }
    }
}

impl Batch for Logs {
    type Item = Vec<u8>;

    fn path(&self) -> &'static str {
        super::path(self.transport, "/opentelemetry.proto.collector.logs.v1.LogsService/Export", "/v1/logs")
    }

    fn content_type(&self) -> &'static str {
        super::content_type(self.transport)
    }

    fn message(&self, items: &[Vec<u8>]) -> Bytes {
        self.envelope.around(items)
    }

    fn rejected(&self, answer: &[u8]) -> u64 {
        let answer = ExportLogsServiceResponse::decode(answer).unwrap_or_default();
        answer.partial_success.map_or(0, |partial| u64::try_from(partial.rejected_log_records).unwrap_or(0))
    }
}

impl LogExporter for LogQueue {
    fn export(&self, entry: &LogEntry<'_>) {
        let item = wire::item(&encoded(entry).encode_to_vec());
        self.0.push(item.len(), item);
    }
}

fn encoded(entry: &LogEntry<'_>) -> LogRecord {
    let record = &entry.record;
    let severity = match record.response_code {
        Some(code) if code < 500 => SeverityNumber::Info,
        _ => SeverityNumber::Error,
    };
    let line = entry.body.clone().unwrap_or_else(|| {
        let path = String::from_utf8_lossy(record.path.unwrap_or_default());
        let code = record.response_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
        format!("{} {path} {code}", record.method.unwrap_or("-"))
    });
    let mut all = stream_attributes(record);
    all.extend(entry.attributes.iter().map(|(name, value)| ((*name).into(), SpanValue::Text(value.as_str().into()))));
    LogRecord {
        time_unix_nano: nanos(record.start),
        observed_time_unix_nano: nanos(record.start + record.duration),
        severity_number: severity.into(),
        severity_text: if severity == SeverityNumber::Info { "INFO" } else { "ERROR" }.to_owned(),
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(line)) }),
        attributes: attributes(&all),
        trace_id: record.trace.map_or_else(Vec::new, |ids| ids.trace.get().to_be_bytes().to_vec()),
        span_id: record.trace.map_or_else(Vec::new, |ids| ids.span.get().to_be_bytes().to_vec()),
        ..LogRecord::default()
    }
}

fn attributes(all: &[(std::borrow::Cow<'_, str>, SpanValue<'_>)]) -> Vec<KeyValue> {
    let value = |value: &SpanValue<'_>| match value {
        SpanValue::Text(text) => any_value::Value::StringValue(text.to_string()),
        SpanValue::Number(number) => any_value::Value::IntValue(*number),
        SpanValue::Bool(truth) => any_value::Value::BoolValue(*truth),
    };
    all.iter().map(|(key, one)| attribute(key, value(one))).collect()
}
