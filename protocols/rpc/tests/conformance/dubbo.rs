//! Dubbo2, with hessian2 by hand.

use std::time::Duration;

use http::StatusCode;
use ringway_rpc::dubbo::Dubbo;
use ringway_testkit::rpc::{RequestSample, ResponseSample, Samples, conformance};

/// An object of a class with one field, in a list; and a string in two pieces.
const ARGUMENTS: &[u8] = b"\x79\x43\x03a.B\x91\x01f\x60\xc8\x01R\x00\x01xS\x00\x01y";

fn text(text: &str) -> Vec<u8> {
    assert!(text.len() < 32);
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn frame(flags: u8, status: u8, id: u64, body: &[u8]) -> Vec<u8> {
    [&[0xda, 0xbb, flags, status][..], &id.to_be_bytes(), &(body.len() as u32).to_be_bytes(), body].concat()
}

fn map(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<u8> = entries.iter().flat_map(|(name, value)| [text(name), text(value)].concat()).collect();
    [b"H", &entries[..], b"Z"].concat()
}

fn call(flags: u8, id: u64, attachments: &[u8]) -> Vec<u8> {
    let head = [text("2.0.2"), text("com.x.Echo"), text("1.0.0"), text("say"), text("[La/B;Ljava/lang/String;")];
    frame(flags, 0, id, &[&head.concat(), ARGUMENTS, attachments].concat())
}

fn samples() -> Samples {
    let attachments = [("path", "com.x.Echo"), ("timeout", "1500"), ("trace", "1"), ("not a token", "x")];
    let full = RequestSample::new(call(0xc2, 0x0102_0304_0506_0708, &map(&attachments)), "com.x.Echo", "say")
        .timeout(Duration::from_millis(1500))
        .field("path", "com.x.Echo")
        .field("timeout", "1500")
        .field("trace", "1")
        .derived("version", "1.0.0")
        .keeps(ARGUMENTS)
        .keeps([text("not a token"), text("x")].concat());
    let one_way = RequestSample::new(call(0x82, 9, &map(&[("trace", "1")])), "com.x.Echo", "say")
        .field("trace", "1")
        .derived("version", "1.0.0")
        .keeps(ARGUMENTS);
    let ok = ResponseSample::new(frame(2, 20, 1, b"\x91\x01x"), StatusCode::OK, 20).keeps(b"\x01x");
    let with = [&b"\x94\x01x"[..], &map(&[("a", "b")])].concat();
    let with = ResponseSample::new(frame(2, 20, 1, &with), StatusCode::OK, 20).keeps([text("a"), text("b")].concat());
    let threw = ResponseSample::new(frame(2, 20, 1, b"\x90\x01x"), StatusCode::OK, 20).exception();
    let busy = ResponseSample::new(frame(2, 100, 1, &text("busy")), StatusCode::SERVICE_UNAVAILABLE, 100);
    let json = ResponseSample::new(frame(6, 20, 1, b"1\n\"x\"\n"), StatusCode::OK, 20).keeps(b"1\n\"x\"\n");
    let mut oversized = call(0xc2, 5, b"HZ");
    oversized[12..16].copy_from_slice(&(9_u32 << 20).to_be_bytes());
    let mut negative = call(0xc2, 5, b"HZ");
    negative[12..16].copy_from_slice(&[0xff; 4]);
    Samples {
        requests: vec![full],
        one_way: vec![one_way],
        responses: vec![ok, with, threw, busy, json],
        heartbeat: Some((frame(0xe2, 0, 77, b"N"), frame(0x22, 20, 77, b"N"))),
        goaway: Some(frame(0xa2, 0, 0, &text("R"))),
        sends_goaway: true,
        oversized: vec![oversized, negative],
        broken: vec![vec![0; 40]],
    }
}

#[test]
fn dubbo2() {
    conformance::<Dubbo>(&samples());
}
