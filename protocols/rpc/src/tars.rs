//! Tars (TarsCloud's `RequestPacket` and `ResponsePacket`): a length, and fields in an encoding of varying width.
//!
//! A call's content is its buffer, its attachments are its context. Both versions of the protocol are understood: in TUP
//! (2 and 3), answers are packets like requests, and say how it went in their status.
//!
//! There are no heartbeats of the protocol: clients call a function named `tars_ping` of a servant, which is a call like
//! any other.

mod jce;
mod packet;

use std::ops::Range;

use http::StatusCode;
use ringway_api::{Headers, RequestHead, ResponseHead, Sniff};

use self::jce::{Field, Stop, entries, put_bytes, put_int, put_map, put_string};
use self::packet::{
    CONTEXT, DESCRIPTION, FUNCTION, MESSAGE_TYPE, PACKET_TYPE, Packet, REQUEST, RESPONSE, SERVANT_OR_RET, TIMEOUT,
    VERSION,
};
use crate::wire::{byte, put, wait};
use crate::{
    Asked, Call, CodecError, Decoded, Fields, FrameHead, Kind, Origin, Outcome, RpcCodec, Target, own_status, rewrite,
};

/// Tars.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tars;

/// Answers in this version are packets like requests.
const TUP: [i32; 2] = [2, 3];
const ONE_WAY: i32 = 1;

/// Where TUP says how it went.
const RESULT_CODE: &[u8] = b"STATUS_RESULT_CODE";
const RESULT_TEXT: &[u8] = b"STATUS_RESULT_DESC";

/// Everything before the content, in bytes: two names and thirty more.
const MAX_HEAD: usize = 4 << 10;
/// The longest packet that can be said: lengths are signed.
const MAX_LEN: usize = i32::MAX as usize;

/// Names and values.
type Entries<'a> = Vec<(&'a [u8], &'a [u8])>;

/// What becomes of a packet that is written anew.
struct Edit<'a> {
    id: i32,
    ret: Option<i32>,
    /// Who is called, if it is another than was.
    target: Option<Target>,
    timeout: Option<i32>,
    /// The context, where it was edited.
    context: Option<Entries<'a>>,
    content: &'a [u8],
}

impl Tars {
    /// A packet like `block`, with what is different about it.
    fn write(packet: &Packet, block: &[u8], edit: &Edit<'_>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let mut rest = Vec::new();
        packet.rest(block, |field| rest.push(field))?;
        let from = out.len();
        let piece = |range: Range<usize>| block.get(range).unwrap_or_default();
        out.extend_from_slice(piece(0..packet.id_field.start));
        put_int(packet.tags.id, edit.id, out);
        let mut at = packet.id_field.end;
        if let (Some(ret), Some((_, field))) = (edit.ret, &packet.ret) {
            out.extend_from_slice(piece(at..field.start));
            put_int(SERVANT_OR_RET, ret, out);
            at = field.end;
        }
        match &edit.target {
            // Servant and function stand between id and content.
            Some(target) => {
                put_string(SERVANT_OR_RET, &target.service, out);
                put_string(FUNCTION, &target.method, out);
            }
            None => out.extend_from_slice(piece(at..packet.content_field.start)),
        }
        if edit.content == piece(packet.content.clone()) {
            out.extend_from_slice(piece(packet.content_field.clone()));
        } else {
            put_bytes(packet.tags.content, edit.content, out);
        }
        let mut timeout = edit.timeout;
        let mut context = edit.context.as_deref();
        for field in rest.iter().map(Some).chain([None]) {
            let tag = field.map_or(u8::MAX, |field| field.tag);
            if tag >= TIMEOUT
                && let Some(millis) = timeout.take()
            {
                put_int(TIMEOUT, millis, out);
                if tag == TIMEOUT {
                    continue;
                }
            }
            if tag >= CONTEXT
                && let Some(entries) = context.take()
            {
                if tag == CONTEXT || !entries.is_empty() {
                    put_map(CONTEXT, entries, out);
                }
                if tag == CONTEXT {
                    continue;
                }
            }
            out.extend_from_slice(field.map_or(&[], |field| piece(field.range.clone())));
        }
        Self::finish(from, out)
    }

    /// Writes the length of the packet that ends here.
    fn finish(from: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let len = out.len() - from;
        if len > MAX_LEN {
            out.truncate(from);
            return Err(CodecError::too_large("tars_packet_too_large"));
        }
        put(out.get_mut(from..).unwrap_or_default(), 0, &(len as u32).to_be_bytes());
        Ok(())
    }

    /// The context of an edited message.
    fn context<'a>(headers: &'a Headers, packet: &Packet, block: &'a [u8]) -> Result<Option<Entries<'a>>, CodecError> {
        if !headers.is_edited() {
            return Ok(None);
        }
        let text = |range: Range<usize>| block.get(range).unwrap_or_default();
        let (mut before, mut now) = (Vec::new(), Vec::new());
        let mut map = None;
        packet.rest(block, |field| {
            if field.tag == CONTEXT {
                map = Some(field);
            }
        })?;
        if let Some(map) = map {
            entries(block, &map, |name, value| before.push((text(name), Some(text(value)))))?;
        }
        rewrite::<Self>(headers, before, |name, value| now.push((name, value.unwrap_or_default())));
        Ok(Some(now))
    }

    /// How a call went, as TUP tells it: with nothing where it went well.
    fn tup_code(packet: &Packet, block: &[u8]) -> Result<i32, CodecError> {
        let mut status = None;
        packet.rest(block, |field| {
            if field.tag == packet.tags.status {
                status = Some(field);
            }
        })?;
        let mut code = 0;
        if let Some(status) = status {
            entries(block, &status, |name, value| {
                if block.get(name) == Some(RESULT_CODE) {
                    let text = block.get(value).and_then(|text| std::str::from_utf8(text).ok());
                    code = text.and_then(|text| text.trim().parse().ok()).unwrap_or(UNKNOWN);
                }
            })?;
        }
        Ok(code)
    }
}

impl RpcCodec for Tars {
    const NAME: &'static str = "tars";
    const ID_BITS: u32 = 32;
    const ECHO: usize = MAX_HEAD / 8;
    const DERIVED: &'static [&'static str] = &[];

    fn sniff(prefix: &[u8]) -> Sniff {
        let at = |at| byte(prefix, at);
        // The version is a number of one byte, and the packet type one or zero.
        let fits = at(0).is_none_or(|length| length < 0x80)
            && at(4).is_none_or(|head| head == VERSION << 4)
            && at(5).is_none_or(|version| (1..=5).contains(&version))
            && at(6).is_none_or(|head| matches!(head, 0x20 | 0x2c))
            && (at(6) != Some(0x20) || at(7).is_none_or(|packet_type| packet_type <= 1));
        match prefix.get(6) {
            _ if !fits => Sniff::No,
            None => Sniff::NeedMore,
            Some(0x20) if prefix.len() < 8 => Sniff::NeedMore,
            Some(_) => Sniff::Yes,
        }
    }

    fn decode(&self, prefix: &[u8]) -> Result<Decoded, CodecError> {
        match Self::sniff(prefix) {
            Sniff::Yes => {}
            Sniff::No => return Err(CodecError::malformed("tars_bad_magic")),
            Sniff::NeedMore => return Ok(Decoded::Need(8)),
        }
        let packet = match Packet::read(prefix) {
            Ok(packet) if packet.content.start <= MAX_HEAD => packet,
            Err(Stop::Need(need)) if need <= MAX_HEAD => return Ok(Decoded::Need(need)),
            Err(Stop::Bad(error)) => return Err(error),
            Ok(_) | Err(Stop::Need(_)) => return Err(CodecError::too_large("tars_head_too_large")),
        };
        let kind = match packet.tags {
            RESPONSE => Kind::Response,
            _ if packet.packet_type == ONE_WAY => Kind::OneWay,
            _ => Kind::Request,
        };
        let len = packet.len;
        let tail = len.saturating_sub(packet.content.end);
        // The context stands behind the content.
        let id = packet.id.cast_unsigned().into();
        Ok(Decoded::Frame(FrameHead { kind, id, content: packet.content.start, look: len, tail, len }))
    }

    fn is_answer(&self, _frame: &FrameHead, block: &[u8]) -> bool {
        Packet::read(block).is_ok_and(|packet| TUP.contains(&packet.version))
    }

    fn read_request<'a>(
        &self,
        _frame: &FrameHead,
        block: &'a [u8],
        fields: &mut Fields<'_>,
    ) -> Result<Call<'a>, CodecError> {
        let packet = Packet::whole(block)?;
        let (mut timeout, mut context) = (None, None);
        packet.rest(block, |field| match field.tag {
            TIMEOUT => timeout = Some(field),
            CONTEXT => context = Some(field),
            _ => {}
        })?;
        show(block, context, fields)?;
        let millis = timeout.map(|field| Packet::int(block, &field)).transpose()?;
        let [service, method] = packet.names.map(|name| block.get(name).unwrap_or_default());
        Ok(Call { service, method, timeout: millis.and_then(|millis| wait(millis.into())) })
    }

    fn read_response(&self, _frame: &FrameHead, block: &[u8], fields: &mut Fields<'_>) -> Result<Outcome, CodecError> {
        let packet = Packet::whole(block)?;
        let mut context = None;
        packet.rest(block, |field| {
            if field.tag == CONTEXT {
                context = Some(field);
            }
        })?;
        show(block, context, fields)?;
        let code = match &packet.ret {
            Some((ret, _)) => *ret,
            None => Self::tup_code(&packet, block)?,
        };
        // Codes above zero are the service's own.
        Ok(Outcome { status: http_status(code), code, exception: code > 0 })
    }

    fn renumber(&self, frame: &FrameHead, block: &[u8], id: u64, out: &mut Vec<u8>) -> Option<usize> {
        let packet = Packet::read(block).ok()?;
        let from = out.len();
        out.extend_from_slice(block.get(..packet.id_field.start)?);
        put_int(packet.tags.id, signed(id), out);
        // The id may be longer or shorter now.
        let len = (frame.len - packet.id_field.end).checked_add(out.len() - from).filter(|len| *len <= MAX_LEN);
        let Some(len) = len else {
            out.truncate(from);
            return None;
        };
        put(out.get_mut(from..)?, 0, &(len as u32).to_be_bytes());
        Some(packet.id_field.end)
    }

    fn write_request(
        &self,
        id: u64,
        head: &RequestHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let Origin { block, .. } = origin.ok_or(CodecError::unsupported("not_a_tars_request"))?;
        let packet = Packet::whole(block)?;
        let context = Self::context(&head.headers, &packet, block)?;
        let mut told = None;
        packet.rest(block, |field| {
            if field.tag == TIMEOUT {
                told = Packet::int(block, &field).ok();
            }
        })?;
        let timeout = match head.timeout {
            timeout if timeout == told.and_then(|millis: i32| wait(millis.into())) => None,
            timeout => Some(timeout.map_or(0, |timeout| i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))),
        };
        let target = Target::edited(head)?;
        Self::write(&packet, block, &Edit { id: signed(id), ret: None, target, timeout, context, content }, out)
    }

    fn write_response(
        &self,
        to: &Asked,
        head: &ResponseHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let Origin { block, .. } = origin.ok_or(CodecError::unsupported("not_a_tars_response"))?;
        let packet = Packet::whole(block)?;
        let context = Self::context(&head.headers, &packet, block)?;
        let told = own_status(&head.headers);
        let ret = told.filter(|told| packet.ret.as_ref().is_some_and(|(ret, _)| ret != told));
        Self::write(
            &packet,
            block,
            &Edit { id: signed(to.frame.id), ret, target: None, timeout: None, context, content },
            out,
        )
    }

    fn write_error(&self, to: &Asked, status: StatusCode, message: &str, out: &mut Vec<u8>) {
        let from = out.len();
        let (id, code) = (signed(to.frame.id), tars_code(status));
        let version = byte(&to.start, 5).map_or(1, i32::from);
        out.extend([0; 4]);
        put_int(VERSION, version, out);
        put_int(PACKET_TYPE, 0, out);
        if TUP.contains(&version) {
            let names = Packet::read(&to.start).map_or([0..0, 0..0], |packet| packet.names);
            let [servant, function] = names.map(|name| to.start.get(name).unwrap_or_default());
            put_int(MESSAGE_TYPE[0], 0, out);
            put_int(REQUEST.id, id, out);
            put_string(SERVANT_OR_RET, servant, out);
            put_string(FUNCTION, function, out);
            put_bytes(REQUEST.content, b"", out);
            put_int(TIMEOUT, 0, out);
            put_map(CONTEXT, &[], out);
            let code = code.to_string();
            put_map(REQUEST.status, &[(RESULT_CODE, code.as_bytes()), (RESULT_TEXT, message.as_bytes())], out);
        } else {
            put_int(RESPONSE.id, id, out);
            put_int(MESSAGE_TYPE[1], 0, out);
            put_int(SERVANT_OR_RET, code, out);
            put_bytes(RESPONSE.content, b"", out);
            put_map(RESPONSE.status, &[], out);
            put_string(DESCRIPTION, message.as_bytes(), out);
        }
        let written = Self::finish(from, out);
        debug_assert!(written.is_ok(), "messages of ours are short");
    }
}

/// Shows a context's entries as fields.
fn show(block: &[u8], context: Option<Field>, fields: &mut Fields<'_>) -> Result<(), CodecError> {
    let Some(context) = context else { return Ok(()) };
    entries(block, &context, |name, value| fields.received(name, value))
}

/// Ids are signed.
fn signed(id: u64) -> i32 {
    (id as u32).cast_signed()
}

const UNKNOWN: i32 = -99;

/// The codes of Tars in HTTP's words; those above zero are results like any other.
fn http_status(code: i32) -> StatusCode {
    match code {
        0.. => StatusCode::OK,
        -1 => StatusCode::BAD_REQUEST,
        -3 | -4 => StatusCode::NOT_FOUND,
        -6 | -7 => StatusCode::GATEWAY_TIMEOUT,
        -8 => StatusCode::BAD_GATEWAY,
        -9 | -10 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn tars_code(status: StatusCode) -> i32 {
    match status.as_u16() {
        400 | 413 | 415 | 501 => -1,
        404 => -4,
        408 | 504 => -7,
        502 => -8,
        429 | 503 => -9,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests;
