//! From a record to a line.

use std::net::SocketAddr;
use std::time::Duration;

use ringway_api::{Address, PeerCertificate};

use super::attribute::{Attribute, AttributeValue, split_query};
use super::escape::{all_plain, display, hex, push_decimal, push_ip, push_json_inner, push_json_string, push_text};
use super::format::{Format, Segment, Style};
use super::operator::{Clock, Header, Op, StatusForm};
use super::record::StreamRecord;

/// Names of gRPC's status codes, by number, as Envoy writes them.
const GRPC: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

impl Format {
    /// Appends the line of one stream, with its newline. Takes no memory but what `out` needs to grow.
    pub fn render(&self, record: &StreamRecord<'_>, out: &mut Vec<u8>) {
        for segment in &self.segments {
            match segment {
                Segment::Literal(bytes) => out.extend_from_slice(bytes),
                Segment::Op(op, style) => write(op, record, *style, out),
                Segment::Key(key) => push_key(key, out),
                Segment::Member(key, op) => {
                    if is_set(op, record) {
                        push_key(key, out);
                        write(op, record, Style::Json, out);
                    }
                }
            }
        }
    }
}

/// Begins a member of an object or an array. What is before it is a value, or the bracket.
fn push_key(key: &[u8], out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[')) {
        out.push(b',');
    }
    out.extend_from_slice(key);
}

fn is_set(op: &Op, record: &StreamRecord<'_>) -> bool {
    match op {
        Op::Attribute(attribute) => match attribute.value(record) {
            AttributeValue::Unset => false,
            AttributeValue::Flags(flags) | AttributeValue::FlagNames(flags) => !flags.is_empty(),
            _ => true,
        },
        Op::Header(header) => of_header(header, record).is_some(),
        Op::Time(Clock::Emit, _) => true,
        Op::Time(Clock::Of(attribute), _) => attribute.value(record) != AttributeValue::Unset,
        Op::Span { from, to, .. } => from.of(record).is_some() && to.of(record).is_some(),
        Op::GrpcStatus(_) => record.grpc_status.is_some(),
    }
}

/// What most operators are, at once; the others have a function of their own.
#[inline(always)]
fn write(op: &Op, record: &StreamRecord<'_>, style: Style, out: &mut Vec<u8>) {
    match op {
        Op::Attribute(attribute) => attribute.value(record).write(style, out),
        Op::Header(header) => match of_header(header, record) {
            Some(bytes) => push_bytes(bytes, style, out),
            None => out.extend_from_slice(style.unset()),
        },
        _ => write_other(op, record, style, out),
    }
}

#[inline(never)]
fn write_other(op: &Op, record: &StreamRecord<'_>, style: Style, out: &mut Vec<u8>) {
    let value = match op {
        Op::Time(clock, format) => {
            let time = match clock {
                Clock::Emit => Some(record.start + record.duration),
                Clock::Of(attribute) => match attribute.value(record) {
                    AttributeValue::Time(time) => Some(time),
                    _ => None,
                },
            };
            match time {
                Some(time) => return quoted(style, out, |style, out| push_time(format, time, style, out)),
                None => AttributeValue::Unset,
            }
        }
        Op::Span { from, to, unit_ns } => match (from.of(record), to.of(record)) {
            (Some(from), Some(to)) => {
                let span = to.saturating_sub(from).as_nanos() / u128::from(*unit_ns);
                AttributeValue::Number(u64::try_from(span).unwrap_or(u64::MAX))
            }
            _ => AttributeValue::Unset,
        },
        Op::GrpcStatus(form) => match (record.grpc_status, form) {
            (None, _) => AttributeValue::Unset,
            (Some(code), StatusForm::Number) => AttributeValue::Number(code.into()),
            (Some(code), form) => match GRPC.get(code as usize) {
                None => AttributeValue::Number(code.into()),
                Some((camel, _)) if *form == StatusForm::Camel => AttributeValue::Word(camel),
                Some((_, snake)) => AttributeValue::Word(snake),
            },
        },
        // Written by whoever calls.
        Op::Attribute(_) | Op::Header(_) => AttributeValue::Unset,
    };
    value.write(style, out);
}

#[inline]
fn of_header<'a>(header: &Header, record: &'a StreamRecord<'_>) -> Option<&'a [u8]> {
    let mut bytes = text_of(header.first, record).or_else(|| text_of(header.otherwise?, record))?;
    if header.without_query {
        bytes = split_query(bytes).0;
    }
    Some(header.limit.map_or(bytes, |limit| shortened(bytes, limit)))
}

/// The text that an attribute is; those that formats show most first.
#[inline]
fn text_of<'a>(attribute: Attribute, record: &'a StreamRecord<'_>) -> Option<&'a [u8]> {
    match attribute {
        Attribute::RequestHeader(at) => record.request_headers.value(at),
        Attribute::ResponseHeader(at) => record.response_headers.value(at),
        other => match other.value(record) {
            AttributeValue::Bytes(bytes) => Some(bytes),
            _ => None,
        },
    }
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

fn push_time(format: &super::calendar::TimeFormat, time: std::time::SystemTime, style: Style, out: &mut Vec<u8>) {
    let from = out.len();
    format.render(time, out);
    // Only the format's own literals can hold what JSON escapes, and they hardly ever do.
    if style.is_json() && !all_plain(out.get(from..).unwrap_or_default()) {
        let rendered = out.split_off(from);
        push_json_inner(out, &rendered);
    }
}

/// A value that is a string where it stands alone in JSON.
fn quoted(style: Style, out: &mut Vec<u8>, write: impl FnOnce(Style, &mut Vec<u8>)) {
    if style == Style::Json {
        out.push(b'"');
        write(Style::JsonInner, out);
        out.push(b'"');
    } else {
        write(style, out);
    }
}

impl AttributeValue<'_> {
    /// As the value of a label or a tag: text without escapes, and nothing where there is nothing.
    pub fn push(&self, out: &mut Vec<u8>) {
        self.write(Style::Value, out);
    }

    /// What most values are, at once; the others have a function of their own.
    #[inline(always)]
    fn write(&self, style: Style, out: &mut Vec<u8>) {
        match self {
            Self::Unset => out.extend_from_slice(style.unset()),
            Self::Number(number) => push_decimal(out, *number),
            Self::Bytes(bytes) => push_bytes(bytes, style, out),
            Self::GrpcStatus(code) => push_decimal(out, (*code).into()),
            Self::Span(span) => push_decimal(out, millis(*span)),
            Self::Bool(yes) => out.extend_from_slice(if *yes { b"true" } else { b"false" }),
            _ => quoted(style, out, |style, out| self.write_text(style, out)),
        }
    }

    #[inline(never)]
    fn write_text(&self, style: Style, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => push_bytes(bytes, style, out),
            Self::Word(text) => out.extend_from_slice(text.as_bytes()),
            Self::Flags(flags) if flags.is_empty() => out.push(b'-'),
            Self::Flags(flags) => display(out, flags),
            Self::FlagNames(flags) if flags.is_empty() => out.push(b'-'),
            Self::FlagNames(flags) => {
                separated(flags.iter(), out, |flag, out| out.extend_from_slice(flag.name().as_bytes()));
            }
            Self::Address(address) => push_address(address, style, out),
            Self::Ip(address) => push_ip(out, *address),
            Self::List(texts) => {
                separated(texts.iter(), out, |text, out| push_bytes(text.as_bytes(), style, out));
            }
            Self::Hosts(tries) => separated(tries.iter(), out, |a_try, out| push_address(&a_try.host, style, out)),
            Self::Hex(bytes) => bytes.iter().for_each(|byte| out.extend_from_slice(&[hex(byte >> 4), hex(*byte)])),
            Self::Certificate(der) => {
                let mut text = String::new();
                PeerCertificate::url_encoded_pem(der, &mut text);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Time(time) => super::calendar::TimeFormat::rfc3339().render(*time, out),
            Self::Id64(id) => display(out, &format_args!("{id:016x}")),
            Self::Id128(id) => display(out, &format_args!("{id:032x}")),
            Self::Uuid(random) => push_uuid(**random, out),
            // Written by whoever calls.
            Self::Unset | Self::Number(_) | Self::GrpcStatus(_) | Self::Span(_) | Self::Bool(_) => {}
        }
    }
}

#[inline(always)]
fn push_bytes(bytes: &[u8], style: Style, out: &mut Vec<u8>) {
    match style {
        Style::Text | Style::TextOmit => push_text(out, bytes),
        Style::Json => push_json_string(out, bytes),
        Style::JsonInner | Style::JsonInnerOmit => push_json_inner(out, bytes),
        Style::Value => out.extend_from_slice(bytes),
    }
}

fn millis(span: Duration) -> u64 {
    span.as_secs().saturating_mul(1_000).saturating_add(span.subsec_millis().into())
}

fn push_address(address: &Address, style: Style, out: &mut Vec<u8>) {
    match address {
        Address::Ip(address @ SocketAddr::V4(_)) => {
            push_ip(out, address.ip());
            out.push(b':');
            push_decimal(out, address.port().into());
        }
        Address::Ip(address) => display(out, address),
        Address::Unix(path) => {
            out.extend_from_slice(b"unix:");
            push_bytes(path.as_os_str().as_encoded_bytes(), style, out);
        }
    }
}

/// Version and variant replace six of the random bits (RFC 9562, section 5.4).
fn push_uuid(random: u128, out: &mut Vec<u8>) {
    let bits = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let part = |shift: u32, digits: u32| bits >> shift & ((1 << (digits * 4)) - 1);
    let (a, b, c, d, e) = (part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12));
    display(out, &format_args!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}"));
}

fn separated<T>(items: impl Iterator<Item = T>, out: &mut Vec<u8>, mut write: impl FnMut(T, &mut Vec<u8>)) {
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out);
    }
}

impl Style {
    const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::JsonInner | Self::JsonInnerOmit)
    }

    const fn unset(self) -> &'static [u8] {
        match self {
            Self::Json => b"null",
            Self::Value | Self::TextOmit | Self::JsonInnerOmit => b"",
            Self::Text | Self::JsonInner => b"-",
        }
    }
}
