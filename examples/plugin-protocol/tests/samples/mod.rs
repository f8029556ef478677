//! Frames of Parcel, and what they mean.

use std::time::Duration;

use http::StatusCode;
use ringway_testkit::rpc::{RequestSample, ResponseSample, Samples};

/// Labels that no field can hold.
const ODD: (&[u8], &[u8]) = (b"not a token", b"line\nbreak");
const CONTENT: &[u8] = b"some\x00content\xff";

/// All there is to know.
pub fn samples() -> Samples {
    let names = [text(1, b"com.example.Echo"), text(1, b"say it")].concat();
    let all = labels(&[(b"trace", b"1.2"), ODD, (b"user", b"me"), (b"empty", b"")]);
    let full = frame(1, 0x0102_0304_0506_0708, 3000, &[names, all].concat(), CONTENT);
    let full = RequestSample::new(full, "com.example.Echo", "say it")
        .timeout(Duration::from_secs(3))
        .field("trace", "1.2")
        .field("user", "me")
        .field("empty", "")
        .content(CONTENT)
        .keeps(labels(&[ODD]));
    let bare = frame(1, 7, 0, &[text(1, b"s"), text(1, b"")].concat(), b"");
    let bare = RequestSample::new(bare, "s", "").content(b"");
    let one_way = [text(1, b"Log"), text(1, b"line"), labels(&[(b"level", b"info")])].concat();
    let one_way =
        RequestSample::new(frame(2, 9, 0, &one_way, CONTENT), "Log", "line").field("level", "info").content(CONTENT);

    let ok = frame(3, 1, 0, &labels(&[(b"a", b"b"), ODD]), CONTENT);
    let ok = ResponseSample::new(ok, StatusCode::OK, 0).field("a", "b").content(CONTENT).keeps(labels(&[ODD]));
    let threw = ResponseSample::new(frame(3, 2, 1, b"", b"why"), StatusCode::OK, 1).exception().content(b"why");
    let busy = ResponseSample::new(frame(3, 3, 4, b"", b""), StatusCode::SERVICE_UNAVAILABLE, 4).content(b"");
    let odd = ResponseSample::new(frame(3, 4, u32::MAX, b"", b""), StatusCode::INTERNAL_SERVER_ERROR, -1).content(b"");

    let mut oversized = frame(1, 5, 0, &[text(1, b"s"), text(1, b"m")].concat(), b"");
    oversized[18..22].copy_from_slice(&[0xff; 4]);
    Samples {
        requests: vec![full, bare],
        one_way: vec![one_way],
        responses: vec![ok, threw, busy, odd],
        heartbeat: Some((frame(4, 77, 0, b"", b""), frame(5, 77, 0, b"", b""))),
        goaway: Some(frame(6, 0, 0, b"", b"")),
        sends_goaway: true,
        oversized: vec![oversized],
        broken: vec![vec![0; 40], [&[0xa7, 0x52, 2][..], &[1; 40]].concat(), [&[0xa7, 0x52, 1][..], &[7; 40]].concat()],
    }
}

/// A frame; `varies` is the timeout of a call, or the status of an answer.
pub fn frame(kind: u8, id: u64, varies: u32, head: &[u8], content: &[u8]) -> Vec<u8> {
    let mut out = vec![0xa7, 0x52, 1, kind];
    out.extend(id.to_be_bytes());
    out.extend(varies.to_be_bytes());
    out.extend((head.len() as u16).to_be_bytes());
    out.extend((content.len() as u32).to_be_bytes());
    [&out[..], head, content].concat()
}

/// A text behind its length of `size` bytes.
pub fn text(size: usize, text: &[u8]) -> Vec<u8> {
    let len = (text.len() as u64).to_be_bytes();
    [&len[8 - size..], text].concat()
}

/// Labels behind each other.
pub fn labels(labels: &[(&[u8], &[u8])]) -> Vec<u8> {
    labels.iter().flat_map(|(name, value)| [text(1, name), text(2, value)].concat()).collect()
}
