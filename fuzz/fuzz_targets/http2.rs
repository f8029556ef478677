//! HTTP/2: any bytes of a peer end in order or in a refusal, on either side. Nothing panics, nothing waits for ever, and
//! no task outlives its connection.
//!
//! The first byte chooses: bit 0 the side that is tried, bit 1 whether the peer begins as it should, the rest how the
//! bytes are cut.
#![no_main]

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use ringway_api::{
    Body, BodyStart, Chunk, Exchange, ExchangeEvent, Protocol, Request, RequestHead, UpstreamConn,
};
use ringway_http2::{Http2, Http2Options};
use ringway_testkit::{Answer, PairOptions, Sim, Split, TestHandler, pair, test_conn};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Empty settings, and the acknowledgement of ours.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
/// Longer than any timeout there is.
const ALL_TIME: Duration = Duration::from_secs(24 * 3600);

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let split = match choice >> 2 {
        0 => Split::AsSent,
        size => Split::Fixed(usize::from(size)),
    };
    let options = PairOptions { split, capacity: 1 << 20, ..PairOptions::default() };
    let sim = Sim::new(1);
    let begins = choice & 2 != 0;
    if choice & 1 == 0 {
        serve(&sim, options, if begins { &[PREFACE, SETTINGS] } else { &[] }, bytes);
    } else {
        connect(&sim, options, if begins { &[SETTINGS] } else { &[] }, bytes);
    }
    sim.advance(ALL_TIME);
    assert_eq!(sim.tasks(), 0, "something is still waiting");
});

fn serve(sim: &Sim, options: PairOptions, begin: &[&[u8]], bytes: &[u8]) {
    let (mut peer, io) = pair(options);
    let handler = TestHandler::new(|request| {
        let body = Body::Full(Chunk::copy_from(request.target.as_bytes()));
        Answer::body(StatusCode::OK, body)
    });
    let ended = sim.spawn_with_result(Http2::serve(Arc::new(Http2Options::default()), io, handler, test_conn(sim)));
    sim.block_on(async {
        peer.send(begin.concat()).await.ok();
        peer.send(bytes).await.ok();
    });
    sim.run_until_quiet();
    peer.recv_now();
    drop(peer);
    sim.run_until_quiet();
    assert!(ended.borrow().is_some(), "the connection outlives its client");
}

fn connect(sim: &Sim, options: PairOptions, begin: &[&[u8]], bytes: &[u8]) {
    let (io, mut peer) = pair(options);
    let conn = test_conn(sim);
    let client = sim.block_on(Http2::connect(Arc::new(Http2Options::default()), io, conn)).expect("nothing was sent");
    for (method, body) in [
        (Method::GET, Body::Empty),
        (Method::POST, Body::Full(Chunk::from(vec![b'x'; 100_000]))),
        (Method::HEAD, Body::Empty),
    ] {
        let head = RequestHead::new(method, "a.example", "/");
        sim.spawn(complete(client.open(Request { head, body })));
    }
    sim.run_until_quiet();
    sim.block_on(async {
        peer.send(begin.concat()).await.ok();
        peer.send(bytes).await.ok();
    });
    sim.run_until_quiet();
    peer.recv_now();
    drop((peer, client));
}

async fn complete(mut exchange: Box<dyn Exchange>) {
    let mut body = loop {
        match poll_fn(|cx| exchange.poll_head(cx)).await {
            Ok(ExchangeEvent::Interim(_)) => {}
            Ok(ExchangeEvent::Final(_, BodyStart::Complete(body))) => break body,
            Ok(ExchangeEvent::Final(_, BodyStart::Streaming)) => break Body::Stream(exchange),
            Err(_) => return,
        }
    };
    while let Some(Ok(_)) = poll_fn(|cx| body.poll_frame(cx)).await {}
}
