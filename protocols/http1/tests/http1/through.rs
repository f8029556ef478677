//! Server and client back to back: what comes in on one side goes out on the other.

use std::future::poll_fn;
use std::rc::Rc;

use ringway_api::{Body, BodyStart, ExchangeEvent, Response, UpstreamConn};
use ringway_http1::Http1Options;
use ringway_testkit::{Answer, PairOptions, Split, TestHandler};

use crate::world::{Server, Upstream, undated};

/// A server whose handler forwards to an upstream that the test plays. Each has its own clock.
pub(crate) fn chain(split: Split, capacity: usize) -> (Server, Upstream) {
    let pairing = PairOptions { split, capacity, seed: 5, ..PairOptions::default() };
    let up = Upstream::with(Http1Options::default(), pairing);
    (Server::with(forwarder(&up), Http1Options::default(), pairing), up)
}

/// A handler that forwards every request to `up`.
pub(crate) fn forwarder(up: &Upstream) -> TestHandler {
    let client = Rc::clone(&up.client);
    TestHandler::with(move |request, cx, _| {
        let mut exchange = client.open(request);
        Box::pin(async move {
            loop {
                match poll_fn(|task| exchange.poll_head(task)).await {
                    Ok(ExchangeEvent::Interim(head)) => cx.send_interim(head),
                    Ok(ExchangeEvent::Final(head, start)) => {
                        let body = match start {
                            BodyStart::Complete(body) => body,
                            BodyStart::Streaming => Body::Stream(exchange),
                        };
                        return Answer { response: Response { head, body }, close: false };
                    }
                    Err(_) => return Answer::text(http::StatusCode::BAD_GATEWAY, ""),
                }
            }
        })
    })
}

/// Runs both until nothing moves, and returns what each end got.
pub(crate) fn settle(server: &mut Server, up: &mut Upstream) -> (String, String) {
    let (mut down, mut upstream) = (String::new(), String::new());
    for _ in 0..400 {
        up.sim.run_until_quiet();
        upstream.push_str(&undated(&up.io.recv_now()));
        down.push_str(&server.quiet());
    }
    (down, upstream)
}

#[test]
fn messages_pass_through_whole_however_they_are_cut() {
    for split in [Split::AsSent, Split::Fixed(1), Split::Random(30)] {
        let (mut server, mut up) = chain(split, 1 << 16);
        let request =
            "POST /p HTTP/1.1\r\nHost: a\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n\r\n";
        server.sim.block_on(server.io.send(request)).unwrap();
        let (_, sent) = settle(&mut server, &mut up);
        assert!(
            sent.starts_with("POST /p HTTP/1.1\r\nhost: a\r\nX: y\r\ntransfer-encoding: chunked\r\n\r\n"),
            "{sent}"
        );
        assert!(sent.ends_with("0\r\nT: 1\r\n\r\n"), "{sent}");
        let response = "HTTP/1.1 103 Early Hints\r\nLink: z\r\n\r\nHTTP/1.1 201 Created\r\n\
                        Transfer-Encoding: chunked\r\n\r\n3\r\nfoo\r\n3\r\nbar\r\n0\r\nS: 2\r\n\r\n";
        server.sim.block_on(up.io.send(response)).unwrap();
        let (got, _) = settle(&mut server, &mut up);
        assert!(got.starts_with("HTTP/1.1 103 Early Hints\r\nLink: z\r\n\r\nHTTP/1.1 201 Created\r\n"), "{got}");
        assert!(got.ends_with("0\r\nS: 2\r\n\r\n"), "{got}");
        assert!(up.is_reusable() && !server.is_over());
    }
}

#[test]
fn a_stalled_client_stalls_its_upstream_within_bounds() {
    let (mut server, up) = chain(Split::AsSent, 8 << 10);
    server.sim.block_on(server.io.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
    server.sim.run_until_quiet();
    let Upstream { mut io, control, .. } = up;
    let feeding = server.sim.spawn_with_result(async move {
        io.recv_until(b"\r\n\r\n").await;
        io.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await.unwrap();
        for _ in 0..1000 {
            io.send([b'x'; 1000]).await.unwrap();
        }
        io.recv_until(b"never").await;
    });
    server.sim.run_until_quiet();
    assert!(control.received() < 40 << 10, "{} bytes read for a client that takes none", control.received());
    let mut got = 0;
    while got < 1_000_000 {
        let now = server.quiet().matches('x').count();
        assert!(now > 0);
        got += now;
    }
    assert_eq!((got, feeding.borrow().is_none()), (1_000_000, true));
}
