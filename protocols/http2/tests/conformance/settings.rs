//! Prefaces and settings (RFC 9113, sections 3.4 and 6.5).

use ringway_http2::Http2Options;
use ringway_testkit::PairOptions;

use crate::server::Outcome::{self, GoAway, Ignored};
use crate::server::{GET, Server, check};
use crate::wire::{
    ACK, DATA, ENABLE_PUSH, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, PING, PREFACE, PROTOCOL_ERROR, SETTINGS, frame,
    headers, settings,
};

fn silent() -> Server {
    Server::silent(Http2Options::default(), PairOptions::default())
}

#[test]
fn the_servers_settings_come_first_and_the_clients_are_acknowledged() {
    let mut server = silent();
    let first = server.frames();
    assert!(first.first().is_some_and(|frame| frame.is(SETTINGS, 0) && frame.flags & ACK == 0), "{first:?}");
    let frames = server.round([PREFACE, &settings(&[(MAX_CONCURRENT_STREAMS, 7)])].concat());
    let acks = |frames: &[crate::wire::Frame]| frames.iter().filter(|f| f.is(SETTINGS, 0) && f.flags == ACK).count();
    assert_eq!(acks(&frames), 1, "{frames:?}");
    let frames = server.round([settings(&[]), settings(&[])].concat());
    assert_eq!(acks(&frames), 2, "each is acknowledged");
}

#[test]
fn what_is_no_preface_ends_the_connection() {
    let get = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec();
    let mut late = PREFACE.to_vec();
    late[20] = b'X';
    for bytes in [get, late, [settings(&[]), settings(&[]), settings(&[])].concat(), vec![0; 64]] {
        let mut server = silent();
        server.round(&bytes);
        assert!(server.control.has_ended(), "{bytes:?}");
        assert_eq!(server.details(), "http2_protocol_error");
        server.assert_closed("preface");
    }
}

#[test]
fn a_preface_that_does_not_come_is_not_waited_for() {
    let mut server = silent();
    server.send(&PREFACE[..10]);
    server.sim.advance(std::time::Duration::from_secs(11));
    assert_eq!(server.details(), "http2_handshake_timeout");
    assert!(server.control.has_ended());
}

#[test]
fn a_preface_without_settings_is_none() {
    for (what, bytes) in [
        ("a request", headers(1, END_STREAM, &GET)),
        ("a ping", frame(PING, 0, 0, [0; 8])),
        ("an acknowledgement", frame(SETTINGS, ACK, 0, [])),
        ("an unknown frame", frame(0xfa, 0, 0, [0; 8])),
    ] {
        let mut server = silent();
        server.frames();
        let frames = server.round([PREFACE, &bytes].concat());
        assert_eq!(server.outcome_of(&frames), GoAway(PROTOCOL_ERROR), "{what}");
        server.assert_closed(what);
        assert!(server.log.borrow().requests.is_empty());
    }
}

#[test]
fn settings_that_break_a_rule_end_the_connection() {
    let cases: &[(&str, Vec<u8>, Outcome)] = &[
        ("push 2", settings(&[(ENABLE_PUSH, 2)]), GoAway(PROTOCOL_ERROR)),
        ("window 2^31", settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]), GoAway(FLOW_CONTROL_ERROR)),
        ("window 2^32-1", settings(&[(INITIAL_WINDOW_SIZE, u32::MAX)]), GoAway(FLOW_CONTROL_ERROR)),
        ("frame size 16383", settings(&[(MAX_FRAME_SIZE, 16_383)]), GoAway(PROTOCOL_ERROR)),
        ("frame size 2^24", settings(&[(MAX_FRAME_SIZE, 1 << 24)]), GoAway(PROTOCOL_ERROR)),
        ("connect 2", settings(&[(8, 2)]), GoAway(PROTOCOL_ERROR)),
        ("a good one, then a bad one", settings(&[(3, 1), (ENABLE_PUSH, 2)]), GoAway(PROTOCOL_ERROR)),
        ("on a stream", frame(SETTINGS, 0, 1, []), GoAway(PROTOCOL_ERROR)),
        ("5 bytes", frame(SETTINGS, 0, 0, [0; 5]), GoAway(FRAME_SIZE_ERROR)),
        ("7 bytes", frame(SETTINGS, 0, 0, [0; 7]), GoAway(FRAME_SIZE_ERROR)),
        ("an acknowledgement with content", frame(SETTINGS, ACK, 0, [0; 6]), GoAway(FRAME_SIZE_ERROR)),
        ("unknown", settings(&[(0x1234, 5), (0xffff, u32::MAX)]), Ignored),
        ("twice the same", settings(&[(HEADER_TABLE_SIZE, 0), (HEADER_TABLE_SIZE, 4096)]), Ignored),
        ("the limits", settings(&[(MAX_FRAME_SIZE, (1 << 24) - 1), (INITIAL_WINDOW_SIZE, (1 << 31) - 1)]), Ignored),
        ("no push", settings(&[(ENABLE_PUSH, 0), (HEADER_TABLE_SIZE, u32::MAX)]), Ignored),
        ("unknown flags", frame(SETTINGS, 0xfe, 0, []), Ignored),
    ];
    for (what, bytes, expected) in cases {
        check(what, bytes, *expected);
    }
}

#[test]
fn the_clients_settings_are_kept() {
    let mut server = Server::start();
    // No stream may send content, and no frame is larger than allowed.
    server.round(settings(&[(INITIAL_WINDOW_SIZE, 0), (HEADER_TABLE_SIZE, 0)]));
    let large = [(":method", "GET"), (":scheme", "http"), (":path", "/large"), (":authority", "a.example")];
    let frames = server.round(headers(1, END_STREAM, &large));
    assert_eq!(server.outcome_of(&frames), Outcome::Answered(1, 200));
    assert!(frames.iter().all(|frame| frame.kind != DATA || frame.payload.is_empty()), "{frames:?}");
    let frames = server.round(settings(&[(INITIAL_WINDOW_SIZE, 40_000)]));
    let sizes: Vec<_> = frames.iter().filter(|frame| frame.is(DATA, 1)).map(|frame| frame.payload.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 40_000, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 16_384), "{sizes:?}");
    // What was sent counts against a window that shrinks; it may be below zero.
    assert_eq!(server.round(settings(&[(INITIAL_WINDOW_SIZE, 10_000)])).iter().filter(|f| f.kind == DATA).count(), 0);
    let frames = server.round(settings(&[(INITIAL_WINDOW_SIZE, 40_001)]));
    assert_eq!(frames.iter().filter(|frame| frame.is(DATA, 1)).map(|frame| frame.payload.len()).sum::<usize>(), 1);
    assert!(frames.iter().all(|frame| frame.kind != GOAWAY));
}
