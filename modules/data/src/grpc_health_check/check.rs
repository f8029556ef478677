//! One check: reads the message, then says how the service is.

use std::task::{Context, Poll, ready};

use prost::Message;
use ringway_api::{Body, BodyError, BodyStream, Chunk, Frame, Headers};

use super::message::{HealthCheckRequest, HealthCheckResponse, ServingStatus};
use super::{Services, Serving};

/// The longest message that is read, in bytes. It holds the name of a service and nothing else.
const MESSAGE_LIMIT: usize = 4096;

/// What precedes a message: a byte of flags and four of length ("Length-Prefixed-Message" of gRPC over HTTP2).
const PREFIX: usize = 5;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    code: &'static str,
    /// Printable ASCII without `%`, which needs no encoding; empty when there is nothing to say.
    message: &'static str,
}

/// The response's content. The request is read when it is first polled: its head says nothing of the outcome, which
/// is in the trailers.
pub(crate) struct CheckReply {
    request: Body,
    services: Services,
    /// What has been read of the request, no more than a message's limit.
    read: Vec<u8>,
    step: Step,
}

enum Step {
    Reading,
    /// The reply's message has gone out.
    Said,
    Ended,
}

// === impl Status ===

impl Status {
    const OK: Self = Self::new("0", "");
    const MALFORMED: Self = Self::new("3", "the message is no HealthCheckRequest");
    const UNKNOWN_SERVICE: Self = Self::new("5", "unknown service");
    const TOO_LONG: Self = Self::new("8", "the message is longer than 4096 bytes");
    pub(crate) const NO_METHOD: Self = Self::new("12", "of grpc.health.v1.Health, only Check is served here");
    const COMPRESSED: Self = Self::new("12", "compressed messages are not understood here");
    const TRUNCATED: Self = Self::new("13", "the request ended within its message");
    const SURPLUS: Self = Self::new("13", "the request has more than one message");

    const fn new(code: &'static str, message: &'static str) -> Self {
        Self { code, message }
    }

    /// Adds the fields that say it.
    pub(crate) fn add_to(self, fields: &mut Headers) {
        let code = fields.append("grpc-status", self.code.as_bytes());
        debug_assert!(code.is_ok());
        if !self.message.is_empty() {
            let message = fields.append("grpc-message", self.message.as_bytes());
            debug_assert!(message.is_ok());
        }
    }
}

// === impl CheckReply ===

impl CheckReply {
    pub(crate) fn new(request: Body, services: Services) -> Self {
        Self { request, services, read: Vec::new(), step: Step::Reading }
    }

    /// Reads the request to its end, so that its connection can go on; whatever is wrong with it ends the reading.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<Result<(), Status>, BodyError>> {
        loop {
            match ready!(self.request.poll_frame(cx)) {
                Some(Ok(Frame::Data(chunk))) => {
                    let room = PREFIX + MESSAGE_LIMIT + 1 - self.read.len();
                    self.read.extend(chunk.iter().take(room));
                    if let Err(status) = message_of(&self.read) {
                        return Poll::Ready(Ok(Err(status)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                Some(Ok(Frame::Trailers(_))) | None => return Poll::Ready(Ok(Ok(()))),
            }
        }
    }

    /// The health of the service that the request names.
    fn outcome(&self) -> Result<Serving, Status> {
        let message = message_of(&self.read)?.ok_or(Status::TRUNCATED)?;
        let asked = HealthCheckRequest::decode(message).map_err(|_| Status::MALFORMED)?;
        self.services.get(asked.service.as_str()).copied().ok_or(Status::UNKNOWN_SERVICE)
    }

    fn end(&mut self, status: Status) -> Option<Result<Frame, BodyError>> {
        self.step = Step::Ended;
        let mut trailers = Headers::new();
        status.add_to(&mut trailers);
        Some(Ok(Frame::Trailers(trailers)))
    }
}

impl BodyStream for CheckReply {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match self.step {
            Step::Reading => {}
            Step::Said => return Poll::Ready(self.end(Status::OK)),
            Step::Ended => return Poll::Ready(None),
        }
        let outcome = match ready!(self.poll_request(cx)) {
            Ok(read) => read.and_then(|()| self.outcome()),
            Err(error) => {
                self.step = Step::Ended;
                return Poll::Ready(Some(Err(error)));
            }
        };
        Poll::Ready(match outcome {
            Ok(health) => {
                self.step = Step::Said;
                Some(Ok(Frame::Data(reply(health))))
            }
            Err(status) => self.end(status),
        })
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

/// The message in what has been read of a request, once all of it is there.
fn message_of(read: &[u8]) -> Result<Option<&[u8]>, Status> {
    let Some(([flags, len @ ..], rest)) = read.split_first_chunk::<PREFIX>() else { return Ok(None) };
    if *flags != 0 {
        return Err(Status::COMPRESSED);
    }
    let len = u32::from_be_bytes(*len) as usize;
    if len > MESSAGE_LIMIT {
        return Err(Status::TOO_LONG);
    }
    if rest.len() > len {
        return Err(Status::SURPLUS);
    }
    Ok((rest.len() == len).then_some(rest))
}

fn reply(health: Serving) -> Chunk {
    let status = match health {
        Serving::Serving => ServingStatus::Serving,
        Serving::NotServing => ServingStatus::NotServing,
    };
    let message = HealthCheckResponse { status: status.into() }.encode_to_vec();
    // A few bytes: its length fits.
    let len = message.len() as u32;
    Chunk::from([&[0][..], &len.to_be_bytes(), &message].concat())
}
