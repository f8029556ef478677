//! Frames as tests handle them.

use http::StatusCode;
use ringway_api::{Chunk, RequestHead, ResponseHead};
use ringway_rpc::{
    Asked, CodecError, Decoded, Event, FrameHead, Kind, Limits, Origin, Reader, Received, RpcCodec, request_head,
    response_head,
};

use crate::rpc::samples::Carries;

/// More than any sample is long.
pub(crate) const WIDE: Limits = Limits { frame: 1 << 30, buffered: 1 << 30 };

/// A frame that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub frame: FrameHead,
    /// All of its bytes.
    pub bytes: Vec<u8>,
}

/// What a frame says, whoever sends it.
pub(crate) struct Said {
    pub(crate) who: Result<RequestHead, ResponseHead>,
    pub(crate) content: Vec<u8>,
}

/// Reads pieces to their end: the frames that are complete, and what stopped the reading.
///
/// # Panics
/// When the reader tells of pieces of a frame in an order that makes no sense, or never comes to an end.
pub fn read_all<C: RpcCodec>(pieces: &[&[u8]], limits: Limits) -> (Vec<Found>, Option<CodecError>) {
    let (codec, mut reader) = (C::default(), Reader::default());
    let mut found: Vec<Found> = Vec::new();
    let mut open = false;
    for piece in pieces {
        reader.push(Chunk::copy_from(piece));
        // Each frame has a byte at least and three events at most, apart from its pieces.
        for turn in 0.. {
            assert!(turn <= 4 * piece.len() + 4, "{}: reading {} bytes never ends", C::NAME, piece.len());
            match reader.next(&codec, limits) {
                Ok(Some(Event::Frame(Received { frame, block }))) => {
                    assert!(!open, "a frame in a frame");
                    open = block.len() < frame.len;
                    assert!(open || block.len() == frame.len, "a whole frame is {} of {}", block.len(), frame.len);
                    found.push(Found { frame, bytes: block.to_vec() });
                }
                Ok(Some(Event::Data(chunk))) => {
                    assert!(open && !chunk.is_empty(), "bytes outside a frame, or none");
                    if let Some(last) = found.last_mut() {
                        last.bytes.extend_from_slice(&chunk);
                    }
                }
                Ok(Some(Event::End)) => {
                    assert!(open, "the end of no frame");
                    open = false;
                    let last = found.last().map(|last| (last.bytes.len(), last.frame.len));
                    assert!(last.is_some_and(|(have, len)| have == len), "it ended at {last:?}");
                }
                Ok(None) => break,
                Err(error) => {
                    if open {
                        found.pop();
                    }
                    return (found, Some(error));
                }
            }
        }
    }
    if open {
        found.pop();
    }
    (found, None)
}

/// The one frame that `bytes` are.
pub(crate) fn one<C: RpcCodec>(bytes: &[u8], what: &str) -> FrameHead {
    match C::default().decode(bytes) {
        Ok(Decoded::Frame(frame)) => {
            assert_eq!(frame.len, bytes.len(), "{}: {what}: its length", C::NAME);
            frame
        }
        other => panic!("{}: {what}: {other:?} for {}", C::NAME, hex(bytes)),
    }
}

/// The frames that `bytes` are, without a remainder.
pub(crate) fn many<C: RpcCodec>(bytes: &[u8], what: &str) -> Vec<Found> {
    let (found, error) = read_all::<C>(&[bytes], WIDE);
    assert_eq!(error, None, "{}: {what}: {}", C::NAME, hex(bytes));
    let read: usize = found.iter().map(|found| found.bytes.len()).sum();
    assert_eq!(read, bytes.len(), "{}: {what}: bytes that are no frame: {}", C::NAME, hex(bytes));
    found
}

/// The one frame that arrived.
pub(crate) fn single<C: RpcCodec>(bytes: &[u8], what: &str) -> Found {
    let mut found = many::<C>(bytes, what);
    assert_eq!(found.len(), 1, "{}: {what}: frames in {}", C::NAME, hex(bytes));
    found.remove(0)
}

/// The same frame under another id; written anew if the protocol has it so. Requests and responses only.
///
/// # Panics
/// When the codec cannot write it.
pub fn under_id<C: RpcCodec>(bytes: &[u8], id: u64) -> Vec<u8> {
    if let Some(renumbered) = renumber::<C>(bytes, id) {
        return renumbered;
    }
    let said = said::<C>(bytes);
    rewrite::<C>(&said, bytes, id, &said.content).unwrap_or_else(|error| panic!("{}: {error} at {id}", C::NAME))
}

/// The same frame under another id, if the codec patches it.
pub(crate) fn renumber<C: RpcCodec>(bytes: &[u8], id: u64) -> Option<Vec<u8>> {
    let frame = one::<C>(bytes, "a frame to be renumbered");
    // It gets to see no more than what stands in front of the content.
    let block = bytes.get(..frame.content).unwrap_or(bytes);
    let (replaced, mut out) = written(|out| C::default().renumber(&frame, block, id, out));
    let Some(replaced) = replaced else {
        assert!(out.is_empty(), "{}: renumbers nothing and writes {}", C::NAME, hex(&out));
        return None;
    };
    assert!(replaced <= block.len(), "{}: replaces {replaced} of {} bytes", C::NAME, block.len());
    out.extend_from_slice(bytes.get(replaced..).unwrap_or_default());
    Some(out)
}

/// What is written behind bytes that are there already, which must stay as they are.
pub(crate) fn written<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> (T, Vec<u8>) {
    const BEFORE: &[u8] = b"\x01\x02before";
    let mut out = BEFORE.to_vec();
    let result = write(&mut out);
    let written = out.strip_prefix(BEFORE).unwrap_or_else(|| panic!("what had been written before: {}", hex(&out)));
    (result, written.to_vec())
}

/// Writes a frame anew, whatever has become of its head.
pub(crate) fn rewrite<C: RpcCodec>(said: &Said, bytes: &[u8], id: u64, content: &[u8]) -> Result<Vec<u8>, CodecError> {
    let codec = C::default();
    let frame = one::<C>(bytes, "a frame to be rewritten");
    let origin = Some(Origin { frame: &frame, block: bytes });
    let (result, out) = written(|out| match &said.who {
        Ok(head) => codec.write_request(id, head, origin, content, out),
        Err(head) => {
            let asked = Asked::new::<C>(FrameHead { id, ..frame }, bytes);
            codec.write_response(&asked, head, origin, content, out)
        }
    });
    result.map(|()| out)
}

/// The head of a request or a response, and its content.
pub(crate) fn said<C: RpcCodec>(bytes: &[u8]) -> Said {
    try_said::<C>(bytes).unwrap_or_else(|error| panic!("{}: {error}: {}", C::NAME, hex(bytes)))
}

pub(crate) fn try_said<C: RpcCodec>(bytes: &[u8]) -> Result<Said, CodecError> {
    let codec = C::default();
    let received = Received { frame: one::<C>(bytes, "a message"), block: Chunk::copy_from(bytes) };
    let content = received.content().to_vec();
    let who = match received.frame.kind {
        Kind::Request | Kind::OneWay => Ok(request_head(&codec, &received)?),
        Kind::Response => Err(response_head(&codec, &received)?),
        other => panic!("{}: {other:?} is no message: {}", C::NAME, hex(bytes)),
    };
    Ok(Said { who, content })
}

impl Said {
    /// The fields in their order.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let headers = match &self.who {
            Ok(head) => &head.headers,
            Err(head) => &head.headers,
        };
        crate::Recorded::of_fields(headers)
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> StatusCode {
        match &self.who {
            Ok(_) => StatusCode::CONTINUE,
            Err(head) => head.status,
        }
    }

    /// Panics unless it carries what it should, in any order; what is in `except` aside.
    pub(crate) fn check(&self, carries: &Carries, except: &[&str], what: &str) {
        let kept = |fields: &[(String, String)]| {
            let mut kept: Vec<(String, String)> = fields.to_vec();
            kept.retain(|(name, _)| !except.contains(&name.as_str()) && !name.starts_with("rpc-"));
            kept.sort();
            kept
        };
        let expected = [carries.fields.clone(), carries.derived.clone()].concat();
        assert_eq!(kept(&self.fields()), kept(&expected), "{what}: fields");
        if let Some(content) = &carries.content {
            assert!(self.content == *content, "{what}: content: {} for {}", hex(&self.content), hex(content));
        }
    }
}

/// Panics unless bytes that must not get lost are there.
pub(crate) fn check_kept(bytes: &[u8], carries: &Carries, what: &str) {
    for kept in &carries.keeps {
        let there = kept.is_empty() || bytes.windows(kept.len()).any(|window| window == kept);
        assert!(there, "{what}: lost {} ({})", hex(kept), String::from_utf8_lossy(kept));
    }
}

/// The largest id of a protocol.
pub(crate) fn max_id<C: RpcCodec>() -> u64 {
    if C::ID_BITS >= 64 { u64::MAX } else { (1 << C::ID_BITS) - 1 }
}

/// Ids that are cut off, or taken for negative ones, by what handles them carelessly.
pub(crate) fn telling_ids<C: RpcCodec>() -> Vec<u64> {
    let max = max_id::<C>();
    let mut ids = vec![0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000];
    ids.extend([0xffff_ffff, 0x1_0000_0000, 0x0102_0304_0506_0708, 0x8000_0000_0000_0001, max / 2, max - max / 2, max]);
    ids.retain(|id| *id <= max);
    ids
}

/// What a frame is under another id, which may take more bytes or fewer: before everything else.
pub(crate) fn under_other_id(frame: &FrameHead, id: u64, len: usize) -> FrameHead {
    let moved = |at: usize| (at + len).saturating_sub(frame.len);
    FrameHead { id, content: moved(frame.content), look: moved(frame.look), len, ..*frame }
}

/// Bytes as people compare them; the first of many.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(160).map(|byte| format!("{byte:02x}")).collect();
    let more = if bytes.len() > 160 { format!(" and {} more", bytes.len() - 160) } else { String::new() };
    format!("[{}{more}]", shown.join(" "))
}
