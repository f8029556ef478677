//! Copies of a codec in which one thing is wrong.

use http::StatusCode;
use ringway_api::{Headers, RequestHead, ResponseHead, Sniff, Span};
use ringway_rpc::{Asked, Call, CodecError, Decoded, Fields, FrameHead, Kind, Mode, Origin, Outcome, RpcCodec, STATUS};

use crate::parcel::Parcel;

/// The codec with the bug of this number.
#[derive(Default)]
pub(crate) struct With<const BUG: u32>(Parcel);

pub(crate) const NONE: u32 = 0;
/// The length is one byte short, or one too long.
pub(crate) const SHORT: u32 = 1;
pub(crate) const LONG: u32 = 2;
/// A frame's content begins one byte late.
pub(crate) const LATE_CONTENT: u32 = 3;
/// One-way calls are taken for something that goes nowhere.
pub(crate) const SWALLOWED_ONE_WAY: u32 = 4;
/// One-way calls are taken for calls that await answers; or become such when they are edited.
pub(crate) const AWAITED_ONE_WAY: u32 = 5;
pub(crate) const EDITED_ONE_WAY: u32 = 6;
/// Edits of a head are lost: of requests, of responses, only of what is removed.
pub(crate) const LOST_EDIT: u32 = 7;
pub(crate) const LOST_RESPONSE_EDIT: u32 = 8;
pub(crate) const LOST_REMOVAL: u32 = 9;
/// Labels that no field can hold are lost when others are edited.
pub(crate) const LOST_ODD: u32 = 10;
/// New content is lost.
pub(crate) const LOST_CONTENT: u32 = 11;
/// Ids are cut to 32 bits: on reading, on patching, on writing anew, in errors, in heartbeats' replies.
pub(crate) const CUT_READ: u32 = 12;
pub(crate) const CUT_PATCH: u32 = 13;
pub(crate) const CUT_WRITE: u32 = 14;
pub(crate) const CUT_ERROR: u32 = 15;
pub(crate) const CUT_PONG: u32 = 16;
/// The patch overwrites a byte behind the id.
pub(crate) const WIDE_PATCH: u32 = 17;
/// Errors are read as success.
pub(crate) const MILD_ERROR: u32 = 18;
/// Needs more bytes than the shortest frame has; or fewer than there are.
pub(crate) const GREEDY: u32 = 19;
pub(crate) const STUCK: u32 = 20;
/// A claimed length makes it panic.
pub(crate) const PANICS: u32 = 21;
/// Says that there are heartbeats, and writes none; answers with a ping.
pub(crate) const NO_PING: u32 = 22;
pub(crate) const PING_FOR_PONG: u32 = 23;
/// Takes every connection.
pub(crate) const TAKES_ALL: u32 = 24;
/// The timeout is lost when a call is written anew; the status, when an answer is.
pub(crate) const LOST_TIMEOUT: u32 = 25;
pub(crate) const LOST_STATUS: u32 = 26;
/// A changed path is not written.
pub(crate) const LOST_PATH: u32 = 29;
/// Looks at the content, which is not there yet.
pub(crate) const LOOKS_AHEAD: u32 = 27;
/// Overwrites what others wrote.
pub(crate) const CLEARS: u32 = 28;
/// No bugs: one call at a time; no heartbeats and no goodbye; connections with a state.
pub(crate) const PING_PONG: u32 = 100;
pub(crate) const SPARTAN: u32 = 101;
pub(crate) const BOUND: u32 = 102;

fn cut(id: u64) -> u64 {
    id & 0xffff_ffff
}

/// As it was received.
fn unedited(origin: Origin<'_>) -> Headers {
    let mut headers = Headers::over_frame(Parcel::NAME, ringway_api::Chunk::copy_from(origin.block), 8);
    let mut fields = Fields::of::<Parcel>(&mut headers);
    if origin.frame.kind == Kind::Response {
        Parcel.read_response(origin.frame, origin.block, &mut fields).unwrap();
    } else {
        Parcel.read_request(origin.frame, origin.block, &mut fields).unwrap();
    }
    headers
}

impl<const BUG: u32> RpcCodec for With<BUG> {
    const NAME: &'static str = Parcel::NAME;
    const MODE: Mode = match BUG {
        PING_PONG => Mode::PingPong,
        BOUND => Mode::Bound,
        _ => Mode::Multiplex,
    };
    const ID_BITS: u32 = Parcel::ID_BITS;
    const ECHO: usize = Parcel::ECHO;
    const DERIVED: &'static [&'static str] = Parcel::DERIVED;

    fn sniff(prefix: &[u8]) -> Sniff {
        if BUG == TAKES_ALL { Sniff::Yes } else { Parcel::sniff(prefix) }
    }

    fn decode(&self, prefix: &[u8]) -> Result<Decoded, CodecError> {
        if BUG == PANICS && prefix.len() >= 22 {
            let len: u32 = u32::from_be_bytes(prefix[18..22].try_into().unwrap());
            assert!(len < 1 << 31, "a seeded panic");
        }
        let mut frame = match self.0.decode(prefix)? {
            Decoded::Frame(frame) => frame,
            Decoded::Need(need) if BUG == GREEDY => return Ok(Decoded::Need(need + 1)),
            Decoded::Need(_) if BUG == STUCK => return Ok(Decoded::Need(8)),
            need => return Ok(need),
        };
        match BUG {
            SHORT if frame.content_len() > 0 => frame.len -= 1,
            LONG => frame.len += 1,
            LATE_CONTENT if frame.content_len() > 0 => frame.content += 1,
            SWALLOWED_ONE_WAY if frame.kind == Kind::OneWay => frame.kind = Kind::HeartbeatReply,
            AWAITED_ONE_WAY if frame.kind == Kind::OneWay => frame.kind = Kind::Request,
            CUT_READ => frame.id = cut(frame.id),
            GREEDY if prefix.len() == 22 => return Ok(Decoded::Need(23)),
            _ => {}
        }
        Ok(Decoded::Frame(frame))
    }

    fn read_request<'a>(
        &self,
        frame: &FrameHead,
        block: &'a [u8],
        fields: &mut Fields<'_>,
    ) -> Result<Call<'a>, CodecError> {
        if BUG == LOOKS_AHEAD && block.len() < frame.len {
            return Err(CodecError::malformed("seeded"));
        }
        self.0.read_request(frame, block, fields)
    }

    fn read_response(&self, frame: &FrameHead, block: &[u8], fields: &mut Fields<'_>) -> Result<Outcome, CodecError> {
        self.0.read_response(frame, block, fields)
    }

    fn renumber(&self, frame: &FrameHead, block: &[u8], id: u64, out: &mut Vec<u8>) -> Option<usize> {
        let id = if BUG == CUT_PATCH { cut(id) } else { id };
        let replaced = self.0.renumber(frame, block, id, out)?;
        if BUG == WIDE_PATCH {
            out.push(0);
            return Some(replaced + 1);
        }
        Some(replaced)
    }

    fn write_request(
        &self,
        id: u64,
        head: &RequestHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let mut head = head.clone();
        if let Some(origin) = origin {
            match BUG {
                LOST_EDIT => lose(&mut head.headers, origin, |_, _| true),
                LOST_REMOVAL => lose(&mut head.headers, origin, |now, name| now.first(name).is_none()),
                _ => {}
            }
        }
        if BUG == LOST_PATH {
            let RequestHead { method, version, headers, timeout, .. } = head;
            head = RequestHead::received(method, version, headers, Span::default(), Span::default());
            head.timeout = timeout;
        }
        if BUG == LOST_TIMEOUT {
            head.timeout = None;
        }
        if BUG == CLEARS {
            out.clear();
        }
        let content = if BUG == LOST_CONTENT { content.get(..13).unwrap_or(content) } else { content };
        let from = out.len();
        // Without its origin, what fields do not show is not there.
        let origin = origin.filter(|origin| BUG != LOST_ODD || origin.frame.kind == Kind::OneWay);
        self.0.write_request(if BUG == CUT_WRITE { cut(id) } else { id }, &head, origin, content, out)?;
        if BUG == EDITED_ONE_WAY {
            out[from + 3] = 1;
        }
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
        let mut head = head.clone();
        if let Some(origin) = origin.filter(|_| BUG == LOST_RESPONSE_EDIT) {
            lose(&mut head.headers, origin, |_, _| true);
        }
        if BUG == LOST_STATUS {
            head.headers.remove(STATUS);
        }
        self.0.write_response(to, &head, origin, content, out)
    }

    fn write_error(&self, to: &Asked, status: StatusCode, message: &str, out: &mut Vec<u8>) {
        let mut to = to.clone();
        if BUG == CUT_ERROR {
            to.frame.id = cut(to.frame.id);
        }
        let status = if BUG == MILD_ERROR && status == 404 { StatusCode::OK } else { status };
        self.0.write_error(&to, status, message, out);
    }

    fn write_heartbeat(&self, id: u64, out: &mut Vec<u8>) -> bool {
        match BUG {
            NO_PING => true,
            SPARTAN => false,
            _ => self.0.write_heartbeat(id, out),
        }
    }

    fn write_heartbeat_reply(&self, to: &Asked, out: &mut Vec<u8>) {
        let mut to = to.clone();
        if BUG == CUT_PONG {
            to.frame.id = cut(to.frame.id);
        }
        if BUG == PING_FOR_PONG {
            self.0.write_heartbeat(to.frame.id, out);
        } else {
            self.0.write_heartbeat_reply(&to, out);
        }
    }

    fn write_goaway(&self, id: u64, out: &mut Vec<u8>) -> bool {
        BUG != SPARTAN && self.0.write_goaway(id, out)
    }
}

/// Makes fields what they were, where `which` says so.
fn lose(headers: &mut Headers, origin: Origin<'_>, which: impl Fn(&Headers, &str) -> bool) {
    let before = unedited(origin);
    for (name, value) in before.iter() {
        let name = std::str::from_utf8(name).unwrap();
        if which(headers, name) {
            headers.set(name, value).unwrap();
        }
    }
}
