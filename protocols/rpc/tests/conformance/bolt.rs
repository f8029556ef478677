//! bolt, both versions, the second with and without its checksum.

use std::time::Duration;

use http::StatusCode;
use ringway_rpc::RpcCodec;
use ringway_rpc::bolt::{BoltV1, BoltV2};
use ringway_testkit::rpc::{RequestSample, ResponseSample, Samples, conformance};

const NULL: &[u8] = &[0xff; 4];
/// A pair that no field can hold.
const ODD: (&str, &str) = ("not a token", "line\r\nbreak");
const REQUEST_CLASS: &str = "com.example.Request";
const RESPONSE_CLASS: &str = "com.example.Response";

/// What frames of a version look like.
#[derive(Clone, Copy)]
struct Wire {
    version: u8,
    crc: bool,
}

/// The variable parts of a frame.
#[derive(Clone, Copy, Default)]
struct Parts<'a> {
    class: &'a str,
    pairs: &'a [(&'a str, &'a str)],
    /// Encoded pairs behind those.
    more: &'a [u8],
    content: &'a [u8],
}

impl Wire {
    /// `varies` is the timeout of requests, or the status of responses.
    fn frame(self, kind: u8, command: u16, id: u32, varies: &[u8], parts: Parts<'_>) -> Vec<u8> {
        let mut out = vec![self.version];
        if self.version == 2 {
            // The checksum came with the second version of the second protocol.
            out.push(if self.crc { 2 } else { 1 });
        }
        out.push(kind);
        out.extend(command.to_be_bytes());
        out.push(1);
        out.extend(id.to_be_bytes());
        out.push(11);
        if self.version == 2 {
            out.push(u8::from(self.crc));
        }
        out.extend(varies);
        let mut pairs = encoded(parts.pairs);
        pairs.extend(parts.more);
        out.extend((parts.class.len() as u16).to_be_bytes());
        out.extend((pairs.len() as u16).to_be_bytes());
        out.extend((parts.content.len() as u32).to_be_bytes());
        out.extend([parts.class.as_bytes(), &pairs, parts.content].concat());
        if self.crc {
            out.extend(crc32(&out).to_be_bytes());
        }
        out
    }

    fn samples(self) -> Samples {
        let millis = 3000_u32.to_be_bytes();
        let named = [("sofa_head_target_service", "com.example.Echo:1.0:eu"), ("sofa_head_method_name", "say")];
        let null = [&5_u32.to_be_bytes()[..], b"empty", NULL].concat();
        let all = [named[0], ("trace", "1.2"), ODD, named[1], ("trace-flags", "")];
        let full = Parts { class: REQUEST_CLASS, pairs: &all, more: &null, content: b"\x4fsome\x00content\xff" };
        let full = RequestSample::new(self.frame(1, 1, 0x0a0b_0c0d, &millis, full), "com.example.Echo", "say")
            .timeout(Duration::from_secs(3))
            .field(named[0].0, named[0].1)
            .field("trace", "1.2")
            .field(named[1].0, named[1].1)
            .field("trace-flags", "")
            .derived("version", "1.0")
            .derived("group", "eu")
            .content(b"\x4fsome\x00content\xff")
            .keeps(encoded(&[ODD]))
            .keeps(null)
            .keeps(REQUEST_CLASS);
        // No name but its class, and no content.
        let bare = self.frame(1, 1, 7, &[0xff; 4], Parts { class: REQUEST_CLASS, ..Parts::default() });
        let bare = RequestSample::new(bare, REQUEST_CLASS, "").content(b"").keeps(REQUEST_CLASS);
        let one_way = Parts {
            class: REQUEST_CLASS,
            pairs: &[("service", "com.example.Log")],
            content: b"line",
            ..Parts::default()
        };
        let one_way = RequestSample::new(self.frame(2, 1, 9, &[0; 4], one_way), "com.example.Log", "")
            .field("service", "com.example.Log")
            .content(b"line")
            .keeps(REQUEST_CLASS);

        let ok = Parts { class: RESPONSE_CLASS, pairs: &[("a", "b"), ODD], content: b"result", ..Parts::default() };
        let ok = ResponseSample::new(self.frame(0, 2, 1, &[0, 0], ok), StatusCode::OK, 0)
            .field("a", "b")
            .content(b"result")
            .keeps(encoded(&[ODD]))
            .keeps(RESPONSE_CLASS);
        let threw = Parts { pairs: &[("sofa_head_response_error", "true")], content: b"why", ..Parts::default() };
        let threw = ResponseSample::new(self.frame(0, 2, 2, &[0, 0], threw), StatusCode::OK, 0)
            .exception()
            .derived("sofa_head_response_error", "true")
            .content(b"why");
        let busy =
            ResponseSample::new(self.frame(0, 2, 3, &[0, 4], Parts::default()), StatusCode::SERVICE_UNAVAILABLE, 4)
                .content(b"");
        let unknown = ResponseSample::new(
            self.frame(0, 2, 4, &[0x77, 0x77], Parts::default()),
            StatusCode::INTERNAL_SERVER_ERROR,
            0x7777,
        )
        .content(b"");

        let ping = self.frame(1, 0, 77, &[0; 4], Parts::default());
        let mut oversized = self.frame(1, 1, 5, &millis, Parts::default());
        let at = oversized.len() - if self.crc { 8 } else { 4 };
        oversized[at..at + 4].copy_from_slice(&(9_u32 << 20).to_be_bytes());
        let mut other = oversized.clone();
        other[at..at + 4].copy_from_slice(&[0xff; 4]);
        Samples {
            requests: vec![full, bare],
            one_way: vec![one_way],
            responses: vec![ok, threw, busy, unknown],
            heartbeat: Some((ping, self.frame(0, 0, 77, &[0; 2], Parts::default()))),
            goaway: Some(self.frame(1, 100, 0, &[0; 4], Parts::default())),
            sends_goaway: false,
            oversized: vec![oversized, other],
            broken: vec![vec![3; 40], vec![0; 40], self.frame(1, 3, 1, &millis, Parts::default())],
        }
    }
}

fn encoded(pairs: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    pairs.iter().flat_map(|(name, value)| [text(name), text(value)].concat()).collect()
}

/// Bit by bit, unlike the codec's.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

fn run<C: RpcCodec>(version: u8, crc: bool) {
    conformance::<C>(&Wire { version, crc }.samples());
}

#[test]
fn version_1() {
    run::<BoltV1>(1, false);
}

#[test]
fn version_2() {
    run::<BoltV2>(2, false);
}

#[test]
fn version_2_with_a_checksum() {
    run::<BoltV2>(2, true);
}
