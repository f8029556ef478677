//! Peers that send anything at all: nothing panics, nothing waits for ever, and no task outlives its connection.

use std::time::Duration;

use ringway_api::{Body, Chunk};
use ringway_http2::Http2Options;
use ringway_testkit::{PairOptions, Split, conform};

use crate::hpack::{block, indexed_literal};
use crate::server::{GET, POST, Server, with};
use crate::upstream::{OK, Upstream, get, post};
use crate::wire::{
    ACK, CANCEL, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, NO_ERROR, PING, PREFACE,
    PRIORITY, SETTINGS, data, frame, goaway, headers, reset, settings, window_update,
};

const RUNS: u64 = 1500;
/// Longer than any timeout there is.
const ALL_TIME: Duration = Duration::from_secs(24 * 3600);

fn ends(server: &mut Server) {
    server.frames();
    server.sim.block_on(server.io.finish()).ok();
    server.release();
    server.frames();
    server.sim.advance(ALL_TIME);
    assert!(server.ended.borrow().is_some(), "the connection outlives its client");
    assert_eq!((server.sim.tasks(), server.control.pooled()), (0, 0));
}

#[test]
fn clients() {
    let valid = [
        settings(&[(INITIAL_WINDOW_SIZE, 100)]),
        headers(1, END_STREAM, &GET),
        frame(HEADERS, 0, 3, &block(&POST)[..9]),
        frame(CONTINUATION, END_HEADERS, 3, &block(&POST)[9..]),
        data(3, 0, "content"),
        window_update(3, 100),
        window_update(0, 100),
        frame(PRIORITY, 0, 5, [0, 0, 0, 1, 7]),
        headers(3, END_STREAM, &[("x-sum", "1")]),
        frame(HEADERS, END_HEADERS, 5, [block(&GET), indexed_literal(b"x", b"y"), vec![0x80 | 62]].concat()),
        reset(5, CANCEL),
        frame(PING, 0, 0, [0; 8]),
        headers(7, 0, &with(&POST, &[("content-length", "3"), ("expect", "100-continue")])),
        data(7, END_STREAM, "abc"),
        goaway(0, NO_ERROR),
    ]
    .concat();
    let begin = [PREFACE, &settings(&[]), &frame(SETTINGS, ACK, 0, [])].concat();
    for (begin, changed) in [(&begin[..], valid.clone()), (&[], [&begin[..], &valid].concat())] {
        conform::mutations(RUNS, &changed, |bytes| {
            let split = if bytes.len() % 2 == 0 { Split::AsSent } else { Split::Random(40) };
            let pairing = PairOptions { split, ..PairOptions::default() };
            let mut server = Server::silent(Http2Options::default(), pairing);
            server.send([begin, bytes].concat());
            ends(&mut server);
        });
    }
}

#[test]
fn servers() {
    let valid = [
        settings(&[(INITIAL_WINDOW_SIZE, 100)]),
        frame(SETTINGS, ACK, 0, []),
        headers(1, 0, &[(":status", "103"), ("link", "</a>")]),
        headers(1, 0, &[OK[0], ("content-length", "5")]),
        data(1, END_STREAM, "hello"),
        window_update(3, 50_000),
        window_update(0, 100_000),
        frame(HEADERS, 0, 3, &block(&OK)[..4]),
        frame(CONTINUATION, END_HEADERS, 3, &block(&OK)[4..]),
        data(3, 0, "x"),
        headers(3, END_STREAM, &[("grpc-status", "0")]),
        frame(PING, 0, 0, [0; 8]),
        reset(5, CANCEL),
        goaway(5, NO_ERROR),
    ]
    .concat();
    conform::mutations(RUNS, &valid, |bytes| {
        let split = if bytes.len() % 2 == 0 { Split::AsSent } else { Split::Random(40) };
        let mut upstream = Upstream::silent(Http2Options::default(), PairOptions { split, ..PairOptions::default() });
        let exchanges = [get("/"), post(Body::Full(Chunk::from(vec![b'x'; 100_000]))), get("/")]
            .map(|request| upstream.open(request));
        upstream.frames();
        upstream.round(bytes);
        upstream.sim.block_on(upstream.io.finish()).ok();
        upstream.frames();
        upstream.sim.advance(ALL_TIME);
        assert!(exchanges.iter().all(|exchange| exchange.borrow().is_some()), "an exchange outlives its connection");
        assert!(!upstream.is_usable());
        assert_eq!((upstream.sim.tasks(), upstream.control.pooled()), (0, 0));
    });
}
