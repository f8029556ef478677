//! Dubbo2: a header of 16 bytes and a serialized body (Apache Dubbo, `ExchangeCodec` and `DubboCodec`).
//!
//! A call's content is the whole body. Any serialization passes through; hessian2 is read as far as the attachments,
//! which stand behind the arguments: these are skipped, not built.

mod body;
mod thrown;

use std::time::Duration;

use http::StatusCode;
use ringway_api::{Headers, Known, RequestHead, ResponseHead, Sniff, rpc};

use self::body::{Request, Response};
use crate::wire::{byte, put, u32_at, u64_at};
use crate::{
    Asked, Call, Carries, CodecError, Decoded, Fields, FrameHead, Kind, Origin, Outcome, RpcCodec, Statuses, Target,
    VERSION, own_status,
};

/// Dubbo2.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dubbo;

/// The content type of requests and responses that were made for Dubbo elsewhere: a body in hessian2.
pub const HESSIAN2: &str = ringway_hessian2::MEDIA_TYPE;

const MAGIC: [u8; 2] = [0xda, 0xbb];
const HEADER: usize = 16;
const FLAGS: usize = 2;
const STATUS_AT: usize = 3;
const ID: usize = 4;
const LENGTH: usize = 12;

const REQUEST: u8 = 0x80;
const TWO_WAY: u8 = 0x40;
const EVENT: u8 = 0x20;
const SERIALIZATION: u8 = 0x1f;

const SERIAL_HESSIAN2: u8 = 2;
/// Serializations that write JSON, one value a line: fastjson, gson, jackson, fastjson2.
const SERIAL_JSON: [u8; 4] = [6, 16, 18, 23];

/// `null` in hessian2, the body of a heartbeat.
const NULL: u8 = b'N';
/// The event that says that a server is going away: the string `R`.
const READONLY: &[u8] = &[1, b'R'];
/// The body of an event is a word at most.
const MAX_EVENT: usize = 64;

/// Of a call that is passed on while it arrives, so much is looked at.
const LOOK: usize = HEADER + (8 << 10);

const OK: u8 = 20;

/// `Response`'s constants in HTTP's words.
const STATUSES: Statuses<u8> = Statuses(&[
    (&[OK], &[200]),
    (&[80], &[500, 503]),
    (&[70], &[500, 401, 403]),
    (&[40, 25], &[400, 413, 415, 501]),
    (&[31, 30], &[504, 408]),
    (&[100, 35], &[503, 429]),
    (&[50], &[502]),
    (&[60], &[404]),
]);

impl Dubbo {
    fn header(flags: u8, status: u8, id: u64, out: &mut Vec<u8>) {
        out.extend(MAGIC);
        out.extend([flags, status]);
        out.extend(id.to_be_bytes());
        out.extend([0; 4]);
    }

    /// Writes the length of the body that ends here.
    fn finish(from: usize, out: &mut [u8]) {
        let len = (out.len() - from).saturating_sub(HEADER) as u32;
        if let Some(frame) = out.get_mut(from..) {
            put(frame, LENGTH, &len.to_be_bytes());
        }
    }
}

impl RpcCodec for Dubbo {
    const NAME: &'static str = "dubbo";
    const ID_BITS: u32 = 64;
    const ECHO: usize = HEADER + MAX_EVENT;
    const DERIVED: &'static [&'static str] = &[VERSION];
    const CARRIES: Carries = Carries::Requests;

    fn sniff(prefix: &[u8]) -> Sniff {
        match prefix {
            [0xda, 0xbb, ..] => Sniff::Yes,
            [] | [0xda] => Sniff::NeedMore,
            _ => Sniff::No,
        }
    }

    fn decode(&self, prefix: &[u8]) -> Result<Decoded, CodecError> {
        if Self::sniff(prefix) == Sniff::No {
            return Err(CodecError::malformed("dubbo_bad_magic"));
        }
        let (Some(flags), Some(id), Some(length)) = (byte(prefix, FLAGS), u64_at(prefix, ID), u32_at(prefix, LENGTH))
        else {
            return Ok(Decoded::Need(HEADER));
        };
        // A negative one is more than any limit.
        let len = HEADER.saturating_add(length as usize);
        let is_request = flags & REQUEST != 0;
        let two_way = flags & TWO_WAY != 0;
        let kind = if flags & EVENT == 0 {
            match (is_request, two_way) {
                (true, true) => Kind::Request,
                (true, false) => Kind::OneWay,
                (false, _) => Kind::Response,
            }
        } else {
            if len > HEADER + MAX_EVENT {
                return Err(CodecError::malformed("dubbo_event_too_long"));
            }
            let Some(event) = prefix.get(HEADER..len) else { return Ok(Decoded::Need(len)) };
            match (is_request, two_way) {
                (true, _) if event == READONLY => Kind::GoAway,
                (true, true) => Kind::Heartbeat,
                _ => Kind::HeartbeatReply,
            }
        };
        // Of a response, only what kind of result it is, and the beginning of what was thrown.
        let look = if is_request {
            LOOK
        } else if byte(prefix, STATUS_AT) == Some(OK) && flags & SERIALIZATION == SERIAL_HESSIAN2 && len > HEADER {
            match byte(prefix, HEADER) {
                None => return Ok(Decoded::Need(HEADER + 1)),
                Some(0x90 | 0x93) => HEADER + thrown::LOOK,
                Some(_) => HEADER + 5,
            }
        } else {
            HEADER + 5
        };
        let look = len.min(look);
        Ok(Decoded::Frame(FrameHead { kind, id, content: HEADER, look, tail: 0, len }))
    }

    fn read_request<'a>(
        &self,
        frame: &FrameHead,
        block: &'a [u8],
        fields: &mut Fields<'_>,
    ) -> Result<Call<'a>, CodecError> {
        let unread = Call { service: b"-", method: b"-", timeout: None };
        if byte(block, FLAGS).is_none_or(|flags| flags & SERIALIZATION != SERIAL_HESSIAN2) {
            return Ok(unread);
        }
        let request = Request::read(block, HEADER)?;
        fields.derived(VERSION, request.version);
        let mut call = Call { service: request.path, method: request.method, timeout: None };
        if block.len() < frame.len {
            // The attachments are still to come.
            return Ok(call);
        }
        request.attachments(block, |entry| {
            let (Some(name), Some(value)) = (entry.name, entry.value) else { return };
            let text = block.get(value.clone()).unwrap_or_default();
            match block.get(name.clone()).unwrap_or_default() {
                b"interface" if !text.is_empty() => call.service = text,
                b"timeout" => call.timeout = millis(text),
                _ => {}
            }
            fields.received(name, value);
        })?;
        Ok(call)
    }

    fn read_response(&self, _frame: &FrameHead, block: &[u8], fields: &mut Fields<'_>) -> Result<Outcome, CodecError> {
        let truncated = CodecError::malformed("dubbo_truncated");
        let flags = byte(block, FLAGS).ok_or(truncated)?;
        let status = byte(block, STATUS_AT).ok_or(truncated)?;
        // The kind of result is the first value of the body: 0 and 3 are exceptions.
        let kind = byte(block, HEADER);
        let exception = status == OK
            && match flags & SERIALIZATION {
                SERIAL_HESSIAN2 => matches!(kind, Some(0x90 | 0x93)),
                json if SERIAL_JSON.contains(&json) => matches!(kind, Some(b'0' | b'3')),
                _ => false,
            };
        if exception && flags & SERIALIZATION == SERIAL_HESSIAN2 {
            thrown::tell(block, HEADER + 1, fields);
        }
        Ok(Outcome { status: STATUSES.to_http(status), code: status.into(), exception })
    }

    fn renumber(&self, _frame: &FrameHead, block: &[u8], id: u64, out: &mut Vec<u8>) -> Option<usize> {
        let from = out.len();
        out.extend_from_slice(block.get(..HEADER)?);
        put(out.get_mut(from..)?, ID, &id.to_be_bytes());
        Some(HEADER)
    }

    fn write_request(
        &self,
        id: u64,
        head: &RequestHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let flags = match origin.map(|origin| byte(origin.block, FLAGS).unwrap_or(0)) {
            Some(flags) => flags,
            None if head.headers.known(Known::ContentType) == Some(HESSIAN2.as_bytes()) => {
                REQUEST | TWO_WAY | SERIAL_HESSIAN2
            }
            None => return Err(CodecError::unsupported("not_a_dubbo_request")),
        };
        let edited = head.headers.is_edited() && origin.is_some();
        if edited && flags & SERIALIZATION != SERIAL_HESSIAN2 {
            return Err(CodecError::unsupported("dubbo_attachments_not_hessian2"));
        }
        let target = if origin.is_some() { Target::edited(head)? } else { None };
        // Of a request of another protocol that became a call, what its trace says: its other fields are not the call's.
        let traced = origin.is_none().then(|| trace_fields(&head.headers)).flatten();
        let from = out.len();
        Self::header(flags, 0, id, out);
        let whole = origin.is_some_and(|origin| origin.block.len() >= origin.frame.len);
        if edited {
            let edited = Request::read(content, 0)
                .and_then(|request| request.edit(content, &head.headers, target.as_ref(), whole, out));
            edited.inspect_err(|_| out.truncate(from))?;
        } else if let Some(traced) = traced {
            let edited = Request::read(content, 0).and_then(|request| request.edit(content, &traced, None, false, out));
            edited.inspect_err(|_| out.truncate(from))?;
        } else {
            out.extend_from_slice(content);
        }
        Self::finish(from, out);
        Ok(())
    }

    fn write_response(
        &self,
        to: &Asked,
        head: &ResponseHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let flags = match origin.map(|origin| byte(origin.block, FLAGS).unwrap_or(0)) {
            Some(flags) => flags & SERIALIZATION,
            None if head.headers.known(Known::ContentType) == Some(HESSIAN2.as_bytes()) => SERIAL_HESSIAN2,
            None => return Err(CodecError::unsupported("not_a_dubbo_response")),
        };
        let status = own_status(&head.headers).unwrap_or(STATUSES.of_http(head.status));
        // Errors have no attachments, and no attachment is worth a result that cannot be read here.
        let has_room = flags == SERIAL_HESSIAN2 && status == OK;
        let edited = head.headers.is_edited() && origin.is_some() && has_room;
        let from = out.len();
        Self::header(flags, status, to.frame.id, out);
        if edited {
            Response::read(content)?.edit(content, &head.headers, out).inspect_err(|_| out.truncate(from))?;
        } else {
            out.extend_from_slice(content);
        }
        Self::finish(from, out);
        Ok(())
    }

    fn write_error(&self, to: &Asked, status: StatusCode, message: &str, out: &mut Vec<u8>) {
        let asked = byte(&to.start, FLAGS).unwrap_or(0) & SERIALIZATION;
        let json = SERIAL_JSON.contains(&asked);
        let from = out.len();
        // Every Dubbo reads hessian2.
        Self::header(if json { asked } else { SERIAL_HESSIAN2 }, STATUSES.of_http(status), to.frame.id, out);
        if json {
            // Messages of ours need no escapes.
            let plain = message.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\'));
            out.extend_from_slice(format!("\"{}\"\n", plain.collect::<String>()).as_bytes());
        } else {
            ringway_hessian2::write_string(message, out);
        }
        Self::finish(from, out);
    }

    fn write_heartbeat(&self, id: u64, out: &mut Vec<u8>) -> bool {
        let from = out.len();
        Self::header(REQUEST | TWO_WAY | EVENT | SERIAL_HESSIAN2, 0, id, out);
        out.push(NULL);
        Self::finish(from, out);
        true
    }

    fn write_heartbeat_reply(&self, to: &Asked, out: &mut Vec<u8>) {
        let from = out.len();
        let flags = byte(&to.start, FLAGS).unwrap_or(SERIAL_HESSIAN2) & SERIALIZATION;
        Self::header(EVENT | flags, OK, to.frame.id, out);
        // `null` as the asker's serialization writes it.
        out.extend_from_slice(to.start.get(HEADER..).unwrap_or(&[NULL]));
        Self::finish(from, out);
    }

    fn write_goaway(&self, id: u64, out: &mut Vec<u8>) -> bool {
        let from = out.len();
        Self::header(REQUEST | EVENT | SERIAL_HESSIAN2, 0, id, out);
        out.extend_from_slice(READONLY);
        Self::finish(from, out);
        true
    }
}

impl From<ringway_hessian2::Error> for CodecError {
    fn from(error: ringway_hessian2::Error) -> Self {
        Self::malformed(error.details())
    }
}

/// The fields by which a trace travels, if there are any.
fn trace_fields(headers: &Headers) -> Option<Headers> {
    let is_known = |name: &[u8]| rpc::TRACE_FIELDS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    let mut traced: Option<Headers> = None;
    for (name, value) in headers.iter().filter(|(name, _)| is_known(name)) {
        // What is a field already can be one.
        let _is_text = traced.get_or_insert_default().append(std::str::from_utf8(name).ok()?, value);
    }
    traced
}

fn millis(text: &[u8]) -> Option<Duration> {
    let millis = std::str::from_utf8(text).ok()?.parse::<u64>().ok()?;
    (millis > 0).then(|| Duration::from_millis(millis))
}
