//! Messages out of frames, and frames out of messages.

use std::task::{Context, Poll, ready};

use http::{Method, StatusCode};
use ringway_api::{
    Blame, Body, BodyError, Chunk, Frame, Headers, LocalReply, RequestHead, ResponseHead, Span, Version,
};

use crate::codec::Origin;
use crate::fields::{EXCEPTION, Fields, STATUS};
use crate::outbox::Outbox;
use crate::reader::Received;
use crate::target;
use crate::{Asked, CodecError, Decoded, FrameHead, Kind, Outcome, RpcCodec};

/// Fields that a frame has room for at first.
const FIELDS: usize = 8;

/// Content up to this size is copied behind its head rather than sent as a piece of its own.
const COPY: usize = 4 << 10;

/// The request that a frame makes, without its body.
///
/// # Errors
/// The codec's: the call cannot be read.
pub fn request_head<C: RpcCodec>(codec: &C, received: &Received) -> Result<RequestHead, CodecError> {
    let mut headers = Headers::over_frame(C::NAME, received.block.clone(), FIELDS);
    let call = codec.read_request(&received.frame, &received.block, &mut Fields::of::<C>(&mut headers))?;
    let target = headers.add_text(&target::path(&call));
    let mut head = RequestHead::received(Method::POST, Version::Rpc(C::NAME), headers, Span::default(), target);
    head.timeout = call.timeout;
    Ok(head)
}

/// The response that a frame makes, without its body.
///
/// # Errors
/// The codec's: the response cannot be read.
pub fn response_head<C: RpcCodec>(codec: &C, received: &Received) -> Result<ResponseHead, CodecError> {
    let mut headers = Headers::over_frame(C::NAME, received.block.clone(), FIELDS);
    let outcome = codec.read_response(&received.frame, &received.block, &mut Fields::of::<C>(&mut headers))?;
    let Outcome { status, code, exception } = outcome;
    headers.push_derived(STATUS, code.to_string().as_bytes());
    if exception {
        headers.push_derived(EXCEPTION, b"true");
    }
    let mut head = ResponseHead::new(status);
    head.version = Version::Rpc(C::NAME);
    head.headers = headers;
    Ok(head)
}

/// A message on its way out.
pub(crate) struct Outgoing {
    /// The content that is still to come.
    body: Body,
    /// Content that had to be gathered.
    gathered: Vec<u8>,
    stage: Stage,
    /// The most that is gathered.
    limit: usize,
    /// Content bytes written.
    pub(crate) sent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has been written.
    Waiting,
    /// The content has to be there as a whole.
    Gathering,
    /// It is.
    Gathered,
    /// The frame's beginning has been written, and so many bytes of content follow.
    Streaming(u64),
    Done,
}

/// What writes whole frames: for what cannot go on as it came.
pub(crate) trait Whole<C: RpcCodec> {
    /// The fields of the message.
    fn headers(&self) -> &Headers;
    /// The id it goes out with.
    fn id(&self) -> u64;
    /// Writes it all.
    fn write(&self, codec: &C, origin: Option<Origin<'_>>, content: &[u8], out: &mut Vec<u8>)
    -> Result<(), CodecError>;
}

/// Why a message did not go out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Its content failed.
    Body(BodyError),
    /// It cannot be said in this protocol.
    Codec(CodecError),
    /// The connection is gone.
    Closed,
}

impl Outgoing {
    pub(crate) fn new(body: Body, limit: usize) -> Self {
        Self { body, gathered: Vec::new(), stage: Stage::Waiting, limit, sent: 0 }
    }

    /// Whether any of it has been written.
    pub(crate) fn has_begun(&self) -> bool {
        matches!(self.stage, Stage::Streaming(_) | Stage::Done)
    }

    /// The content, if none of it has been taken.
    pub(crate) fn reclaim(&mut self) -> Option<Body> {
        let untouched = self.stage == Stage::Waiting || (self.stage == Stage::Gathering && self.gathered.is_empty());
        untouched.then(|| std::mem::take(&mut self.body))
    }

    /// Writes as much as there is and as there is room for; ready when all of it is written.
    pub(crate) fn poll<C: RpcCodec>(
        &mut self,
        codec: &C,
        outbox: &Outbox,
        message: &impl Whole<C>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            match self.stage {
                Stage::Done => return Poll::Ready(Ok(())),
                Stage::Waiting => {
                    ready!(outbox.poll_room(cx));
                    if outbox.is_broken() {
                        return Poll::Ready(Err(Failure::Closed));
                    }
                    self.begin(codec, outbox, message);
                }
                Stage::Gathering => {
                    ready!(self.poll_gather(cx))?;
                    self.stage = Stage::Gathered;
                }
                Stage::Gathered => {
                    ready!(outbox.poll_room(cx));
                    if outbox.is_broken() {
                        return Poll::Ready(Err(Failure::Closed));
                    }
                    let content = std::mem::take(&mut self.gathered);
                    self.write_whole(codec, outbox, message, &content)?;
                }
                Stage::Streaming(left) => {
                    ready!(outbox.poll_piece(cx));
                    if outbox.is_broken() {
                        return Poll::Ready(Err(Failure::Closed));
                    }
                    let streamed = ready!(self.poll_stream(left, outbox, cx));
                    if streamed.is_err() || self.stage == Stage::Done {
                        outbox.release(streamed.is_ok());
                    }
                    streamed?;
                }
            }
        }
    }

    /// Writes the frame, or its beginning, if it can go on as it came.
    fn begin<C: RpcCodec>(&mut self, codec: &C, outbox: &Outbox, message: &impl Whole<C>) {
        let headers = message.headers();
        let raw = headers.frame(C::NAME).filter(|_| !headers.is_edited()).and_then(|block| {
            let Ok(Decoded::Frame(frame)) = codec.decode(block) else { return None };
            let same = self.body.remaining() == Some(frame.content_len() as u64);
            // What stands behind the content is written with it.
            let at_once = frame.tail == 0 || matches!(self.body, Body::Empty | Body::Full(_));
            (same && at_once).then_some((block, frame))
        });
        let renumbered = raw.is_some_and(|(block, frame)| {
            let head = block.get(..frame.content).unwrap_or_default();
            outbox.write(|out| {
                let replaced = codec.renumber(&frame, head, message.id(), out);
                out.extend_from_slice(replaced.and_then(|replaced| head.get(replaced..)).unwrap_or_default());
                replaced.is_some()
            })
        });
        let Some((block, frame)) = raw.filter(|_| renumbered) else {
            self.stage = Stage::Gathering;
            return;
        };
        let tail = block.get(frame.len.saturating_sub(frame.tail)..frame.len).unwrap_or_default();
        match std::mem::take(&mut self.body) {
            Body::Empty => self.stage = Stage::Done,
            Body::Full(content) => {
                self.sent = content.len() as u64;
                if content.len() <= COPY {
                    outbox.write(|out| out.extend_from_slice(&content));
                } else {
                    outbox.push(content);
                }
                self.stage = Stage::Done;
            }
            stream => {
                self.body = stream;
                outbox.claim();
                self.stage = Stage::Streaming(frame.content_len() as u64);
            }
        }
        if !tail.is_empty() {
            outbox.write(|out| out.extend_from_slice(tail));
        }
    }

    fn write_whole<C: RpcCodec>(
        &mut self,
        codec: &C,
        outbox: &Outbox,
        message: &impl Whole<C>,
        content: &[u8],
    ) -> Result<(), Failure> {
        let mut frame = None;
        let block = message.headers().frame(C::NAME);
        let origin = block.and_then(|block| Origin::of(codec, block, &mut frame));
        outbox.write(|out| {
            let before = out.len();
            message.write(codec, origin, content, out).map_err(|error| {
                out.truncate(before);
                Failure::Codec(error)
            })
        })?;
        self.sent = content.len() as u64;
        self.stage = Stage::Done;
        Ok(())
    }

    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            match ready!(self.body.poll_frame(cx)) {
                Some(Ok(Frame::Data(chunk))) => {
                    if self.gathered.len() + chunk.len() > self.limit {
                        return Poll::Ready(Err(Failure::Codec(CodecError::too_large("rpc_content_too_large"))));
                    }
                    self.gathered.extend_from_slice(&chunk);
                }
                // Frames have no trailers.
                Some(Ok(Frame::Trailers(_))) | None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(Failure::Body(error))),
            }
        }
    }

    fn poll_stream(&mut self, left: u64, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let fault = |details| Err(Failure::Body(BodyError::new(Blame::Local, details)));
        Poll::Ready(match ready!(self.body.poll_frame(cx)) {
            Some(Ok(Frame::Data(chunk))) if chunk.len() as u64 <= left => {
                let len = chunk.len() as u64;
                self.sent += len;
                self.stage = Stage::Streaming(left - len);
                outbox.push(chunk);
                Ok(())
            }
            Some(Ok(Frame::Data(_))) => fault("rpc_content_longer_than_frame"),
            Some(Ok(Frame::Trailers(_))) | None if left == 0 => {
                self.stage = Stage::Done;
                Ok(())
            }
            Some(Ok(Frame::Trailers(_))) | None => fault("rpc_content_shorter_than_frame"),
            Some(Err(error)) => Err(Failure::Body(error)),
        })
    }

    /// Gives the message up; what has been written of it cannot be taken back.
    pub(crate) fn abandon(&mut self, outbox: &Outbox) {
        if matches!(self.stage, Stage::Streaming(_)) {
            outbox.release(false);
        }
        self.stage = Stage::Done;
        self.body = Body::Empty;
    }
}

/// A request with the id it has on an upstream connection.
pub(crate) struct WholeRequest<'a> {
    pub(crate) id: u64,
    pub(crate) head: &'a RequestHead,
}

impl<C: RpcCodec> Whole<C> for WholeRequest<'_> {
    fn headers(&self) -> &Headers {
        &self.head.headers
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn write(
        &self,
        codec: &C,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        codec.write_request(self.id, self.head, origin, content, out)
    }
}

/// A response and the call it answers.
pub(crate) struct WholeResponse<'a> {
    pub(crate) to: &'a Asked,
    pub(crate) head: &'a ResponseHead,
}

impl<C: RpcCodec> Whole<C> for WholeResponse<'_> {
    fn headers(&self) -> &Headers {
        &self.head.headers
    }

    fn id(&self) -> u64 {
        self.to.frame.id
    }

    fn write(
        &self,
        codec: &C,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        if self.head.headers.first(STATUS).is_some() {
            return codec.write_response(self.to, self.head, origin, content, out);
        }
        // Not made in this protocol: a reply of the proxy, whose content is for people; or an answer of another
        // protocol that nothing has translated.
        let status = match self.head.status {
            status if status.is_success() => StatusCode::BAD_GATEWAY,
            status => status,
        };
        let text = std::str::from_utf8(content).ok().filter(|text| text.len() <= 256 && self.head.status == status);
        let text = text.filter(|text| !text.is_empty()).or(status.canonical_reason()).unwrap_or("error");
        codec.write_error(self.to, status, text, out);
        Ok(())
    }
}

/// Whether a request awaits no answer.
pub(crate) fn is_one_way<C: RpcCodec>(codec: &C, head: &RequestHead) -> bool {
    let decoded = head.headers.frame(C::NAME).map(|block| codec.decode(block));
    matches!(decoded, Some(Ok(Decoded::Frame(FrameHead { kind: Kind::OneWay, .. }))))
}

/// What a call is refused with.
pub(crate) fn refusal(error: CodecError) -> LocalReply {
    let body = match error.status {
        StatusCode::PAYLOAD_TOO_LARGE => "frame too large",
        _ => "malformed call",
    };
    LocalReply::new(error.status, body, error.details)
}

/// What a call is refused with whose connection has too much under way.
pub(crate) fn overflow() -> LocalReply {
    LocalReply::new(StatusCode::TOO_MANY_REQUESTS, "too many bytes under way", "rpc_connection_bytes_overflow")
}

/// A chunk's worth of a whole content as a body.
pub(crate) fn body_of(content: Chunk) -> Body {
    if content.is_empty() { Body::Empty } else { Body::Full(content) }
}
