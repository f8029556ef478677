//! bolt, the protocol of SOFARPC: versions 1 and 2 (SOFABolt's `RpcCommand` encoders).
//!
//! A fixed part, a class name, header pairs in plain text, and an opaque content. Version 2 has one more byte, and may
//! have a CRC-32 behind its content.

use std::borrow::Cow;
use std::ops::Range;

use http::StatusCode;
use ringway_api::{Headers, RequestHead, ResponseHead, Sniff};

use crate::wire::{byte, crc_fits, put, u16_at, u32_at, wait};
use crate::{
    Asked, Call, CodecError, Decoded, Fields, FrameHead, GROUP, Kind, Origin, Outcome, RpcCodec, Statuses, Target,
    VERSION, edited_pairs, own_status, read_pairs, write_pair,
};

/// bolt, version 1.
pub type BoltV1 = Bolt<1>;
/// bolt, version 2.
pub type BoltV2 = Bolt<2>;

/// bolt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bolt<const V: u8>;

const RESPONSE: u8 = 0;
const REQUEST: u8 = 1;
const ONE_WAY: u8 = 2;

const HEARTBEAT: u16 = 0;
const CALL: u16 = 1;
const ANSWER: u16 = 2;
/// Understood, never sent: SOFABolt and its relatives close a connection on commands that they do not know.
const GOAWAY: u16 = 100;

/// Where the caller names the service; the first that is there.
const SERVICE: [&str; 2] = ["sofa_head_target_service", "service"];
const METHOD: &str = "sofa_head_method_name";
/// Is `true` where the service threw.
const THREW: &[u8] = b"sofa_head_response_error";
const MALFORMED: CodecError = CodecError::malformed("bolt_malformed_headers");
const REQUEST_CLASS: &[u8] = b"com.alipay.sofa.rpc.core.request.SofaRequest";
const RESPONSE_CLASS: &[u8] = b"com.alipay.sofa.rpc.core.response.SofaResponse";

/// SOFABolt's `ResponseStatus` in HTTP's words.
const STATUSES: Statuses<u16> = Statuses(&[
    (&[0], &[200]),
    (&[3], &[500]),
    (&[2], &[500, 401, 403]),
    (&[4, 16], &[503, 429]),
    (&[5, 8], &[502]),
    (&[6], &[404]),
    (&[7], &[504, 408]),
    (&[9, 18], &[400, 413, 501]),
]);

/// The lengths that a frame's fixed part ends with.
struct Parts {
    class: Range<usize>,
    headers: Range<usize>,
    content: usize,
}

impl<const V: u8> Bolt<V> {
    /// From the type to the codec, version 2 has everything one byte later.
    const SHIFT: usize = V as usize - 1;
    const ID: usize = 5 + Self::SHIFT;
    const CODEC: usize = 9 + Self::SHIFT;
    const SWITCH: usize = 11;
    /// Where requests have the timeout and responses the status.
    const VARIES: usize = 10 + 2 * Self::SHIFT;

    fn parts(prefix: &[u8], is_response: bool) -> Option<Parts> {
        let at = Self::VARIES + if is_response { 2 } else { 4 };
        let class = usize::from(u16_at(prefix, at)?);
        let headers = usize::from(u16_at(prefix, at + 2)?);
        let content = u32_at(prefix, at + 4)? as usize;
        let fixed = at + 8;
        Some(Parts { class: fixed..fixed + class, headers: fixed + class..fixed + class + headers, content })
    }

    fn has_crc(prefix: &[u8]) -> bool {
        V == 2 && byte(prefix, 1) == Some(2) && byte(prefix, Self::SWITCH).is_some_and(|switch| switch & 1 != 0)
    }

    fn check(frame: &FrameHead, block: &[u8]) -> Result<(), CodecError> {
        (frame.tail == 0 || crc_fits(block)).then_some(()).ok_or(CodecError::malformed("bolt_crc_mismatch"))
    }

    /// The fixed part up to the codec, or the switch.
    fn begin(like: &[u8], kind: u8, command: u16, id: u64, out: &mut Vec<u8>) {
        out.push(V);
        if V == 2 {
            out.push(byte(like, 1).unwrap_or(1));
        }
        out.push(kind);
        out.extend(command.to_be_bytes());
        out.push(byte(like, 4 + Self::SHIFT).unwrap_or(1));
        out.extend((id as u32).to_be_bytes());
        out.push(byte(like, Self::CODEC).unwrap_or(1));
        if V == 2 {
            out.push(if Self::has_crc(like) { 1 } else { 0 });
        }
    }

    /// What follows the timeout or the status.
    fn finish(from: usize, class: &[u8], pairs: &[u8], content: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        let too_large = |_| CodecError::too_large("bolt_headers_too_large");
        out.extend(u16::try_from(class.len()).map_err(too_large)?.to_be_bytes());
        out.extend(u16::try_from(pairs.len()).map_err(too_large)?.to_be_bytes());
        out.extend(u32::try_from(content.len()).map_err(too_large)?.to_be_bytes());
        out.extend([class, pairs, content].concat());
        let frame = out.get(from..).unwrap_or_default();
        if Self::has_crc(frame) {
            let crc = crc32fast::hash(frame);
            out.extend(crc.to_be_bytes());
        }
        Ok(())
    }

    fn class<'a>(origin: Option<Origin<'a>>, is_response: bool) -> Option<&'a [u8]> {
        let origin = origin?;
        origin.block.get(Self::parts(origin.block, is_response)?.class)
    }

    /// The header pairs of an edited message.
    fn pairs(headers: &Headers, origin: Option<Origin<'_>>, is_response: bool) -> Vec<u8> {
        let parts = origin.and_then(|origin| Some((origin.block, Self::parts(origin.block, is_response)?.headers)));
        edited_pairs::<Self>(headers, parts)
    }
}

impl<const V: u8> RpcCodec for Bolt<V> {
    const NAME: &'static str = if V == 1 { "bolt" } else { "boltv2" };
    const ID_BITS: u32 = 32;
    const ECHO: usize = 24;
    const DERIVED: &'static [&'static str] = &[VERSION, GROUP];

    fn sniff(prefix: &[u8]) -> Sniff {
        let at = |at| byte(prefix, at + Self::SHIFT);
        let fits = byte(prefix, 0).is_none_or(|version| version == V)
            && at(1).is_none_or(|kind| kind <= ONE_WAY)
            && at(2).is_none_or(|high| high == 0)
            && at(3).is_none_or(|low| matches!(low.into(), HEARTBEAT | CALL | ANSWER | GOAWAY));
        if !fits {
            return Sniff::No;
        }
        if prefix.len() > 3 + Self::SHIFT { Sniff::Yes } else { Sniff::NeedMore }
    }

    fn decode(&self, prefix: &[u8]) -> Result<Decoded, CodecError> {
        match Self::sniff(prefix) {
            Sniff::Yes => {}
            Sniff::No => return Err(CodecError::malformed("bolt_bad_magic")),
            Sniff::NeedMore => return Ok(Decoded::Need(4 + Self::SHIFT)),
        }
        let is_response = byte(prefix, 1 + Self::SHIFT) == Some(RESPONSE);
        let (Some(id), Some(parts)) = (u32_at(prefix, Self::ID), Self::parts(prefix, is_response)) else {
            return Ok(Decoded::Need(Self::VARIES + if is_response { 10 } else { 12 }));
        };
        let kind = match (byte(prefix, 1 + Self::SHIFT), u16_at(prefix, 2 + Self::SHIFT)) {
            (Some(REQUEST | ONE_WAY), Some(HEARTBEAT)) => Kind::Heartbeat,
            (_, Some(HEARTBEAT)) => Kind::HeartbeatReply,
            (_, Some(GOAWAY)) => Kind::GoAway,
            (Some(REQUEST), Some(CALL)) => Kind::Request,
            (Some(ONE_WAY), Some(CALL)) => Kind::OneWay,
            (Some(RESPONSE), Some(ANSWER)) => Kind::Response,
            _ => return Err(CodecError::malformed("bolt_unknown_command")),
        };
        let content = parts.headers.end;
        let tail = if Self::has_crc(prefix) { 4 } else { 0 };
        let len = content.saturating_add(parts.content).saturating_add(tail);
        Ok(Decoded::Frame(FrameHead {
            kind,
            id: id.into(),
            content,
            look: if tail > 0 { len } else { content },
            tail,
            len,
        }))
    }

    fn read_request<'a>(
        &self,
        frame: &FrameHead,
        block: &'a [u8],
        fields: &mut Fields<'_>,
    ) -> Result<Call<'a>, CodecError> {
        Self::check(frame, block)?;
        let parts = Self::parts(block, false).ok_or(CodecError::malformed("bolt_truncated"))?;
        let (mut service, mut method): ([Option<&[u8]>; 2], _) = ([None; 2], None);
        read_pairs(block, parts.headers, MALFORMED, |name, value| {
            let Some(value) = value else { return };
            fields.received(name.clone(), value.clone());
            let (Some(name), text) = (block.get(name), block.get(value)) else { return };
            if let Some(at) = SERVICE.iter().position(|service| service.as_bytes() == name) {
                service[at] = text;
            } else if name == METHOD.as_bytes() {
                method = text;
            }
        })?;
        let class = block.get(parts.class).filter(|class| !class.is_empty());
        let timeout = u32_at(block, Self::VARIES).and_then(|millis| wait(millis.cast_signed().into()));
        // `interface:version:id`.
        let mut name = service[0].or(service[1]).or(class).unwrap_or(b"-").splitn(3, |byte| *byte == b':');
        let service = name.next().unwrap_or_default();
        fields.derived(VERSION, name.next().unwrap_or_default());
        fields.derived(GROUP, name.next().unwrap_or_default());
        Ok(Call { service, method: method.unwrap_or_default(), timeout })
    }

    fn read_response(&self, frame: &FrameHead, block: &[u8], fields: &mut Fields<'_>) -> Result<Outcome, CodecError> {
        Self::check(frame, block)?;
        let truncated = CodecError::malformed("bolt_truncated");
        let parts = Self::parts(block, true).ok_or(truncated)?;
        let code = u16_at(block, Self::VARIES).ok_or(truncated)?;
        let mut exception = false;
        read_pairs(block, parts.headers, MALFORMED, |name, value| {
            let Some(value) = value else { return };
            fields.received(name.clone(), value.clone());
            exception |= block.get(name) == Some(THREW) && block.get(value) == Some(b"true");
        })?;
        Ok(Outcome { status: STATUSES.to_http(code), code: code.into(), exception })
    }

    fn renumber(&self, frame: &FrameHead, block: &[u8], id: u64, out: &mut Vec<u8>) -> Option<usize> {
        // The checksum is of the id too.
        if frame.tail > 0 {
            return None;
        }
        let from = out.len();
        out.extend_from_slice(block.get(..Self::VARIES)?);
        put(out.get_mut(from..)?, Self::ID, &(id as u32).to_be_bytes());
        Some(Self::VARIES)
    }

    fn write_request(
        &self,
        id: u64,
        head: &RequestHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let mut headers = Cow::Borrowed(&head.headers);
        if let Some(target) = Target::edited(head)?.filter(|_| origin.is_some()) {
            let headers = headers.to_mut();
            let named = target.rename(headers, &SERVICE)? > 0 && headers.set(METHOD, &target.method).is_ok();
            named.then_some(()).ok_or(CodecError::unsupported("bolt_target_not_in_headers"))?;
        }
        let from = out.len();
        let one_way = origin.is_some_and(|origin| origin.frame.kind == Kind::OneWay);
        Self::begin(origin.map_or(&[], |origin| origin.block), if one_way { ONE_WAY } else { REQUEST }, CALL, id, out);
        let millis =
            head.timeout.map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(i32::MAX.unsigned_abs()));
        out.extend(millis.to_be_bytes());
        let class = Self::class(origin, false).unwrap_or(REQUEST_CLASS);
        Self::finish(from, class, &Self::pairs(&headers, origin, false), content, out)
    }

    fn write_response(
        &self,
        to: &Asked,
        head: &ResponseHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let from = out.len();
        Self::begin(&to.start, RESPONSE, ANSWER, to.frame.id, out);
        out.extend(own_status(&head.headers).unwrap_or(STATUSES.of_http(head.status)).to_be_bytes());
        let class = Self::class(origin, true).unwrap_or(RESPONSE_CLASS);
        Self::finish(from, class, &Self::pairs(&head.headers, origin, true), content, out)
    }

    fn write_error(&self, to: &Asked, status: StatusCode, message: &str, out: &mut Vec<u8>) {
        let from = out.len();
        Self::begin(&to.start, RESPONSE, ANSWER, to.frame.id, out);
        out.extend(STATUSES.of_http(status).to_be_bytes());
        let mut pairs = Vec::new();
        write_pair(b"error", Some(message.as_bytes()), &mut pairs);
        let written = Self::finish(from, b"", &pairs, b"", out);
        debug_assert!(written.is_ok(), "messages of ours are short");
    }

    fn write_heartbeat(&self, id: u64, out: &mut Vec<u8>) -> bool {
        Self::begin(&[], REQUEST, HEARTBEAT, id, out);
        out.extend([0; 12]);
        true
    }

    fn write_heartbeat_reply(&self, to: &Asked, out: &mut Vec<u8>) {
        let from = out.len();
        Self::begin(&to.start, RESPONSE, HEARTBEAT, to.frame.id, out);
        out.extend([0; 2]);
        let written = Self::finish(from, b"", b"", b"", out);
        debug_assert!(written.is_ok());
    }
}
