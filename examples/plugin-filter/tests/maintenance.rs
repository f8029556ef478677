//! The filter as Ringway sees it: through its specification, with the options as they stand in a configuration.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::rc::Rc;
use std::time::Duration;

use http::{Method, StatusCode};
use ringway_api::{
    Action, DynFilter, FilterCx, FilterSpec, FilterStats, Request, RequestHead, Response, ResponseHead, StreamCx,
};
use ringway_plugins::Maintenance;
use ringway_testkit::{Sim, test_conn};
use serde_json::json;

const SPEC: FilterSpec = FilterSpec::of::<Maintenance>();

fn filter(options: serde_json::Value, cx: &StreamCx) -> (Rc<dyn DynFilter>, FilterStats) {
    let stats = FilterStats::new(SPEC.stats.len());
    let build = FilterCx { env: Rc::clone(&cx.conn.env), stats: stats.clone(), workers: 1 };
    ((SPEC.build)((SPEC.compile)(options).unwrap(), None, build).unwrap(), stats)
}

fn get(path: &str) -> Request {
    Request { head: RequestHead::new(Method::GET, "example.com", path), ..Request::default() }
}

#[test]
fn closed_paths_are_answered_and_others_are_timed() {
    let sim = Sim::new(1);
    let cx = StreamCx::new(test_conn(&sim));
    let (filter, stats) = filter(json!({ "closed": ["/shop"] }), &cx);
    for (path, closed) in [("/shop", true), ("/shop/cart?x", true), ("/shopping", false), ("/", false)] {
        let mut stream = Rc::clone(&filter).stream();
        let action = stream.on_request(&mut get(path), &cx);
        match action {
            Action::Reply(reply) if closed => assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE),
            Action::Continue if !closed => {}
            other => panic!("{path}: {other:?}"),
        }
        sim.advance(Duration::from_millis(3));
        let mut response = Response { head: ResponseHead::new(StatusCode::OK), ..Response::default() };
        stream.on_response(&mut response, &cx);
        assert_eq!(response.head.headers.first("x-took-us"), Some(&b"3000"[..]));
    }
    assert_eq!(stats.cells()[0].value(), 2, "both closed paths were counted");
}

#[test]
fn options_are_checked_when_they_are_read() {
    for (options, says) in [
        (json!({ "closed": ["shop"] }), "must begin with `/`"),
        (json!({ "closed": [], "open": [] }), "unknown field `open`"),
        (json!({}), "missing field `closed`"),
    ] {
        let error = (SPEC.compile)(options).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}
