//! Per-core counters, histograms and access logs of Ringway.
//!
//! - [`Registry`] hands out [`Cells`]: blocks that one worker writes with plain loads and stores, and that the control
//!   plane adds up and shows ([`Registry::text`], [`Registry::json`], [`Registry::prometheus`]).
//! - [`Format`] turns a [`StreamRecord`] into one line of an access log; [`Needs`] says what a worker must capture for it.
//! - [`Sinks`] are who is told of finished streams; a [`StreamReport`] is what a [`ReportRing`] carries of one to the
//!   control plane.
//! - [`LogWriter`] is the thread that writes lines to files; a worker hands them over through its [`LogLane`].

#![forbid(unsafe_code)]

mod access_log;
mod export;
mod expose;
mod filters;
mod histogram;
mod istio;
mod log_writer;
mod registry;
mod ring;
mod set;
mod sink;
mod stats;
mod tap;
mod trace;

pub use access_log::{
    ATTRIBUTES, AddressOf, AddressPart, Attempt, Attribute, AttributeValue, Captured, CertificateDetail, Comparison,
    DEFAULT_JSON, DEFAULT_TEXT, Field, FieldPair, Format, FormatError, HeaderTest, JsonValue, LogFilter, LogType,
    Needs, Share, Side, SpanId, StreamRecord, StreamReport, TestFn, TimePoint, Timings, TraceIds, operators,
    refused_operators,
};
pub use export::{ExportLog, LogEntry, LogExporter, LogPlan, LogRing, Logged, SpanExporter};
pub use expose::{NameFilter, Query, Reading, Sample};
pub use filters::FilterScope;
pub use histogram::{Histogram, HistogramReading};
pub use istio::{
    Bucket, Exemplar, Family, Istio, IstioSink, Labels, Mesh, MeshService, Point, Reporter, Unit, Workload,
};
pub use log_writer::{FileOptions, LogFile, LogLane, LogWriter, LogWriterConfig, Rotation};
pub use registry::{Cells, Registry, Scope};
pub use ring::{ReportLane, ReportRing};
pub use ringway_api::{Counter, Gauge, Level, ResponseFlag, ResponseFlags};
pub use set::{Cell, Row, SetInfo, StatSet};
pub use sink::{FileLog, Further, SinkPlan, Sinks, StreamSink};
pub use stats::{
    AccessLogStats, ClusterManagerStats, ClusterStats, ConfigStats, ExporterStats, HealthCheckStats, HttpStats,
    ListenerManagerStats, ListenerStats, MetricsStats, OutlierStats, ServerStats, TcpStats, TracingStats, WorkerStats,
};
pub use tap::{TapRing, TapSink, Tapped};
pub(crate) use trace::grpc_failed;
pub use trace::{
    Child, Malformed, PROPAGATIONS, Parent, Propagation, Span, SpanEvent, SpanKind, SpanPlan, SpanStatus, SpanValue,
    Tail, TraceRing, TraceSink, Traced, spans, stream_attributes,
};
