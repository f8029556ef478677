//! Stream identifiers and states (RFC 9113, section 5.1).

use ringway_http2::Http2Options;
use ringway_testkit::PairOptions;

use crate::hpack::block;
use crate::server::Outcome::{self, Answered, GoAway, Ignored, Reset};
use crate::server::{GET, HELD, HOLD, POST, Server, check};
use crate::wire::{
    CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, STREAM_CLOSED,
    data, frame, headers, reset, window_update,
};

#[test]
fn frames_on_idle_streams() {
    let wrong = GoAway(PROTOCOL_ERROR);
    let cases: &[(&str, Vec<u8>, Outcome)] = &[
        ("DATA", data(5, 0, "x"), wrong),
        ("RST_STREAM", reset(5, CANCEL), wrong),
        ("WINDOW_UPDATE", window_update(5, 1), wrong),
        ("DATA on one of ours", data(2, 0, "x"), wrong),
        ("RST_STREAM on one of ours", reset(2, CANCEL), wrong),
        ("WINDOW_UPDATE on one of ours", window_update(2, 1), wrong),
    ];
    for (what, bytes, expected) in cases {
        check(what, bytes, *expected);
    }
}

#[test]
fn identifiers_are_odd_and_increase() {
    let wrong = GoAway(PROTOCOL_ERROR);
    let get = |id| headers(id, END_STREAM, &GET);
    check("an even one", get(2), wrong);
    // Those that were left out are closed by a later one.
    check("a decreasing one", [get(9), get(7)].concat(), wrong);
    check("a gap", get(0x1001), Answered(0x1001, 200));
    let mut server = Server::start();
    assert_eq!(server.round(headers(HELD, 0, &HOLD)), []);
    let frames = server.round(get(0x7fff_ffff));
    assert_eq!(server.outcome_of(&frames), Answered(0x7fff_ffff, 200), "the last one there is");
    server.release();
    assert_eq!(server.outcome(), Answered(HELD, 200));
}

#[test]
fn what_comes_after_the_end_of_a_stream() {
    let over = headers(3, END_STREAM, &HOLD);
    let after = |more: Vec<u8>| [over.clone(), more].concat();
    // The stream still waits for its response: half closed.
    // STREAM_CLOSED, of the stream, as RFC 9113 has it; the h2 crate ends the connection and says so in other words.
    check("DATA", after(data(3, 0, "x")), GoAway(PROTOCOL_ERROR));
    check("HEADERS", after(headers(3, END_STREAM, &[("a", "b")])), GoAway(PROTOCOL_ERROR));
    check("WINDOW_UPDATE", after(window_update(3, 1)), Ignored);
    check("RST_STREAM", after(reset(3, CANCEL)), Ignored);
    check("an unknown frame", after(frame(0xfa, 0, 3, "x")), Ignored);
}

#[test]
fn what_comes_after_a_stream_is_closed() {
    for (what, bytes, closed) in [
        ("DATA", data(3, 0, "x"), true),
        ("WINDOW_UPDATE", window_update(3, 1), false),
        ("RST_STREAM", reset(3, CANCEL), false),
        ("RST_STREAM with another code", reset(3, PROTOCOL_ERROR), false),
    ] {
        let mut server = Server::start();
        server.round(headers(HELD, 0, &HOLD));
        let frames = server.round(headers(3, END_STREAM, &GET));
        assert_eq!(server.outcome_of(&frames), Answered(3, 200));
        server.send(bytes);
        assert_eq!(server.outcome(), if closed { Reset(3, STREAM_CLOSED) } else { Ignored }, "{what}");
        server.assert_alive(what);
    }
    // One that the client has reset.
    for (what, bytes, expected) in [
        ("DATA", data(3, 0, "x"), Reset(3, STREAM_CLOSED)),
        ("WINDOW_UPDATE", window_update(3, 1), Ignored),
        ("HEADERS again", headers(3, END_STREAM, &GET), GoAway(PROTOCOL_ERROR)),
    ] {
        let reset = [headers(3, 0, &POST), reset(3, CANCEL)].concat();
        check(what, [reset, bytes].concat(), expected);
    }
}

#[test]
fn a_reset_stream_is_given_up_and_the_others_are_not() {
    let mut server = Server::start();
    server.round(headers(HELD, 0, &HOLD));
    server.round(headers(3, 0, &HOLD));
    assert_eq!(server.round(reset(3, CANCEL)), [], "a reset is not answered");
    assert_eq!(server.log.borrow().cancelled, 1);
    server.assert_alive("reset");
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let options = Http2Options { max_concurrent_streams: 2, ..Http2Options::default() };
    let mut server = Server::with(options, PairOptions::default());
    server.round([headers(HELD, 0, &HOLD), headers(3, 0, &HOLD)].concat());
    // Refused, with content and without, and the compression's state is kept.
    let indexed = crate::hpack::indexed_literal(b"x-kept", b"1");
    let third = frame(HEADERS, END_HEADERS | END_STREAM, 5, [block(&GET), indexed].concat());
    let frames = server.round(third);
    assert_eq!(server.outcome_of(&frames), Reset(5, REFUSED_STREAM));
    let frames = server.round([headers(7, 0, &POST), data(7, END_STREAM, "content")].concat());
    assert_eq!(server.outcome_of(&frames), Reset(7, REFUSED_STREAM));
    server.round(reset(3, CANCEL));
    let frames = server.round(frame(HEADERS, END_HEADERS | END_STREAM, 9, [block(&GET), vec![0x80 | 62]].concat()));
    assert_eq!(server.outcome_of(&frames), Answered(9, 200));
    assert_eq!(server.log.borrow().requests[0].header("x-kept"), Some("1"));
    server.assert_alive("refused");
    assert_eq!(server.log.borrow().requests.len(), 2);
}

#[test]
fn a_response_before_the_end_of_the_request_ends_the_stream() {
    let mut server = Server::start();
    server.round(headers(HELD, 0, &HOLD));
    server.release();
    let frames = server.frames();
    assert_eq!(server.outcome_of(&frames), Answered(HELD, 200));
    let ended = frames.iter().position(|frame| frame.stream == HELD && frame.ends_stream()).expect("complete");
    // RFC 9113, section 8.1: the content is not wanted, which is no error.
    let reset = frames.iter().position(|frame| frame.is(RST_STREAM, HELD)).expect("reset");
    assert!(ended < reset);
    assert_eq!(frames[reset].number(0), 0);
    let frames = server.round([data(HELD, 0, "on its way"), headers(3, END_STREAM, &GET)].concat());
    assert_eq!(server.outcome_of(&frames), Answered(3, 200));
    assert!(frames.iter().all(|frame| frame.kind != GOAWAY && !frame.is(DATA, HELD)));
}
