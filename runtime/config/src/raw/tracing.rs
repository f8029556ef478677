//! Distributed tracing.

use std::collections::BTreeMap;

use ringway_api::{ByteSize, Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FieldMatch;

/// Distributed tracing of all requests.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Tracing {
    /// The name of the service that this proxy is or stands before.
    pub service_name: String,
    /// How the ids of traces travel. The first of these that a request has counts; hosts are told in all of them.
    pub propagation: Vec<TraceFormat>,
    /// Which traces are recorded.
    pub sampling: TraceSampling,
    /// Which requests are recorded at their ends although their traces are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<TraceTail>,
    /// Further attributes of a request's span: names, and values with the access log's operators: `%REQ(x-tenant)%`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The exporters that take spans, by name. The admin API shows them without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exporters: Vec<String>,
    /// What is kept in memory for the admin API.
    pub store: TraceStore,
}

/// How the ids of traces travel: in header fields, or attachments of calls.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum TraceFormat {
    /// W3C Trace Context: `traceparent`, `tracestate`.
    W3c,
    /// Zipkin's in one field: `b3`.
    B3,
    /// Zipkin's in several: `X-B3-TraceId` and so on.
    B3Multi,
    /// SkyWalking's: `sw8`.
    Sw8,
}

/// Which traces are recorded. The first that says something decides: `force`, `parent`, `headers`, `random`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSampling {
    /// The share of requests whose trace is recorded, such as `1%` or `0.01%`. By default `1%`, and `100%` where a
    /// `rate` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random: Option<String>,
    /// Traces that `headers` and `random` may choose on one listener, such as `100/s` or `30/m`. Each worker has its
    /// part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Requests with such a field are recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<FieldMatch>,
    /// Fields whose presence has the trace recorded whatever else is said, such as `x-envoy-force-trace`. Only where
    /// every client is trusted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub force: Vec<String>,
    /// What a caller's trace counts.
    pub parent: ParentTrace,
}

/// What a caller's trace counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ParentTrace {
    /// It goes on, and is recorded if the caller records it.
    #[default]
    Respect,
    /// It goes on; whether it is recorded is decided here.
    Continue,
    /// A new trace begins: for listeners that strangers reach.
    Ignore,
}

/// Which requests are recorded at their ends although their traces are not: this proxy's spans alone.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TraceTail {
    /// Those that failed: status 500 or more or none, a gRPC status that says so, an exception.
    pub errors: bool,
    /// Those that took so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<Millis>,
    /// Those with any of these response flags, by code (`UT`) or name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// Traced requests that are kept in memory: the most recent ones, the slowest ones of the last hour, and the last that
/// failed.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct TraceStore {
    /// So many of each kind; `0` keeps none.
    pub entries: u32,
    /// Bytes of each kind.
    pub max_bytes: ByteSize,
}

/// How a listener differs from the tracing of all.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged, expecting = "expected `off` or `{ sampling: ... }`")]
pub enum ListenerTracing {
    /// Its requests are not traced; what callers say of traces goes on untouched.
    Switch(TracingSwitch),
    /// It has rules of its own.
    Own(OwnTracing),
}

/// Whether a listener's requests are traced.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum TracingSwitch {
    /// They are not.
    Off,
}

/// A listener's own rules.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct OwnTracing {
    /// Instead of the sampling of all.
    pub sampling: TraceSampling,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            service_name: "ringway".into(),
            propagation: vec![TraceFormat::W3c],
            sampling: TraceSampling::default(),
            tail: None,
            tags: BTreeMap::new(),
            exporters: Vec::new(),
            store: TraceStore::default(),
        }
    }
}

impl Default for TraceStore {
    fn default() -> Self {
        Self { entries: 256, max_bytes: ByteSize(4 << 20) }
    }
}

impl TraceFormat {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::W3c => "w3c",
            Self::B3 => "b3",
            Self::B3Multi => "b3_multi",
            Self::Sw8 => "sw8",
        }
    }
}
