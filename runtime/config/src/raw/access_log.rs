//! Access logs.

use std::collections::BTreeMap;
use std::fmt;

use ringway_api::{ByteSize, Millis};
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::FieldMatch;

/// An access log, or a list of them.
#[derive(Clone, Debug, Default, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum AccessLogs {
    /// None.
    #[default]
    #[schemars(skip)]
    None,
    /// One.
    One(Box<AccessLog>),
    /// Several.
    Several(Vec<AccessLog>),
}

/// An access log.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// The file; `/dev/stdout` and `/dev/stderr` work. Either this or `exporter`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// An exporter that takes the records instead of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exporter: Option<String>,
    /// What an exporter's records have besides what is known of every request: names, and values with operators. Those
    /// whose value is empty are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// `text`, `json`, a line with operators such as `%REQ(:PATH)%`, or a map of names to operators for JSON. For an
    /// exporter the line that a record has for its body.
    #[serde(default)]
    pub format: LogFormat,
    /// Leave out what is unset: JSON members, and the `-` of texts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub omit_empty_values: bool,
    /// Which requests or connections are logged; all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<LogFilter>,
    /// When the file is renamed and another begun; never by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate: Option<LogRotation>,
    /// The permission bits of files that are made, in octal digits such as "640", less the process's umask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Log connections too that were closed before they were served: by a TLS handshake that failed, or because no
    /// protocol of their chain knew them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused_connections: bool,
}

/// An access log's format.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum LogFormat {
    /// `text`, `json`, or a line with operators.
    Line(String),
    /// JSON members: texts with operators, other values, or objects and lists of them.
    Json(serde_json::Map<String, serde_json::Value>),
}

/// When a log's file is renamed and another begun: `log` becomes `log.1`, that `log.2`, and so on.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LogRotation {
    /// Bytes that a file may have, at least 4KiB.
    pub max_size: ByteSize,
    /// Renamed files that are kept, 1 to 1,000.
    #[serde(default = "five")]
    pub keep: u32,
}

/// Which requests or connections are logged.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LogFilter {
    /// The status compares so with a number; it is 0 where there was no response.
    StatusCode {
        /// How.
        op: Comparison,
        /// The number.
        value: u16,
    },
    /// The time from the first byte to the end compares so, in whole milliseconds.
    Duration {
        /// How.
        op: Comparison,
        /// The time.
        value: Millis,
    },
    /// A condition on a header of the request.
    Header(FieldMatch),
    /// A share of the requests.
    Fraction {
        /// How many of a hundred; two places after the point count.
        percent: f64,
        /// Draw for each; by default requests with the same `x-request-id` are all logged or none of them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        independent: bool,
    },
    /// One of these response flags is set, by code (`UH`) or name; an empty list takes any.
    ResponseFlag(Vec<String>),
    /// The request's trace is recorded.
    Traceable {},
    /// The call's gRPC status is one of these.
    GrpcStatus {
        /// Names such as `NOT_FOUND`.
        statuses: Vec<String>,
        /// None of these instead.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        exclude: bool,
    },
    /// The line is of one of these types: `DownstreamEnd`, `TcpUpstreamConnected`, `TcpPeriodic`, `TcpConnectionEnd`,
    /// `NotSet` (a connection that was not served).
    LogType(Vec<String>),
    /// All of these hold.
    And(Vec<LogFilter>),
    /// Any of these holds.
    Or(Vec<LogFilter>),
    /// This does not hold.
    Not(Box<LogFilter>),
}

/// How two numbers compare.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// At least.
    Ge,
    /// At most.
    Le,
    /// More.
    Gt,
    /// Less.
    Lt,
}

/// What is logged of connections of bytes besides their ends.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLogOptions {
    /// A line when the connection has got its host.
    pub flush_on_connected: bool,
    /// A line so often while the connection lasts, at least 100ms; never by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flush_interval: Option<Millis>,
}

fn five() -> u32 {
    5
}

impl AccessLogs {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// All of them.
    pub fn as_slice(&self) -> &[AccessLog] {
        match self {
            Self::None => &[],
            Self::One(log) => std::slice::from_ref(log),
            Self::Several(logs) => logs,
        }
    }
}

impl LogFormat {
    /// Whether it is this line or word.
    pub fn is(&self, line: &str) -> bool {
        matches!(self, Self::Line(this) if this == line)
    }
}

impl Default for LogFormat {
    fn default() -> Self {
        Self::Line("text".into())
    }
}

/// By hand: what is wrong with a log is told, and not that it is neither one nor several.
impl<'de> Deserialize<'de> for AccessLogs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = AccessLogs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an access log or a list of them")
            }

            fn visit_unit<E>(self) -> Result<AccessLogs, E> {
                Ok(AccessLogs::None)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AccessLogs, A::Error> {
                AccessLog::deserialize(MapAccessDeserializer::new(map)).map(|log| AccessLogs::One(Box::new(log)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<AccessLogs, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(AccessLogs::Several)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
