//! One request, phase by phase: mark -> route -> request filters -> exchange -> relay -> response filters -> end.
//!
//! Nothing here knows which protocol carries the request.

use std::rc::Rc;

use http::StatusCode;
use ringway_api::{
    Action, Blame, Body, ExchangeError, ExchangeErrorKind, Handler, Io, LocalReply, LocalSource, Reply, Request,
    Response, ResponseFlag, ResponseFlags, ResponseHead, StreamCx,
};
use ringway_config::RouteAction;
use ringway_upstream::AcquireError;

use crate::attempt::{self, Answer, Answered, Call, Copies, CountedBody, Deadline, Failure, ResponseBody, TrailersFn};
use crate::changes::Changes;
use crate::dialect::{self, Dialect};
use crate::direct;
use crate::edits::{self, Facts};
use crate::end::{StreamGuard, Trailers};
use crate::filters::Filters;
use crate::grpc;
use crate::health;
use crate::tunnel::IdleLimit;
use crate::view::{ChainHandle, ChainView, ClusterView, Target};

/// Answers the requests of one connection. A pointer and no more: every idle connection has one.
pub(crate) struct StreamHandler<I: Io> {
    chain: Rc<ChainHandle<I>>,
}

impl<I: Io> Clone for StreamHandler<I> {
    fn clone(&self) -> Self {
        Self { chain: Rc::clone(&self.chain) }
    }
}

impl<I: Io> StreamHandler<I> {
    pub(crate) fn new(chain: Rc<ChainHandle<I>>) -> Self {
        Self { chain }
    }

    /// The response, or nothing when the stream is to be reset.
    ///
    /// The request is lent, here and below: each function that took it would keep a copy of it in its future.
    async fn answer(&self, request: &mut Request, cx: &StreamCx, guard: &mut StreamGuard<I>) -> Option<Response> {
        let view = Rc::clone(guard.view());
        let env = &cx.conn.env;

        // === mark ===
        request.head.scheme = cx.conn.info.scheme();
        let tls = cx.conn.info.tls.as_deref();
        if request.head.version.is_http() {
            view.forward.mark_request(&mut request.head, &cx.conn.info.peer, tls, || env.random());
        }
        if let Some(tracing) = &view.tracing {
            guard.traced(tracing.begin(&mut request.head, &**env));
        }
        guard.capture_request(&request.head);

        // === route ===
        let mut target = match view.find(&mut request.head, &cx.conn.info.peer, env.random()) {
            Ok(target) => target,
            Err(reply) => return Some(guard.local(&reply, Dialect::of(&request.head))),
        };
        guard.found(target);

        // === request filters ===
        let mut filters = Filters::new(view.filters_of(target.as_ref()));
        let mut action = filters.on_request(request, cx);
        guard.flags(cx.take_flags());
        while let Action::Wait(wait) = action {
            let resume = wait.await;
            action = filters.resume(resume, request, cx);
            guard.flags(cx.take_flags());
        }
        let dialect = Dialect::of(&request.head);
        if filters.reroute() {
            match view.find(&mut request.head, &cx.conn.info.peer, env.random()) {
                Ok(again) => {
                    target = again;
                    guard.found(target);
                }
                Err(reply) => action = Action::Reply(Box::new(reply)),
            }
        }
        let mut response = match action {
            Action::Reply(reply) => guard.local(&reply, dialect),
            Action::Respond(mut response) => {
                view.forward.mark_local(&mut response.head.headers);
                // A filter may have said why.
                let details = response.head.local.as_ref().map_or("filter_response", |origin| origin.details);
                guard.details(details);
                response.head.set_local(LocalSource::Filter, ResponseFlags::NONE, details);
                *response
            }
            Action::Reset => return None,
            // A wait is over by now.
            Action::Continue | Action::Reroute | Action::Wait(_) => {
                self.forward(request, target, dialect, &view, cx, guard).await
            }
        };

        // === response filters ===
        filters.on_response(&mut response, cx, |reply| guard.local(reply, dialect)).await;
        guard.flags(cx.take_flags());
        guard.response(&response.head);
        Some(response)
    }

    /// Brings the response of a routed request, or a local reply that says why there is none.
    async fn forward(
        &self,
        request: &mut Request,
        target: Option<Target>,
        dialect: Dialect,
        view: &ChainView<I>,
        cx: &StreamCx,
        guard: &mut StreamGuard<I>,
    ) -> Response {
        let Some(mut target) = target else {
            view.http.no_route.inc();
            let reply = LocalReply::new(StatusCode::NOT_FOUND, "", "route_not_found").flag(ResponseFlag::NoRoute);
            return guard.local(&reply, dialect);
        };
        let Some(route) = view.route(&target) else {
            debug_assert!(false, "a target is of its view");
            let reply = LocalReply::new(StatusCode::NOT_FOUND, "", "route_not_found").flag(ResponseFlag::NoRoute);
            return guard.local(&reply, dialect);
        };
        if let Some(forward) = route.forward() {
            target = view.available(target, forward);
        }
        guard.routed(&target);
        let forward = match &route.action {
            RouteAction::Forward(forward) => forward,
            RouteAction::Redirect(redirect) => {
                return guard.direct(direct::redirect(redirect, &request.head), route, &request.head, cx);
            }
            RouteAction::Direct(response) => {
                return guard.direct(direct::response(response), route, &request.head, cx);
            }
        };
        let Some(upstream) = target.cluster.and_then(|at| view.cluster(at)) else {
            view.http.no_cluster.inc();
            let reply =
                LocalReply::new(forward.cluster_not_found, "", "cluster_not_found").flag(ResponseFlag::NoClusterFound);
            let mut response = guard.local(&reply, dialect);
            let facts = Facts { cx, route, weighted: target.weighted, cluster: None, host: None };
            edits::response(&facts, Some(&request.head), &mut response.head);
            return response;
        };
        let may_upgrade = |wanted: &[u8]| forward.upgrades.iter().any(|allowed| allowed.as_bytes() == wanted);
        if request.head.upgrade().is_some_and(|wanted| !may_upgrade(wanted)) {
            let reply = LocalReply::new(StatusCode::FORBIDDEN, "upgrade not allowed here", "upgrade_failed");
            return guard.local(&reply, dialect);
        }

        // === edits ===
        let changes = Changes::make(route, forward, &target, upstream, &mut request.head, cx, &mut guard.tries);

        // === exchange ===
        let tunnel = request.head.tunnel;
        let timeout = match dialect {
            Dialect::Grpc => grpc::deadline(&mut request.head, forward.call_timeout),
            Dialect::Rpc => dialect::deadline(&request.head, forward),
            Dialect::Http => forward.timeout,
        };
        let (body, received, progress) =
            CountedBody::wrap(std::mem::take(&mut request.body), guard.tries.timeline.as_ref());
        guard.request_body(received, progress.clone());
        // A call's time runs from its beginning, and a tunnel's request never ends.
        let awaited = if dialect != Dialect::Http || tunnel.is_some() { None } else { progress.clone() };
        let mut deadline = Deadline::new(view.timers.take(), timeout, awaited);
        let body = if forward.mirrors.is_empty() || tunnel.is_some() {
            body
        } else {
            let timeline = guard.tries.timeline.as_ref();
            let copies = Copies { view, mirrors: &forward.mirrors, conn: &cx.conn, dialect, timeline, timeout };
            attempt::tee(&copies, &request.head, body)
        };
        if let Some(limit) = timeout.filter(|_| forward.tell_timeout && dialect == Dialect::Http) {
            attempt::tell_timeout(&mut request.head, dialect, limit);
        }
        // Never lent from here on: the future would keep its place.
        let request = Request { head: std::mem::take(&mut request.head), body };
        guard.tried();
        let outcome = if upstream.raw.is_some() {
            // Only `CONNECT` is routed to bytes.
            let idle = forward.tunnel_idle_timeout;
            // On the heap: hardly a request is one, and each has room for it otherwise.
            let made = attempt::tunnel(upstream, request, cx, idle, &mut deadline, &mut guard.tries);
            Box::pin(made).await.inspect_err(|failure| upstream.count_failure(failure))
        } else if let Some(policy) = &forward.retry {
            let (timers, tell_timeout) = (&view.timers, forward.tell_timeout);
            let call = Call { policy, upstream, timers, stream: cx, dialect, tell_timeout, progress: progress.clone() };
            // On the heap: it is large, and most routes retry nothing.
            Box::pin(attempt::exchange_with_retries(call, request, &mut deadline, &mut guard.tries)).await
        } else {
            attempt::exchange(upstream, request, cx, &mut deadline, &mut guard.tries).await
        };

        // === relay ===
        match outcome {
            Ok(mut answer) => {
                upstream.count_response(&answer.head);
                if let Some(changes) = changes {
                    changes.finish(route, &target, upstream, &mut answer.head, cx, &guard.tries);
                }
                let accepted = tunnel.is_some_and(|tunnel| tunnel.accepts(answer.head.status));
                let idle = accepted.then(|| IdleLimit::new(forward.tunnel_idle_timeout, progress));
                guard.details("via_upstream");
                guard.answered(answer.head.version);
                let on_trailers = trailers_fn(guard.trailers(), guard.view());
                pass_on(answer, deadline, idle, dialect, view, upstream, on_trailers)
            }
            Err(failure) => {
                if let Failure::Acquire(error) = &failure {
                    guard.transport_failed(error.transport_failure());
                }
                let mut response = guard.local(&explain(&failure), dialect);
                if let Some(changes) = changes {
                    changes.finish(route, &target, upstream, &mut response.head, cx, &guard.tries);
                }
                response
            }
        }
    }
}

/// Notes what trailers say, if anybody wants to know.
fn trailers_fn<I: Io>(trailers: Option<Rc<Trailers>>, view: &Rc<ChainView<I>>) -> Option<TrailersFn> {
    let (trailers, view) = (trailers?, Rc::clone(view));
    Some(Box::new(move |fields| {
        if let Some(sinks) = &view.sinks {
            trailers.note(fields, sinks);
        }
    }))
}

/// The upstream's answer as a response.
fn pass_on<I: Io>(
    answer: Answer,
    deadline: Deadline,
    idle: Option<IdleLimit>,
    dialect: Dialect,
    view: &ChainView<I>,
    upstream: &Rc<ClusterView<I>>,
    on_trailers: Option<TrailersFn>,
) -> Response {
    let Answer { mut head, body, host, mark } = answer;
    let grpc = dialect == Dialect::Grpc;
    if dialect != Dialect::Rpc {
        view.forward.mark_response(&mut head.headers, head.version);
    }
    // A call that fails at once has its status among the fields.
    let counted = grpc && upstream.count_grpc(&head.headers);
    let streaming = matches!(body, Answered::Streaming { .. });
    let watch = health::answered(upstream, &host, &head, dialect, streaming);
    let body = match body {
        Answered::Complete(body) => body,
        Answered::Streaming { exchange, lease } => {
            let on_trailers = if grpc && !counted {
                let (upstream, mut others) = (Rc::clone(upstream), on_trailers);
                let told: TrailersFn = Box::new(move |trailers| {
                    upstream.count_grpc(trailers);
                    if let Some(others) = &mut others {
                        others(trailers);
                    }
                });
                Some(told)
            } else {
                on_trailers
            };
            Body::Stream(Box::new(ResponseBody { exchange, _lease: lease, deadline, idle, on_trailers, watch, mark }))
        }
    };
    Response { head, body }
}

impl<I: Io> Handler for StreamHandler<I> {
    type Observer = StreamGuard<I>;

    async fn handle(&self, mut request: Request, cx: &StreamCx) -> Reply<StreamGuard<I>> {
        let view = self.chain.view();
        let mut guard = StreamGuard::begin(view, cx);
        let response = self.answer(&mut request, cx, &mut guard).await;
        let reset = response.is_none();
        let response =
            response.unwrap_or_else(|| Response { head: ResponseHead::new(StatusCode::OK), body: Body::Empty });
        Reply { response, observer: guard, close: cx.conn.is_draining(), reset }
    }

    fn refuse(&self, why: LocalReply, cx: &StreamCx) -> Reply<StreamGuard<I>> {
        let mut guard = StreamGuard::begin(self.chain.view(), cx);
        guard.refused(why.status);
        let response = guard.local(&why, Dialect::Http);
        guard.response(&response.head);
        Reply { response, observer: guard, close: true, reset: false }
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
        Failure::PerTryTimeout => {
            LocalReply::new(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", "upstream_per_try_timeout")
                .flag(ResponseFlag::UpstreamRequestTimeout)
        }
        Failure::PerTryIdle => {
            LocalReply::new(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", "upstream_per_try_idle_timeout")
                .flag(ResponseFlag::UpstreamRequestTimeout)
        }
        Failure::Acquire(error) => {
            let body = match error {
                AcquireError::NoHealthyHost => "no healthy upstream",
                AcquireError::Overflow(_) | AcquireError::PendingTimeout { .. } => "upstream overflow",
                AcquireError::Connect { .. } | AcquireError::Handshake { .. } => "upstream connection failure",
                AcquireError::BoundEnded { .. } => "upstream connection termination",
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
            // Envoy's words, where it has them: who closed what.
            let (details, flag) = match details {
                "connection_termination" | "transport_error" | "http2_goaway" => (
                    "upstream_reset_before_response_started{connection_termination}",
                    ResponseFlag::UpstreamConnectionTermination,
                ),
                "http2_remote_reset" | "http2_remote_error" | "http2_told_to_calm_down" => {
                    ("upstream_reset_before_response_started{remote_reset}", ResponseFlag::UpstreamRemoteReset)
                }
                "http2_refused_stream" => (
                    "upstream_reset_before_response_started{remote_refused_stream_reset}",
                    ResponseFlag::UpstreamRemoteReset,
                ),
                other => (other, ResponseFlag::UpstreamConnectionTermination),
            };
            LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "upstream connection termination", details).flag(flag)
        }
        ExchangeErrorKind::Protocol | ExchangeErrorKind::TooLarge => {
            LocalReply::new(StatusCode::BAD_GATEWAY, "upstream protocol error", details)
                .flag(ResponseFlag::UpstreamProtocolError)
        }
        ExchangeErrorKind::RequestBody => {
            let status = error.status.unwrap_or(StatusCode::BAD_REQUEST);
            let flag = match error.blame {
                // The client has reset its stream, which is its right.
                Blame::Downstream if details == "http2_remote_reset" => ResponseFlag::DownstreamRemoteReset,
                Blame::Downstream => ResponseFlag::DownstreamProtocolError,
                Blame::Upstream | Blame::Local => ResponseFlag::LocalReset,
            };
            LocalReply::new(status, "request body error", details).flag(flag)
        }
    }
}

#[cfg(test)]
mod tests {
    use ringway_testkit::MemoryIo;

    use super::*;

    fn handling<'a>(
        handler: &'a StreamHandler<MemoryIo>,
        request: Request,
        cx: &'a StreamCx,
    ) -> impl Future<Output = Reply<StreamGuard<MemoryIo>>> + 'a {
        handler.handle(request, cx)
    }

    fn size<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// Every request under way has one.
    #[test]
    fn a_request_takes_little_memory() {
        let size = size(handling);
        assert!(size <= 2200, "handling takes {size} bytes");
    }
}
