//! Flow control, in both directions (RFC 9113, sections 5.2 and 6.9).

use ringway_api::ByteSize;
use ringway_http2::Http2Options;
use ringway_testkit::PairOptions;

use crate::server::Outcome::{self, Answered, GoAway, Ignored};
use crate::server::{GET, HELD, HOLD, LARGE, POST, Server, check};
use crate::wire::{
    CANCEL, DATA, END_STREAM, FLOW_CONTROL_ERROR, Frame, INITIAL_WINDOW_SIZE, PADDED, PROTOCOL_ERROR, RST_STREAM,
    WINDOW_UPDATE, data, frame, headers, reset, settings, window_update,
};

const MOST: u32 = (1 << 31) - 1;
const LARGE_GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/large"), (":authority", "a.example")];

fn content(frames: &[Frame], stream: u32) -> usize {
    frames.iter().filter(|frame| frame.is(DATA, stream)).map(|frame| frame.payload.len()).sum()
}

#[test]
fn window_updates_that_break_a_rule() {
    let cases: &[(&str, Vec<u8>, Outcome)] = &[
        ("0 for the connection", window_update(0, 0), GoAway(PROTOCOL_ERROR)),
        // A stream error as RFC 9113 has it; an endpoint may always end the connection (section 5.4.1).
        ("0 for a stream", window_update(HELD, 0), GoAway(PROTOCOL_ERROR)),
        ("0 but for the reserved bit", window_update(0, 1 << 31), GoAway(PROTOCOL_ERROR)),
        ("too much for the connection", window_update(0, MOST), GoAway(FLOW_CONTROL_ERROR)),
        (
            "too much in two steps",
            [window_update(0, MOST - 65_535), window_update(0, 1)].concat(),
            GoAway(FLOW_CONTROL_ERROR),
        ),
        (
            "as much as there is",
            [window_update(0, MOST - 65_535), window_update(HELD, MOST - 65_535)].concat(),
            Ignored,
        ),
        ("the reserved bit", window_update(0, 1 << 31 | 5), Ignored),
    ];
    for (what, bytes, expected) in cases {
        check(what, bytes, *expected);
    }
}

#[test]
fn too_much_for_a_stream_ends_it_alone() {
    let open = headers(3, END_STREAM, &HOLD);
    check("at once", [open.clone(), window_update(3, MOST)].concat(), Outcome::Reset(3, FLOW_CONTROL_ERROR));
    // A change of the initial window concerns all streams, so it is an error of the connection.
    let raise = [open, window_update(3, MOST - 65_535), settings(&[(INITIAL_WINDOW_SIZE, 65_536)])].concat();
    check("by settings", raise, GoAway(FLOW_CONTROL_ERROR));
}

#[test]
fn no_more_is_sent_than_the_client_allows() {
    let mut server = Server::start();
    let first = server.round(headers(3, END_STREAM, &LARGE_GET));
    assert_eq!(server.outcome_of(&first), Answered(3, 200));
    assert_eq!(content(&first, 3), 65_535, "both windows");
    let frames = server.round(window_update(3, 1000));
    assert_eq!(content(&frames, 3), 0, "the connection's window is used up");
    let frames = server.round(window_update(0, 600));
    assert_eq!(content(&frames, 3), 600);
    // Another stream has a window of its own, and shares the connection's.
    let frames = server.round([headers(5, END_STREAM, &LARGE_GET), window_update(0, 10_000)].concat());
    let (three, five) = (content(&frames, 3), content(&frames, 5));
    assert_eq!((three <= 400, three + five), (true, 10_000), "{three} and {five}");
    // Without content nothing is waited for.
    let bodiless = [(":method", "HEAD"), GET[1], GET[2], GET[3]];
    let frames = server.round(headers(7, END_STREAM, &bodiless));
    assert_eq!(server.outcome_of(&frames), Answered(7, 200));
    let frames =
        server.round([window_update(3, MOST / 2), window_update(5, MOST / 2), window_update(0, MOST / 2)].concat());
    let rest = 2 * LARGE - 65_535 - 600 - 10_000;
    assert_eq!(content(&frames, 3) + content(&frames, 5), rest);
    assert_eq!(frames.iter().filter(|frame| frame.kind == DATA && frame.ends_stream()).count(), 2);
}

#[test]
fn what_a_reset_stream_left_over_is_for_the_others() {
    let mut server = Server::start();
    // Two streams wait for the connection's window; the one that goes leaves it to the other.
    server.round(headers(3, END_STREAM, &LARGE_GET));
    server.round([headers(5, END_STREAM, &LARGE_GET), reset(3, CANCEL)].concat());
    let frames = server.round(window_update(0, 5000));
    assert_eq!((content(&frames, 3), content(&frames, 5)), (0, 5000));
}

#[test]
fn no_more_is_taken_than_was_allowed() {
    // The handler does not read: 64 KiB is the window of a stream.
    let fill = [headers(3, 0, &HOLD), vec![data(3, 0, [b'x'; 16_384]); 4].concat()].concat();
    check("the whole window", &fill, Ignored);
    check("a byte more", [fill.clone(), data(3, 0, "x")].concat(), Outcome::Reset(3, FLOW_CONTROL_ERROR));
    // Padding counts.
    let padded = frame(DATA, PADDED, 3, [0]);
    check("a byte of padding more", [fill, padded].concat(), Outcome::Reset(3, FLOW_CONTROL_ERROR));
}

#[test]
fn the_window_of_the_connection_is_kept_as_well() {
    let options = Http2Options { initial_connection_window: ByteSize(100_000), ..Http2Options::default() };
    let mut server = Server::with(options, PairOptions::default());
    server.round(headers(HELD, 0, &HOLD));
    server.round(headers(3, 0, &HOLD));
    for stream in [HELD, 3] {
        let frames = server.round(vec![data(stream, 0, [b'x'; 16_384]); 3].concat());
        assert_eq!(server.outcome_of(&frames), Ignored);
    }
    let frames = server.round(data(3, 0, [b'x'; 2000]));
    assert_eq!(server.outcome_of(&frames), GoAway(FLOW_CONTROL_ERROR), "100,304 bytes");
    server.assert_closed("the connection's window");
}

#[test]
fn windows_are_given_back_as_content_is_taken() {
    let mut server = Server::start();
    // Nobody reads the held stream: nothing is given back.
    server.round(headers(HELD, 0, &HOLD));
    let frames = server.round(vec![data(HELD, 0, [b'x'; 16_384]); 4].concat());
    assert!(frames.iter().all(|frame| frame.kind != WINDOW_UPDATE), "{frames:?}");
    // This one is read.
    server.round(headers(3, 0, &POST));
    let mut given = [0_u64; 2];
    for _ in 0..256 {
        for frame in server.round(data(3, 0, [b'x'; 16_384])) {
            if frame.kind == WINDOW_UPDATE {
                given[usize::from(frame.stream == 3)] += u64::from(frame.number(0));
            }
            assert!(frame.kind != RST_STREAM, "{frame:?}");
        }
    }
    let sent = 256 * 16_384;
    assert!(given[1] > sent - 65_536 && given[1] <= sent * 2, "the stream's: {} of {sent}", given[1]);
    assert!(given[0] > sent - (1 << 20), "the connection's: {} of {sent}", given[0]);
    server.round(data(3, END_STREAM, ""));
    assert_eq!(server.log.borrow().requests[0].body.len() as u64, sent);
}

#[test]
fn content_for_a_stream_that_is_gone_does_not_use_up_the_connection() {
    let options = Http2Options { initial_connection_window: ByteSize(65_535), ..Http2Options::default() };
    let mut server = Server::with(options, PairOptions::default());
    server.round(headers(HELD, 0, &HOLD));
    let mut given = 0;
    for at in 0..20 {
        let stream = 3 + 2 * at;
        let bytes = [headers(stream, 0, &HOLD), data(stream, 0, [b'x'; 16_384]), reset(stream, CANCEL)].concat();
        let frames = server.round(bytes);
        let updates = frames.iter().filter(|frame| frame.is(WINDOW_UPDATE, 0));
        given += updates.map(|frame| u64::from(frame.number(0))).sum::<u64>();
    }
    assert!(given >= 20 * 16_384 - 65_535, "{given}");
    server.assert_alive("reset with content");
}
