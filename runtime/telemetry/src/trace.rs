//! Distributed tracing: how trace ids travel, and what a finished stream looks like as spans.

mod b3;
mod propagation;
mod sink;
mod span;
mod sw8;
mod w3c;

pub use propagation::{Child, Malformed, PROPAGATIONS, Parent, Propagation};
pub use sink::{SpanPlan, Tail, TraceRing, TraceSink, Traced};
pub(crate) use span::grpc_failed;
pub use span::{Span, SpanEvent, SpanKind, SpanStatus, SpanValue, spans, stream_attributes};
