//! Connections to servers: settings, frames, goodbyes and resets.

use ringway_api::{Body, Chunk, UpstreamConn};
use ringway_http2::Http2Options;
use ringway_testkit::PairOptions;

use crate::hpack::block;
use crate::upstream::Came::{self, Broken, Closed, Nothing, Unseen, Whole};
use crate::upstream::Said::{self, GoAway};
use crate::upstream::{Never, OK, Upstream, came_of, check, get, post};
use crate::wire::{
    ACK, CANCEL, CONTINUATION, ENABLE_PUSH, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, INTERNAL_ERROR, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE,
    NO_ERROR, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, data,
    frame, goaway, header, headers, reset, settings, window_update,
};

#[test]
fn the_clients_settings_come_first_and_forbid_pushes() {
    let mut upstream = Upstream::silent(Http2Options::default(), PairOptions::default());
    let exchange = upstream.open(get("/"));
    let frames = upstream.frames();
    assert!(frames[0].is(SETTINGS, 0) && frames[0].flags & ACK == 0, "{frames:?}");
    let no_push: Vec<u8> = [&ENABLE_PUSH.to_be_bytes()[..], &0_u32.to_be_bytes()].concat();
    assert!(frames[0].payload.chunks(6).any(|setting| setting == no_push), "{frames:?}");
    assert!(frames.iter().any(|frame| frame.is(HEADERS, 1)), "the server's are not waited for");
    let frames = upstream.round([settings(&[]), headers(1, END_STREAM, &OK)].concat());
    assert!(frames.iter().any(|frame| frame.is(SETTINGS, 0) && frame.flags == ACK), "{frames:?}");
    assert_eq!(came_of(&exchange), Whole(200));
}

#[test]
fn a_server_that_does_not_begin_with_settings_is_none() {
    for (what, bytes) in [
        ("a response", headers(1, END_STREAM, &OK)),
        ("a ping", frame(PING, 0, 0, [0; 8])),
        ("an acknowledgement", frame(SETTINGS, ACK, 0, [])),
        ("HTTP/1.1", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec()),
    ] {
        let mut upstream = Upstream::silent(Http2Options::default(), PairOptions::default());
        let exchange = upstream.open(get("/"));
        upstream.frames();
        upstream.round(bytes);
        let came = came_of(&exchange);
        assert!(matches!(came, Broken | Closed), "{what}: {came:?}");
        assert!(upstream.control.has_ended() && !upstream.is_usable(), "{what}");
    }
}

#[test]
fn what_breaks_a_rule_of_the_connection_ends_it() {
    let wrong = GoAway(PROTOCOL_ERROR);
    let size = GoAway(FRAME_SIZE_ERROR);
    let promise = [&[0, 0, 0, 2], &block(&crate::server::GET)[..]].concat();
    let cases: &[(&str, Vec<u8>, Said)] = &[
        ("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, promise), wrong),
        ("push allowed by a server", settings(&[(ENABLE_PUSH, 1)]), wrong),
        ("push 2", settings(&[(ENABLE_PUSH, 2)]), wrong),
        ("window 2^31", settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]), GoAway(FLOW_CONTROL_ERROR)),
        ("frame size 1", settings(&[(MAX_FRAME_SIZE, 1)]), wrong),
        ("SETTINGS of 5", frame(SETTINGS, 0, 0, [0; 5]), size),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, []), wrong),
        ("PING of 7", frame(PING, 0, 0, [0; 7]), size),
        ("PING on a stream", frame(PING, 0, 1, [0; 8]), wrong),
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, [0; 8]), wrong),
        ("WINDOW_UPDATE of 3", frame(WINDOW_UPDATE, 0, 0, [0; 3]), size),
        ("WINDOW_UPDATE of none", window_update(0, 0), wrong),
        ("WINDOW_UPDATE of too much", window_update(0, (1 << 31) - 1), GoAway(FLOW_CONTROL_ERROR)),
        ("RST_STREAM of 3", frame(RST_STREAM, 0, 1, [0; 3]), size),
        ("RST_STREAM on 0", reset(0, CANCEL), wrong),
        ("PRIORITY on 0", frame(PRIORITY, 0, 0, [0, 0, 0, 1, 0]), wrong),
        ("DATA on 0", data(0, 0, "x"), wrong),
        ("DATA of 16385", header(16_385, 0, 0, 1), size),
        ("DATA on an idle stream", data(5, 0, "x"), wrong),
        ("DATA on a stream of the server's", data(2, 0, "x"), wrong),
        ("HEADERS on 0", headers(0, END_STREAM, &OK), wrong),
        ("HEADERS on an idle stream", headers(5, END_STREAM, &OK), wrong),
        ("HEADERS on a stream of the server's", headers(2, END_STREAM, &OK), wrong),
        ("RST_STREAM on an idle stream", reset(5, CANCEL), wrong),
        ("WINDOW_UPDATE on an idle stream", window_update(5, 1), wrong),
        ("CONTINUATION after none", frame(CONTINUATION, END_HEADERS, 1, block(&OK)), wrong),
        ("HEADERS and no CONTINUATION", [frame(HEADERS, 0, 1, block(&OK)), frame(PING, 0, 0, [0; 8])].concat(), wrong),
        ("an index past the table", frame(HEADERS, END_HEADERS, 1, [0x88, 0x80 | 62]), wrong),
    ];
    for (what, bytes, said) in cases {
        check(what, bytes, Broken, *said);
    }
}

#[test]
fn what_is_unknown_or_harmless_is_ignored() {
    let ok = headers(1, END_STREAM, &OK);
    for (what, bytes) in [
        ("a type", frame(0xfa, 0xff, 0, [0; 100])),
        ("a type on a stream", frame(0xfa, 0xff, 1, [0; 100])),
        ("a setting", settings(&[(0x4321, 1)])),
        ("a priority", frame(PRIORITY, 0, 1, [0, 0, 0, 0, 1])),
        ("a pong", frame(PING, ACK, 0, [0; 8])),
    ] {
        check(what, [bytes, ok.clone()].concat(), Whole(200), Said::Nothing);
    }
    let mut upstream = Upstream::start();
    let frames = upstream.round(frame(PING, 0, 0, *b"12345678"));
    assert!(frames.len() == 1 && frames[0].flags == ACK && frames[0].payload == *b"12345678", "{frames:?}");
}

#[test]
fn resets_say_whether_a_request_may_be_repeated() {
    for (code, came) in [
        (NO_ERROR, Closed),
        (PROTOCOL_ERROR, Closed),
        (INTERNAL_ERROR, Closed),
        (REFUSED_STREAM, Unseen),
        (CANCEL, Closed),
        (13, Closed),
        (0xdead_beef, Closed),
    ] {
        check(&format!("code {code}"), reset(1, code), came, Said::Nothing);
    }
    let cut = [headers(1, 0, &OK), data(1, 0, "half"), reset(1, REFUSED_STREAM)].concat();
    check("within a response", cut, Came::Cut(200), Said::Nothing);
    // RFC 9113, section 8.1: a server may stop an upload once it has answered.
    let mut upstream = Upstream::start();
    let exchange = upstream.open(post(Body::Stream(Box::new(Never))));
    upstream.frames();
    upstream.round([headers(1, 0, &OK), data(1, END_STREAM, "enough"), reset(1, NO_ERROR)].concat());
    let answer = exchange.take().unwrap().unwrap();
    assert_eq!((answer.status, &answer.body[..], answer.error), (200, &b"enough"[..], None));
}

#[test]
fn a_goodbye_ends_streams_above_it_and_no_others() {
    let mut upstream = Upstream::start();
    let exchanges: Vec<_> = (0..3).map(|_| upstream.open(get("/"))).collect();
    upstream.frames();
    upstream.round(goaway(3, NO_ERROR));
    let came: Vec<_> = exchanges.iter().map(came_of).collect();
    assert_eq!(came, [Nothing, Nothing, Unseen]);
    assert!(!upstream.is_usable(), "nothing new is sent on it");
    upstream.round([headers(1, END_STREAM, &OK), headers(3, 0, &OK)].concat());
    assert_eq!(came_of(&exchanges[0]), Whole(200));
    upstream.round(data(3, END_STREAM, "x"));
    assert_eq!(came_of(&exchanges[1]), Whole(200));
    upstream.frames();
    assert!(upstream.control.has_ended(), "with the last of them it ends");
    // Whoever still tries finds out, and that it was not sent.
    let late = upstream.open(get("/"));
    upstream.sim.run_until_quiet();
    assert_eq!(came_of(&late), Unseen);
}

#[test]
fn a_goodbye_in_two_steps_takes_back_what_it_promised() {
    let mut upstream = Upstream::start();
    let exchanges: Vec<_> = (0..2).map(|_| upstream.open(get("/"))).collect();
    upstream.frames();
    upstream.round(goaway(0x7fff_ffff, NO_ERROR));
    assert_eq!((came_of(&exchanges[0]), came_of(&exchanges[1])), (Nothing, Nothing));
    assert_eq!(upstream.client.free_slots(), 0);
    upstream.round(goaway(1, NO_ERROR));
    assert_eq!((came_of(&exchanges[0]), came_of(&exchanges[1])), (Nothing, Unseen));
    // RFC 9113, section 6.8: it must not be raised again.
    let frames = upstream.round(goaway(3, NO_ERROR));
    assert_eq!(crate::upstream::said_in(&frames), GoAway(PROTOCOL_ERROR));
}

#[test]
fn a_goodbye_with_an_error_still_tells_what_was_not_seen() {
    let mut upstream = Upstream::start();
    let exchanges: Vec<_> = (0..2).map(|_| upstream.open(get("/"))).collect();
    upstream.frames();
    upstream.send(goaway(1, INTERNAL_ERROR));
    upstream.sim.block_on(upstream.io.finish()).unwrap();
    upstream.frames();
    assert_eq!((came_of(&exchanges[0]), came_of(&exchanges[1])), (Closed, Unseen));
}

#[test]
fn a_server_that_goes_away_without_a_word() {
    let mut upstream = Upstream::start();
    let (waiting, cut) = (upstream.open(get("/")), upstream.open(get("/")));
    upstream.frames();
    upstream.send([headers(3, 0, &OK), data(3, 0, "half")].concat());
    upstream.sim.block_on(upstream.io.finish()).unwrap();
    upstream.frames();
    // It may have been seen: nobody knows.
    assert_eq!((came_of(&waiting), came_of(&cut)), (Closed, Came::Cut(200)));
    assert!(!upstream.is_usable());
}

#[test]
fn the_servers_limit_of_streams_is_kept() {
    let mut upstream = Upstream::start();
    assert_eq!(upstream.client.free_slots(), 100);
    upstream.round(settings(&[(MAX_CONCURRENT_STREAMS, 2)]));
    assert_eq!(upstream.client.free_slots(), 2);
    let exchanges: Vec<_> = (0..3).map(|_| upstream.open(get("/"))).collect();
    let frames = upstream.frames();
    assert_eq!(frames.iter().filter(|frame| frame.kind == HEADERS).count(), 2, "{frames:?}");
    assert_eq!(upstream.client.free_slots(), 0);
    let frames = upstream.round(headers(1, END_STREAM, &OK));
    assert_eq!(frames.iter().filter(|frame| frame.is(HEADERS, 5)).count(), 1, "the next one goes out: {frames:?}");
    upstream.round([headers(3, END_STREAM, &OK), headers(5, END_STREAM, &OK)].concat());
    assert!(exchanges.iter().all(|exchange| came_of(exchange) == Whole(200)));
    assert_eq!(upstream.client.free_slots(), 2);
}

#[test]
fn an_exchange_that_is_given_up_is_reset() {
    let mut upstream = Upstream::start();
    let mut exchange = upstream.client.open(post(Body::Full(Chunk::from("x"))));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(exchange.poll_head(&mut cx).is_pending());
    upstream.frames();
    drop(exchange);
    let frames = upstream.frames();
    assert_eq!(crate::upstream::said_in(&frames), Said::Reset(CANCEL));
    // Its response may be on its way.
    let frames = upstream.round([headers(1, 0, &OK), data(1, END_STREAM, "late")].concat());
    assert!(frames.iter().all(|frame| frame.kind != GOAWAY), "{frames:?}");
    assert!(upstream.is_usable());
}

#[test]
fn a_server_that_floods_is_left() {
    let open = headers(1, 0, &OK);
    let floods: [(Vec<u8>, Vec<u8>, &str); 8] = [
        (Vec::new(), frame(PING, 0, 0, [0; 8]), "http2_ping_flood"),
        (Vec::new(), settings(&[]), "http2_settings_flood"),
        (Vec::new(), frame(PRIORITY, 0, 1, [0, 0, 0, 0, 1]), "http2_priority_flood"),
        (Vec::new(), window_update(0, 1), "http2_window_update_flood"),
        (Vec::new(), frame(0xfa, 0, 0, [0; 10]), "http2_unknown_frame_flood"),
        (frame(HEADERS, 0, 1, block(&OK)), frame(CONTINUATION, 0, 1, []), "http2_continuation_flood"),
        (open.clone(), data(1, 0, ""), "http2_empty_data_flood"),
        (open, reset(1, CANCEL), "http2_rapid_reset"),
    ];
    for (before, unit, reason) in floods {
        let mut upstream = Upstream::start();
        let tried = upstream.open(get("/"));
        let other = upstream.open(get("/"));
        upstream.frames();
        upstream.send(before);
        let frames = upstream.round(unit.repeat(2000));
        assert_eq!(crate::upstream::said_in(&frames), GoAway(ENHANCE_YOUR_CALM), "{reason}");
        assert!(tried.borrow().is_some(), "{reason}");
        let other = other.borrow();
        assert!(matches!(&*other, Some(Err(error)) if error.details == reason && !error.unseen), "{reason}: {other:?}");
        assert!(upstream.control.has_ended() && !upstream.is_usable(), "{reason}");
        assert_eq!((upstream.sim.tasks(), upstream.control.pooled()), (0, 0), "{reason}");
    }
}

#[test]
fn a_server_that_refuses_is_not_left() {
    let mut upstream = Upstream::start();
    for at in 0..500 {
        let exchange = upstream.open(get("/"));
        upstream.frames();
        upstream.round(reset(1 + 2 * at, REFUSED_STREAM));
        assert_eq!(came_of(&exchange), Unseen, "{at}");
    }
    assert!(upstream.is_usable());
}
