//! The stream filters of one request.

use std::future::poll_fn;
use std::rc::Rc;

use http::StatusCode;
use ringway_api::{
    Action, Blame, Body, Chunk, DynStreamFilter, Frame, LocalReply, Request, Response, ResponseFlag, StreamCx,
};

use crate::view::NamedFilter;

/// The filters that have seen a request, in order.
pub(crate) struct Filters {
    seen: Vec<Box<dyn DynStreamFilter>>,
}

impl Filters {
    /// Shows a request to each filter, until one answers it.
    pub(crate) fn on_request(filters: &[NamedFilter], request: &mut Request, cx: &StreamCx) -> (Self, Action) {
        let mut seen = Vec::with_capacity(filters.len());
        for named in filters {
            let mut filter = Rc::clone(&named.filter).stream();
            let action = filter.on_request(request, cx);
            seen.push(filter);
            if !matches!(action, Action::Continue) {
                return (Self { seen }, action);
            }
        }
        (Self { seen }, Action::Continue)
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
            if let Some(limit) = filter.response_limit()
                && let Err(reply) = make_whole(&mut response.body, limit).await
            {
                *response = local(&reply);
            }
            filter.on_response(response, cx);
        }
    }
}

/// Reads content to its end, at most `limit` bytes of it.
async fn make_whole(body: &mut Body, limit: usize) -> Result<(), LocalReply> {
    const TOO_LONG: LocalReply =
        LocalReply::new(StatusCode::BAD_GATEWAY, "response too large", "response_payload_too_large");
    if body.remaining().is_some_and(|len| len > limit as u64) {
        return Err(TOO_LONG);
    }
    if !matches!(body, Body::Stream(_)) {
        return Ok(());
    }
    let mut whole = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
        match frame {
            Ok(Frame::Data(chunk)) if chunk.len() > limit - whole.len() => return Err(TOO_LONG),
            Ok(Frame::Data(chunk)) => whole.extend_from_slice(&chunk),
            Ok(Frame::Trailers(_)) => break,
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
    Ok(())
}
