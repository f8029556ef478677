use std::time::Duration;

use http::{Method, StatusCode};
use ringway_api::{Blame, Body, BodyError, Chunk, Frame, LocalReply, LocalSource, Response, ResponseFlag};
use ringway_filters::StaleCache;
use serde_json::{Value, json};

use crate::world::{Content, Worker, answer, field, frames, options_error, pieces, read, request};

/// Asks once; the upstream answers with this. What the client sees.
fn ask(worker: &Worker, path: &str, fields: &[(&str, &str)], mut response: Response) -> (Response, Content) {
    let mut stream = worker.stream();
    stream.request(&mut request(Method::GET, path, fields));
    stream.response(&mut response);
    let body = std::mem::take(&mut response.body);
    (response, read(body))
}

fn down() -> Response {
    LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream", "no_healthy_upstream")
        .flag(ResponseFlag::NoHealthyUpstream)
        .response()
}

fn well(text: &[u8], fields: &[(&str, &str)]) -> Response {
    let (first, second) = text.split_at(text.len() / 2);
    let parts: Vec<&[u8]> = [first, second].into_iter().filter(|part| !part.is_empty()).collect();
    answer(200, fields, pieces(&parts, &[]))
}

/// What a client sees while the upstream is down.
fn stale(worker: &Worker, path: &str, fields: &[(&str, &str)]) -> Option<Vec<u8>> {
    let (response, content) = ask(worker, path, fields, down());
    (response.head.status == 200).then_some(content.data)
}

#[test]
fn what_was_there_before_is_served_while_the_upstream_is_down() {
    let worker = Worker::of::<StaleCache>(Value::Null);
    let fields =
        [("content-type", "text/plain"), ("cache-control", "max-age=10"), ("content-length", "5"), ("age", "3")];
    assert_eq!(ask(&worker, "/a", &[], well(b"hello", &fields)).1.data, b"hello");
    assert_eq!(worker.stat("stored"), 1);
    worker.sim.advance(Duration::from_secs(20));
    for failure in [down(), answer(500, &[], Body::Empty), answer(503, &[], Body::Full(Chunk::from("oops")))] {
        let (response, content) = ask(&worker, "/a", &[], failure);
        let headers = &response.head.headers;
        assert_eq!((response.head.status.as_u16(), &*content.data), (200, &b"hello"[..]));
        assert_eq!(response.head.local.as_ref().unwrap().source, LocalSource::Filter);
        assert_eq!(field(headers, "content-type"), Some("text/plain"));
        assert_eq!(field(headers, "age"), Some("23"));
        assert_eq!(field(headers, "cache-status"), Some("ringway; hit; ttl=-13; detail=stale-if-error"));
    }
    assert_eq!(worker.stat("hits_stale"), 3);
    // Nor does another cache keep what this one, or anything else here, answers.
    let other = Worker::of::<StaleCache>(Value::Null);
    let (served, _) = ask(&worker, "/a", &[], down());
    ask(&other, "/a", &[], served);
    assert_eq!(other.stat("stored"), 0);
    // Nothing is served from the cache while the upstream is well, or says what is not its failure.
    assert_eq!(ask(&worker, "/a", &[], answer(404, &[], Body::Empty)).0.head.status, 404);
    assert_eq!(stale(&worker, "/b", &[]), None);
    assert_eq!(worker.stat("misses"), 1);
    // Seven seconds fresh, sixty stale.
    worker.sim.advance(Duration::from_secs(46));
    assert!(stale(&worker, "/a", &[]).is_some());
    worker.sim.advance(Duration::from_secs(2));
    assert_eq!(stale(&worker, "/a", &[]), None);
}

#[test]
fn the_response_may_shorten_the_time_and_a_newer_one_takes_its_place() {
    let worker = Worker::of::<StaleCache>(json!({ "stale_if_error": "60s", "refresh": "5s" }));
    ask(&worker, "/a", &[], well(b"one", &[("cache-control", "stale-if-error=2")]));
    worker.sim.advance(Duration::from_secs(1));
    assert_eq!(stale(&worker, "/a", &[]), Some(b"one".to_vec()));
    worker.sim.advance(Duration::from_secs(2));
    assert_eq!(stale(&worker, "/a", &[]), None);
    ask(&worker, "/a", &[], well(b"two", &[]));
    assert_eq!(worker.stat("stored"), 1, "too soon after the first");
    worker.sim.advance(Duration::from_secs(3));
    ask(&worker, "/a", &[], well(b"three", &[]));
    assert_eq!(stale(&worker, "/a", &[]), Some(b"three".to_vec()));
}

#[test]
fn variants_are_kept_apart() {
    let worker = Worker::of::<StaleCache>(json!({ "refresh": 0 }));
    let german = [("accept-language", "de")];
    let english = [("accept-language", "en")];
    ask(&worker, "/a", &german, well(b"anyone", &[]));
    assert_eq!(stale(&worker, "/a", &english), Some(b"anyone".to_vec()));
    ask(&worker, "/a", &german, well(b"hallo", &[("vary", "Accept-Language")]));
    assert_eq!(stale(&worker, "/a", &german), Some(b"hallo".to_vec()));
    assert_eq!(stale(&worker, "/a", &english), None, "it depends on the language now");
    ask(&worker, "/a", &english, well(b"hello", &[("vary", "accept-language, accept")]));
    assert_eq!(stale(&worker, "/a", &german), Some(b"hallo".to_vec()));
    assert_eq!(stale(&worker, "/a", &english), Some(b"hello".to_vec()));
}

#[test]
fn what_a_shared_cache_must_not_keep_is_not_kept() {
    let fresh: &[(&str, &str)] = &[("cache-control", "max-age=9")];
    for (asked, response) in [
        (&[("authorization", "Basic eA==")][..], well(b"x", fresh)),
        (&[("cookie", "a=b")], well(b"x", fresh)),
        (&[("range", "bytes=0-1")], well(b"x", fresh)),
        (&[("cache-control", "no-store")], well(b"x", fresh)),
        (&[], well(b"x", &[("cache-control", "private")])),
        (&[], well(b"x", &[("cache-control", "max-age=9"), ("cache-control", "no-store")])),
        (&[], well(b"x", &[("vary", "*")])),
        (&[], well(b"x", &[("vary", "user-agent")])),
        (&[], well(b"x", &[("set-cookie", "a=b")])),
        (&[], answer(206, fresh, pieces(&[b"x"], &[]))),
        (&[], answer(301, fresh, pieces(&[b"x"], &[]))),
        (&[], answer(200, fresh, pieces(&[b"x"], &[("t", "u")]))),
        (
            &[],
            answer(
                200,
                fresh,
                frames(vec![Ok(Frame::Data(Chunk::from("x"))), Err(BodyError::new(Blame::Upstream, "reset"))]),
            ),
        ),
        (&[], LocalReply::new(StatusCode::OK, "x", "direct_response").response()),
    ] {
        let worker = Worker::of::<StaleCache>(Value::Null);
        let before = format!("{asked:?} {:?}", response.head);
        ask(&worker, "/a", asked, response);
        assert_eq!(worker.stat("stored"), 0, "{before}");
        assert_eq!(stale(&worker, "/a", &[]), None, "{before}");
    }
    let worker = Worker::of::<StaleCache>(json!({ "ignore_cookies": true }));
    ask(&worker, "/a", &[("cookie", "a=b")], well(b"x", &[]));
    assert!(stale(&worker, "/a", &[("cookie", "c=d")]).is_some());
    assert!(stale(&worker, "/a", &[("cache-control", "no-cache")]).is_none());
    assert!(stale(&worker, "/a", &[("authorization", "x")]).is_none());
    // Nor is it what another method or site asked for.
    let mut stream = worker.stream();
    let mut head = request(Method::HEAD, "/a", &[]);
    stream.request(&mut head);
    let mut response = down();
    stream.response(&mut response);
    assert_eq!(response.head.status, 503);
}

#[test]
fn memory_is_bounded() {
    let worker = Worker::of::<StaleCache>(json!({ "max_bytes": "16KiB", "max_entry_bytes": "6KiB" }));
    let page = vec![b'x'; 4096];
    for path in ["/a", "/b", "/c", "/d"] {
        ask(&worker, path, &[], well(&page, &[]));
    }
    assert_eq!((worker.stat("stored"), worker.stat("evicted")), (4, 1));
    assert_eq!(stale(&worker, "/a", &[]), None);
    assert_eq!(stale(&worker, "/d", &[]), Some(page.clone()));
    // Too long, known beforehand or not.
    let long = vec![b'x'; 7000];
    ask(&worker, "/e", &[], well(&long, &[]));
    ask(&worker, "/e", &[], answer(200, &[], Body::Full(Chunk::from(long))));
    assert_eq!((worker.stat("stored"), worker.stat("not_stored")), (4, 2));
    // A filter that takes its place keeps what there is room for.
    let next = Worker::after::<StaleCache>(json!({ "max_bytes": "6KiB", "max_entry_bytes": "6KiB" }), Some(&worker));
    assert_eq!(next.stat("evicted"), 2);
    assert_eq!(stale(&next, "/d", &[]), Some(page));
    let other = Worker::after::<StaleCache>(json!({ "ignore_cookies": true }), Some(&next));
    assert_eq!(stale(&other, "/d", &[]), None, "kept by other rules");
}

#[test]
fn wrong_options_are_told() {
    for (options, says) in [
        (json!({ "max_bytes": 1 }), "not less than max_entry_bytes"),
        (json!({ "vary": ["a b"] }), "vary"),
        (json!({ "on": [] }), "at least one"),
    ] {
        let error = options_error::<StaleCache>(options).unwrap();
        assert!(error.contains(says), "{error}");
    }
}
