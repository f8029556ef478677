//! A server with a test at the other end of its connection, and a client likewise.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use http::{Method, StatusCode};
use ringway_api::{
    Body, BodyStart, Chunk, ConnCx, ConnError, Exchange, ExchangeError, ExchangeEvent, Frame, Protocol, Request,
    RequestHead, ResponseHead, UpstreamConn,
};
use ringway_http1::{Client, Http1, Http1Options};
use ringway_testkit::{Control, MemoryIo, PairOptions, Recorded, Sim, TestHandler, TestLog, pair, test_conn};

/// A server's connection, with the test as its client.
pub(crate) struct Server {
    pub(crate) sim: Sim,
    pub(crate) io: MemoryIo,
    /// The server's end.
    pub(crate) control: Control,
    pub(crate) log: Rc<RefCell<TestLog>>,
    pub(crate) conn: Rc<ConnCx>,
    pub(crate) ended: Rc<RefCell<Option<Result<(), ConnError>>>>,
}

impl Server {
    pub(crate) fn start(handler: TestHandler) -> Self {
        Self::with(handler, Http1Options::default(), PairOptions::default())
    }

    pub(crate) fn with(handler: TestHandler, options: Http1Options, pairing: PairOptions) -> Self {
        let sim = Sim::new(1);
        let conn = test_conn(&sim);
        let (io, far) = pair(pairing);
        let (control, log) = (far.control(), handler.log());
        let serving = Http1::serve(Arc::new(options), far, handler, Rc::clone(&conn));
        let ended = sim.spawn_with_result(serving);
        Self { sim, io, control, log, conn, ended }
    }

    /// Sends `bytes` and returns what comes back before anything waits, `Date` fields removed.
    pub(crate) fn round(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.sim.block_on(self.io.send(bytes)).unwrap();
        self.quiet()
    }

    /// What has come by the time everything waits.
    pub(crate) fn quiet(&mut self) -> String {
        self.sim.run_until_quiet();
        let mut all = Vec::new();
        loop {
            let more = self.io.recv_now();
            if more.is_empty() {
                break;
            }
            all.extend(more);
            self.sim.run_until_quiet();
        }
        undated(&all)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended.borrow().is_some()
    }

    pub(crate) fn statuses(answer: &str) -> Vec<u16> {
        answer
            .lines()
            .filter_map(|line| line.strip_prefix("HTTP/1.1 "))
            .map(|rest| rest[..3].parse().unwrap())
            .collect()
    }
}

/// Text without its `Date` lines, which tests are not about.
pub(crate) fn undated(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|b| char::from(*b)).collect();
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

/// An upstream connection, with the test as its server.
pub(crate) struct Upstream {
    pub(crate) sim: Sim,
    pub(crate) client: Rc<Client<MemoryIo>>,
    pub(crate) io: MemoryIo,
    /// The client's end.
    pub(crate) control: Control,
    pub(crate) conn: Rc<ConnCx>,
}

/// What a whole exchange came to.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) interims: Vec<u16>,
    /// Why the body ended early.
    pub(crate) error: Option<String>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        Self::with(Http1Options::default(), PairOptions::default())
    }

    pub(crate) fn with(options: Http1Options, pairing: PairOptions) -> Self {
        let sim = Sim::new(1);
        let conn = test_conn(&sim);
        let (near, io) = pair(pairing);
        let control = near.control();
        let client = sim.block_on(Http1::connect(Arc::new(options), near, Rc::clone(&conn))).unwrap();
        Self { sim, client: Rc::new(client), io, control, conn }
    }

    /// Opens an exchange and drives it to its end in a task.
    pub(crate) fn send(&self, request: Request) -> Rc<RefCell<Option<Result<Answer, ExchangeError>>>> {
        let exchange = self.client.open(request);
        let result = self.sim.spawn_with_result(complete(exchange));
        self.sim.run_until_quiet();
        result
    }

    /// Sends a GET, answers with `response` and returns what the exchange made of it.
    pub(crate) fn answer(&mut self, response: &[u8]) -> Result<Answer, ExchangeError> {
        let result = self.send(get("/"));
        self.io.recv_now();
        self.sim.block_on(self.io.send(response)).unwrap();
        self.sim.run_until_quiet();
        result.take().expect("the exchange should have ended")
    }

    pub(crate) fn is_reusable(&self) -> bool {
        self.client.free_slots() == 1
    }
}

/// Drives an exchange to its end.
pub(crate) async fn complete(mut exchange: Box<dyn Exchange>) -> Result<Answer, ExchangeError> {
    let mut interims = Vec::new();
    let (head, start) = loop {
        match poll_fn(|cx| exchange.poll_head(cx)).await? {
            ExchangeEvent::Interim(head) => interims.push(head.status.as_u16()),
            ExchangeEvent::Final(head, start) => break (head, start),
        }
    };
    let mut answer = Answer {
        status: head.status.as_u16(),
        headers: Recorded::of_fields(&head.headers),
        body: Vec::new(),
        trailers: Vec::new(),
        interims,
        error: None,
    };
    let mut body = match start {
        BodyStart::Complete(body) => body,
        BodyStart::Streaming => Body::Stream(exchange),
    };
    while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
        match frame {
            Ok(Frame::Data(chunk)) => answer.body.extend_from_slice(&chunk),
            Ok(Frame::Trailers(trailers)) => {
                answer.trailers = Recorded::of_fields(&trailers);
                break;
            }
            Err(error) => {
                answer.error = Some(error.details.to_owned());
                break;
            }
        }
    }
    Ok(answer)
}

pub(crate) fn get(path: &str) -> Request {
    Request { head: RequestHead::new(Method::GET, "a.example", path), body: Body::Empty }
}

pub(crate) fn post(body: Body) -> Request {
    Request { head: RequestHead::new(Method::POST, "a.example", "/"), body }
}

pub(crate) fn text(text: &'static str) -> Body {
    Body::Full(Chunk::from(text))
}

pub(crate) fn head(status: u16) -> ResponseHead {
    ResponseHead::new(StatusCode::from_u16(status).unwrap())
}
