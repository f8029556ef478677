//! Writing messages: heads in one pass, content behind them in as few pieces as copying little allows.

mod content;

use std::time::SystemTime;

use http::{Method, StatusCode};
use ringway_api::{Body, Headers, Known, Line, RequestHead, ResponseHead, Tunnel, http_date};

use crate::options::HeaderCase;

pub(crate) use content::{ContentEnd, ContentWriter, poll_content};

/// How written content is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimit {
    /// No field says anything of it, and none follows.
    Nothing,
    /// The head's own `Content-Length` is written, and no content follows (HEAD, 304).
    AsDeclared,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The end of the connection; responses only.
    UntilClose,
}

/// Content up to this size, its head included, is copied behind the head, so that one plain send takes both: cheaper
/// than a second buffer's bookkeeping.
pub(crate) const COPY_LIMIT: usize = 4096;

/// Writes a response's head.
///
/// `date` is what to write when the response has none (RFC 9110, section 6.6.1).
pub fn response_head(
    head: &ResponseHead,
    delimit: Delimit,
    close: bool,
    date: impl FnOnce() -> SystemTime,
    case: HeaderCase,
    out: &mut Vec<u8>,
) {
    status_line(head.status, out);
    let mut dated = false;
    let keep = |known| match known {
        None => true,
        Some(Known::ContentLength) => delimit == Delimit::AsDeclared,
        Some(Known::Date) => {
            dated = true;
            true
        }
        Some(known) => !is_hop_by_hop(known) && known != Known::Te,
    };
    lines(&head.headers, keep, case, out);
    delimiter(delimit, case, out);
    if !dated && !head.status.is_informational() {
        name(b"date", case, out);
        http_date(date(), out);
        out.extend_from_slice(b"\r\n");
    }
    if close {
        field(b"connection", b"close", case, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a response that makes a tunnel, an upgrade to `protocol` where it is one.
pub(crate) fn tunnel_head(head: &ResponseHead, protocol: Option<&[u8]>, case: HeaderCase, out: &mut Vec<u8>) {
    status_line(head.status, out);
    let keep = |known: Option<Known>| match known {
        Some(Known::ContentLength | Known::Te) => false,
        known => !known.is_some_and(is_hop_by_hop),
    };
    lines(&head.headers, keep, case, out);
    if let Some(protocol) = protocol {
        field(b"connection", b"upgrade", case, out);
        field(b"upgrade", protocol, case, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes a request's head.
pub fn request_head(head: &RequestHead, delimit: Delimit, case: HeaderCase, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    // RFC 9112, section 3.2: a tunnel's target is its authority.
    let connect = head.tunnel == Some(Tunnel::Connect);
    out.extend_from_slice(if connect { head.authority() } else { head.path_and_query() });
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // First, as RFC 9110, section 7.2 recommends.
    field(b"host", head.authority(), case, out);
    let mut te = false;
    let keep = |known| match known {
        None => true,
        Some(Known::ContentLength | Known::Host) => false,
        Some(Known::Te) => {
            te = true;
            true
        }
        Some(known) => !is_hop_by_hop(known),
    };
    lines(&head.headers, keep, case, out);
    delimiter(delimit, case, out);
    if let Some(protocol) = head.upgrade() {
        field(b"connection", if te { b"upgrade, te" } else { b"upgrade" }, case, out);
        field(b"upgrade", protocol, case, out);
    } else if te {
        // RFC 9110, section 10.1.4: TE concerns this connection, and says so.
        field(b"connection", b"te", case, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Room that a request's head takes at most, framing included.
pub(crate) fn request_room(head: &RequestHead) -> usize {
    let line = head.method.as_str().len() + head.path_and_query().len() + 2 * head.authority().len();
    line + head.headers.wire_len() + head.upgrade().map_or(96, |protocol| 160 + protocol.len())
}

/// Room that a response's head takes at most, framing included.
pub(crate) fn response_room(head: &ResponseHead) -> usize {
    head.headers.wire_len() + 192
}

/// How a request with this body is delimited.
pub(crate) fn request_delimit(head: &RequestHead, body: &Body) -> Delimit {
    match body.remaining() {
        // RFC 9110, section 8.6: a method that expects content says so when there is none.
        Some(0) if !matches!(body, Body::Stream(_)) => {
            if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
                Delimit::Length(0)
            } else {
                Delimit::Nothing
            }
        }
        Some(length) => Delimit::Length(length),
        None => Delimit::Chunked,
    }
}

/// How a response with this body, to a request of this method, is delimited (RFC 9112, section 6.3).
pub(crate) fn response_delimit(head: &ResponseHead, body: &Body, to_head: bool, http_1_1: bool) -> Delimit {
    if head.status.is_informational() || head.status == StatusCode::NO_CONTENT {
        return Delimit::Nothing;
    }
    if to_head {
        return match body {
            Body::Full(chunk) if !head.headers.has(Known::ContentLength) => Delimit::Length(chunk.len() as u64),
            _ => Delimit::AsDeclared,
        };
    }
    if head.status == StatusCode::NOT_MODIFIED {
        return Delimit::AsDeclared;
    }
    match body.remaining() {
        Some(length) => Delimit::Length(length),
        None if http_1_1 => Delimit::Chunked,
        None => Delimit::UntilClose,
    }
}

/// Fields that concern one connection only; whoever put them there, they are not written.
fn is_hop_by_hop(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::TransferEncoding
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Upgrade
            | Known::Http2Settings
            | Known::Expect
    )
}

fn status_line(status: StatusCode, out: &mut Vec<u8>) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn delimiter(delimit: Delimit, case: HeaderCase, out: &mut Vec<u8>) {
    match delimit {
        Delimit::Length(length) => {
            name(b"content-length", case, out);
            decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        Delimit::Chunked => field(b"transfer-encoding", b"chunked", case, out),
        Delimit::Nothing | Delimit::AsDeclared | Delimit::UntilClose => {}
    }
}

/// Writes the fields for which `keep` says so; those that came as lines and keep their case are copied as such.
fn lines(headers: &Headers, keep: impl FnMut(Option<Known>) -> bool, case: HeaderCase, out: &mut Vec<u8>) {
    if case != HeaderCase::Preserve {
        let mut keep = keep;
        for (_, name, value) in headers.fields().filter(|(known, _, _)| keep(*known)) {
            field(name, value, case, out);
        }
        return;
    }
    headers.write_lines(keep, |line| match line {
        Line::Raw(raw) => out.extend_from_slice(raw),
        Line::Field(name, value) => field(name, value, case, out),
    });
}

fn field(field_name: &[u8], value: &[u8], case: HeaderCase, out: &mut Vec<u8>) {
    name(field_name, case, out);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn name(name: &[u8], case: HeaderCase, out: &mut Vec<u8>) {
    match case {
        HeaderCase::Preserve => out.extend_from_slice(name),
        HeaderCase::Lower => out.extend(name.iter().map(u8::to_ascii_lowercase)),
        HeaderCase::Title => {
            let mut first = true;
            out.extend(name.iter().map(|b| {
                let upper = std::mem::replace(&mut first, *b == b'-');
                if upper { b.to_ascii_uppercase() } else { b.to_ascii_lowercase() }
            }));
        }
    }
    out.extend_from_slice(b": ");
}

fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

/// Writes a field section: what trailers are on the wire, without the empty line.
fn field_section(headers: &Headers, case: HeaderCase, out: &mut Vec<u8>) {
    let keep = |known: Option<Known>| match known {
        Some(Known::ContentLength | Known::Host | Known::Te | Known::Trailer) => false,
        known => !known.is_some_and(is_hop_by_hop),
    };
    lines(headers, keep, case, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_written_whole() {
        for number in [0, 9, 10, 4096, u64::MAX] {
            let mut out = Vec::new();
            decimal(number, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), number.to_string());
        }
        let mut out = Vec::new();
        name(b"x-REQUEST-id", HeaderCase::Title, &mut out);
        assert_eq!(out, b"X-Request-Id: ");
    }
}
