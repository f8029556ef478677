//! Frames that cost a client nothing: exceeding a limit closes the connection with ENHANCE_YOUR_CALM, for a reason.

use std::time::Duration;

use ringway_api::ByteSize;
use ringway_http2::Http2Options;
use ringway_testkit::{PairOptions, Split};

use crate::hpack::block;
use crate::server::Outcome::{Answered, GoAway, Ignored};
use crate::server::{GET, HELD, HOLD, POST, Server};
use crate::wire::{
    CANCEL, CONTINUATION, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING, PRIORITY, data, frame, headers,
    reset, settings, window_update,
};

/// A flood: its name, what goes before, one unit of it by its number, how many of it are taken, and the reason given.
struct Flood {
    before: Vec<u8>,
    unit: fn(u32) -> Vec<u8>,
    taken: u32,
    reason: &'static str,
}

fn floods() -> Vec<Flood> {
    let none = Vec::new;
    let flood = |before, unit, taken, reason| Flood { before, unit, taken, reason };
    vec![
        flood(
            none(),
            |at| [headers(3 + 2 * at, 0, &POST), reset(3 + 2 * at, CANCEL)].concat(),
            100,
            "http2_rapid_reset",
        ),
        flood(none(), |_| frame(PING, 0, 0, [0; 8]), 1000, "http2_ping_flood"),
        // The first are those of the beginning.
        flood(none(), |_| settings(&[]), 99, "http2_settings_flood"),
        flood(headers(3, 0, &POST), |_| data(3, 0, ""), 10, "http2_empty_data_flood"),
        flood(none(), |at| frame(PRIORITY, 0, 3 + 2 * at, [0, 0, 0, 0, 1]), 200, "http2_priority_flood"),
        flood(none(), |_| window_update(0, 1), 1010, "http2_window_update_flood"),
        flood(none(), |_| window_update(HELD, 1), 1010, "http2_window_update_flood"),
        flood(
            frame(HEADERS, END_STREAM, 3, block(&GET)),
            |_| frame(CONTINUATION, 0, 3, []),
            5,
            "http2_continuation_flood",
        ),
        flood(
            frame(HEADERS, END_STREAM, 3, block(&GET)),
            |_| frame(CONTINUATION, 0, 3, block(&[("x", "y")])),
            5,
            "http2_continuation_flood",
        ),
        flood(none(), |_| frame(0xfa, 0, 0, [0; 100]), 1000, "http2_unknown_frame_flood"),
    ]
}

#[test]
fn floods_end_the_connection_for_a_reason() {
    for Flood { before, unit, taken, reason } in floods() {
        for split in [Split::AsSent, Split::Joined(1 << 20), Split::Fixed(7)] {
            let mut server = Server::with(Http2Options::default(), PairOptions { split, ..PairOptions::default() });
            server.round([headers(HELD, 0, &HOLD), before.clone()].concat());
            let flood: Vec<u8> = (0..taken).flat_map(unit).collect();
            let frames = server.round(flood);
            assert!(!matches!(server.outcome_of(&frames), GoAway(_)), "{reason}, {split:?}: too early: {frames:?}");
            let frames = server.round(unit(taken));
            assert_eq!(server.outcome_of(&frames), GoAway(ENHANCE_YOUR_CALM), "{reason}, {split:?}");
            server.sim.advance(Duration::from_secs(2));
            assert_eq!(server.details(), reason);
            server.assert_closed(reason);
            assert!(server.log.borrow().cancelled > 0, "{reason}: what was held is given up");
            assert_eq!(server.sim.tasks(), 0, "{reason}");
        }
    }
}

#[test]
fn a_flood_is_not_read_once_it_is_known() {
    for Flood { before, unit, taken, reason } in floods() {
        let pairing = PairOptions { split: Split::Fixed(4096), ..PairOptions::default() };
        let mut server = Server::with(Http2Options::default(), pairing);
        server.round([headers(HELD, 0, &HOLD), before].concat());
        let needed: usize = (0..=taken).map(|at| unit(at).len()).sum();
        let before = server.control.received();
        server.send((0..taken * 20).flat_map(unit).collect::<Vec<_>>());
        server.frames();
        server.sim.advance(Duration::from_secs(2));
        assert_eq!(server.details(), reason);
        let read = server.control.received() - before;
        assert!(read <= (needed + 4096) as u64, "{reason}: {read} bytes read, {needed} needed");
        assert_eq!(server.control.pooled(), 0, "{reason}: no buffer is kept");
    }
}

#[test]
fn a_flood_before_anything_else_is_told_goodbye_too() {
    let mut server = Server::silent(Http2Options::default(), PairOptions::default());
    server.frames();
    let pings: Vec<u8> = (0..2000).flat_map(|_| frame(PING, 0, 0, [0; 8])).collect();
    let frames = server.round([crate::wire::PREFACE, &settings(&[]), &pings].concat());
    assert_eq!(server.outcome_of(&frames), GoAway(ENHANCE_YOUR_CALM));
    server.sim.advance(Duration::from_secs(2));
    assert_eq!(server.details(), "http2_ping_flood");
}

#[test]
fn the_same_over_a_longer_time_is_no_flood() {
    for Flood { unit, taken, reason, .. } in floods() {
        if matches!(reason, "http2_continuation_flood" | "http2_empty_data_flood") {
            // These are counted in a row.
            continue;
        }
        let mut server = Server::start();
        server.round(headers(HELD, 0, &HOLD));
        let mut at = 0;
        for _ in 0..5 {
            for _ in 0..taken / 2 {
                server.send(unit(at));
                at += 1;
            }
            let frames = server.frames();
            assert!(!matches!(server.outcome_of(&frames), GoAway(_)), "{reason}");
            server.sim.advance(Duration::from_secs(10));
        }
        server.frames();
        server.assert_alive(reason);
    }
}

#[test]
fn acknowledgements_are_no_flood_of_pings() {
    let mut server = Server::start();
    server.round(headers(HELD, 0, &HOLD));
    let pongs: Vec<u8> = (0..5000).flat_map(|_| frame(PING, 1, 0, [0; 8])).collect();
    let frames = server.round(pongs);
    assert_eq!(server.outcome_of(&frames), Ignored);
    server.assert_alive("pongs");
}

#[test]
fn resets_that_a_client_makes_us_send_are_bounded() {
    // Each stream is opened well and then broken, so that it is the server who resets it.
    let mut server = Server::start();
    let broken = |at: u32| {
        let stream = 3 + 2 * at;
        [headers(stream, END_STREAM, &HOLD), window_update(stream, (1 << 31) - 1)].concat()
    };
    let mut sent = 0;
    while server.ended.borrow().is_none() {
        assert!(sent < 2000, "never ends");
        server.round(broken(sent));
        sent += 1;
    }
    server.assert_closed("made to reset");
    assert_eq!(server.details(), "http2_flood");
    assert_eq!(server.sim.tasks(), 0);
}

#[test]
fn small_frames_that_nobody_takes_are_bounded() {
    // A whole window of the smallest messages of gRPC waits for a consumer that stalls: nothing is wrong with that.
    let stalled = |stream: u32, size: usize| {
        let frames = (0..65_536 / size).flat_map(|_| data(stream, 0, vec![0; size]));
        [headers(stream, 0, &HOLD), frames.collect()].concat()
    };
    let mut server = Server::start();
    server.round(headers(HELD, 0, &HOLD));
    let frames = server.round(stalled(3, 5));
    assert_eq!(server.outcome_of(&frames), Ignored);
    server.assert_alive("small messages");
    // Bytes one by one cost many times their size in memory.
    let mut server = Server::start();
    let frames = server.round(stalled(3, 1));
    assert_eq!(server.outcome_of(&frames), GoAway(ENHANCE_YOUR_CALM));
    server.assert_closed("small frames");
    assert_eq!(server.details(), "http2_flood");
}

#[test]
fn small_limits_are_kept_as_configured() {
    let mut options = Http2Options { max_header_bytes: ByteSize(1000), ..Http2Options::default() };
    options.frame_limits.ping = 2;
    let mut server = Server::with(options.clone(), PairOptions::default());
    let ping = frame(PING, 0, 0, [0; 8]);
    let frames = server.round([ping.clone(), ping.clone()].concat());
    assert_eq!((server.outcome_of(&frames), frames.len()), (Ignored, 2));
    let frames = server.round(ping);
    assert_eq!(server.outcome_of(&frames), GoAway(ENHANCE_YOUR_CALM));

    let mut server = Server::with(options, PairOptions::default());
    let large = [block(&GET), block(&[("x", &"y".repeat(1000))])].concat();
    let frames = server.round(frame(HEADERS, END_HEADERS | END_STREAM, 3, large));
    assert_eq!(server.outcome_of(&frames), Answered(3, 431));
}

#[test]
fn many_good_requests_are_no_flood() {
    let mut server = Server::start();
    for at in 0..2000 {
        let stream = 3 + 2 * at;
        let bytes =
            [headers(stream, 0, &POST), data(stream, 0, "x"), window_update(stream, 5), data(stream, END_STREAM, "")];
        let frames = server.round(bytes.concat());
        assert_eq!(server.outcome_of(&frames), Answered(stream, 200));
    }
    // Nor is a client that gives up less than half of what it asks for.
    for at in 2000..3000 {
        let stream = 3 + 2 * at;
        let bytes = headers(stream, END_STREAM, &GET);
        let more = if at % 3 == 0 { reset(stream, CANCEL) } else { Vec::new() };
        let frames = server.round([bytes, more].concat());
        assert!(!matches!(server.outcome_of(&frames), GoAway(_)), "{at}");
    }
}
