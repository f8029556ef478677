//! The codec of Parcel.

use std::ops::Range;
use std::time::Duration;

use http::StatusCode;
use ringway_api::{Headers, RequestHead, ResponseHead, Sniff};
use ringway_rpc::{
    Asked, Call, CodecError, Decoded, Fields, FrameHead, Kind, Origin, Outcome, RpcCodec, STATUS, Target, rewrite,
};

/// Parcel: an invented protocol of calls. Numbers are big-endian; a frame is
///
/// | at | length | what                                                              |
/// |---:|-------:|-------------------------------------------------------------------|
/// |  0 |      2 | `a7 52`                                                           |
/// |  2 |      1 | version, 1                                                        |
/// |  3 |      1 | kind: 1 call, 2 one-way call, 3 answer, 4 ping, 5 pong, 6 leave   |
/// |  4 |      8 | id                                                                |
/// | 12 |      4 | calls: the caller waits so many milliseconds, or 0; answers: status |
/// | 16 |      2 | length of the head                                                |
/// | 18 |      4 | length of the content                                             |
/// | 22 |        | head, content                                                     |
///
/// The head of a call begins with the names of the service and of the method, each behind its length in one byte. Then,
/// in calls and answers, labels: a name behind its length in one byte, a value behind its length in two. An answer of
/// status 1 is what the service has thrown; 2 and above are errors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parcel;

const MAGIC: [u8; 3] = [0xa7, 0x52, 1];
const KIND: usize = 3;
const ID: usize = 4;
const VARIES: usize = 12;
const FIXED: usize = 22;

const CALL: u8 = 1;
const ONE_WAY: u8 = 2;
const ANSWER: u8 = 3;
const PING: u8 = 4;
const PONG: u8 = 5;
const LEAVE: u8 = 6;

/// The service has thrown: a result, as far as the protocol goes.
const THREW: u32 = 1;

impl RpcCodec for Parcel {
    const NAME: &'static str = "parcel";
    const ID_BITS: u32 = 64;
    const ECHO: usize = 0;

    fn sniff(prefix: &[u8]) -> Sniff {
        let fits = prefix.iter().zip(MAGIC).all(|(byte, expected)| *byte == expected);
        match (fits, prefix.get(KIND)) {
            (true, None) => Sniff::NeedMore,
            (true, Some(CALL..=LEAVE)) => Sniff::Yes,
            _ => Sniff::No,
        }
    }

    fn decode(&self, prefix: &[u8]) -> Result<Decoded, CodecError> {
        if Self::sniff(prefix) == Sniff::No {
            return Err(CodecError::malformed("parcel_bad_magic"));
        }
        let (Some(id), Some(head), Some(content)) =
            (number(prefix, ID..VARIES), number(prefix, 16..18), number(prefix, 18..FIXED))
        else {
            return Ok(Decoded::Need(FIXED));
        };
        let kind = match prefix.get(KIND) {
            Some(&CALL) => Kind::Request,
            Some(&ONE_WAY) => Kind::OneWay,
            Some(&ANSWER) => Kind::Response,
            Some(&PING) => Kind::Heartbeat,
            Some(&PONG) => Kind::HeartbeatReply,
            _ => Kind::GoAway,
        };
        let begins = FIXED + head as usize;
        let len = begins.saturating_add(content as usize);
        Ok(Decoded::Frame(FrameHead { kind, id, content: begins, look: begins, tail: 0, len }))
    }

    fn read_request<'a>(
        &self,
        frame: &FrameHead,
        block: &'a [u8],
        fields: &mut Fields<'_>,
    ) -> Result<Call<'a>, CodecError> {
        let mut at = FIXED;
        let service = text(block, &mut at, 1, frame.content)?;
        let method = text(block, &mut at, 1, frame.content)?;
        labels(block, at..frame.content, |name, value| fields.received(name, value))?;
        let timeout = number(block, VARIES..16).filter(|millis| *millis > 0).map(Duration::from_millis);
        Ok(Call {
            service: block.get(service).unwrap_or_default(),
            method: block.get(method).unwrap_or_default(),
            timeout,
        })
    }

    fn read_response(&self, frame: &FrameHead, block: &[u8], fields: &mut Fields<'_>) -> Result<Outcome, CodecError> {
        labels(block, FIXED..frame.content, |name, value| fields.received(name, value))?;
        let code = number(block, VARIES..16).unwrap_or_default() as u32;
        Ok(Outcome { status: http_status(code), code: code.cast_signed(), exception: code == THREW })
    }

    fn renumber(&self, _: &FrameHead, block: &[u8], id: u64, out: &mut Vec<u8>) -> Option<usize> {
        out.extend_from_slice(block.get(..ID)?);
        out.extend(id.to_be_bytes());
        Some(VARIES)
    }

    fn write_request(
        &self,
        id: u64,
        head: &RequestHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let one_way = origin.is_some_and(|origin| origin.frame.kind == Kind::OneWay);
        let millis = head.timeout.map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        // The names as they are now: a filter may have changed the target, and another protocol has nothing else.
        let target = Target::of(head)?;
        let mut block = Vec::new();
        for name in [&target.service, &target.method] {
            put(name, 1, &mut block)?;
        }
        let from = origin.map_or(0, |origin| past_names(origin.block));
        put_labels(&head.headers, origin, from, &mut block)?;
        frame(if one_way { ONE_WAY } else { CALL }, id, millis, &block, content, out)
    }

    fn write_response(
        &self,
        to: &Asked,
        head: &ResponseHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let code = head.headers.first(STATUS).and_then(|code| std::str::from_utf8(code).ok()?.parse::<i32>().ok());
        let code = code.map_or(own_status(head.status), i32::cast_unsigned);
        let mut block = Vec::new();
        put_labels(&head.headers, origin, FIXED, &mut block)?;
        frame(ANSWER, to.frame.id, code, &block, content, out)
    }

    fn write_error(&self, to: &Asked, status: StatusCode, message: &str, out: &mut Vec<u8>) {
        let written = frame(ANSWER, to.frame.id, own_status(status), &[], message.as_bytes(), out);
        debug_assert!(written.is_ok(), "messages are short");
    }

    fn write_heartbeat(&self, id: u64, out: &mut Vec<u8>) -> bool {
        frame(PING, id, 0, &[], &[], out).is_ok()
    }

    fn write_heartbeat_reply(&self, to: &Asked, out: &mut Vec<u8>) {
        let written = frame(PONG, to.frame.id, 0, &[], &[], out);
        debug_assert!(written.is_ok(), "it is empty");
    }

    fn write_goaway(&self, id: u64, out: &mut Vec<u8>) -> bool {
        frame(LEAVE, id, 0, &[], &[], out).is_ok()
    }
}

// === Reading ===

/// A number of up to eight bytes, if they are there.
fn number(bytes: &[u8], at: Range<usize>) -> Option<u64> {
    Some(bytes.get(at)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Where a text lies, behind its length of `size` bytes; moves `at` past it, and never past `end`.
fn text(block: &[u8], at: &mut usize, size: usize, end: usize) -> Result<Range<usize>, CodecError> {
    let malformed = CodecError::malformed("parcel_malformed_head");
    let from = *at + size;
    let len = number(block, *at..from).ok_or(malformed)? as usize;
    if from + len > end {
        return Err(malformed);
    }
    *at = from + len;
    Ok(from..*at)
}

/// Reads the labels in a part of a block.
fn labels(
    block: &[u8],
    part: Range<usize>,
    mut found: impl FnMut(Range<usize>, Range<usize>),
) -> Result<(), CodecError> {
    let mut at = part.start;
    while at < part.end {
        let name = text(block, &mut at, 1, part.end)?;
        let value = text(block, &mut at, 2, part.end)?;
        found(name, value);
    }
    Ok(())
}

/// Where the labels of a call begin.
fn past_names(block: &[u8]) -> usize {
    let mut at = FIXED;
    for _ in 0..2 {
        if text(block, &mut at, 1, block.len()).is_err() {
            break;
        }
    }
    at
}

// === Writing ===

fn frame(kind: u8, id: u64, varies: u32, head: &[u8], content: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let too_large = |_| CodecError::too_large("parcel_too_large");
    let (head_len, content_len) =
        (u16::try_from(head.len()).map_err(too_large)?, u32::try_from(content.len()).map_err(too_large)?);
    out.extend(MAGIC);
    out.push(kind);
    out.extend(id.to_be_bytes());
    out.extend(varies.to_be_bytes());
    out.extend(head_len.to_be_bytes());
    out.extend(content_len.to_be_bytes());
    out.extend_from_slice(head);
    out.extend_from_slice(content);
    Ok(())
}

/// A text behind its length of `size` bytes.
fn put(text: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let len = (text.len() as u64).to_be_bytes();
    let (zeros, len) = len.split_at(len.len() - size);
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(CodecError::too_large("parcel_text_too_long"));
    }
    out.extend_from_slice(len);
    out.extend_from_slice(text);
    Ok(())
}

/// The labels of a message as they are now. Those of its origin begin at `from`.
fn put_labels(headers: &Headers, origin: Option<Origin<'_>>, from: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut before: Vec<(&[u8], Option<&[u8]>)> = Vec::new();
    if let Some(Origin { frame, block }) = origin {
        labels(block, from..frame.content, |name, value| {
            before.push((block.get(name).unwrap_or_default(), block.get(value)))
        })?;
    }
    let mut result = Ok(());
    rewrite::<Parcel>(headers, before, |name, value| {
        if result.is_ok() {
            result = put(name, 1, out).and_then(|()| put(value.unwrap_or_default(), 2, out));
        }
    });
    result
}

// === Statuses ===

fn http_status(code: u32) -> StatusCode {
    match code {
        0 | THREW => StatusCode::OK,
        2 => StatusCode::BAD_REQUEST,
        3 => StatusCode::NOT_FOUND,
        4 => StatusCode::SERVICE_UNAVAILABLE,
        5 => StatusCode::GATEWAY_TIMEOUT,
        6 => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn own_status(status: StatusCode) -> u32 {
    match status.as_u16() {
        200..=299 => 0,
        404 => 3,
        429 | 503 => 4,
        408 | 504 => 5,
        400..=499 => 2,
        502 => 6,
        _ => 7,
    }
}
