//! A handler that writes down what it is given.

use std::cell::RefCell;
use std::rc::Rc;

use http::{Method, StatusCode};
use ringway_api::{
    Body, BodyError, Chunk, Frame, Handler, Headers, LocalBoxFuture, LocalReply, Observer, Reply, Request, Response,
    ResponseHead, StreamCx, StreamEnd, Version,
};

/// Answers with what a function makes of each request, and logs. Cloning shares the log.
pub struct TestHandler {
    answer: Rc<AnswerFn>,
    log: Rc<RefCell<TestLog>>,
}

type AnswerFn = dyn for<'a> Fn(Request, &'a StreamCx, Rc<RefCell<TestLog>>) -> LocalBoxFuture<'a, Answer>;

/// What a handler saw.
#[derive(Debug, Default)]
pub struct TestLog {
    /// The requests, in the order they were given to the handler.
    pub requests: Vec<Recorded>,
    /// What was refused before it became a request.
    pub refused: Vec<LocalReply>,
    /// The ends of streams in order; `None` when one was cancelled.
    pub ends: Vec<Option<StreamEnd>>,
    /// Requests whose handling was dropped before an answer.
    pub cancelled: usize,
}

/// A message in plain types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The method.
    pub method: Method,
    /// The version it arrived in.
    pub version: Version,
    /// The authority.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// The fields; bytes above 0x7f are shown as in Latin-1.
    pub headers: Vec<(String, String)>,
    /// The content, as far as it came.
    pub body: Vec<u8>,
    /// The trailer fields.
    pub trailers: Vec<(String, String)>,
    /// What ended the content early.
    pub error: Option<BodyError>,
}

/// A response, and whether to close after it.
#[derive(Debug)]
pub struct Answer {
    /// The response.
    pub response: Response,
    /// Close the connection.
    pub close: bool,
}

/// Logs the end of a stream.
#[derive(Debug)]
pub struct TestObserver(Option<Rc<RefCell<TestLog>>>);

struct CancelGuard(Option<Rc<RefCell<TestLog>>>);

// === impl TestHandler ===

impl TestHandler {
    /// A handler that reads each request to its end, logs it, and answers with what `answer` makes of it.
    pub fn new(answer: impl Fn(&Recorded) -> Answer + 'static) -> Self {
        let answer = Rc::new(answer);
        Self::with(move |request, _, log| {
            let answer = Rc::clone(&answer);
            Box::pin(async move {
                let recorded = collect(request).await;
                let reply = answer(&recorded);
                log.borrow_mut().requests.push(recorded);
                reply
            })
        })
    }

    /// A handler that does whatever `answer` does; only refusals and ends are logged by itself.
    pub fn with(
        answer: impl for<'a> Fn(Request, &'a StreamCx, Rc<RefCell<TestLog>>) -> LocalBoxFuture<'a, Answer> + 'static,
    ) -> Self {
        Self { answer: Rc::new(answer), log: Rc::default() }
    }

    /// A handler that answers everything with 200 and `body`.
    pub fn fixed(body: &'static str) -> Self {
        Self::new(move |_| Answer::text(StatusCode::OK, body))
    }

    /// What it saw.
    pub fn log(&self) -> Rc<RefCell<TestLog>> {
        Rc::clone(&self.log)
    }
}

impl Clone for TestHandler {
    fn clone(&self) -> Self {
        Self { answer: Rc::clone(&self.answer), log: Rc::clone(&self.log) }
    }
}

impl Handler for TestHandler {
    type Observer = TestObserver;

    async fn handle(&self, request: Request, cx: &StreamCx) -> Reply<TestObserver> {
        let mut guard = CancelGuard(Some(Rc::clone(&self.log)));
        let answer = (self.answer)(request, cx, Rc::clone(&self.log)).await;
        guard.0 = None;
        Reply {
            response: answer.response,
            observer: TestObserver(Some(Rc::clone(&self.log))),
            close: answer.close,
            reset: false,
        }
    }

    fn refuse(&self, why: LocalReply, _: &StreamCx) -> Reply<TestObserver> {
        let response = why.response();
        self.log.borrow_mut().refused.push(why);
        Reply { response, observer: TestObserver(Some(Rc::clone(&self.log))), close: true, reset: false }
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(log) = self.0.take() {
            log.borrow_mut().cancelled += 1;
        }
    }
}

impl Observer for TestObserver {
    fn finish(mut self, end: &StreamEnd) {
        if let Some(log) = self.0.take() {
            log.borrow_mut().ends.push(Some(end.clone()));
        }
    }
}

impl Drop for TestObserver {
    fn drop(&mut self) {
        if let Some(log) = self.0.take() {
            log.borrow_mut().ends.push(None);
        }
    }
}

// === impl Answer ===

impl Answer {
    /// A response with this body in one piece.
    pub fn text(status: StatusCode, body: &'static str) -> Self {
        let body = if body.is_empty() { Body::Empty } else { Body::Full(Chunk::from(body)) };
        Self { response: Response { head: ResponseHead::new(status), body }, close: false }
    }

    /// A response with this body, whatever kind it is.
    pub fn body(status: StatusCode, body: Body) -> Self {
        Self { response: Response { head: ResponseHead::new(status), body }, close: false }
    }

    /// The same with one more field; one that is no valid field is left out.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let added = self.response.head.headers.append(name, value.as_bytes());
        assert!(added.is_ok(), "{name}: {value}");
        self
    }

    /// The same, closing the connection.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }
}

// === impl Recorded ===

impl Recorded {
    /// The first value of a field, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The parts of a head, without a body.
    pub fn of_fields(headers: &Headers) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| bytes.iter().map(|b| char::from(*b)).collect::<String>();
        headers.iter().map(|(name, value)| (text(name), text(value))).collect()
    }
}

/// Reads a request to the end of its content.
pub async fn collect(request: Request) -> Recorded {
    let head = &request.head;
    let mut recorded = Recorded {
        method: head.method.clone(),
        version: head.version,
        authority: String::from_utf8_lossy(head.authority()).into_owned(),
        target: String::from_utf8_lossy(head.path_and_query()).into_owned(),
        headers: Recorded::of_fields(&head.headers),
        ..Recorded::default()
    };
    let mut body = request.body;
    while let Some(frame) = std::future::poll_fn(|cx| body.poll_frame(cx)).await {
        match frame {
            Ok(Frame::Data(chunk)) => recorded.body.extend_from_slice(&chunk),
            Ok(Frame::Trailers(trailers)) => recorded.trailers = Recorded::of_fields(&trailers),
            Err(error) => {
                recorded.error = Some(error);
                break;
            }
        }
    }
    recorded
}
