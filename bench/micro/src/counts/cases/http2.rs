//! An exchange over HTTP/2, both ends ours: fields through HPACK both ways (RFC 7541), frames, flow control.

use std::future::poll_fn;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use http::Method;
use ringway_api::{
    Body, BodyStart, Chunk, ExchangeEvent, Frame, Handler, LocalReply, Observer, Protocol, Reply, Request, RequestHead,
    Response, ResponseHead, StreamCx, StreamEnd, UpstreamConn,
};
use ringway_http2::{Client, Http2, Http2Options};
use ringway_testkit::{PairOptions, Sim, pair, test_conn};

use super::measured;

const FIELDS: [(&str, &str); 6] = [
    ("user-agent", "bench/1.0"),
    ("accept", "*/*"),
    ("accept-encoding", "gzip, br"),
    ("cookie", "session=8f14e45fceea167a5a36dedd4bea2543"),
    ("x-request-id", "7f8a0c1e-2b7d-4c1a-9a52-0d8f6f1f2a11"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
];

/// Answers everything with six fields and a little content.
#[derive(Clone)]
struct Answers;

struct Unobserved;

/// Six request fields, six response fields, 13 bytes of content.
pub(super) fn exchange(times: u64) -> Result<()> {
    let sim = Sim::new(1);
    let (near, far) = pair(PairOptions::default());
    let serving = Http2::serve(Arc::new(Http2Options::default()), far, Answers, test_conn(&sim));
    sim.spawn(async { drop(serving.await) });
    let client = sim.block_on(Http2::connect(Arc::new(Http2Options::default()), near, test_conn(&sim)));
    let client = client.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let once = || sim.block_on(ask(&client)).unwrap_or_default();
    ensure!(once() == 13, "no answer");
    let mut failed = 0;
    measured(times, || failed += u64::from(once() != 13));
    sim.stop();
    ensure!(failed == 0, "{failed} of {times} failed");
    Ok(())
}

async fn ask(client: &Client) -> Result<usize> {
    let mut head = RequestHead::new(Method::GET, "app.example.com", "/api/v1/items/4711?expand=all");
    FIELDS.iter().try_for_each(|(name, value)| head.headers.append(name, value.as_bytes()))?;
    let mut exchange = client.open(Request { head, body: Body::Empty });
    let mut body = loop {
        match poll_fn(|cx| exchange.poll_head(cx)).await.ok().context("no response")? {
            ExchangeEvent::Interim(_) => {}
            ExchangeEvent::Final(_, BodyStart::Complete(body)) => break body,
            ExchangeEvent::Final(_, BodyStart::Streaming) => break Body::Stream(exchange),
        }
    };
    let mut length = 0;
    while let Some(Ok(Frame::Data(chunk))) = poll_fn(|cx| body.poll_frame(cx)).await {
        length += chunk.len();
    }
    Ok(length)
}

fn answer() -> Reply<Unobserved> {
    let mut head = ResponseHead::default();
    // They are valid.
    let _added = FIELDS.iter().try_for_each(|(name, value)| head.headers.append(name, value.as_bytes()));
    let response = Response { head, body: Body::Full(Chunk::from("hello, world\n")) };
    Reply { response, observer: Unobserved, close: false, reset: false }
}

impl Handler for Answers {
    type Observer = Unobserved;

    async fn handle(&self, request: Request, _: &StreamCx) -> Reply<Unobserved> {
        drop(request);
        answer()
    }

    fn refuse(&self, _: LocalReply, _: &StreamCx) -> Reply<Unobserved> {
        answer()
    }
}

impl Observer for Unobserved {
    fn finish(self, _: &StreamEnd) {}
}
