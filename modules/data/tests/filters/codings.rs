//! Compression and decompression.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;

use http::Method;
use ringway_api::{Action, Blame, Body, BodyError, Chunk, Frame, Response};
use ringway_filters::{Compressor, Decompressor};
use ringway_testkit::Rng;
use serde_json::{Value, json};

use crate::world::{Content, Repeated, Worker, answer, field, frames, options_error, pieces, post, read, request};

const TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");

/// Text that is neither random nor one letter.
fn text(len: usize) -> Vec<u8> {
    let mut rng = Rng::new(7);
    let words = ["alpha ", "beta ", "gamma, ", "delta.\n"];
    let mut text = Vec::new();
    while text.len() < len {
        text.extend_from_slice(rng.pick(&words).as_bytes());
    }
    text.truncate(len);
    text
}

fn decoded(coding: &str, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => flate2::read::MultiGzDecoder::new(data).read_to_end(&mut out).unwrap(),
        "br" => brotli::Decompressor::new(data, 4096).read_to_end(&mut out).unwrap(),
        "zstd" => zstd::Decoder::new(data).unwrap().read_to_end(&mut out).unwrap(),
        other => panic!("{other}"),
    };
    out
}

fn encoded(coding: &str, data: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
            encoder.write_all(data).unwrap();
            encoder.into_inner()
        }
        "zstd" => zstd::encode_all(data, 3).unwrap(),
        other => panic!("{other}"),
    }
}

fn compressed(worker: &Worker, accept: &str, mut response: Response) -> Response {
    let mut stream = worker.stream();
    let mut asked = request(Method::GET, "/", &[("accept-encoding", accept)]);
    assert!(matches!(stream.request(&mut asked), Action::Continue));
    stream.response(&mut response);
    response
}

#[test]
fn what_is_compressed_is_the_same_once_decoded() {
    for coding in ["gzip", "br", "zstd"] {
        let worker = Worker::of::<Compressor>(Value::Null);
        for len in [31, 1000, 16 * 1024, 300_000] {
            let content = text(len);
            for split in [1, 7, 1000, len] {
                if len / split > 20_000 {
                    continue;
                }
                let parts: Vec<&[u8]> = content.chunks(split).collect();
                let sent = [TEXT, ("etag", "\"x\""), ("accept-ranges", "bytes"), ("vary", "origin")];
                let response = compressed(&worker, coding, answer(200, &sent, pieces(&parts, &[("x-t", "1")])));
                let headers = &response.head.headers;
                assert_eq!(field(headers, "content-encoding"), Some(coding));
                assert_eq!(field(headers, "etag"), Some("W/\"x\""));
                assert_eq!((field(headers, "accept-ranges"), field(headers, "content-length")), (None, None));
                assert_eq!(headers.all("vary").count(), 2);
                let read = read(response.body);
                assert_eq!(read.error, None);
                assert_eq!(read.trailers, Some(vec![("x-t".into(), "1".into())]));
                assert!(decoded(coding, &read.data) == content, "{coding} {len} {split}");
                if split == len && len > 1000 {
                    assert!(read.data.len() < len / 2, "{coding}: {} of {len}", read.data.len());
                }
            }
        }
        assert!(worker.stat("compressed") > 10);
        assert!(worker.stat("total_compressed_bytes") < worker.stat("total_uncompressed_bytes"));
    }
}

#[test]
fn nothing_is_held_back_while_more_is_awaited() {
    // Each piece is followed by a wait, and the content then breaks off: what came is there nevertheless.
    for coding in ["gzip", "br", "zstd"] {
        let worker = Worker::of::<Compressor>(Value::Null);
        let broken = BodyError::new(Blame::Upstream, "reset");
        let body = frames(vec![Ok(Frame::Data(Chunk::from("event: one\n\n"))), Err(broken.clone())]);
        let content = read(compressed(&worker, coding, answer(200, &[TEXT], body)).body);
        assert_eq!(content.error, Some(broken));
        let mut seen = [0; 12];
        let data = &content.data[..];
        match coding {
            "gzip" => flate2::read::GzDecoder::new(data).read_exact(&mut seen).unwrap(),
            "br" => brotli::Decompressor::new(data, 4096).read_exact(&mut seen).unwrap(),
            _ => zstd::Decoder::new(data).unwrap().read_exact(&mut seen).unwrap(),
        }
        assert_eq!(&seen, b"event: one\n\n");
    }
}

#[test]
fn what_must_not_be_compressed_is_not() {
    let long = || Body::Full(Chunk::from(text(1000)));
    let kind = |kind| ("content-type", kind);
    for (accept, status, fields, body, vary) in [
        ("gzip", 200, vec![TEXT], long(), true),
        ("identity", 200, vec![TEXT], long(), true),
        ("deflate", 200, vec![TEXT], long(), true),
        ("gzip", 200, vec![TEXT], Body::Full(Chunk::from("short")), false),
        ("gzip", 200, vec![TEXT], Body::Empty, false),
        ("gzip", 206, vec![TEXT], long(), false),
        ("gzip", 204, vec![TEXT], Body::Empty, false),
        ("gzip", 304, vec![TEXT], Body::Empty, false),
        ("gzip", 200, vec![kind("image/png")], long(), false),
        ("gzip", 200, vec![kind("application/grpc")], long(), false),
        ("gzip", 200, vec![TEXT, ("content-encoding", "br")], long(), false),
        ("gzip", 200, vec![TEXT, ("cache-control", "public, No-Transform")], long(), false),
        ("gzip", 200, vec![TEXT, ("etag", "\"strong\"")], long(), false),
        ("gzip", 200, vec![TEXT, ("etag", "W/\"weak\"")], long(), true),
        ("gzip", 200, vec![], long(), true),
    ] {
        let worker = Worker::of::<Compressor>(json!({ "etag": "skip" }));
        let before = format!("{fields:?} {accept}");
        let response = compressed(&worker, accept, answer(status, &fields, body));
        let headers = &response.head.headers;
        assert_eq!(field(headers, "vary"), vary.then_some("Accept-Encoding"), "{before}");
        let expected = vary && accept == "gzip";
        assert_eq!(field(headers, "content-encoding") == Some("gzip"), expected, "{before}");
        assert_eq!(worker.stat("compressed"), i64::from(expected));
        assert_eq!(worker.stat("not_compressed"), i64::from(!expected));
    }
    // A call has its own compression, and a tunnel no content.
    let worker = Worker::of::<Compressor>(json!({ "content_types": ["application/grpc"] }));
    let call = answer(200, &[kind("application/grpc+proto")], long());
    assert_eq!(field(&compressed(&worker, "gzip", call).head.headers, "content-encoding"), None);
}

#[test]
fn too_many_at_once_are_left_as_they_are() {
    let worker = Worker::of::<Compressor>(json!({ "max_active": 1, "codings": ["gzip"] }));
    let response = || answer(200, &[TEXT], Body::Full(Chunk::from(text(1000))));
    let first = compressed(&worker, "gzip", response());
    let second = compressed(&worker, "gzip", response());
    assert_eq!(field(&second.head.headers, "content-encoding"), None);
    assert_eq!(worker.stat("overflow"), 1);
    // A filter that takes its place counts on.
    let next = Worker::after::<Compressor>(json!({ "max_active": 1 }), Some(&worker));
    assert_eq!(field(&compressed(&next, "gzip", response()).head.headers, "content-encoding"), None);
    drop(first);
    assert_eq!(field(&compressed(&next, "gzip", response()).head.headers, "content-encoding"), Some("gzip"));
}

/// What a host gets of a request with this content.
fn decompressed(worker: &Worker, coding: &str, body: Body) -> (Content, Option<String>) {
    let mut stream = worker.stream();
    let mut asked = post("/", &[("content-encoding", coding), ("content-length", "9")], body);
    assert!(matches!(stream.request(&mut asked), Action::Continue));
    assert_eq!(field(&asked.head.headers, "content-length"), None);
    let left = field(&asked.head.headers, "content-encoding").map(str::to_owned);
    (read(asked.body), left)
}

#[test]
fn requests_are_decoded_however_they_are_cut() {
    let worker = Worker::of::<Decompressor>(Value::Null);
    let content = text(2000);
    for coding in ["gzip", "br", "zstd"] {
        let data = encoded(coding, &content);
        for at in 0..=data.len() {
            let (first, second) = data.split_at(at);
            let (read, left) = decompressed(&worker, coding, pieces(&[first, second], &[("x", "y")]));
            assert_eq!((read.error, left), (None, None), "{coding} at {at}");
            assert!(read.data == content, "{coding} at {at}");
            assert_eq!(read.trailers, Some(vec![("x".into(), "y".into())]));
            // Cut off, it is not complete.
            if at < data.len() && at > 0 {
                let error = decompressed(&worker, coding, pieces(&[first], &[])).0.error.unwrap();
                assert_eq!((error.details, error.status.unwrap().as_u16()), ("decompressor_malformed", 400));
            }
        }
        let single: Vec<&[u8]> = data.chunks(1).collect();
        assert!(decompressed(&worker, coding, pieces(&single, &[])).0.data == content);
        // Another coding is beneath it.
        let (read, left) = decompressed(&worker, &format!("aes , {coding}"), Body::Full(Chunk::from(data)));
        assert_eq!((read.error, left.as_deref()), (None, Some("aes")));
    }
    let large = text(3_000_000);
    for coding in ["gzip", "br", "zstd"] {
        let (read, _) = decompressed(&worker, coding, Body::Full(Chunk::from(encoded(coding, &large))));
        assert!(read.data == large && read.largest <= 16 * 1024, "{coding} {:?}", read.error);
    }
    assert_eq!(worker.stat("too_large"), 0);
}

#[test]
fn gzip_members_follow_each_other_and_have_optional_fields() {
    let worker = Worker::of::<Decompressor>(Value::Null);
    let mut full = flate2::GzBuilder::new().filename("a.txt").comment("of no use").extra("xyz");
    full = full.mtime(5);
    let mut writer = full.write(Vec::new(), flate2::Compression::fast());
    writer.write_all(b"first").unwrap();
    let data = [writer.finish().unwrap(), encoded("gzip", b""), encoded("gzip", b"second")].concat();
    let single: Vec<&[u8]> = data.chunks(1).collect();
    for body in [pieces(&single, &[]), Body::Full(Chunk::from(data.clone()))] {
        let (read, _) = decompressed(&worker, "x-gzip", body);
        assert_eq!((read.error, &*read.data), (None, &b"firstsecond"[..]));
    }
    for at in 0..data.len() {
        let mut broken = data.clone();
        broken[at] ^= 0x80;
        // No byte of it can make it panic, and what is no header or does not add up is told.
        let (read, _) = decompressed(&worker, "gzip", Body::Full(Chunk::from(broken)));
        assert!(read.error.is_some() || read.data == b"firstsecond", "{at}");
    }
}

#[test]
fn garbage_is_the_senders_fault() {
    let worker = Worker::of::<Decompressor>(json!({ "response": true }));
    let mut rng = Rng::new(3);
    for round in 0..600 {
        let coding = *rng.pick(&["gzip", "br", "zstd"]);
        let mut data = encoded(coding, &text(500));
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(data.len());
            data[at] = rng.bits() as u8;
        }
        let mut stream = worker.stream();
        stream.request(&mut request(Method::GET, "/", &[]));
        let mut response =
            answer(200, &[("content-encoding", coding), ("etag", "\"1\"")], Body::Full(Chunk::copy_from(&data)));
        stream.response(&mut response);
        assert_eq!(field(&response.head.headers, "content-encoding"), None);
        assert_eq!(field(&response.head.headers, "etag"), Some("W/\"1\""));
        let whole = read(response.body);
        if let Some(error) = &whole.error {
            assert_eq!((error.blame, error.status.unwrap().as_u16()), (Blame::Upstream, 502), "{round}");
        }
        // However it is cut, it is wrong, and what was right before that is the same.
        let single: Vec<&[u8]> = data.chunks(1).collect();
        let (cut, _) = decompressed(&worker, coding, pieces(&single, &[]));
        assert_eq!(cut.error.is_some(), whole.error.is_some(), "{round} {coding}");
        let common = cut.data.len().min(whole.data.len());
        assert_eq!(cut.data[..common], whole.data[..common], "{round} {coding}");
    }
}

#[test]
fn bombs_end_early() {
    let zeros = vec![0; 20 << 20];
    for coding in ["gzip", "br", "zstd"] {
        let bomb = encoded(coding, &zeros);
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        for options in [json!({ "max_bytes": "1GiB" }), json!({ "max_ratio": 1_000_000, "max_bytes": "128KiB" })] {
            let worker = Worker::of::<Decompressor>(options);
            let (read, _) = decompressed(&worker, coding, Body::Full(Chunk::from(bomb.clone())));
            let error = read.error.unwrap();
            assert_eq!((error.details, error.status.unwrap().as_u16()), ("decompressor_too_large", 413), "{coding}");
            assert_eq!(worker.stat("too_large"), 1);
            assert!(read.data.len() <= 64 * 1024 + 100 * bomb.len().max(16 * 1024), "{coding}: {}", read.data.len());
        }
    }
}

#[test]
fn in_the_shadow_a_bomb_is_counted() {
    let worker = Worker::of::<Decompressor>(json!({ "shadow": true }));
    let (read, _) = decompressed(&worker, "gzip", Body::Full(Chunk::from(encoded("gzip", &vec![0; 1 << 20]))));
    assert_eq!((read.error, read.data.len(), worker.stat("too_large")), (None, 1 << 20, 1));
}

#[test]
fn one_poll_compresses_no_more_than_its_piece() {
    let worker = Worker::of::<Compressor>(json!({ "codings": ["gzip"] }));
    let taken = Rc::new(Cell::new(0));
    let body = Repeated { piece: Chunk::from(text(4096)), left: 10_000, taken: taken.clone(), ended: false };
    let response = compressed(&worker, "gzip", answer(200, &[TEXT], Body::Stream(Box::new(body))));
    let mut body = response.body;
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..50 {
        let before = taken.get();
        let _frame = body.poll_frame(&mut cx);
        assert!(taken.get() - before <= 16 * 1024 + 4096);
    }
}

#[test]
fn a_message_that_is_not_decoded_is_left_alone() {
    let worker =
        Worker::of::<Decompressor>(json!({ "response": true, "advertise_accept_encoding": true, "max_active": 1 }));
    for fields in
        [vec![("content-encoding", "deflate")], vec![("content-encoding", "gzip"), ("cache-control", "no-transform")]]
    {
        let mut stream = worker.stream();
        let mut asked = post("/", &fields, Body::Full(Chunk::from("abc")));
        assert!(matches!(stream.request(&mut asked), Action::Continue));
        assert_eq!(field(&asked.head.headers, "accept-encoding"), Some("gzip, br, zstd"));
        assert_eq!(read(asked.body).data, b"abc");
    }
    assert_eq!(worker.stat("not_decompressed"), 2);
    let gzip = || Body::Full(Chunk::from(encoded("gzip", b"abc")));
    let mut stream = worker.stream();
    let mut first = post("/", &[("content-encoding", "gzip")], gzip());
    stream.request(&mut first);
    // One is under way: there is no room for another.
    let action = worker.stream().request(&mut post("/", &[("content-encoding", "gzip")], gzip()));
    assert!(matches!(action, Action::Reply(reply) if reply.status == 503));
    let mut response = answer(200, &[("content-encoding", "gzip")], gzip());
    stream.response(&mut response);
    assert_eq!(field(&response.head.headers, "content-encoding"), Some("gzip"));
}

#[test]
fn wrong_options_are_told() {
    for (options, says) in [
        (json!({ "codings": [] }), "at least one"),
        (json!({ "codings": ["gzip", "gzip"] }), "twice"),
        (json!({ "codings": ["deflate"] }), "unknown variant"),
        (json!({ "gzip_level": 10 }), "gzip_level: 1 to 9"),
        (json!({ "content_types": ["text"] }), "no media type"),
    ] {
        let error = options_error::<Compressor>(options).unwrap();
        assert!(error.contains(says), "{error}");
    }
    for (options, says) in [
        (json!({ "request": false }), "one of"),
        (json!({ "advertise_accept_encoding": true }), "needs `response: true`"),
        (json!({ "max_ratio": 0 }), "at least 1"),
    ] {
        let error = options_error::<Decompressor>(options).unwrap();
        assert!(error.contains(says), "{error}");
    }
}
