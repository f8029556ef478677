//! Spans: a finished stream as tracing systems want it. Attribute names are OpenTelemetry's semantic conventions where
//! they have one, Envoy's tags otherwise.

use std::borrow::Cow;
use std::num::NonZeroU128;
use std::time::{Duration, SystemTime};

use ringway_api::{Address, Version};

use crate::{Attempt, SpanId, StreamRecord, StreamReport};

/// A span. It borrows what it can from the stream that it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<'a> {
    /// The trace it belongs to.
    pub trace: NonZeroU128,
    /// Its id.
    pub id: SpanId,
    /// The span that caused it.
    pub parent: Option<SpanId>,
    /// What it did, with few different values: `GET`, `com.example.Greeter/hello`.
    pub name: Cow<'a, str>,
    /// Which side of a call it is.
    pub kind: SpanKind,
    /// When it began.
    pub start: SystemTime,
    /// When it ended; never before `start`.
    pub end: SystemTime,
    /// What is known of it.
    pub attributes: Vec<(Cow<'a, str>, SpanValue<'a>)>,
    /// What happened in between, in order.
    pub events: Vec<SpanEvent<'a>>,
    /// How it came out.
    pub status: SpanStatus<'a>,
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that was received.
    Server,
    /// A try of it that was sent.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanValue<'a> {
    /// Text; what was no UTF-8 has replacement characters.
    Text(Cow<'a, str>),
    /// A number.
    Number(i64),
    /// A truth value.
    Bool(bool),
}

/// Something that happened at one point of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent<'a> {
    /// What.
    pub name: &'static str,
    /// When.
    pub at: SystemTime,
    /// What is known of it.
    pub attributes: Vec<(Cow<'a, str>, SpanValue<'a>)>,
}

/// How a span came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanStatus<'a> {
    /// Nothing is wrong.
    Unset,
    /// It failed, for this reason.
    Error(Cow<'a, str>),
}

/// What a service threw, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Thrown<'a> {
    pub(super) class: Option<&'a [u8]>,
    pub(super) message: Option<&'a [u8]>,
    pub(super) stack: Option<&'a [u8]>,
}

/// The spans of a stream: one for the stream, one for each try. None if it is not part of a trace.
pub fn spans(report: &StreamReport) -> Vec<Span<'_>> {
    spans_of(&report.record(), None)
}

/// The same of a record, the stream's own span first; with what was thrown.
pub(super) fn spans_of<'a>(record: &StreamRecord<'a>, thrown: Option<Thrown<'a>>) -> Vec<Span<'a>> {
    let Some(ids) = record.trace else { return Vec::new() };
    let server = server(record, (ids.trace, ids.span, ids.parent), thrown);
    let end = server.end;
    let tries = record.attempts.iter().enumerate();
    let tries = tries.filter_map(|(at, attempt)| client(record, attempt, at, (ids.trace, ids.span), end));
    std::iter::once(server).chain(tries).collect()
}

/// Whether a gRPC status is the service's failure rather than the caller's (OpenTelemetry, gRPC spans, Status).
pub(crate) const fn grpc_failed(status: u32) -> bool {
    matches!(status, 2 | 4 | 12 | 13 | 14 | 15)
}

/// What is known of a stream, under the names that its span has it by.
pub fn stream_attributes<'a>(record: &StreamRecord<'a>) -> Vec<(Cow<'a, str>, SpanValue<'a>)> {
    let mut attributes = Attributes(Vec::with_capacity(24));
    call(record, &mut attributes);
    attributes.text("url.scheme", record.scheme.map(str::as_bytes));
    attributes.text("server.address", record.authority);
    attributes.made("client.address", record.downstream_remote.map(ip));
    attributes.made("network.peer.address", record.downstream_direct_remote.map(Address::to_string));
    attributes.number("http.response.status_code", record.response_code.map(u64::from));
    attributes.number("http.request.body.size", Some(record.bytes_received));
    attributes.number("http.response.body.size", Some(record.bytes_sent));
    match record.flags.is_empty() {
        true => attributes.text("response_flags", Some("-")),
        false => attributes.made("response_flags", Some(record.flags.to_string())),
    }
    attributes.text("response_code_details", record.response_code_details);
    attributes.text("route_name", record.route_name);
    attributes.text("upstream_cluster", record.upstream_cluster);
    attributes.number("upstream_attempts", Some(record.upstream_attempts.into()));
    attributes.0
}

fn server<'a>(
    record: &StreamRecord<'a>,
    (trace, id, parent): (NonZeroU128, SpanId, Option<SpanId>),
    thrown: Option<Thrown<'a>>,
) -> Span<'a> {
    let mut attributes = Attributes(stream_attributes(record));
    let details = record.response_code_details.unwrap_or("no_response");
    // A server's span has failed when the server has (OpenTelemetry, HTTP spans, Status). What is thrown is an answer
    // like any other to the protocol.
    let failed = match (thrown, record.grpc_status, record.response_code) {
        (Some(thrown), _, _) => {
            let class = thrown.class.map(String::from_utf8_lossy);
            let status = record.grpc_status.map(|status| format!("grpc_status_{status}").into());
            Some((class.or(status).unwrap_or("exception".into()), thrown))
        }
        (None, Some(status), _) if grpc_failed(status) => {
            Some((format!("grpc_status_{status}").into(), Thrown::default()))
        }
        (None, _, Some(code)) if code < 500 => None,
        (None, _, Some(code)) => Some((code.to_string().into(), Thrown::default())),
        (None, _, None) => Some((details.into(), Thrown::default())),
    };
    let end = record.start + record.duration;
    let mut events = retries(record);
    let mut status = SpanStatus::Unset;
    if let Some((kind, thrown)) = failed {
        let message = thrown.message.map_or(details.into(), String::from_utf8_lossy);
        attributes.known("error.type", kind.clone());
        let mut facts = Attributes(Vec::new());
        facts.known("exception.type", kind);
        facts.known("exception.message", message.clone());
        facts.text("exception.stacktrace", thrown.stack);
        events.push(SpanEvent { name: "exception", at: end, attributes: facts.0 });
        status = SpanStatus::Error(message);
    }
    let (start, attributes) = (record.start, attributes.0);
    Span { trace, id, parent, name: name(record), kind: SpanKind::Server, start, end, attributes, events, status }
}

/// When further tries began, and why.
fn retries<'a>(record: &StreamRecord<'a>) -> Vec<SpanEvent<'a>> {
    let pairs = record.attempts.iter().zip(record.attempts.iter().skip(1));
    let event = |(before, next): (&'a Attempt, &'a Attempt)| {
        let mut attributes = Attributes(Vec::new());
        attributes.text("retry.reason", before.failure);
        attributes.number("retry.previous_status", before.answered.map(|(_, status)| status.into()));
        attributes.made("network.peer.address", Some(next.host.to_string()));
        SpanEvent { name: "retry", at: record.start + next.began, attributes: attributes.0 }
    };
    pairs.map(event).collect()
}

fn client<'a>(
    record: &StreamRecord<'a>,
    attempt: &'a Attempt,
    at: usize,
    (trace, parent): (NonZeroU128, SpanId),
    last: SystemTime,
) -> Option<Span<'a>> {
    let start = record.start + attempt.began;
    let mut attributes = Attributes(Vec::with_capacity(12));
    call(record, &mut attributes);
    attributes.made("network.peer.address", Some(attempt.host.to_string()));
    attributes.text("upstream_cluster", record.upstream_cluster);
    attributes.number("http.response.status_code", attempt.answered.map(|(_, status)| status.into()));
    if at > 0 {
        attributes.number("http.request.resend_count", u64::try_from(at).ok());
    }
    let status = match (attempt.failure, attempt.answered) {
        (Some(why), _) => SpanStatus::Error(why.into()),
        // A client's has when it was told so.
        (None, Some((_, status))) if status >= 400 => SpanStatus::Error(status.to_string().into()),
        (None, Some(_)) => SpanStatus::Unset,
        (None, None) => SpanStatus::Error("given_up".into()),
    };
    if let SpanStatus::Error(why) = &status {
        attributes.known("error.type", why.clone());
    }
    let mut events = Vec::new();
    let mut event = |name, when: Option<Duration>, attributes| {
        if let Some(when) = when {
            events.push(SpanEvent { name, at: record.start + when, attributes });
        }
    };
    let reused = ("reused".into(), SpanValue::Bool(attempt.reused));
    event("socket_connected", attempt.socket, Vec::new());
    event("tls_established", attempt.secured, Vec::new());
    event("connected", attempt.connected, vec![reused]);
    event("response_begins", attempt.answered.map(|(when, _)| when), Vec::new());
    Some(Span {
        trace,
        id: attempt.span?,
        parent: Some(parent),
        name: name(record),
        kind: SpanKind::Client,
        start,
        end: attempt.ended.map_or(last, |ended| record.start + ended).max(start),
        attributes: attributes.0,
        events,
        status,
    })
}

/// What is called, for either side.
fn call<'a>(record: &StreamRecord<'a>, attributes: &mut Attributes<'a>) {
    if let Some(Version::Rpc(system)) = record.protocol {
        let (service, method) = service_and_method(record.path.unwrap_or_default());
        attributes.text("rpc.system", Some(system));
        attributes.text("rpc.service", Some(service));
        attributes.text("rpc.method", Some(method));
        return;
    }
    let path = record.path.unwrap_or_default();
    if is_grpc(record) {
        let (service, method) = service_and_method(path);
        attributes.text("rpc.system", Some("grpc"));
        attributes.text("rpc.service", Some(service));
        attributes.text("rpc.method", Some(method));
        attributes.number("rpc.grpc.status_code", record.grpc_status.map(u64::from));
    }
    attributes.text("http.request.method", record.method);
    let mut parts = path.splitn(2, |byte| *byte == b'?');
    attributes.text("url.path", parts.next());
    attributes.text("url.query", parts.next());
    attributes.text(
        "network.protocol.version",
        record.protocol.map(|version| match version {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
            Version::Rpc(name) => name,
        }),
    );
}

/// Few names: the method of HTTP, the service and method of a call.
fn name<'a>(record: &StreamRecord<'a>) -> Cow<'a, str> {
    match record.protocol {
        _ if is_grpc(record) || matches!(record.protocol, Some(Version::Rpc(_))) => {
            let (service, method) = service_and_method(record.path.unwrap_or_default());
            format!("{}/{}", String::from_utf8_lossy(service), String::from_utf8_lossy(method)).into()
        }
        _ => record.method.unwrap_or("refused").into(),
    }
}

fn is_grpc(record: &StreamRecord<'_>) -> bool {
    record.is_call && record.protocol.is_some_and(Version::is_http)
}

fn service_and_method(path: &[u8]) -> (&[u8], &[u8]) {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (path, b""),
    }
}

fn ip(address: &Address) -> String {
    match address {
        Address::Ip(socket) => socket.ip().to_string(),
        unix @ Address::Unix(_) => unix.to_string(),
    }
}

struct Attributes<'a>(Vec<(Cow<'a, str>, SpanValue<'a>)>);

impl<'a> Attributes<'a> {
    fn text<T: AsRef<[u8]> + ?Sized>(&mut self, name: &'static str, value: Option<&'a T>) {
        if let Some(value) = value {
            self.known(name, String::from_utf8_lossy(value.as_ref()));
        }
    }

    fn made(&mut self, name: &'static str, value: Option<String>) {
        if let Some(value) = value {
            self.known(name, value.into());
        }
    }

    fn known(&mut self, name: &'static str, value: Cow<'a, str>) {
        if !value.is_empty() {
            self.0.push((name.into(), SpanValue::Text(value)));
        }
    }

    fn number(&mut self, name: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.0.push((name.into(), SpanValue::Number(i64::try_from(value).unwrap_or(i64::MAX))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TraceIds;

    fn id(id: u64) -> SpanId {
        SpanId::new(id).unwrap()
    }

    fn value<'a>(span: &'a Span<'_>, name: &str) -> Option<&'a SpanValue<'a>> {
        span.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    #[test]
    fn a_stream_with_a_retry_is_three_spans() {
        let host = Address::Ip(([10, 0, 0, 1], 80).into());
        let attempt = |span, began, answered, failure| Attempt {
            host: host.clone(),
            began: Duration::from_millis(began),
            socket: Some(Duration::from_millis(began)),
            secured: Some(Duration::from_millis(began + 1)),
            connected: Some(Duration::from_millis(began + 1)),
            reused: false,
            answered,
            ended: None,
            failure,
            span: Some(id(span)),
        };
        let attempts =
            [attempt(2, 1, None, Some("connection_reset")), attempt(3, 5, Some((Duration::from_millis(9), 200)), None)];
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let mut record = StreamRecord::new(start);
        (record.method, record.path, record.protocol) = (Some("GET"), Some(&b"/a?b"[..]), Some(Version::Http11));
        (record.response_code, record.duration) = (Some(200), Duration::from_millis(10));
        record.attempts = &attempts;
        record.trace =
            Some(TraceIds { trace: NonZeroU128::new(7).unwrap(), span: id(1), parent: Some(id(9)), sampled: true });
        let report = StreamReport::of(&record);
        let made = spans(&report);
        let [server, failed, answered] = made.as_slice() else { panic!("{made:?}") };
        assert_eq!((server.kind, server.parent, server.end), (SpanKind::Server, Some(id(9)), start + record.duration));
        assert_eq!((failed.parent, &failed.status), (Some(id(1)), &SpanStatus::Error("connection_reset".into())));
        assert_eq!((answered.kind, &answered.status, answered.end), (SpanKind::Client, &SpanStatus::Unset, server.end));
        assert_eq!(value(answered, "http.request.resend_count"), Some(&SpanValue::Number(1)));
        assert_eq!(value(server, "url.path"), Some(&SpanValue::Text("/a".into())));
        let events: Vec<_> = answered.events.iter().map(|event| event.name).collect();
        assert_eq!(events, ["socket_connected", "tls_established", "connected", "response_begins"]);
        assert_eq!((server.events.len(), server.events[0].name), (1, "retry"));
        assert!(made.iter().all(|span| span.end >= span.start));
        record.trace = None;
        assert!(spans(&StreamReport::of(&record)).is_empty());
    }

    #[test]
    fn calls_are_named_by_service_and_method() {
        let mut record = StreamRecord::new(SystemTime::UNIX_EPOCH);
        record.trace = Some(TraceIds { trace: NonZeroU128::MIN, span: id(1), parent: None, sampled: true });
        (record.path, record.protocol) = (Some(&b"/com.example.Greeter/hello"[..]), Some(Version::Rpc("dubbo")));
        let report = StreamReport::of(&record);
        let made = spans(&report);
        let [server] = made.as_slice() else { panic!("{made:?}") };
        assert_eq!(server.name, "com.example.Greeter/hello");
        assert_eq!(value(server, "rpc.system"), Some(&SpanValue::Text("dubbo".into())));
        assert_eq!(server.status, SpanStatus::Error("no_response".into()));
        (record.is_call, record.protocol, record.grpc_status) = (true, Some(Version::Http2), Some(14));
        record.response_code = Some(200);
        let thrown = Thrown { message: Some(b"away"), ..Thrown::default() };
        let [server] = &spans_of(&record, Some(thrown))[..] else { panic!() };
        assert_eq!((&*server.name, &server.status), ("com.example.Greeter/hello", &SpanStatus::Error("away".into())));
        assert_eq!(value(server, "rpc.grpc.status_code"), Some(&SpanValue::Number(14)));
        assert_eq!(server.events[0].name, "exception");
    }
}
