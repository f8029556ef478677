//! Flow control towards servers (RFC 9113, section 6.9).

use ringway_api::{Body, ByteSize, Chunk};
use ringway_http2::Http2Options;
use ringway_testkit::PairOptions;

use crate::upstream::Came::{Broken, Nothing, Whole};
use crate::upstream::Said::{GoAway, Reset};
use crate::upstream::{Never, OK, Upstream, came_of, check, get, post, said_in};
use crate::wire::{
    DATA, END_STREAM, FLOW_CONTROL_ERROR, Frame, INITIAL_WINDOW_SIZE, PROTOCOL_ERROR, WINDOW_UPDATE, data, headers,
    settings, window_update,
};

const LARGE: usize = 200_000;

fn content(frames: &[Frame], stream: u32) -> usize {
    frames.iter().filter(|frame| frame.is(DATA, stream)).map(|frame| frame.payload.len()).sum()
}

fn large() -> Body {
    Body::Full(Chunk::from(vec![b'x'; LARGE]))
}

#[test]
fn no_more_is_sent_than_the_server_allows() {
    let mut upstream = Upstream::start();
    let exchange = upstream.open(post(large()));
    let mut frames = upstream.frames();
    assert_eq!(content(&frames, 1), 65_535);
    frames = upstream.round(window_update(1, 100));
    assert_eq!(content(&frames, 1), 0, "the connection's window is used up");
    frames = upstream.round(window_update(0, 50));
    assert_eq!(content(&frames, 1), 50);
    frames = upstream.round([window_update(0, 1 << 20), settings(&[(INITIAL_WINDOW_SIZE, 100_000)])].concat());
    assert_eq!(content(&frames, 1), 100_000 - 65_535 + 50);
    frames = upstream.round(window_update(1, 1 << 20));
    assert_eq!(content(&frames, 1), LARGE - 100_000 - 100);
    assert!(frames.last().is_some_and(Frame::ends_stream));
    assert!(frames.iter().all(|frame| frame.payload.len() <= 16_384));
    upstream.round(headers(1, END_STREAM, &OK));
    assert_eq!(came_of(&exchange), Whole(200));
}

#[test]
fn a_stream_that_waits_does_not_hold_up_another() {
    let mut upstream = Upstream::start();
    upstream.round(window_update(0, 1 << 20));
    let slow = upstream.open(post(large()));
    assert_eq!(content(&upstream.frames(), 1), 65_535);
    let quick = upstream.open(post(Body::Full(Chunk::from("quick"))));
    let frames = upstream.frames();
    assert_eq!(content(&frames, 3), 5);
    upstream.round(headers(3, END_STREAM, &OK));
    assert_eq!((came_of(&slow), came_of(&quick)), (Nothing, Whole(200)));
}

#[test]
fn windows_that_the_server_overflows() {
    let mut upstream = Upstream::start();
    let exchange = upstream.open(post(Body::Stream(Box::new(Never))));
    let other = upstream.open(get("/"));
    upstream.frames();
    let frames = upstream.round(window_update(1, (1 << 31) - 1));
    assert_eq!((came_of(&exchange), said_in(&frames)), (Broken, Reset(FLOW_CONTROL_ERROR)));
    upstream.round(headers(3, END_STREAM, &OK));
    assert_eq!(came_of(&other), Whole(200));
    check("a stream's, by nothing", window_update(1, 0), Broken, GoAway(PROTOCOL_ERROR));
}

#[test]
fn no_more_is_taken_than_was_allowed() {
    let options = Http2Options { initial_connection_window: ByteSize(65_535), ..Http2Options::default() };
    let mut upstream = Upstream::with(options, PairOptions::default());
    // Nobody reads the content: the exchange stands still at its head.
    let mut exchange = upstream.client.open(get("/"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    use ringway_api::UpstreamConn as _;
    assert!(exchange.poll_head(&mut cx).is_pending());
    upstream.frames();
    let full = [headers(1, 0, &OK), vec![data(1, 0, [b'x'; 16_384]); 3].concat(), data(1, 0, [b'x'; 16_383])].concat();
    let frames = upstream.round(full);
    assert!(frames.iter().all(|frame| frame.kind != WINDOW_UPDATE), "nothing is given back: {frames:?}");
    let frames = upstream.round(data(1, 0, "x"));
    assert_eq!(said_in(&frames), GoAway(FLOW_CONTROL_ERROR));
    assert!(upstream.control.has_ended());
}

#[test]
fn windows_are_given_back_as_content_is_taken() {
    let mut upstream = Upstream::start();
    let exchange = upstream.open(get("/"));
    upstream.frames();
    upstream.round(headers(1, 0, &OK));
    let mut given = 0;
    for _ in 0..100 {
        let frames = upstream.round(data(1, 0, [b'x'; 16_384]));
        let updates = frames.iter().filter(|frame| frame.is(WINDOW_UPDATE, 1));
        given += updates.map(|frame| u64::from(frame.number(0))).sum::<u64>();
    }
    assert!(given > 100 * 16_384 - 65_536, "{given}");
    upstream.round(data(1, END_STREAM, ""));
    assert_eq!(exchange.borrow().as_ref().unwrap().as_ref().unwrap().body.len(), 100 * 16_384);
}
