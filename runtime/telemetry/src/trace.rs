//! Distributed tracing: what a finished stream looks like as spans.

mod span;

pub use span::{Span, SpanEvent, SpanKind, SpanStatus, SpanValue, spans, stream_attributes};
