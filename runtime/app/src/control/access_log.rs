//! Access logs: from what a configuration says to sinks and files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::http::HeaderName;
use ringway_config::{Snapshot, header_matcher, raw};
use ringway_telemetry::{
    Comparison, ExportLog, FileLog, FileOptions, Format, Further, HeaderTest, JsonValue, LogFile, LogFilter, LogPlan,
    LogRing, LogType, LogWriter, Needs, Registry, ResponseFlag, ResponseFlags, Rotation, Share, Sinks,
};
use tokio::sync::Notify;

use super::exporters::Exporters;

/// How deep conditions may be nested.
const DEPTH: usize = 16;

/// The names of gRPC's statuses, by number ("Status codes and their use in gRPC").
const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Streams that may wait on each worker for the control plane, on their way to exporters.
const CAPACITY: usize = 4096;
/// Streams that are taken at once, so that others have their turn.
const BATCH: usize = 512;

/// Where a configuration's logs go.
pub(crate) struct Logs {
    registry: Arc<Registry>,
    workers: usize,
    wake: Arc<Notify>,
    /// Files, by path.
    files: HashMap<String, (FileOptions, Arc<LogFile>)>,
    /// What goes to exporters; there while any log does.
    ring: Option<Arc<LogRing>>,
}

/// A key below the log, and what is wrong with it.
type Keyed = (String, String);

/// What a log is compiled to: its format, and the condition with what that asks for.
type Parts = (Format, Vec<(Box<str>, Format)>, Option<(LogFilter, Needs)>);

impl Logs {
    /// `wake` is notified when a [round](Self::round) has something to do.
    pub(super) fn new(registry: Arc<Registry>, workers: usize, wake: Arc<Notify>) -> Self {
        Self { registry, workers, wake, files: HashMap::new(), ring: None }
    }

    /// Opens the files a snapshot names that are not open yet, and the queues to exporters.
    pub(crate) fn open(&mut self, snapshot: &Snapshot, writer: &LogWriter) -> Result<()> {
        for listener in &snapshot.listeners {
            for log in listener.raw.access_log.as_slice() {
                if log.exporter.is_some() {
                    let wake = Arc::clone(&self.wake);
                    let ring = || LogRing::new(self.workers, CAPACITY, move || wake.notify_one());
                    self.ring.get_or_insert_with(ring);
                    continue;
                }
                if self.files.contains_key(&log.path) {
                    continue;
                }
                let options = options(log).unwrap_or_default();
                let file = writer.open(Path::new(&log.path), options);
                let file = file.with_context(|| format!("listener {}: cannot open {}", listener.raw.name, log.path))?;
                self.files.insert(log.path.clone(), (options, file));
            }
        }
        Ok(())
    }

    /// Keeps the files as this snapshot wants them, and none that it does not name.
    pub(crate) fn settle(&mut self, snapshot: &Snapshot, writer: &LogWriter) {
        let logs = || snapshot.listeners.iter().flat_map(|listener| listener.raw.access_log.as_slice());
        if !logs().any(|log| log.exporter.is_some()) {
            self.ring = None;
        }
        self.files.retain(|path, _| logs().any(|log| log.path == *path));
        for log in logs() {
            if let (Some((kept, file)), Ok(wanted)) = (self.files.get_mut(&log.path), options(log))
                && *kept != wanted
            {
                *kept = wanted;
                writer.configure(file, wanted);
            }
        }
    }

    /// Adds a listener's logs to what its chain's streams are told to.
    pub(crate) fn add(&self, listener: &raw::Listener, sinks: &mut Sinks) {
        for log in listener.access_log.as_slice() {
            // Checked when the snapshot was compiled.
            let Ok((format, attributes, filter)) = parts(log) else { continue };
            let refusals = log.refused_connections;
            if let (Some(exporter), Some(ring)) = (&log.exporter, &self.ring) {
                let through = (Arc::clone(ring), Arc::clone(&self.registry.access_logs));
                let body = (log.format != raw::LogFormat::default()).then_some(format);
                sinks.add(|needs| {
                    ExportLog::new(LogPlan::new(exporter, body, attributes, needs), filter, refusals, through, needs)
                });
            } else if let Some((_, file)) = self.files.get(&log.path) {
                let file = Arc::clone(file);
                sinks.add(|needs| FileLog::filtered(format, filter, refusals, file, needs));
            }
        }
        if let Some(options) = listener.access_log_options {
            let interval = options.flush_interval.map(ringway_api::Millis::duration);
            sinks.further = Further { connected: options.flush_on_connected, interval };
        }
    }

    /// Hands what workers have reported to its exporters. An exporter that is gone gets nothing any more. True if
    /// there may be more.
    pub(super) fn round(&self, exporters: &Exporters) -> bool {
        let Some(ring) = &self.ring else { return false };
        let more = ring.drain(BATCH, |logged| {
            if let Some(exporter) = exporters.of_logs(logged.exporter()) {
                exporter.export(&logged.entry());
            }
        });
        self.registry.access_logs.control().exports_dropped.set(ring.dropped());
        more
    }

    /// Hands over all that is left.
    pub(super) fn finish(&self, exporters: &Exporters) {
        for _ in 0..=self.workers * CAPACITY / BATCH {
            if !self.round(exporters) {
                break;
            }
        }
    }
}

/// What is wrong with a log.
///
/// # Errors
/// The key, and why.
pub(crate) fn check(log: &raw::AccessLog) -> Result<(), Keyed> {
    options(log)?;
    parts(log).map(drop)
}

fn parts(log: &raw::AccessLog) -> Result<Parts, Keyed> {
    let format = format(&log.format, log.omit_empty_values).map_err(|why| ("format".to_owned(), why))?;
    let attribute = |(name, value): (&String, &String)| match Format::value(value) {
        Ok(format) => Ok((name.as_str().into(), format)),
        Err(error) => Err((format!("attributes.{name}"), error.to_string())),
    };
    let attributes = log.attributes.iter().map(attribute).collect::<Result<_, _>>()?;
    Ok((format, attributes, log.filter.as_ref().map(only_filter).transpose()?))
}

/// A filter by itself, with what it asks for.
///
/// # Errors
/// The key, and what is wrong with it.
pub(super) fn only_filter(raw: &raw::LogFilter) -> Result<(LogFilter, Needs), Keyed> {
    let mut needs = Needs::default();
    filter(raw, &mut needs, "filter", DEPTH).map(|filter| (filter, needs))
}

fn options(log: &raw::AccessLog) -> Result<FileOptions, Keyed> {
    let octal = |text: &String| {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| ("mode".to_owned(), format!("`{text}` are no permissions in octal digits, such as \"640\"")))
    };
    Ok(FileOptions {
        rotation: log.rotate.map(|rotate| Rotation { max_size: rotate.max_size.0, keep: rotate.keep }),
        mode: log.mode.as_ref().map(octal).transpose()?,
    })
}

/// The format that a configuration asks for.
///
/// # Errors
/// What is wrong with it, with the position.
pub(crate) fn format(raw: &raw::LogFormat, omit_empty: bool) -> Result<Format, String> {
    let default_json = || {
        let text = |(name, text): &(&str, &str)| ((*name).to_owned(), JsonValue::Text((*text).to_owned()));
        ringway_telemetry::DEFAULT_JSON.iter().map(text).collect::<Vec<_>>()
    };
    let format = match raw {
        raw::LogFormat::Line(line) if line == "text" => Format::text(ringway_telemetry::DEFAULT_TEXT, omit_empty),
        raw::LogFormat::Line(line) if line == "json" => Format::object(&default_json(), omit_empty),
        raw::LogFormat::Line(line) => Format::text(line, omit_empty),
        raw::LogFormat::Json(members) => Format::object(&object(members), omit_empty),
    };
    format.map_err(|error| error.to_string())
}

fn object(members: &serde_json::Map<String, serde_json::Value>) -> Vec<(String, JsonValue)> {
    members.iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

fn json(value: &serde_json::Value) -> JsonValue {
    match value {
        serde_json::Value::String(text) => JsonValue::Text(text.clone()),
        serde_json::Value::Object(members) => JsonValue::Object(object(members)),
        serde_json::Value::Array(elements) => JsonValue::Array(elements.iter().map(json).collect()),
        other => JsonValue::Literal(other.to_string()),
    }
}

fn filter(raw: &raw::LogFilter, needs: &mut Needs, key: &str, depth: usize) -> Result<LogFilter, Keyed> {
    let wrong = |key: String, why: String| Err((key, why));
    let Some(depth) = depth.checked_sub(1) else {
        return wrong(key.to_owned(), format!("conditions are nested deeper than {DEPTH}"));
    };
    Ok(match raw {
        raw::LogFilter::StatusCode { op, value } => LogFilter::StatusCode(comparison(*op), (*value).into()),
        raw::LogFilter::Duration { op, value } => LogFilter::Duration(comparison(*op), value.0),
        raw::LogFilter::Header(field) => {
            let matcher = header_matcher(field).map_err(|(below, why)| {
                let dot = if below.is_empty() { "" } else { "." };
                (format!("{key}.header{dot}{below}"), why)
            })?;
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let name = name.map_err(|_| (format!("{key}.header.name"), format!("`{}` is no name", field.name)))?;
            LogFilter::Header(needs.request_header(name), HeaderTest(Arc::new(move |value| matcher.matches(value))))
        }
        raw::LogFilter::Fraction { percent, independent } => {
            if !(0.0..=100.0).contains(percent) {
                return wrong(format!("{key}.fraction.percent"), format!("{percent} is not between 0 and 100"));
            }
            let request_id = (!independent).then(|| needs.request_header(HeaderName::from_static("x-request-id")));
            LogFilter::Fraction(Share { of_10_000: (percent * 100.0).round() as u32, request_id })
        }
        raw::LogFilter::ResponseFlag(flags) => {
            let mut set = ResponseFlags::NONE;
            for (at, text) in flags.iter().enumerate() {
                let Some(flag) = ResponseFlag::parse(text) else {
                    return wrong(format!("{key}.response_flag[{at}]"), format!("there is no response flag `{text}`"));
                };
                set.insert(flag);
            }
            LogFilter::ResponseFlag(set)
        }
        raw::LogFilter::Traceable {} => LogFilter::Traceable,
        raw::LogFilter::GrpcStatus { statuses, exclude } => {
            let mut codes = 0;
            for (at, text) in statuses.iter().enumerate() {
                let Some(code) = STATUSES.iter().position(|name| name == text) else {
                    let why = format!("there is no gRPC status `{text}`; there are {}", STATUSES.join(" "));
                    return wrong(format!("{key}.grpc_status.statuses[{at}]"), why);
                };
                codes |= 1 << code;
            }
            LogFilter::GrpcStatus { codes, exclude: *exclude }
        }
        raw::LogFilter::LogType(kinds) => {
            let kind = |(at, text): (usize, &String)| {
                LogType::parse(text).ok_or_else(|| {
                    let known: Vec<&str> = LogType::ALL.iter().map(|kind| kind.name()).collect();
                    (
                        format!("{key}.log_type[{at}]"),
                        format!("there is no type `{text}`; there are {}", known.join(" ")),
                    )
                })
            };
            LogFilter::LogType(kinds.iter().enumerate().map(kind).collect::<Result<_, _>>()?)
        }
        raw::LogFilter::And(all) => LogFilter::And(filters(all, needs, &format!("{key}.and"), depth)?),
        raw::LogFilter::Or(any) => LogFilter::Or(filters(any, needs, &format!("{key}.or"), depth)?),
        raw::LogFilter::Not(one) => LogFilter::Not(Box::new(filter(one, needs, &format!("{key}.not"), depth)?)),
    })
}

fn filters(raw: &[raw::LogFilter], needs: &mut Needs, key: &str, depth: usize) -> Result<Box<[LogFilter]>, Keyed> {
    if raw.is_empty() {
        return Err((key.to_owned(), "must not be empty".to_owned()));
    }
    raw.iter().enumerate().map(|(at, one)| filter(one, needs, &format!("{key}[{at}]"), depth)).collect()
}

fn comparison(raw: raw::Comparison) -> Comparison {
    match raw {
        raw::Comparison::Eq => Comparison::Eq,
        raw::Comparison::Ne => Comparison::Ne,
        raw::Comparison::Ge => Comparison::Ge,
        raw::Comparison::Le => Comparison::Le,
        raw::Comparison::Gt => Comparison::Gt,
        raw::Comparison::Lt => Comparison::Lt,
    }
}
