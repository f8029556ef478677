//! One request, phase by phase: mark -> route -> pick a host -> exchange -> mark -> relay -> end.
//!
//! Nothing here knows which protocol carries the request.

use std::rc::Rc;

use http::StatusCode;
use ringway_api::{
    Blame, Body, BodyStream, ConnCx, ExchangeError, ExchangeErrorKind, Handler, Io, LocalReply, Reply, Request,
    Response, ResponseFlag, StreamCx,
};
use ringway_upstream::AcquireError;

use crate::attempt::{Answer, Answered, CountedBody, Deadline, Failure, ResponseBody, exchange};
use crate::end::StreamGuard;
use crate::forward::forwarded_peer;
use crate::view::{ListenerHandle, ListenerView};

/// Answers the requests of one connection.
pub(crate) struct StreamHandler<I> {
    shared: Rc<Shared<I>>,
}

struct Shared<I> {
    listener: Rc<ListenerHandle<I>>,
    /// The peer's address as `X-Forwarded-For` has it.
    peer: Box<str>,
}

impl<I> Clone for StreamHandler<I> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

impl<I: Io> StreamHandler<I> {
    pub(crate) fn new(listener: Rc<ListenerHandle<I>>, conn: &ConnCx) -> Self {
        Self { shared: Rc::new(Shared { listener, peer: forwarded_peer(&conn.info.peer) }) }
    }

    async fn answer(&self, mut request: Request, cx: &StreamCx, guard: &mut StreamGuard<I>) -> Response {
        let view = Rc::clone(guard.view());
        let env = &cx.conn.env;

        // === mark ===
        view.forward.mark_request(&mut request.head, &self.shared.peer, || env.random());
        guard.capture_request(&request.head);

        if view.path.apply(&mut request.head).is_err() {
            let reply = LocalReply::new(StatusCode::BAD_REQUEST, "malformed path", "path_normalization_failed");
            return guard.local(&reply);
        }

        // === route ===
        let Some(target) = view.route(&request.head, env.random()) else {
            view.http.no_route.inc();
            let reply = LocalReply::new(StatusCode::NOT_FOUND, "", "route_not_found").flag(ResponseFlag::NoRoute);
            return guard.local(&reply);
        };
        guard.routed(&target);
        let Some(upstream) = view.cluster(target.cluster) else {
            view.http.no_cluster.inc();
            let reply = LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "", "cluster_not_found")
                .flag(ResponseFlag::NoClusterFound);
            return guard.local(&reply);
        };

        // === exchange ===
        let (body, received, progress) = CountedBody::wrap(request.body);
        guard.request_body(received, progress.clone());
        let mut deadline = Deadline::new(view.timers.take(), target.timeout, progress);
        let request = Request { head: request.head, body };
        let outcome = exchange(&upstream.cluster, request, cx, &mut deadline, &mut guard.tries).await;
        if guard.tries.retried {
            upstream.stats.upstream_rq_retry.inc();
        }

        // === mark, relay ===
        match outcome {
            Ok(answer) => {
                upstream.count_response(answer.head.status);
                self.pass_on(answer, deadline, &view, guard)
            }
            Err(failure) => {
                let reply = explain(&failure);
                upstream.count_failure(&failure);
                guard.local(&reply)
            }
        }
    }

    fn pass_on(
        &self,
        answer: Answer,
        deadline: Deadline,
        view: &ListenerView<I>,
        guard: &mut StreamGuard<I>,
    ) -> Response {
        let Answer { mut head, body } = answer;
        view.forward.mark_response(&mut head.headers, head.version);
        guard.response(&head, "via_upstream");
        let body = match body {
            Answered::Complete(body) => body,
            Answered::Streaming { exchange, lease } => {
                let body: Box<dyn BodyStream> = Box::new(ResponseBody { exchange, _lease: lease, deadline });
                Body::Stream(body)
            }
        };
        Response { head, body }
    }
}

impl<I: Io> Handler for StreamHandler<I> {
    type Observer = StreamGuard<I>;

    async fn handle(&self, request: Request, cx: &StreamCx) -> Reply<StreamGuard<I>> {
        let view = self.shared.listener.view();
        let mut guard = StreamGuard::begin(view, cx);
        let response = self.answer(request, cx, &mut guard).await;
        Reply { response, observer: guard, close: cx.conn.is_draining() }
    }

    fn refuse(&self, why: LocalReply, cx: &StreamCx) -> Reply<StreamGuard<I>> {
        let mut guard = StreamGuard::begin(self.shared.listener.view(), cx);
        guard.refused(why.status);
        let response = guard.local(&why);
        Reply { response, observer: guard, close: true }
    }
}

/// The local reply that a failure becomes, with Envoy's flags and details.
fn explain(failure: &Failure) -> LocalReply {
    const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    match failure {
        Failure::Timeout => {
            LocalReply::new(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", "response_timeout")
                .flag(ResponseFlag::UpstreamRequestTimeout)
        }
        Failure::Acquire(error) => {
            let body = match error {
                AcquireError::NoHealthyHost => "no healthy upstream",
                AcquireError::Overflow(_) | AcquireError::PendingTimeout { .. } => "upstream overflow",
                AcquireError::Connect { .. } | AcquireError::Handshake { .. } => "upstream connection failure",
            };
            LocalReply::new(UNAVAILABLE, body, error.details()).flag(error.flag())
        }
        Failure::Exchange(error) => explain_exchange(error),
    }
}

fn explain_exchange(error: &ExchangeError) -> LocalReply {
    let details = error.details;
    match error.kind {
        ExchangeErrorKind::Closed => {
            LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "upstream connection termination", details)
                .flag(ResponseFlag::UpstreamConnectionTermination)
        }
        ExchangeErrorKind::Protocol | ExchangeErrorKind::TooLarge => {
            LocalReply::new(StatusCode::BAD_GATEWAY, "upstream protocol error", details)
                .flag(ResponseFlag::UpstreamProtocolError)
        }
        ExchangeErrorKind::RequestBody => {
            let status = error.status.unwrap_or(StatusCode::BAD_REQUEST);
            let flag = match error.blame {
                Blame::Downstream => ResponseFlag::DownstreamProtocolError,
                Blame::Upstream | Blame::Local => ResponseFlag::LocalReset,
            };
            LocalReply::new(status, "request body error", details).flag(flag)
        }
    }
}
