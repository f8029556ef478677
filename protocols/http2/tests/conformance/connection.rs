//! Pings, and the ways a connection ends in order (RFC 9113, sections 6.7, 6.8 and 9.1).

use std::time::Duration;

use ringway_api::Millis;
use ringway_http2::Http2Options;
use ringway_testkit::PairOptions;

use crate::server::Outcome::{Answered, Ignored};
use crate::server::{GET, HELD, HOLD, Server};
use crate::wire::{
    ACK, CANCEL, END_STREAM, GOAWAY, NO_ERROR, PING, PROTOCOL_ERROR, RST_STREAM, frame, goaway, headers,
};

#[test]
fn pings_are_answered_with_what_they_said() {
    let mut server = Server::start();
    let frames = server.round([frame(PING, 0, 0, *b"12345678"), frame(PING, 0, 0, *b"abcdefgh")].concat());
    let pongs: Vec<_> = frames.iter().filter(|frame| frame.is(PING, 0) && frame.flags == ACK).collect();
    assert_eq!(pongs.len(), 2, "{frames:?}");
    assert_eq!((&pongs[0].payload[..], &pongs[1].payload[..]), (&b"12345678"[..], &b"abcdefgh"[..]));
    assert_eq!(server.round(frame(PING, ACK, 0, *b"whatever")), [], "a pong that nobody asked for");
}

#[test]
fn a_drain_says_goodbye_twice_and_finishes_what_is_under_way() {
    let mut server = Server::start();
    server.round(headers(HELD, 0, &HOLD));
    server.conn.drain();
    let frames = server.frames();
    let goodbye = frames.iter().find(|frame| frame.is(GOAWAY, 0)).expect("a goodbye");
    assert_eq!((goodbye.number(0), goodbye.number(4)), (0x7fff_ffff, NO_ERROR), "the first names no stream");
    let ping = frames.iter().find(|frame| frame.is(PING, 0)).expect("a round trip is waited for");
    // What was on its way is still served.
    let frames = server.round(headers(3, END_STREAM, &GET));
    assert_eq!(server.outcome_of(&frames), Answered(3, 200));
    let frames = server.round(frame(PING, ACK, 0, &ping.payload));
    let goodbye = frames.iter().find(|frame| frame.is(GOAWAY, 0)).expect("the last goodbye");
    assert_eq!((goodbye.number(0), goodbye.number(4)), (3, NO_ERROR));
    // What comes after it is ignored: the client may repeat it elsewhere.
    let frames = server.round(headers(5, END_STREAM, &GET));
    assert_eq!(server.outcome_of(&frames), Ignored);
    server.release();
    assert_eq!(server.outcome(), Answered(HELD, 200));
    assert!(server.control.has_ended());
    assert!(server.ended.borrow().as_ref().unwrap().is_ok());
    assert_eq!(server.log.borrow().requests.len(), 1);
}

#[test]
fn an_idle_connection_says_goodbye() {
    let options = Http2Options { idle_timeout: Millis(5000), ..Http2Options::default() };
    let mut server = Server::with(options, PairOptions::default());
    server.sim.advance(Duration::from_secs(6));
    let frames = server.frames();
    assert!(frames.iter().any(|frame| frame.is(GOAWAY, 0) && frame.number(4) == NO_ERROR), "{frames:?}");
}

#[test]
fn a_silent_client_is_pinged_and_then_left() {
    let options =
        Http2Options { keepalive_interval: Millis(10_000), keepalive_timeout: Millis(5000), ..Http2Options::default() };
    let mut server = Server::with(options, PairOptions::default());
    server.round(headers(HELD, 0, &HOLD));
    server.sim.advance(Duration::from_secs(11));
    let ping = server.frames().into_iter().find(|frame| frame.is(PING, 0)).expect("a ping");
    server.round(frame(PING, ACK, 0, &ping.payload));
    server.sim.advance(Duration::from_secs(6));
    assert_eq!(server.details(), "not ended", "it was answered");
    server.sim.advance(Duration::from_secs(20));
    assert_eq!(server.details(), "http2_keepalive_timeout");
    assert!(server.control.has_ended());
}

#[test]
fn a_client_that_says_goodbye_gets_its_answers() {
    let mut server = Server::start();
    server.round([headers(HELD, 0, &HOLD), goaway(0, NO_ERROR)].concat());
    server.release();
    assert_eq!(server.outcome(), Answered(HELD, 200));

    // One that leaves with an error is reported, and is not the proxy's fault.
    let mut server = Server::start();
    server.round([headers(HELD, 0, &HOLD), goaway(0, PROTOCOL_ERROR)].concat());
    drop(server.io);
    server.sim.run_until_quiet();
    let ended = server.ended.borrow();
    assert!(!matches!(ended.as_ref().expect("ended"), Err(error) if error.breach), "{ended:?}");
}

#[test]
fn a_client_that_goes_away_is_noticed() {
    // In order, with and without streams, and in the middle of a frame.
    for (what, bytes, cancelled) in [
        ("idle", Vec::new(), 0),
        ("with a stream", headers(HELD, 0, &HOLD), 1),
        ("within a frame", headers(HELD, 0, &HOLD)[..20].to_vec(), 0),
    ] {
        let mut server = Server::start();
        server.round(bytes);
        drop(server.io);
        server.sim.run_until_quiet();
        assert!(server.ended.borrow().is_some(), "{what}");
        assert_eq!(server.log.borrow().cancelled, cancelled, "{what}");
        assert_eq!(server.sim.tasks(), 0, "{what}");
    }
}

#[test]
fn half_a_close_still_gets_its_answers() {
    let mut server = Server::start();
    server.send(headers(3, END_STREAM, &GET));
    server.sim.block_on(server.io.finish()).unwrap();
    let frames = server.frames();
    assert!(frames.iter().all(|frame| frame.kind != RST_STREAM), "{frames:?}");
    assert!(server.ended.borrow().is_some());
}

#[test]
fn an_upload_that_the_client_gives_up_is_told_so() {
    let mut server = Server::start();
    server.round([headers(3, 0, &crate::server::POST), crate::wire::data(3, 0, "half")].concat());
    assert_eq!(server.round(crate::wire::reset(3, CANCEL)), []);
    assert!(server.log.borrow().requests.is_empty() || server.log.borrow().requests[0].error.is_some());
}
