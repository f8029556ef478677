//! From a record to a line.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringway_api::{Address, ResponseFlags, Version};

use super::escape::{all_plain, display, push_decimal, push_ip, push_json_inner, push_text};
use super::format::{Format, Segment, Style};
use super::operator::{Field, Header, Op, Part, Point, Source};
use super::record::{Captured, StreamRecord};

impl Format {
    /// Appends the line of one stream, with its newline. Takes no memory but what `out` needs to grow.
    pub fn render(&self, record: &StreamRecord<'_>, out: &mut Vec<u8>) {
        for segment in &self.segments {
            match segment {
                Segment::Literal(bytes) => out.extend_from_slice(bytes),
                Segment::Op(op, style) => value(op, record).write(*style, out),
            }
        }
    }
}

/// What an operator yields.
enum Value<'a> {
    Unset,
    Number(u64),
    Bytes(&'a [u8]),
    /// Text of our own that needs no escapes.
    Plain(&'static str),
    Flags(ResponseFlags),
    Address(&'a Address),
    Ip(IpAddr),
    Start(&'a super::calendar::TimeFormat, std::time::SystemTime),
}

fn value<'a>(op: &'a Op, record: &'a StreamRecord<'_>) -> Value<'a> {
    match op {
        Op::Start(format) => Value::Start(format, record.start),
        Op::Field(field) => of_field(*field, record),
        Op::Address(field, part) => of_address(*field, *part, record),
        Op::Request(header) => of_header(header, record.request_headers, record),
        Op::Response(header) => of_header(header, record.response_headers, record),
        Op::Span { from, to, unit_ns } => match (from.of(record), to.of(record)) {
            (Some(from), Some(to)) => in_units(to.saturating_sub(from), *unit_ns),
            _ => Value::Unset,
        },
    }
}

fn of_field<'a>(field: Field, record: &'a StreamRecord<'_>) -> Value<'a> {
    let text = |text: Option<&'a str>| text.map_or(Value::Unset, |text| Value::Bytes(text.as_bytes()));
    let bytes = |bytes: Option<&'a [u8]>| bytes.map_or(Value::Unset, Value::Bytes);
    match field {
        Field::Duration => in_units(record.duration, 1_000_000),
        Field::Method => text(record.method),
        Field::Path => bytes(record.path),
        Field::Authority => bytes(record.authority),
        Field::Scheme => text(record.scheme),
        Field::Protocol => of_version(record.protocol),
        // No response is code 0, as in Envoy.
        Field::ResponseCode => Value::Number(record.response_code.unwrap_or(0).into()),
        Field::ResponseCodeDetails => text(record.response_code_details),
        Field::ConnectionTerminationDetails => text(record.connection_termination_details),
        Field::Flags => Value::Flags(record.flags),
        Field::BytesReceived => Value::Number(record.bytes_received),
        Field::BytesSent => Value::Number(record.bytes_sent),
        Field::RequestHeadersBytes => Value::Number(record.request_headers_bytes),
        Field::ResponseHeadersBytes => Value::Number(record.response_headers_bytes),
        Field::RouteName => text(record.route_name),
        Field::UpstreamCluster => text(record.upstream_cluster),
        Field::UpstreamProtocol => of_version(record.upstream_protocol),
        Field::UpstreamTransportFailure => text(record.upstream_transport_failure),
        Field::UpstreamAttempts => Value::Number(record.upstream_attempts.into()),
        Field::ConnectionId => record.connection_id.map_or(Value::Unset, Value::Number),
        Field::Hostname => text(record.hostname),
        Field::UpstreamHost
        | Field::UpstreamLocal
        | Field::DownstreamRemote
        | Field::DownstreamDirectRemote
        | Field::DownstreamLocal => of_address(field, Part::Whole, record),
        // These have operators of their own.
        Field::Start | Field::Timings | Field::Attempts | Field::Trace => Value::Unset,
    }
}

fn of_address<'a>(field: Field, part: Part, record: &'a StreamRecord<'_>) -> Value<'a> {
    let address = match field {
        Field::UpstreamHost => record.upstream_host,
        Field::UpstreamLocal => record.upstream_local,
        Field::DownstreamRemote => record.downstream_remote,
        Field::DownstreamDirectRemote => record.downstream_direct_remote,
        Field::DownstreamLocal => record.downstream_local,
        _ => None,
    };
    match (address, part) {
        (None, _) => Value::Unset,
        (Some(Address::Ip(address)), Part::WithoutPort) => Value::Ip(address.ip()),
        (Some(Address::Ip(address)), Part::Port) => Value::Number(address.port().into()),
        (Some(Address::Unix(_)), Part::Port) => Value::Unset,
        (Some(address), _) => Value::Address(address),
    }
}

fn of_header<'a>(header: &Header, captured: &'a Captured, record: &'a StreamRecord<'_>) -> Value<'a> {
    let find = |source: &Source| match source {
        Source::Captured(at) => captured.value(*at),
        Source::Pseudo(field) => match of_field(*field, record) {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        },
    };
    let Some(mut bytes) = find(&header.first).or_else(|| header.otherwise.as_ref().and_then(find)) else {
        return Value::Unset;
    };
    if header.without_query {
        bytes = bytes.split(|b| *b == b'?').next().unwrap_or(bytes);
    }
    Value::Bytes(header.limit.map_or(bytes, |limit| shortened(bytes, limit)))
}

/// At most `limit` bytes, and no part of a UTF-8 character at the end.
fn shortened(bytes: &[u8], limit: usize) -> &[u8] {
    let Some(next) = bytes.get(limit) else { return bytes };
    let is_inner = |b: &u8| b & 0xC0 == 0x80;
    let kept = bytes.get(..limit).unwrap_or(bytes);
    if !is_inner(next) {
        return kept;
    }
    // Back over the character's bytes to its first; what is no UTF-8 anyway is cut where it is.
    let inner = kept.iter().rev().take(3).take_while(|b| is_inner(b)).count();
    match kept.len().checked_sub(inner + 1) {
        Some(start) if kept.get(start).is_some_and(|b| *b >= 0xC0) => kept.get(..start).unwrap_or(kept),
        _ => kept,
    }
}

fn of_version<'a>(version: Option<Version>) -> Value<'a> {
    match version {
        None => Value::Unset,
        Some(Version::Http10) => Value::Plain("HTTP/1.0"),
        Some(Version::Http11) => Value::Plain("HTTP/1.1"),
        Some(Version::Http2) => Value::Plain("HTTP/2"),
        Some(Version::Rpc(name)) => Value::Plain(name),
    }
}

fn in_units<'a>(span: Duration, unit_ns: u32) -> Value<'a> {
    Value::Number(u64::try_from(span.as_nanos() / u128::from(unit_ns)).unwrap_or(u64::MAX))
}

impl Point {
    fn of(self, record: &StreamRecord<'_>) -> Option<Duration> {
        let timings = &record.timings;
        match self {
            Self::Start => Some(Duration::ZERO),
            Self::RequestEnd => timings.request_end,
            Self::ConnectBegin => timings.connect_begin,
            Self::ConnectEnd => timings.connect_end,
            Self::UpstreamTxBegin => timings.upstream_tx_begin,
            Self::UpstreamTxEnd => timings.upstream_tx_end,
            Self::UpstreamRxBegin => timings.upstream_rx_begin,
            Self::UpstreamRxEnd => timings.upstream_rx_end,
            Self::ResponseBegin => timings.response_begin,
            Self::ResponseEnd => timings.response_end,
        }
    }
}

impl Value<'_> {
    fn write(&self, style: Style, out: &mut Vec<u8>) {
        match self {
            Self::Unset => out.extend_from_slice(match style {
                Style::Json => b"null",
                Style::Value => b"",
                Style::Text | Style::JsonInner => b"-",
            }),
            Self::Number(number) => push_decimal(out, *number),
            _ if style == Style::Json => {
                out.push(b'"');
                self.write(Style::JsonInner, out);
                out.push(b'"');
            }
            Self::Bytes(bytes) if style == Style::Value => out.extend_from_slice(bytes),
            Self::Bytes(bytes) if style == Style::Text => push_text(out, bytes),
            Self::Bytes(bytes) => push_json_inner(out, bytes),
            Self::Plain(text) => out.extend_from_slice(text.as_bytes()),
            Self::Flags(flags) if flags.is_empty() => out.push(b'-'),
            Self::Flags(flags) => display(out, flags),
            Self::Address(Address::Ip(address @ SocketAddr::V4(_))) => {
                push_ip(out, address.ip());
                out.push(b':');
                push_decimal(out, address.port().into());
            }
            Self::Address(Address::Ip(address)) => display(out, address),
            Self::Address(Address::Unix(path)) => {
                Value::Bytes(b"unix:").write(style, out);
                Value::Bytes(path.as_os_str().as_encoded_bytes()).write(style, out);
            }
            Self::Ip(address) => push_ip(out, *address),
            Self::Start(format, time) if matches!(style, Style::Text | Style::Value) => format.render(*time, out),
            Self::Start(format, time) => {
                let from = out.len();
                format.render(*time, out);
                // Only the format's own literals can hold what JSON escapes, and they hardly ever do.
                if !all_plain(out.get(from..).unwrap_or_default()) {
                    let rendered = out.split_off(from);
                    push_json_inner(out, &rendered);
                }
            }
        }
    }
}
