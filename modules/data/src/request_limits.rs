//! Limits of requests by route, where those of the listener are too generous.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;
use ringway_api::{
    Action, Blame, Body, BodyError, BodyStream, ByteSize, FilterCx, FilterStats, Frame, LocalReply, Request, Stat,
    StreamCx, StreamFilter,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Refuses requests that are larger than a route takes. Content is not collected: what declares its length is refused at
/// once, what does not ends where it is too long.
pub struct RequestLimits {
    limits: Arc<Limits>,
    stats: Rc<FilterStats>,
}

/// What users write. What is not set has no limit here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestLimitsConfig {
    /// The longest content; a longer one is answered with 413.
    max_body: Option<ByteSize>,
    /// The longest path with its query; a longer one is answered with 414.
    max_path: Option<ByteSize>,
    /// The most that names and values of fields may take together; more is answered with 431.
    max_headers: Option<ByteSize>,
    /// Count what would be refused, and refuse nothing.
    #[serde(default)]
    shadow: bool,
}

/// [`RequestLimitsConfig`], checked.
#[derive(Debug)]
pub struct Limits {
    body: Option<u64>,
    path: Option<usize>,
    headers: Option<usize>,
    shadow: bool,
}

const BODY_TOO_LARGE: usize = 0;
const PATH_TOO_LONG: usize = 1;
const HEADERS_TOO_LARGE: usize = 2;

const DETAILS: &str = "request_payload_too_large";

impl StreamFilter for RequestLimits {
    const NAME: &'static str = "request_limits";
    const STATS: &'static [Stat] = &[
        Stat::counter("body_too_large", "Requests with too much content."),
        Stat::counter("path_too_long", "Requests with too long a path."),
        Stat::counter("headers_too_large", "Requests with too large fields."),
    ];
    type Config = RequestLimitsConfig;
    type Compiled = Limits;
    type State = ();

    fn compile(config: RequestLimitsConfig) -> Result<Limits, String> {
        if config.max_body.is_none() && config.max_path.is_none() && config.max_headers.is_none() {
            return Err("set at least one of `max_body`, `max_path` and `max_headers`".to_owned());
        }
        Ok(Limits {
            body: config.max_body.map(|size| size.0),
            path: config.max_path.map(ByteSize::bytes),
            headers: config.max_headers.map(ByteSize::bytes),
            shadow: config.shadow,
        })
    }

    fn build(limits: Arc<Limits>, _: Option<&Self>, cx: FilterCx) -> Self {
        Self { limits, stats: Rc::new(cx.stats) }
    }

    fn on_request(&self, (): &mut (), request: &mut Request, _: &StreamCx) -> Action {
        let limits = &*self.limits;
        let head = &request.head;
        let breach = if limits.path.is_some_and(|most| head.path_and_query().len() > most) {
            Some((PATH_TOO_LONG, LocalReply::new(StatusCode::URI_TOO_LONG, "URI Too Long", "path_too_long")))
        } else if limits.headers.is_some_and(|most| head.headers.wire_len() > most) {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            Some((HEADERS_TOO_LARGE, LocalReply::new(status, "Request Header Fields Too Large", "headers_too_large")))
        } else if let (Some(most), Some(length)) = (limits.body, request.body.remaining())
            && length > most
        {
            Some((BODY_TOO_LARGE, LocalReply::new(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large", DETAILS)))
        } else {
            None
        };
        if let Some((counted, reply)) = breach {
            self.stats.inc(counted);
            return if limits.shadow { Action::Continue } else { Action::Reply(Box::new(reply)) };
        }
        if let Some(most) = limits.body
            && head.tunnel.is_none()
            && request.body.remaining().is_none()
        {
            let inner = std::mem::take(&mut request.body);
            let limited =
                Limited { inner, left: most, shadow: limits.shadow, stats: Rc::clone(&self.stats), told: false };
            request.body = Body::Stream(Box::new(limited));
        }
        Action::Continue
    }
}

/// Content of unknown length that ends where it is too long.
struct Limited {
    inner: Body,
    left: u64,
    shadow: bool,
    stats: Rc<FilterStats>,
    told: bool,
}

impl BodyStream for Limited {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let frame = self.inner.poll_frame(cx);
        if let Poll::Ready(Some(Ok(Frame::Data(chunk)))) = &frame
            && !self.told
        {
            match self.left.checked_sub(chunk.len() as u64) {
                Some(left) => self.left = left,
                None => {
                    self.told = true;
                    self.stats.inc(BODY_TOO_LARGE);
                    if !self.shadow {
                        let error = BodyError::new(Blame::Downstream, DETAILS);
                        return Poll::Ready(Some(Err(error.with_status(StatusCode::PAYLOAD_TOO_LARGE))));
                    }
                }
            }
        }
        frame
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}
