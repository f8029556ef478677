//! Dubbo's thrift, by hand.

use http::StatusCode;
use ringway_rpc::thrift::DubboThrift;
use ringway_testkit::rpc::{RequestSample, ResponseSample, RpcWorld, Samples, conformance};
use ringway_testkit::{PairOptions, Split};

/// A struct of one text and one number, and its end.
const ARGUMENTS: &[u8] = b"\x0b\x00\x01\x00\x00\x00\x05hello\x08\x00\x02\x00\x00\x00\x07\x00";
/// The result: a text.
const RESULT: &[u8] = b"\x0b\x00\x00\x00\x00\x00\x05world\x00";
/// A declared exception in the result's place: a struct with a text.
const THREW: &[u8] = b"\x0c\x00\x01\x0b\x00\x01\x00\x00\x00\x02no\x00\x00";
const WIDE_ID: u64 = 0xfedc_ba98_7654_3210;

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

/// A message with a version.
fn strict(kind: u8, method: &str, seqid: u32) -> Vec<u8> {
    [&[0x80, 1, 0, kind][..], &text(method), &seqid.to_be_bytes()].concat()
}

/// One without.
fn old(kind: u8, method: &str, seqid: u32) -> Vec<u8> {
    [&text(method)[..], &[kind], &seqid.to_be_bytes()].concat()
}

fn frame(names: &[&str], id: u64, message: &[u8], content: &[u8]) -> Vec<u8> {
    let names = names.iter().flat_map(|name| text(name)).collect::<Vec<_>>();
    let header = 2 + 4 + 2 + 1 + names.len() + 8;
    let size = ((header + message.len() + content.len()) as u32).to_be_bytes();
    let fixed = [&size[..], &[0xda, 0xbc], &size, &(header as u16).to_be_bytes(), &[1]].concat();
    [&fixed[..], &names, &id.to_be_bytes(), message, content].concat()
}

fn exception(kind: u32, message: &str) -> Vec<u8> {
    [&[11, 0, 1][..], &text(message), &[8, 0, 2], &kind.to_be_bytes(), &[0]].concat()
}

fn call(id: u64) -> Vec<u8> {
    frame(&["com.x.Echo$Iface"], id, &strict(1, "say", 41), ARGUMENTS)
}

fn samples() -> Samples {
    let seqid = [0, 0, 0, 41];
    let request = |bytes| RequestSample::new(bytes, "com.x.Echo$Iface", "say").content(ARGUMENTS).keeps(seqid);
    let response = |kind, content: &[u8], status, code| {
        let bytes = frame(&["com.x.Echo$Iface"], 1, &strict(kind, "say", 41), content);
        ResponseSample::new(bytes, status, code).content(content).keeps(seqid)
    };
    let failed = |kind: u32, status| {
        let content = exception(kind, "it failed");
        // Other content would be another exception.
        response(3, &content, status, kind as i32).contents(vec![exception(kind, &"long ".repeat(300))])
    };
    let results =
        vec![b"\x02\x00\x00\x01\x00".to_vec(), [&RESULT[..11], &[b'x'; 30_000], &[0]].concat(), vec![0], vec![]];
    let error = StatusCode::INTERNAL_SERVER_ERROR;
    let mut oversized = call(5);
    let size = (9_u32 << 20).to_be_bytes();
    oversized[..4].copy_from_slice(&size);
    oversized[6..10].copy_from_slice(&size);
    let broken = |at: usize, bytes: &[u8]| {
        let mut frame = call(5);
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    Samples {
        requests: vec![
            request(call(WIDE_ID)),
            request(frame(&["com.x.Echo$Iface", "com.x.Path"], 7, &strict(1, "say", 41), ARGUMENTS)),
            request(frame(&["com.x.Echo$Iface"], 7, &old(1, "say", 41), ARGUMENTS)),
        ],
        one_way: vec![request(frame(&["com.x.Echo$Iface"], 9, &strict(4, "say", 41), ARGUMENTS))],
        responses: vec![
            response(2, RESULT, StatusCode::OK, 0).contents(results),
            response(2, &[0], StatusCode::OK, 0).contents(vec![RESULT.to_vec()]),
            response(2, THREW, StatusCode::OK, 0).exception().contents(vec![[THREW, &[0; 9000]].concat()]),
            failed(0, error),
            failed(1, StatusCode::NOT_FOUND),
            failed(2, StatusCode::BAD_REQUEST),
            failed(5, error),
            failed(6, error),
            failed(7, error),
        ],
        oversized: vec![oversized],
        broken: vec![
            vec![0; 40],
            broken(0, &[0xff]),
            // The sizes differ; an unknown version; a header that is too short, and one without its names.
            broken(9, &[0]),
            broken(12, &[2]),
            broken(10, &[0, 3]),
            broken(10, &[0, 36]),
            // Names of absurd lengths, one of them behind the other; a message of another version, and of no type.
            broken(13, &[0xff; 4]),
            broken(13, &[0x7f, 0xff, 0xff, 0xff]),
            broken(45, &[0x7f, 0xff, 0xff, 0xff]),
            broken(42, &[2]),
            broken(44, &[9]),
        ],
        ..Samples::default()
    }
}

#[test]
fn dubbo_thrift() {
    conformance::<DubboThrift>(&samples());
}

#[test]
fn ids_of_64_bits_go_through_however_frames_are_cut() {
    for split in [Split::AsSent, Split::Fixed(1), Split::Random(7)] {
        let mut world = RpcWorld::new::<DubboThrift>(3, PairOptions { split, ..PairOptions::default() });
        let ids = [WIDE_ID, 1, u64::MAX, 0];
        world.ask(ids.map(call).concat());
        let arrived = world.asked();
        let len = call(0).len();
        assert_eq!(arrived.len(), 4 * len);
        for (at, id) in ids.into_iter().enumerate() {
            let call = &arrived[at * len..(at + 1) * len];
            let given = u64::from_be_bytes(call[33..41].try_into().unwrap());
            assert_eq!(call, self::call(given));
            world.answer(frame(&["com.x.Echo$Iface"], given, &strict(2, "say", 41), RESULT));
            assert_eq!(world.answered(), frame(&["com.x.Echo$Iface"], id, &strict(2, "say", 41), RESULT));
        }
    }
}
