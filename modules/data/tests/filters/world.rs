//! One stream through one filter.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Method, StatusCode};
use ringway_api::{
    Action, Body, BodyError, BodyStream, Chunk, DynFilter, DynStreamFilter, FilterCx, FilterSpec, FilterStats, Frame,
    Headers, Request, RequestHead, Response, ResponseHead, Stat, StreamCx, StreamFilter,
};
use ringway_testkit::{Sim, test_conn};
use serde_json::Value;

/// A filter at work on one stream.
pub(crate) struct Stream {
    filter: Box<dyn DynStreamFilter>,
    cx: StreamCx,
    of: Worker,
}

/// A filter on its worker, for many streams.
#[derive(Clone)]
pub(crate) struct Worker {
    filter: Rc<dyn DynFilter>,
    names: &'static [Stat],
    stats: FilterStats,
    pub(crate) sim: Sim,
}

/// What a body holds, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) data: Vec<u8>,
    pub(crate) trailers: Option<Vec<(String, String)>>,
    pub(crate) error: Option<BodyError>,
    /// The largest piece.
    pub(crate) largest: usize,
}

/// What was wrong with the options, if anything.
pub(crate) fn options_error<F: StreamFilter>(options: Value) -> Option<String> {
    (FilterSpec::of::<F>().compile)(options).err()
}

impl Worker {
    pub(crate) fn of<F: StreamFilter>(options: Value) -> Self {
        Self::after::<F>(options, None)
    }

    /// The filter that takes the place of `old`.
    pub(crate) fn after<F: StreamFilter>(options: Value, old: Option<&Self>) -> Self {
        let spec = FilterSpec::of::<F>();
        let compiled = (spec.compile)(options).unwrap();
        let sim = old.map_or_else(|| Sim::new(1), |old| old.sim.clone());
        let stats = FilterStats::new(spec.stats.len());
        let build = FilterCx { env: sim.env(), stats: stats.clone(), workers: 1 };
        let filter = (spec.build)(compiled, old.map(|old| &*old.filter), build).unwrap();
        Self { filter, names: spec.stats, stats, sim }
    }

    pub(crate) fn stream(&self) -> Stream {
        let cx = StreamCx::new(test_conn(&self.sim));
        Stream { filter: Rc::clone(&self.filter).stream(), cx, of: self.clone() }
    }

    /// What the filter has counted.
    pub(crate) fn stat(&self, name: &str) -> i64 {
        let at = self.names.iter().position(|stat| stat.name == name).unwrap();
        self.stats.cells()[at].value()
    }
}

impl Stream {
    pub(crate) fn of<F: StreamFilter>(options: Value) -> Self {
        Worker::of::<F>(options).stream()
    }

    /// What the filter has counted.
    pub(crate) fn stat(&self, name: &str) -> i64 {
        self.of.stat(name)
    }

    pub(crate) fn request(&mut self, request: &mut Request) -> Action {
        self.filter.on_request(request, &self.cx)
    }

    pub(crate) fn trailers(&mut self, trailers: &[(&str, &str)]) {
        self.filter.on_trailers(&fields(trailers));
    }

    /// What a request comes to once the filter has waited for what it waits for.
    pub(crate) fn settled(&mut self, request: &mut Request) -> Action {
        let mut action = self.request(request);
        while let Action::Wait(wait) = action {
            action = self.of.sim.clone().block_on(wait)(request);
        }
        action
    }

    pub(crate) fn response(&mut self, response: &mut Response) {
        self.filter.on_response(response, &self.cx);
    }
}

pub(crate) fn post(path: &str, fields: &[(&str, &str)], body: Body) -> Request {
    let mut head = RequestHead::new(Method::POST, "example.com", path);
    fields.iter().for_each(|(name, value)| head.headers.append(name, value.as_bytes()).unwrap());
    Request { head, body }
}

pub(crate) fn request(method: Method, path: &str, fields: &[(&str, &str)]) -> Request {
    let mut request = post(path, fields, Body::Empty);
    request.head.method = method;
    request
}

pub(crate) fn answer(status: u16, fields: &[(&str, &str)], body: Body) -> Response {
    let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
    fields.iter().for_each(|(name, value)| head.headers.append(name, value.as_bytes()).unwrap());
    Response { head, body }
}

pub(crate) fn field<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.first(name).map(|value| str::from_utf8(value).unwrap())
}

pub(crate) fn fields(list: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    list.iter().for_each(|(name, value)| headers.append(name, value.as_bytes()).unwrap());
    headers
}

/// A body that yields these frames, and waits before each.
pub(crate) fn frames(frames: Vec<Result<Frame, BodyError>>) -> Body {
    Body::Stream(Box::new(Frames { frames: frames.into(), waited: false }))
}

/// A body of these pieces, with trailers if there are any.
pub(crate) fn pieces(data: &[&[u8]], trailers: &[(&str, &str)]) -> Body {
    let mut list: Vec<_> = data.iter().map(|piece| Ok(Frame::Data(Chunk::copy_from(piece)))).collect();
    if !trailers.is_empty() {
        list.push(Ok(Frame::Trailers(fields(trailers))));
    }
    frames(list)
}

struct Frames {
    frames: VecDeque<Result<Frame, BodyError>>,
    waited: bool,
}

impl BodyStream for Frames {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        self.waited = !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front())
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

/// `left` times the same piece, then trailers; `taken` counts what has been read.
pub(crate) struct Repeated {
    pub(crate) piece: Chunk,
    pub(crate) left: usize,
    pub(crate) taken: Rc<Cell<usize>>,
    pub(crate) ended: bool,
}

impl BodyStream for Repeated {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.left == 0 {
            self.ended = true;
            return Poll::Ready(Some(Ok(Frame::Trailers(fields(&[("grpc-status", "0")])))));
        }
        self.left -= 1;
        self.taken.set(self.taken.get() + self.piece.len());
        Poll::Ready(Some(Ok(Frame::Data(self.piece.clone()))))
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

/// Reads a body to its end.
pub(crate) fn read(mut body: Body) -> Content {
    let mut content = Content::default();
    let sim = Sim::new(1);
    sim.block_on(async {
        while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
            assert!(content.trailers.is_none(), "nothing follows trailers");
            match frame {
                Ok(Frame::Data(chunk)) => {
                    assert!(!chunk.is_empty(), "an empty piece is no piece");
                    content.largest = content.largest.max(chunk.len());
                    content.data.extend_from_slice(&chunk);
                }
                Ok(Frame::Trailers(trailers)) => {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    content.trailers = Some(trailers.iter().map(|(name, value)| (text(name), text(value))).collect());
                }
                Err(error) => {
                    content.error = Some(error);
                    break;
                }
            }
        }
    });
    content
}

/// A gRPC frame: flags, length, message.
pub(crate) fn message(flags: u8, content: &[u8]) -> Vec<u8> {
    [&[flags][..], &(content.len() as u32).to_be_bytes(), content].concat()
}
