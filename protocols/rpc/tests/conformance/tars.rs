//! Tars, with its fields by hand.

use std::time::Duration;

use http::StatusCode;
use ringway_api::Io;
use ringway_rpc::tars::Tars;
use ringway_testkit::rpc::{RequestSample, ResponseSample, RpcWorld, Samples, conformance};
use ringway_testkit::{PairOptions, Split};

const CONTENT: &[u8] = b"\x16\x05hello\x22\x00\x00\x00\x07";

/// A number in as many bytes as it needs.
fn int(tag: u8, value: i32) -> Vec<u8> {
    let (kind, skip) = match value {
        0 => (12, 4),
        -0x80..=0x7f => (0, 3),
        -0x8000..=0x7fff => (1, 2),
        _ => (2, 0),
    };
    [&[tag << 4 | kind], &value.to_be_bytes()[skip..]].concat()
}

fn text(tag: u8, text: &str) -> Vec<u8> {
    match u8::try_from(text.len()) {
        Ok(len) => [&[tag << 4 | 6, len], text.as_bytes()].concat(),
        Err(_) => [&[tag << 4 | 7], &(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat(),
    }
}

fn bytes(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag << 4 | 13, 0][..], &int(0, bytes.len() as i32), bytes].concat()
}

fn map(tag: u8, entries: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<u8> = entries.iter().flat_map(|(name, value)| [text(0, name), text(1, value)].concat()).collect();
    [&[tag << 4 | 8][..], &int(0, entries_len(&entries)), &entries].concat()
}

/// How many entries were written: each has one name, of the tag 0.
fn entries_len(entries: &[u8]) -> i32 {
    let (mut at, mut count) = (0, 0);
    while let Some(head) = entries.get(at) {
        count += i32::from(head >> 4 == 0);
        at += match head & 15 {
            6 => 2 + usize::from(entries[at + 1]),
            _ => 5 + u32::from_be_bytes(entries[at + 1..at + 5].try_into().unwrap()) as usize,
        };
    }
    count
}

fn packet(fields: &[Vec<u8>]) -> Vec<u8> {
    let fields = fields.concat();
    [&(fields.len() as u32 + 4).to_be_bytes()[..], &fields].concat()
}

struct Request<'a> {
    version: i32,
    packet_type: i32,
    id: i32,
    content: &'a [u8],
    context: &'a [(&'a str, &'a str)],
    status: &'a [(&'a str, &'a str)],
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self { version: 1, packet_type: 0, id: 7, content: CONTENT, context: &[], status: &[] }
    }
}

impl Request<'_> {
    fn packet(&self) -> Vec<u8> {
        packet(&[
            int(1, self.version),
            int(2, self.packet_type),
            int(3, 0),
            int(4, self.id),
            text(5, "App.Server.EchoObj"),
            text(6, "say"),
            bytes(7, self.content),
            int(8, 3000),
            map(9, self.context),
            map(10, self.status),
        ])
    }
}

fn response(id: i32, ret: i32, rest: &[Vec<u8>]) -> Vec<u8> {
    let head = [int(1, 1), int(2, 0), int(3, id), int(4, 0), int(5, ret)];
    packet(&[&head[..], rest].concat())
}

fn samples() -> Samples {
    let status = [("STATUS_GRID_KEY", "1")];
    let request = |bytes: Vec<u8>| {
        let sample = RequestSample::new(bytes, "App.Server.EchoObj", "say").content(CONTENT);
        sample.timeout(Duration::from_secs(3)).keeps(text(1, "1"))
    };
    let long = "v".repeat(300);
    let context = [("trace", "1"), ("not a token", "x"), ("long", &*long)];
    let full = request(Request { context: &context, status: &status, ..Request::default() }.packet())
        .field("trace", "1")
        .field("long", &long)
        .keeps([text(0, "not a token"), text(1, "x")].concat())
        .keeps(map(10, &status));
    let plain =
        request(Request { id: -70_000, status: &status, ..Request::default() }.packet()).keeps(map(10, &status));
    // What later versions may have behind everything else.
    let mut later = Request { status: &status, ..Request::default() }.packet();
    let unknown = [&[0xfa, 40][..], &int(1, 5), &[0x29], &int(0, 2), &int(0, 1), &[0x05], &[1; 8], &[0x0b]].concat();
    later.extend_from_slice(&unknown);
    let len = later.len() as u32;
    later[..4].copy_from_slice(&len.to_be_bytes());
    let later = request(later).keeps(unknown);
    let short = [int(1, 1), int(2, 0), int(3, 0), int(4, 9), text(5, "App.Server.EchoObj"), text(6, "tars_ping")];
    let short = RequestSample::new(packet(&short), "App.Server.EchoObj", "tars_ping").content(b"");
    let one_way = request(Request { packet_type: 1, status: &status, ..Request::default() }.packet());

    let ok = [bytes(6, b"result"), map(7, &status), text(8, ""), map(9, &[("served-by", "a"), ("b\n", "c")])];
    let ok = ResponseSample::new(response(1, 0, &ok), StatusCode::OK, 0)
        .content(b"result")
        .field("served-by", "a")
        .keeps(map(7, &status));
    let small = ResponseSample::new(response(1, 0, &[bytes(6, b"")]), StatusCode::OK, 0).content(b"");
    let failed = |ret: i32, status: u16| {
        let rest = [bytes(6, b""), map(7, &[]), text(8, "it failed")];
        let status = StatusCode::from_u16(status).unwrap();
        ResponseSample::new(response(1, ret, &rest), status, ret).content(b"").keeps(text(8, "it failed"))
    };
    let bare = ResponseSample::new(response(1, -99, &[]), StatusCode::INTERNAL_SERVER_ERROR, -99).content(b"");
    let codes = [(-1, 400), (-2, 500), (-3, 404), (-4, 404), (-6, 504), (-7, 504), (-8, 502), (-9, 503), (-10, 503)];
    let mut responses = vec![ok, small, bare, failed(1, 200).exception(), failed(20_000, 200).exception()];
    responses.extend(codes.map(|(ret, status)| failed(ret, status)));

    let mut oversized = Request::default().packet();
    oversized[..4].copy_from_slice(&(9_u32 << 20).to_be_bytes());
    let broken = |at: usize, bytes: &[u8]| {
        let mut frame = Request::default().packet();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    Samples {
        requests: vec![full, plain, later, short],
        one_way: vec![one_way],
        responses,
        oversized: vec![oversized],
        broken: vec![
            vec![0; 40],
            // A negative length; an unknown version; a packet type that is none; one that is shorter than its fields.
            broken(0, &[0xff]),
            broken(5, &[9]),
            broken(6, &[0x20, 7]),
            broken(0, &[0, 0, 0, 9]),
            // An id that is a text, no id at all, tags that go back; a name of an absurd length.
            broken(8, &[0x46]),
            broken(7, &[0x3c, 0x5c]),
            broken(7, &[0x1c]),
            broken(10, &[0x57, 0x7f, 0xff, 0xff, 0xff]),
        ],
        ..Samples::default()
    }
}

#[test]
fn tars() {
    conformance::<Tars>(&samples());
}

#[test]
fn ids_of_any_width_go_through() {
    for split in [Split::AsSent, Split::Fixed(1), Split::Random(5)] {
        let mut world = RpcWorld::new::<Tars>(3, PairOptions { split, ..PairOptions::default() });
        for id in [0, 1, -1, 127, 128, -128, -129, 32_767, 32_768, -32_769, i32::MAX, i32::MIN] {
            let context = [("trace", "1")];
            world.ask(Request { id, context: &context, ..Request::default() }.packet());
            let arrived = world.asked();
            let given = given(&arrived);
            assert_eq!(arrived, Request { id: given, context: &context, ..Request::default() }.packet(), "{id}");
            let rest = [bytes(6, b"result"), map(7, &[]), text(8, "")];
            world.answer(response(given, 0, &rest));
            assert_eq!(world.answered(), response(id, 0, &rest), "{id}");
        }
    }
}

/// The id of a request in the third field.
fn given(request: &[u8]) -> i32 {
    assert_eq!(request[6..8], [0x2c, 0x3c]);
    match request[8] {
        0x40 => i32::from(request[9].cast_signed()),
        0x41 => i16::from_be_bytes(request[9..11].try_into().unwrap()).into(),
        0x42 => i32::from_be_bytes(request[9..13].try_into().unwrap()),
        other => panic!("{other:#x}"),
    }
}

#[test]
fn answers_of_tup_are_packets_like_requests() {
    for version in [2, 3] {
        let mut world = RpcWorld::new::<Tars>(4, PairOptions::default());
        for (status, code) in
            [(&[][..], "0"), (&[("STATUS_RESULT_CODE", "-3")], "-3"), (&[("STATUS_RESULT_CODE", "?")], "-99")]
        {
            world.ask(Request { version, id: 300, ..Request::default() }.packet());
            let arrived = world.asked();
            let given = given(&arrived);
            assert_eq!(arrived, Request { version, id: given, ..Request::default() }.packet());
            let answer = Request { version, content: b"result", status, ..Request::default() };
            world.answer(Request { id: given, ..answer }.packet());
            let answer = Request { version, content: b"result", status, id: 300, ..Request::default() };
            assert_eq!(world.answered(), answer.packet(), "{code}");
        }
    }
}

#[test]
fn a_call_of_tup_that_fails_is_answered_in_tup() {
    let mut world = RpcWorld::new::<Tars>(5, PairOptions::default());
    world.ask(Request { version: 3, id: 300, ..Request::default() }.packet());
    drop(world.asked());
    world.server.abort();
    let answered = world.answered();
    let status = [("STATUS_RESULT_CODE", "-9"), ("STATUS_RESULT_DESC", "upstream failure")];
    let expected = packet(&[
        int(1, 3),
        int(2, 0),
        int(3, 0),
        int(4, 300),
        text(5, "App.Server.EchoObj"),
        text(6, "say"),
        bytes(7, b""),
        int(8, 0),
        map(9, &[]),
        map(10, &status),
    ]);
    assert_eq!(answered, expected);
}

#[test]
fn what_stands_behind_large_content_goes_on_with_it() {
    let mut world = RpcWorld::new::<Tars>(6, PairOptions::default());
    let content: Vec<u8> = (0..40_000_u32).map(|at| (at * 7) as u8).collect();
    let (context, status) = ([("trace", "1")], [("STATUS_GRID_KEY", "1")]);
    let call =
        |id| Request { id, content: &content, context: &context, status: &status, ..Request::default() }.packet();
    world.ask(call(300));
    let arrived = world.asked();
    let given = given(&arrived);
    assert!(arrived == call(given));
    let rest = [bytes(6, &content), map(7, &status), text(8, ""), map(9, &context)];
    world.answer(response(given, 0, &rest));
    assert!(world.answered() == response(300, 0, &rest));
}
