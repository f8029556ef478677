//! Thrift in Dubbo's framing (Apache Dubbo 2.x, `ThriftCodec`; the Thrift binary protocol, `TBinaryProtocol`).
//!
//! A frame is its size, a header with the service's name and a 64-bit id, and a thrift message: the method's name, a
//! sequence number, and a struct of arguments or results. A call's content is that struct. There are no attachments:
//! fields that are added to a message go no further. There are no heartbeats.

use std::ops::Range;

use http::StatusCode;
use ringway_api::{RequestHead, ResponseHead, Sniff};

use crate::wire::{byte, put, u16_at, u32_at, u64_at};
use crate::{Asked, Call, Carries, CodecError, Decoded, Fields, FrameHead, Kind, Origin, Outcome, RpcCodec, Target};

/// Thrift in Dubbo's framing.
///
/// [`Outcome::code`] is the type of a `TApplicationException`, and 0 for results; one of the type `UNKNOWN` is 0 too,
/// told apart by its HTTP status.
#[derive(Clone, Copy, Debug, Default)]
pub struct DubboThrift;

const MAGIC: u16 = 0xdabc;
const MAGIC_AT: usize = 4;
/// The size again.
const SIZE_AT: usize = 6;
/// The header's length, counted from the magic as all sizes are.
const HEADER_AT: usize = 10;
const VERSION_AT: usize = 12;
const SERVICE_AT: usize = 13;
const ID_LEN: usize = 8;
const VERSION: u8 = 1;

/// A message's first number, if it is no length: a version and the message's type.
const STRICT: u32 = 0x8001_0000;
const CALL: u8 = 1;
const REPLY: u8 = 2;
const EXCEPTION: u8 = 3;
const ONE_WAY: u8 = 4;

const STOP: u8 = 0;
const I32: u8 = 8;
const STRING: u8 = 11;

/// Everything before the content, in bytes: three names and fifty more.
const MAX_HEAD: usize = 1024;
/// How far into an exception its type is looked for: it stands behind the text.
const MAX_TEXT: usize = 16 << 10;
/// Fields of an exception that are looked at; it has two.
const MAX_FIELDS: usize = 8;

/// What stands before a frame's content.
struct Head {
    id: usize,
    service: Range<usize>,
    /// Where the message's type is.
    kind: usize,
    method: Range<usize>,
    content: usize,
}

enum Read {
    Need(usize),
    Head(Head),
}

impl Head {
    fn read(prefix: &[u8]) -> Result<Read, CodecError> {
        let malformed = CodecError::malformed("thrift_malformed_header");
        if DubboThrift::sniff(prefix) == Sniff::No {
            return Err(CodecError::malformed("thrift_bad_magic"));
        }
        let (Some(size), Some(header), Some(version)) =
            (u32_at(prefix, 0), u16_at(prefix, HEADER_AT), byte(prefix, VERSION_AT))
        else {
            return Ok(Read::Need(SERVICE_AT));
        };
        if version != VERSION {
            return Err(CodecError::malformed("thrift_unknown_version"));
        }
        let len = MAGIC_AT.saturating_add(size as usize);
        let message = MAGIC_AT + usize::from(header);
        let id = message.checked_sub(ID_LEN).filter(|id| *id >= SERVICE_AT + 4).ok_or(malformed)?;
        // A name's length and a sequence number follow, at least.
        within(message + 8, len)?;
        if prefix.len() < message + 8 {
            return Ok(Read::Need(message + 8));
        }
        let text = |at: usize| {
            let len = u32_at(prefix, at).ok_or(malformed)? as usize;
            Ok::<_, CodecError>(at + 4..(at + 4).saturating_add(len))
        };
        let service = text(SERVICE_AT)?;
        // Dubbo 2.7 tells the path of the service, too.
        if service.end != id && (service.end > id.saturating_sub(4) || text(service.end)?.end != id) {
            return Err(malformed);
        }
        let first = u32_at(prefix, message).ok_or(malformed)?;
        let is_strict = first & 0x8000_0000 != 0;
        if is_strict && first & 0xffff_0000 != STRICT {
            return Err(CodecError::malformed("thrift_unknown_message_version"));
        }
        let method = text(if is_strict { message + 4 } else { message })?;
        let (kind, content) = if is_strict {
            (message + 3, method.end.saturating_add(4))
        } else {
            (method.end, method.end.saturating_add(5))
        };
        within(content, len)?;
        if prefix.len() < content {
            return Ok(Read::Need(content));
        }
        Ok(Read::Head(Self { id, service, kind, method, content }))
    }

    /// The head of a frame that has been read before.
    fn known(block: &[u8]) -> Result<Self, CodecError> {
        match Self::read(block)? {
            Read::Head(head) => Ok(head),
            Read::Need(_) => Err(CodecError::malformed("thrift_truncated")),
        }
    }
}

/// Whether a head may end at `end`.
fn within(end: usize, len: usize) -> Result<(), CodecError> {
    if end > len {
        return Err(CodecError::malformed("thrift_inconsistent_lengths"));
    }
    if end > MAX_HEAD { Err(CodecError::too_large("thrift_header_too_large")) } else { Ok(()) }
}

impl DubboThrift {
    /// The head that `like` begins with, for another service and method; its size is still to be said.
    fn renamed(like: &[u8], head: &Head, target: &Target) -> Result<Vec<u8>, CodecError> {
        let too_large = CodecError::too_large("thrift_header_too_large");
        let piece = |range: Range<usize>| like.get(range).unwrap_or_default();
        let text = |text: &[u8], out: &mut Vec<u8>| {
            out.extend((text.len() as u32).to_be_bytes());
            out.extend_from_slice(text);
        };
        let mut out = piece(0..SERVICE_AT).to_vec();
        text(&target.service, &mut out);
        let path = piece(head.service.end + 4..head.id);
        if !path.is_empty() && path == piece(head.service.clone()) {
            text(&target.service, &mut out);
        } else {
            out.extend_from_slice(piece(head.service.end..head.id));
        }
        let header = u16::try_from(out.len() + ID_LEN - MAGIC_AT).map_err(|_| too_large)?;
        put(&mut out, HEADER_AT, &header.to_be_bytes());
        // The id; and the message's version, if it has one.
        out.extend_from_slice(piece(head.id..head.method.start.saturating_sub(4)));
        text(&target.method, &mut out);
        out.extend_from_slice(piece(head.method.end..head.content));
        if out.len() > MAX_HEAD { Err(too_large) } else { Ok(out) }
    }

    /// A frame with the head that `like` begins with and other content.
    fn write(like: &[u8], id: u64, kind: Option<u8>, content: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        let head = Head::known(like)?;
        let start = like.get(..head.content).unwrap_or_default();
        let size = start.len().saturating_sub(MAGIC_AT).saturating_add(content.len());
        let size = i32::try_from(size).map_err(|_| CodecError::too_large("thrift_content_too_large"))?.to_be_bytes();
        let from = out.len();
        out.extend_from_slice(start);
        let frame = out.get_mut(from..).unwrap_or_default();
        put(frame, 0, &size);
        put(frame, SIZE_AT, &size);
        put(frame, head.id, &id.to_be_bytes());
        if let Some(kind) = kind {
            put(frame, head.kind, &[kind]);
        }
        out.extend_from_slice(content);
        Ok(())
    }
}

impl RpcCodec for DubboThrift {
    const NAME: &'static str = "dubbothrift";
    const ID_BITS: u32 = 64;
    const ECHO: usize = MAX_HEAD;
    const DERIVED: &'static [&'static str] = &[];
    const CARRIES: Carries = Carries::Nothing;

    fn sniff(prefix: &[u8]) -> Sniff {
        let [high, low] = MAGIC.to_be_bytes();
        let fits = byte(prefix, 0).is_none_or(|size| size < 0x80)
            && byte(prefix, MAGIC_AT).is_none_or(|byte| byte == high)
            && byte(prefix, MAGIC_AT + 1).is_none_or(|byte| byte == low)
            && prefix.iter().skip(SIZE_AT).take(4).zip(prefix).all(|(again, size)| again == size);
        if !fits {
            return Sniff::No;
        }
        if prefix.len() < HEADER_AT { Sniff::NeedMore } else { Sniff::Yes }
    }

    fn decode(&self, prefix: &[u8]) -> Result<Decoded, CodecError> {
        let head = match Head::read(prefix)? {
            Read::Need(need) => return Ok(Decoded::Need(need)),
            Read::Head(head) => head,
        };
        let malformed = CodecError::malformed("thrift_malformed_header");
        let id = u64_at(prefix, head.id).ok_or(malformed)?;
        let len = MAGIC_AT.saturating_add(u32_at(prefix, 0).ok_or(malformed)? as usize);
        let kind = byte(prefix, head.kind).ok_or(malformed)?;
        // Of results, only the first field; of exceptions, as far as their type.
        let (kind, look) = match kind {
            CALL => (Kind::Request, 0),
            ONE_WAY => (Kind::OneWay, 0),
            REPLY => (Kind::Response, 3),
            EXCEPTION => (Kind::Response, MAX_TEXT),
            _ => return Err(CodecError::malformed("thrift_unknown_message_type")),
        };
        let content = head.content;
        Ok(Decoded::Frame(FrameHead { kind, id, content, look: len.min(content + look), tail: 0, len }))
    }

    fn read_request<'a>(
        &self,
        _frame: &FrameHead,
        block: &'a [u8],
        _fields: &mut Fields<'_>,
    ) -> Result<Call<'a>, CodecError> {
        let head = Head::known(block)?;
        let text = |range: Range<usize>| block.get(range).unwrap_or_default();
        Ok(Call { service: text(head.service), method: text(head.method), timeout: None })
    }

    fn read_response(&self, _frame: &FrameHead, block: &[u8], _fields: &mut Fields<'_>) -> Result<Outcome, CodecError> {
        let head = Head::known(block)?;
        let content = block.get(head.content..).unwrap_or_default();
        if byte(block, head.kind) == Some(EXCEPTION) {
            let code = exception_type(content);
            return Ok(Outcome { status: http_status(code), code, exception: false });
        }
        // The result is field 0 of its struct; the exceptions that the method declares are the others.
        let exception = byte(content, 0).is_some_and(|kind| kind != STOP) && u16_at(content, 1) != Some(0);
        Ok(Outcome { status: StatusCode::OK, code: 0, exception })
    }

    fn renumber(&self, _frame: &FrameHead, block: &[u8], id: u64, out: &mut Vec<u8>) -> Option<usize> {
        let at = (MAGIC_AT + usize::from(u16_at(block, HEADER_AT)?)).checked_sub(ID_LEN)?;
        block.get(at..at + ID_LEN)?;
        out.extend_from_slice(block.get(..at)?);
        out.extend(id.to_be_bytes());
        Some(at + ID_LEN)
    }

    fn write_request(
        &self,
        id: u64,
        head: &RequestHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let origin = origin.ok_or(CodecError::unsupported("not_a_dubbo_thrift_request"))?;
        let Some(target) = Target::edited(head)? else {
            return Self::write(origin.block, id, None, content, out);
        };
        let mut renamed = Self::renamed(origin.block, &Head::known(origin.block)?, &target)?;
        // What is written over it has the right size.
        let size = (renamed.len() - MAGIC_AT) as u32;
        put(&mut renamed, 0, &size.to_be_bytes());
        put(&mut renamed, SIZE_AT, &size.to_be_bytes());
        Self::write(&renamed, id, None, content, out)
    }

    fn write_response(
        &self,
        to: &Asked,
        _head: &ResponseHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let origin = origin.ok_or(CodecError::unsupported("not_a_dubbo_thrift_response"))?;
        Self::write(origin.block, to.frame.id, None, content, out)
    }

    fn write_error(&self, to: &Asked, status: StatusCode, message: &str, out: &mut Vec<u8>) {
        // The header, the method's name and the sequence number are the call's: whoever wrote them can read them.
        let mut content = vec![STRING, 0, 1];
        content.extend((message.len() as u32).to_be_bytes());
        content.extend_from_slice(message.as_bytes());
        content.extend([I32, 0, 2]);
        content.extend(thrift_type(status).to_be_bytes());
        content.push(STOP);
        let written = Self::write(&to.start, to.frame.id, Some(EXCEPTION), &content, out);
        debug_assert!(written.is_ok(), "the call's head has been read");
    }
}

/// The type of a `TApplicationException`; `UNKNOWN` where it cannot be found.
fn exception_type(content: &[u8]) -> i32 {
    let mut at = 0;
    for _ in 0..MAX_FIELDS {
        let (kind, id) = (byte(content, at), u16_at(content, at + 1));
        at += 3;
        match (kind, id) {
            (Some(I32), Some(2)) => return u32_at(content, at).map_or(0, u32::cast_signed),
            (Some(I32), _) => at += 4,
            (Some(STRING), _) => {
                let Some(len) = u32_at(content, at) else { return 0 };
                at = at.saturating_add(4).saturating_add(len as usize);
                if at > content.len() {
                    return 0;
                }
            }
            _ => return 0,
        }
    }
    0
}

/// `TApplicationException`'s types in HTTP's words.
fn http_status(code: i32) -> StatusCode {
    match code {
        1 => StatusCode::NOT_FOUND,
        2 | 8..=10 => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn thrift_type(status: StatusCode) -> i32 {
    match status.as_u16() {
        404 => 1,
        400 | 413 | 415 => 7,
        _ => 6,
    }
}

#[cfg(test)]
mod tests;
