use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_api::{Action, Blame, Body, BodyError, BodyStream, Chunk, Frame};
use ringway_filters::Buffer;
use serde_json::json;

use crate::world::{Worker, field, frames, options_error, pieces, post, read};

/// Nothing ever comes.
struct Silence;

impl BodyStream for Silence {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        Poll::Pending
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

fn refusal(action: &Action) -> (u16, &'static str) {
    match action {
        Action::Reply(reply) => (reply.status.as_u16(), reply.details),
        other => panic!("{other:?}"),
    }
}

#[test]
fn content_is_collected_before_the_request_goes_on() {
    let worker = Worker::of::<Buffer>(json!({ "max_request_bytes": 10 }));
    let mut asked = post("/", &[], pieces(&[b"abc", b"defg", b"hij"], &[]));
    assert!(matches!(worker.stream().settled(&mut asked), Action::Continue));
    assert_eq!(field(&asked.head.headers, "content-length"), Some("10"));
    assert!(matches!(asked.body, Body::Full(_)));
    assert_eq!(read(asked.body).data, b"abcdefghij");
    assert_eq!(worker.stat("buffered"), 1);

    let mut asked = post("/", &[], pieces(&[b"abc"], &[("x", "y")]));
    assert!(matches!(worker.stream().settled(&mut asked), Action::Continue));
    assert_eq!(field(&asked.head.headers, "content-length"), None, "trailers need chunks");
    let content = read(asked.body);
    assert_eq!((content.data, content.trailers), (b"abc".to_vec(), Some(vec![("x".into(), "y".into())])));

    let mut asked = post("/", &[], pieces(&[], &[]));
    assert!(matches!(worker.stream().settled(&mut asked), Action::Continue));
    assert!(asked.body.is_empty() && field(&asked.head.headers, "content-length") == Some("0"));
    // What is there already needs no wait.
    let mut asked = post("/", &[], Body::Full(Chunk::from("abc")));
    assert!(matches!(worker.stream().request(&mut asked), Action::Continue));
}

#[test]
fn content_that_is_too_long_is_refused() {
    let worker = Worker::of::<Buffer>(json!({ "max_request_bytes": 10 }));
    for body in [Body::Full(Chunk::from("12345678901")), pieces(&[b"123456789", b"01"], &[])] {
        let action = worker.stream().settled(&mut post("/", &[], body));
        assert_eq!(refusal(&action), (413, "request_payload_too_large"));
    }
    assert_eq!((worker.stat("too_large"), worker.stat("buffered")), (2, 0));
}

#[test]
fn content_that_breaks_off_is_answered_as_its_error_says() {
    let worker = Worker::of::<Buffer>(json!({ "max_request_bytes": 10 }));
    let error = BodyError::new(Blame::Downstream, "malformed_chunk");
    let body = frames(vec![Ok(Frame::Data(Chunk::from("a"))), Err(error.clone())]);
    assert_eq!(refusal(&worker.stream().settled(&mut post("/", &[], body))), (400, "malformed_chunk"));
    let body = frames(vec![Err(error.with_status(http::StatusCode::REQUEST_TIMEOUT))]);
    assert_eq!(refusal(&worker.stream().settled(&mut post("/", &[], body))).0, 408);
    assert_eq!(worker.stat("broken"), 2);
}

#[test]
fn a_worker_holds_no_more_than_it_may() {
    let worker = Worker::of::<Buffer>(json!({ "max_request_bytes": 10, "max_total_bytes": 15 }));
    let mut first = post("/", &[], pieces(&[b"0123456789"], &[]));
    assert!(matches!(worker.stream().settled(&mut first), Action::Continue));
    let second = || post("/", &[], pieces(&[b"012345"], &[]));
    assert_eq!(refusal(&worker.stream().settled(&mut second())), (503, "buffer_overflow"));
    // What takes the filter's place counts on.
    let next = Worker::after::<Buffer>(json!({ "max_request_bytes": 10, "max_total_bytes": 15 }), Some(&worker));
    assert_eq!(refusal(&next.stream().settled(&mut second())), (503, "buffer_overflow"));
    drop(first);
    assert!(matches!(next.stream().settled(&mut second()), Action::Continue));
}

#[test]
fn content_that_does_not_come_is_not_awaited_for_ever() {
    let worker = Worker::of::<Buffer>(json!({ "max_request_bytes": 10, "timeout": "2s" }));
    let mut stream = worker.stream();
    let mut asked = post("/", &[], Body::Stream(Box::new(Silence)));
    let Action::Wait(mut wait) = stream.request(&mut asked) else { panic!("it waits") };
    let mut cx = Context::from_waker(Waker::noop());
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    worker.sim.advance(Duration::from_millis(2100));
    let Poll::Ready(resume) = wait.as_mut().poll(&mut cx) else { panic!("the time is up") };
    assert_eq!(refusal(&resume(&mut asked)), (408, "request_body_timeout"));
}

#[test]
fn in_the_shadow_everything_goes_on() {
    let options = json!({ "max_request_bytes": 10, "max_total_bytes": 10, "timeout": "2s", "shadow": true });
    let worker = Worker::of::<Buffer>(options);
    let parts: [&[u8]; 3] = [b"123456789", b"01", b"23"];
    for body in [Body::Full(Chunk::from("1234567890123")), pieces(&parts, &[("x", "y")])] {
        let mut asked = post("/", &[], body);
        assert!(matches!(worker.stream().settled(&mut asked), Action::Continue));
        assert_eq!(read(asked.body).data, b"1234567890123");
    }
    assert_eq!(worker.stat("too_large"), 2);
    let mut held = post("/", &[], pieces(&[b"12345"], &[]));
    worker.stream().settled(&mut held);
    let mut asked = post("/", &[], pieces(&[b"abc", b"defg"], &[]));
    assert!(matches!(worker.stream().settled(&mut asked), Action::Continue));
    assert_eq!((read(asked.body).data, worker.stat("overflow")), (b"abcdefg".to_vec(), 1));
    // What is broken cannot go on.
    let body = frames(vec![Err(BodyError::new(Blame::Downstream, "malformed_chunk"))]);
    assert_eq!(refusal(&worker.stream().settled(&mut post("/", &[], body))).0, 400);

    let mut asked = post("/", &[], Body::Stream(Box::new(Silence)));
    let Action::Wait(mut wait) = worker.stream().request(&mut asked) else { panic!("it waits") };
    let mut cx = Context::from_waker(Waker::noop());
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    worker.sim.advance(Duration::from_millis(2100));
    let Poll::Ready(resume) = wait.as_mut().poll(&mut cx) else { panic!("the time is up") };
    assert!(matches!(resume(&mut asked), Action::Continue));
    assert!(asked.body.poll_frame(&mut cx).is_pending());
}

#[test]
fn wrong_options_are_told() {
    for (options, says) in [
        (json!({}), "max_request_bytes"),
        (json!({ "max_request_bytes": 0 }), "at least 1"),
        (json!({ "max_request_bytes": 10, "max_total_bytes": 9 }), "not less than"),
    ] {
        let error = options_error::<Buffer>(options).unwrap();
        assert!(error.contains(says), "{error}");
    }
}
