//! Spans in OTLP.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use ringway_telemetry::{Span, SpanExporter};

use super::wire::{self, Envelope};
use crate::export::OtlpTransport;
use crate::export::queue::Queue;
use crate::export::sending::Batch;

/// Batches of spans.
pub(in crate::export) struct Spans {
    transport: OtlpTransport,
    envelope: Envelope,
}

/// Spans that wait, in protobuf.
pub(in crate::export) struct SpanQueue(pub(in crate::export) Arc<Queue<Vec<u8>>>);

impl Spans {
    pub(in crate::export) fn new(transport: OtlpTransport, resource: &Resource) -> Self {
        Self { transport, envelope: Envelope::new(resource) }
    }
}

impl Batch for Spans {
    type Item = Vec<u8>;

    fn path(&self) -> &'static str {
        super::path(self.transport, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", "/v1/traces")
    }

    fn content_type(&self) -> &'static str {
        super::content_type(self.transport)
    }

    fn message(&self, items: &[Vec<u8>]) -> Bytes {
        self.envelope.around(items)
    }

    fn rejected(&self, answer: &[u8]) -> u64 {
        let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
        answer.partial_success.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
    }
}

impl SpanExporter for SpanQueue {
    fn export(&self, spans: &[Span<'_>]) {
        let (mut scratch, mut encoded) = (Vec::new(), Vec::new());
        for span in spans {
            wire::span(span, &mut scratch, &mut encoded);
            let item = wire::item(&encoded);
            self.0.push(item.len(), item);
        }
    }
}
