//! Requests that go on once all of their content is there, as Envoy's `buffer`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use ringway_api::{
    Action, Blame, Body, BodyError, BodyStream, ByteSize, Chunk, Env, FilterCx, FilterStats, Frame, Headers, Known,
    LocalReply, Millis, Request, ResponseFlag, Resume, Stat, Storage, StreamCx, StreamFilter, Timer,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Collects the content of a request before the request goes on: hosts see no slow clients, and the length is known.
///
/// Calls that stream both ways cannot go through it: their host would wait for the end.
pub struct Buffer {
    rules: Arc<BufferRules>,
    /// Shared with requests that wait.
    stats: Rc<FilterStats>,
    env: Rc<dyn Env>,
    held: Held,
}

/// What users write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BufferConfig {
    /// The longest content; a longer one is answered with 413.
    max_request_bytes: ByteSize,
    /// The most content that a worker holds at once, of all requests; beyond it they are answered with 503.
    #[serde(default = "max_total_bytes")]
    max_total_bytes: ByteSize,
    /// How long the content may take to arrive, `0` for ever; after it the request is answered with 408.
    #[serde(default = "timeout")]
    timeout: Millis,
    /// Refuse nothing: what would be refused is counted, and goes on as it comes.
    #[serde(default)]
    shadow: bool,
}

/// [`BufferConfig`], checked.
#[derive(Debug)]
pub struct BufferRules {
    most: usize,
    total: usize,
    timeout: Millis,
    shadow: bool,
}

const BUFFERED: usize = 0;
const TOO_LARGE: usize = 1;
const OVERFLOW: usize = 2;
const TIMEOUT: usize = 3;
const BROKEN: usize = 4;

const REFUSED: LocalReply =
    LocalReply::new(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large", "request_payload_too_large");
const BUSY: LocalReply =
    LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "too much content is being buffered", "buffer_overflow")
        .flag(ResponseFlag::OverloadManagerTerminated);
const LATE: LocalReply = LocalReply::new(StatusCode::REQUEST_TIMEOUT, "request timeout", "request_body_timeout");

impl StreamFilter for Buffer {
    const NAME: &'static str = "buffer";
    const STATS: &'static [Stat] = &[
        Stat::counter("buffered", "Requests whose content was collected."),
        Stat::counter("too_large", "Requests refused because their content is too long."),
        Stat::counter("overflow", "Requests refused because too much content was held."),
        Stat::counter("timeout", "Requests refused because their content took too long."),
        Stat::counter("broken", "Requests refused because their content was malformed or broke off."),
    ];
    type Config = BufferConfig;
    type Compiled = BufferRules;
    type State = ();

    fn compile(config: BufferConfig) -> Result<BufferRules, String> {
        let rules = BufferRules {
            most: config.max_request_bytes.bytes(),
            total: config.max_total_bytes.bytes(),
            timeout: config.timeout,
            shadow: config.shadow,
        };
        match rules {
            BufferRules { most: 0, .. } => Err("max_request_bytes: at least 1".to_owned()),
            BufferRules { most, total, .. } if total < most => {
                Err("max_total_bytes: not less than max_request_bytes".to_owned())
            }
            rules => Ok(rules),
        }
    }

    fn build(rules: Arc<BufferRules>, old: Option<&Self>, cx: FilterCx) -> Self {
        let held = old.map(|old| old.held.clone()).unwrap_or_default();
        Self { rules, stats: Rc::new(cx.stats), env: cx.env, held }
    }

    fn on_request(&self, (): &mut (), request: &mut Request, _: &StreamCx) -> Action {
        if request.head.tunnel.is_some() || !matches!(request.body, Body::Stream(_)) {
            let long = request.body.remaining().is_some_and(|length| length > self.rules.most as u64);
            return if long { self.refuse(TOO_LARGE, REFUSED) } else { Action::Continue };
        }
        let length = request.body.remaining();
        if length.is_some_and(|length| length > self.rules.most as u64) {
            return self.refuse(TOO_LARGE, REFUSED);
        }
        let mut timer = self.env.timer();
        timer.set_limit(self.rules.timeout.limit());
        let mut collector = Collector {
            inner: std::mem::take(&mut request.body),
            bytes: Vec::new(),
            share: Share { of: self.held.clone(), bytes: 0 },
            rules: Arc::clone(&self.rules),
            timer,
        };
        let stats = Rc::clone(&self.stats);
        Action::Wait(Box::pin(async move {
            let outcome = poll_fn(|cx| collector.poll(cx)).await;
            stats.inc(outcome.as_ref().map_or_else(|refusal| refusal.counted, |_| BUFFERED));
            let resume: Resume = Box::new(move |request| match outcome {
                Ok(trailers) => {
                    collector.give_to(request, trailers);
                    Action::Continue
                }
                Err(refusal) => match collector.give_rest_to(request, refusal) {
                    Some(reply) => Action::Reply(Box::new(reply)),
                    None => Action::Continue,
                },
            });
            resume
        }))
    }
}

impl Buffer {
    fn refuse(&self, counted: usize, reply: LocalReply) -> Action {
        self.stats.inc(counted);
        if self.rules.shadow { Action::Continue } else { Action::Reply(Box::new(reply)) }
    }
}

/// Why a request does not go on.
struct Refusal {
    counted: usize,
    reply: LocalReply,
    /// What has been read and not been collected.
    last: Chunk,
    /// There is more to read.
    goes_on: bool,
}

/// Content that is being collected.
struct Collector {
    inner: Body,
    bytes: Vec<u8>,
    share: Share,
    rules: Arc<BufferRules>,
    timer: Timer,
}

impl Collector {
    /// Reads to the end; the trailers, if there are any.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Headers>, Refusal>> {
        let refuse = |counted, reply, last, goes_on| Poll::Ready(Err(Refusal { counted, reply, last, goes_on }));
        loop {
            let Poll::Ready(frame) = self.inner.poll_frame(cx) else {
                ready!(self.timer.poll_expired(cx));
                return refuse(TIMEOUT, LATE, Chunk::EMPTY, true);
            };
            match frame {
                Some(Ok(Frame::Data(chunk))) => {
                    if chunk.len() > self.rules.most.saturating_sub(self.bytes.len()) {
                        return refuse(TOO_LARGE, REFUSED, chunk, true);
                    }
                    if !self.share.grow(chunk.len(), self.rules.total) {
                        return refuse(OVERFLOW, BUSY, chunk, true);
                    }
                    self.bytes.extend_from_slice(&chunk);
                }
                Some(Ok(Frame::Trailers(trailers))) => return Poll::Ready(Ok(Some(trailers))),
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return refuse(BROKEN, failed(&error), Chunk::EMPTY, false),
            }
        }
    }

    /// What the request is answered with; nothing in the shadow, where it goes on with what was read and what comes.
    fn give_rest_to(self, request: &mut Request, refusal: Refusal) -> Option<LocalReply> {
        if !self.rules.shadow || !refusal.goes_on {
            return Some(refusal.reply);
        }
        let first = held(self.bytes, self.share);
        request.body = Body::Stream(Box::new(Resumed { read: [first, refusal.last].into(), inner: self.inner }));
        None
    }

    /// Puts what was collected into its request.
    fn give_to(self, request: &mut Request, trailers: Option<Headers>) {
        let length = self.bytes.len();
        let chunk = held(self.bytes, self.share);
        request.body = match trailers {
            Some(trailers) => Body::Stream(Box::new(WithTrailers { data: Some(chunk), trailers: Some(trailers) })),
            None => {
                // HTTP/1.1 hosts get a length instead of chunks.
                let set = request.head.headers.set_known(Known::ContentLength, length.to_string().as_bytes());
                debug_assert!(set.is_ok(), "digits");
                if length == 0 { Body::Empty } else { Body::Full(chunk) }
            }
        };
    }
}

/// What a request is answered with whose content broke off.
fn failed(error: &BodyError) -> LocalReply {
    let flag = match error.blame {
        Blame::Downstream => ResponseFlag::DownstreamProtocolError,
        Blame::Upstream | Blame::Local => ResponseFlag::LocalReset,
    };
    let status = error.status.unwrap_or(StatusCode::BAD_REQUEST);
    LocalReply::new(status, "request body error", error.details).flag(flag)
}

/// How many bytes a worker holds. Clones share it.
#[derive(Clone, Default)]
struct Held(Rc<Cell<usize>>);

/// One request's part of them; dropped, it is given back.
struct Share {
    of: Held,
    bytes: usize,
}

impl Share {
    fn grow(&mut self, by: usize, most: usize) -> bool {
        let held = self.of.0.get();
        let fits = by <= most.saturating_sub(held);
        if fits {
            self.of.0.set(held + by);
            self.bytes += by;
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.set(self.of.0.get().saturating_sub(self.bytes));
    }
}

/// Bytes that count as held for as long as anything points to them.
struct HeldBytes {
    bytes: Vec<u8>,
    _share: Share,
}

impl Storage for HeldBytes {
    fn slice(&self, start: usize, len: usize) -> &[u8] {
        self.bytes.slice(start, len)
    }
}

fn held(bytes: Vec<u8>, share: Share) -> Chunk {
    let length = bytes.len();
    Chunk::shared(Rc::new(HeldBytes { bytes, _share: share }), 0, length)
}

/// What has been read already, and the rest.
struct Resumed {
    read: VecDeque<Chunk>,
    inner: Body,
}

impl BodyStream for Resumed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        while let Some(chunk) = self.read.pop_front() {
            if !chunk.is_empty() {
                return Poll::Ready(Some(Ok(Frame::Data(chunk))));
            }
        }
        self.inner.poll_frame(cx)
    }

    fn remaining(&self) -> Option<u64> {
        let read: usize = self.read.iter().map(Chunk::len).sum();
        Some(self.inner.remaining()? + read as u64)
    }
}

/// All of the content, and trailers.
struct WithTrailers {
    data: Option<Chunk>,
    trailers: Option<Headers>,
}

impl BodyStream for WithTrailers {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let data = self.data.take().filter(|chunk| !chunk.is_empty()).map(Frame::Data);
        let frame = data.or_else(|| self.trailers.take().map(Frame::Trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn remaining(&self) -> Option<u64> {
        // With a length there would be no trailers in HTTP/1.1.
        None
    }
}

const fn max_total_bytes() -> ByteSize {
    ByteSize(256 << 20)
}

const fn timeout() -> Millis {
    Millis(60_000)
}
