//! The stream filters of one request.

use std::future::poll_fn;
use std::rc::Rc;

use http::StatusCode;
use ringway_api::{
    Action, Blame, Body, Chunk, DynStreamFilter, Frame, Headers, LocalReply, Request, Response, ResponseFlag, Resume,
    StreamCx,
};

use crate::filter_sets::NamedFilter;

/// The filters of a request, and which of them have seen it.
pub(crate) struct Filters {
    all: Rc<[NamedFilter]>,
    seen: Vec<Box<dyn DynStreamFilter>>,
    /// One of them wants it routed anew.
    reroute: bool,
}

impl Filters {
    pub(crate) fn new(all: Rc<[NamedFilter]>) -> Self {
        Self { seen: Vec::with_capacity(all.len()), all, reroute: false }
    }

    /// Whether one of them wants the request routed anew.
    pub(crate) fn reroute(&self) -> bool {
        self.reroute
    }

    /// Shows a request to each filter that has not seen it, until one wants something else than to go on.
    pub(crate) fn on_request(&mut self, request: &mut Request, cx: &StreamCx) -> Action {
        while let Some(named) = self.all.get(self.seen.len()) {
            let mut filter = Rc::clone(&named.filter).stream();
            let action = filter.on_request(request, cx);
            self.seen.push(filter);
            match action {
                Action::Continue => {}
                Action::Reroute => self.reroute |= !named.of_route,
                other => return other,
            }
        }
        Action::Continue
    }

    /// Goes on after a wait.
    pub(crate) fn resume(&mut self, resume: Resume, request: &mut Request, cx: &StreamCx) -> Action {
        match resume(request) {
            Action::Continue => self.on_request(request, cx),
            Action::Reroute => {
                let waited = self.seen.len().checked_sub(1).and_then(|last| self.all.get(last));
                self.reroute |= waited.is_some_and(|named| !named.of_route);
                self.on_request(request, cx)
            }
            other => other,
        }
    }

    /// Shows the response to those that have seen the request, the last one first, whole where one wants it so. What
    /// cannot be had whole becomes what `local` makes of the reply that says why.
    pub(crate) async fn on_response(
        self,
        response: &mut Response,
        cx: &StreamCx,
        mut local: impl FnMut(&LocalReply) -> Response,
    ) {
        for mut filter in self.seen.into_iter().rev() {
            if let Some(limit) = filter.response_limit() {
                match make_whole(&mut response.body, limit).await {
                    Ok(Some(trailers)) => filter.on_trailers(&trailers),
                    Ok(None) => {}
                    Err(reply) => *response = local(&reply),
                }
            }
            filter.on_response(response, cx);
        }
    }
}

/// Reads content to its end, at most `limit` bytes of it, and what trails it.
async fn make_whole(body: &mut Body, limit: usize) -> Result<Option<Headers>, LocalReply> {
    const TOO_LONG: LocalReply =
        LocalReply::new(StatusCode::BAD_GATEWAY, "response too large", "response_payload_too_large");
    if body.remaining().is_some_and(|len| len > limit as u64) {
        return Err(TOO_LONG);
    }
    if !matches!(body, Body::Stream(_)) {
        return Ok(None);
    }
    let mut whole = Vec::new();
    let mut last = None;
    while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
        match frame {
            Ok(Frame::Data(chunk)) if chunk.len() > limit - whole.len() => return Err(TOO_LONG),
            Ok(Frame::Data(chunk)) => whole.extend_from_slice(&chunk),
            Ok(Frame::Trailers(trailers)) => {
                last = Some(trailers);
                break;
            }
            Err(error) => {
                let timeout = error.blame == Blame::Local;
                let (status, text, flag) = if timeout {
                    (StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", ResponseFlag::UpstreamRequestTimeout)
                } else {
                    let text = "upstream connection termination";
                    (StatusCode::BAD_GATEWAY, text, ResponseFlag::UpstreamConnectionTermination)
                };
                return Err(LocalReply::new(status, text, error.details).flag(flag));
            }
        }
    }
    *body = if whole.is_empty() { Body::Empty } else { Body::Full(Chunk::from(whole)) };
    Ok(last)
}
