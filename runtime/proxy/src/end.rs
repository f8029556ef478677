//! The end of a stream: counted and logged exactly once, also when it is cancelled.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::{Method, StatusCode};
use ringway_api::{
    Address, ConnCx, EndReason, Headers, Io, LocalReply, LocalSource, Observer, RequestHead, Response, ResponseFlag,
    ResponseFlags, ResponseHead, StreamCx, StreamEnd, Time, Version,
};
use ringway_config::Route;
use ringway_telemetry::{Captured, Field, FieldPair, StreamRecord};

use crate::attempt::{RequestProgress, Tries};
use crate::dialect::Dialect;
use crate::edits::{self, Facts};
use crate::grpc;
use crate::sinks::ChainSinks;
use crate::timeline::Timeline;
use crate::tracing::StreamTrace;
use crate::view::{ChainView, Target};

const DC: ResponseFlags = ResponseFlags::of(ResponseFlag::DownstreamConnectionTermination);
const DR: ResponseFlags = ResponseFlags::of(ResponseFlag::DownstreamRemoteReset);
const SI: ResponseFlags = ResponseFlags::of(ResponseFlag::StreamIdleTimeout);

/// Watches one stream from its head to its end. Dropped before its end was told, it is a downstream disconnect.
pub(crate) struct StreamGuard<I: Io> {
    view: Rc<ChainView<I>>,
    conn: Rc<ConnCx>,
    began: Time,
    status: Option<StatusCode>,
    details: &'static str,
    flags: ResponseFlags,
    received: u64,
    progress: Option<Rc<RequestProgress>>,
    pub(crate) tries: Tries,
    target: Option<Target>,
    captured: Option<Box<Captures>>,
    ended: bool,
}

/// What sinks need of the messages; made only when there are any.
#[derive(Default)]
struct Captures {
    method: Option<Method>,
    path: Box<[u8]>,
    authority: Box<[u8]>,
    version: Option<Version>,
    dialect: Dialect,
    request: Captured,
    response: Captured,
    /// All fields of request and response, where somebody wants them all.
    fields: [Box<[FieldPair]>; 2],
    header_bytes: (usize, usize),
    /// Of a gRPC call: what the response's head says.
    grpc_status: Option<u32>,
    trailers: Option<Rc<Trailers>>,
    /// The content of a reply of ours.
    local_body: Option<&'static str>,
    /// A host was wanted, whether there was one or not.
    tried: bool,
    /// What the host spoke.
    spoken: Option<Version>,
    /// Why no connection to it came about.
    transport_failure: Option<&'static str>,
}

/// What a response's trailers say. Shared with the body, which sees them.
#[derive(Default)]
pub(crate) struct Trailers {
    captured: RefCell<Captured>,
    grpc_status: Cell<Option<u32>>,
}

impl<I: Io> StreamGuard<I> {
    pub(crate) fn begin(view: Rc<ChainView<I>>, cx: &StreamCx) -> Self {
        view.http.downstream_rq_total.inc();
        view.http.downstream_rq_active.inc();
        let timed = view.tracing.is_some() || view.sinks.as_ref().is_some_and(ChainSinks::are_timed);
        let timeline = timed.then(|| Timeline::new(Rc::clone(&cx.conn.env)));
        Self {
            conn: Rc::clone(&cx.conn),
            began: cx.conn.env.now(),
            status: None,
            details: "",
            flags: ResponseFlags::NONE,
            received: 0,
            progress: None,
            tries: Tries { timeline, ..Tries::default() },
            target: None,
            captured: None,
            ended: false,
            view,
        }
    }

    pub(crate) fn view(&self) -> &Rc<ChainView<I>> {
        &self.view
    }

    pub(crate) fn capture_request(&mut self, head: &RequestHead) {
        let Some(sinks) = &self.view.sinks else { return };
        let find = |name: &http::HeaderName| head.headers.first(name.as_str());
        let wanted = |field, bytes: &[u8]| if sinks.needs().has(field) { bytes.into() } else { Box::default() };
        let calls = sinks.needs().has(Field::Call) || sinks.needs().has(Field::GrpcStatus);
        self.captured = Some(Box::new(Captures {
            method: Some(head.method.clone()),
            path: wanted(Field::Path, head.path_and_query()),
            authority: wanted(Field::Authority, head.authority()),
            version: Some(head.version),
            dialect: if calls { Dialect::of(head) } else { Dialect::Http },
            request: Captured::capture(sinks.request_headers(), find),
            fields: [sinks.fields(&head.headers), Box::default()],
            header_bytes: (head.headers.wire_len(), 0),
            ..Captures::default()
        }));
    }

    /// What sinks need, where there are any.
    fn captures(&mut self) -> Option<&mut Captures> {
        self.view.sinks.as_ref()?;
        Some(self.captured.get_or_insert_default())
    }

    /// Where it goes, if anywhere.
    pub(crate) fn found(&mut self, target: Option<Target>) {
        self.target = target;
    }

    /// Notes its place in a trace.
    pub(crate) fn traced(&self, trace: StreamTrace) {
        if let Some(timeline) = &self.tries.timeline {
            timeline.traced(trace);
        }
    }

    pub(crate) fn routed(&mut self, target: &Target) {
        self.target = Some(*target);
    }

    pub(crate) fn request_body(&mut self, received: u64, progress: Option<Rc<RequestProgress>>) {
        if let (None, Some(timeline)) = (&progress, &self.tries.timeline) {
            timeline.request_ended();
        }
        (self.received, self.progress) = (received, progress);
    }

    /// Notes that a host is wanted.
    pub(crate) fn tried(&mut self) {
        if let Some(captures) = self.captures() {
            captures.tried = true;
        }
    }

    /// Notes the head of the host's answer.
    pub(crate) fn answered(&mut self, version: Version) {
        if let Some(captures) = self.captures() {
            captures.spoken = Some(version);
        }
    }

    /// Notes why there is no answer, as far as the transport is to blame.
    pub(crate) fn transport_failed(&mut self, why: Option<&'static str>) {
        if let Some(captures) = self.captures() {
            captures.transport_failure = why;
        }
    }

    /// Where what trailers say is to be noted, if anybody wants to know.
    pub(crate) fn trailers(&mut self) -> Option<Rc<Trailers>> {
        let sinks = self.view.sinks.as_ref()?;
        let wanted = sinks.want_trailers();
        // The status of a call of gRPC is nothing that other requests have.
        let of_grpc_only = sinks.needs().response_trailers.is_empty();
        let captures = self.captures().filter(|_| wanted)?;
        if of_grpc_only && captures.dialect != Dialect::Grpc {
            return None;
        }
        Some(Rc::clone(captures.trailers.get_or_insert_default()))
    }

    /// Notes flags that filters want it logged with.
    pub(crate) fn flags(&mut self, flags: ResponseFlags) {
        self.flags = self.flags.union(flags);
    }

    /// Notes what happened, for the log.
    pub(crate) fn details(&mut self, details: &'static str) {
        self.details = details;
    }

    /// Notes the response, as it goes out.
    pub(crate) fn response(&mut self, head: &ResponseHead) {
        self.status = Some(head.status);
        if let (Some(sinks), Some(captures)) = (&self.view.sinks, &mut self.captured) {
            let find = |name: &http::HeaderName| head.headers.first(name.as_str());
            captures.response = Captured::capture(sinks.response_headers(), find);
            captures.fields[1] = sinks.fields(&head.headers);
            captures.header_bytes.1 = head.headers.wire_len();
            if captures.dialect == Dialect::Grpc {
                captures.grpc_status = grpc::status(&head.headers);
            }
        }
        if let Some(timeline) = &self.tries.timeline {
            timeline.response_begins();
        }
    }

    /// A local reply as this stream's response, in words that a gRPC client understands if it is one's.
    pub(crate) fn local(&mut self, reply: &LocalReply, dialect: Dialect) -> Response {
        let mut response = match dialect {
            Dialect::Grpc => reply.grpc_response(),
            Dialect::Http | Dialect::Rpc => reply.response(),
        };
        self.view.forward.mark_local(&mut response.head.headers);
        self.flags = self.flags.union(reply.flags);
        self.details = reply.details;
        if let Some(captures) = self.captures() {
            captures.local_body = Some(reply.body).filter(|body| !body.is_empty());
        }
        response
    }

    /// A response that the route says itself, with its changes to fields.
    pub(crate) fn direct(
        &mut self,
        mut response: Response,
        route: &Route,
        asked: &RequestHead,
        cx: &StreamCx,
    ) -> Response {
        self.view.forward.mark_local(&mut response.head.headers);
        self.details = "direct_response";
        response.head.set_local(LocalSource::Route, ResponseFlags::NONE, self.details);
        let facts = Facts { cx, route, weighted: None, cluster: None, host: None };
        edits::response(&facts, Some(asked), &mut response.head);
        response
    }

    /// Counts a request that never became one.
    pub(crate) fn refused(&self, status: StatusCode) {
        let http = &self.view.http;
        match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => http.downstream_rq_header_overflow.inc(),
            StatusCode::REQUEST_TIMEOUT => http.downstream_rq_header_timeout.inc(),
            StatusCode::PAYLOAD_TOO_LARGE => http.downstream_rq_too_large.inc(),
            _ => http.downstream_cx_protocol_error.inc(),
        }
    }

    fn end(&mut self, reason: &EndReason, sent: u64, received: u64) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let http = &self.view.http;
        http.downstream_rq_active.dec();
        if let Some(status) = self.status {
            http.downstream_rq_completed.inc();
            match status.as_u16() / 100 {
                2 => http.downstream_rq_2xx.inc(),
                3 => http.downstream_rq_3xx.inc(),
                4 => http.downstream_rq_4xx.inc(),
                5 => http.downstream_rq_5xx.inc(),
                _ => {}
            }
        }
        match reason {
            EndReason::Complete => {}
            EndReason::Downstream(why) => {
                http.downstream_rq_rx_reset.inc();
                (self.details, self.flags) = match *why {
                    "stream_idle_timeout" => (*why, self.flags.union(SI)),
                    "http2_remote_reset" => ("http2.remote_reset", self.flags.union(DR)),
                    // Whether it closed or reset the connection: Envoy's word for both.
                    _ => ("downstream_remote_disconnect", self.flags.union(DC)),
                };
            }
            EndReason::Body(error) => {
                http.downstream_rq_tx_reset.inc();
                if error.details == "tunnel_idle_timeout" {
                    http.downstream_rq_idle_timeout.inc();
                }
                self.flags.insert(match (error.blame, error.details) {
                    (_, "response_timeout") => ResponseFlag::UpstreamRequestTimeout,
                    (_, "tunnel_idle_timeout") => ResponseFlag::StreamIdleTimeout,
                    (ringway_api::Blame::Upstream, _) => ResponseFlag::UpstreamConnectionTermination,
                    (ringway_api::Blame::Downstream, _) => ResponseFlag::DownstreamConnectionTermination,
                    (ringway_api::Blame::Local, _) => ResponseFlag::LocalReset,
                });
                self.details = error.details;
            }
        }
        http.downstream_rq_1xx.add(self.tries.passed_on.into());
        http.downstream_cx_rx_bytes_total.add(received);
        http.downstream_cx_tx_bytes_total.add(sent);
        if let Some(upstream) = self.target.as_ref().and_then(|target| self.view.cluster(target.cluster?)) {
            upstream.count_end(&self.tries, reason, sent, received);
        }
        let took = self.conn.env.now().since(self.began);
        http.downstream_rq_time.record(took);
        if let Some(sinks) = &self.view.sinks {
            self.tell(sinks, took, sent, received);
        }
    }

    fn tell(&self, sinks: &ChainSinks, took: std::time::Duration, sent: u64, received: u64) {
        let start = self.conn.env.wall().checked_sub(took).unwrap_or(std::time::UNIX_EPOCH);
        let (needs, info) = (sinks.needs(), &self.conn.info);
        let mut record = StreamRecord::new(start);
        let trailers = self.captured.as_ref().and_then(|captures| captures.trailers.as_deref());
        let trailers_captured = trailers.map(|trailers| trailers.captured.borrow());
        let upstream_local: Option<&Address> = self.tries.local.as_ref().map(|conn| &*conn.info.local);
        record.duration = took;
        if let Some(captures) = &self.captured {
            record.method = captures.method.as_ref().map(Method::as_str);
            record.path = Some(&*captures.path).filter(|path| !path.is_empty());
            record.authority = Some(&captures.authority).filter(|text| !text.is_empty()).map(AsRef::as_ref);
            record.protocol = captures.version;
            record.upstream_protocol = captures.spoken;
            record.upstream_transport_failure = captures.transport_failure;
            record.local_reply_body = captures.local_body;
            [record.request_fields, record.response_fields] = captures.fields.each_ref().map(|fields| &**fields);
            record.request_headers = &captures.request;
            record.response_headers = &captures.response;
            record.request_headers_bytes = captures.header_bytes.0 as u64;
            record.response_headers_bytes = captures.header_bytes.1 as u64;
            record.is_call = captures.dialect != Dialect::Http;
            if captures.dialect == Dialect::Grpc {
                let told = trailers.and_then(|trailers| trailers.grpc_status.get()).or(captures.grpc_status);
                let of_http = |status: StatusCode| grpc::status_of_http(status.as_u16());
                record.grpc_status = told.or(self.status.map(of_http));
            }
        }
        record.scheme = Some(self.conn.info.scheme().as_str());
        record.response_code = self.status.map(|status| status.as_u16());
        record.response_code_details = Some(self.details).filter(|details| !details.is_empty());
        record.flags = self.flags.union(self.tries.flags);
        record.bytes_received = received;
        record.bytes_sent = sent;
        if let Some(target) = &self.target {
            let virtual_host = self.view.routes.as_ref().and_then(|routes| routes.virtual_host(target.at));
            record.virtual_host = virtual_host.and_then(|host| host.name.as_deref());
            record.route_name = self.view.route(target).and_then(|route| route.name.as_deref());
            record.upstream_cluster = target.cluster.and_then(|at| self.view.cluster(at)).map(|cluster| &*cluster.name);
        }
        record.upstream_host = self.tries.host.as_ref();
        record.upstream_local = upstream_local;
        let tried = self.captured.as_ref().is_some_and(|captures| captures.tried);
        record.upstream_attempts = self.tries.count.max(tried.into());
        record.filter_chain = Some(&*self.view.name).filter(|name| !name.is_empty());
        record.requested_server_name = info.server_name();
        if let Some(trailers) = &trailers_captured {
            record.response_trailers = trailers;
        }
        if let Some(conn) = &self.tries.local {
            record.upstream_connection_id = Some(conn.info.id);
            record.upstream_tls = conn.info.tls.as_deref().filter(|_| needs.has(Field::UpstreamTls));
        }
        record.tls = info.tls.as_deref().filter(|_| needs.has(Field::DownstreamTls));
        record.stream_id = sinks.id(Field::StreamId, &*self.conn.env);
        record.unique_id = sinks.id(Field::UniqueId, &*self.conn.env);
        record.downstream_remote = Some(&info.peer);
        record.downstream_direct_remote = Some(info.direct_peer.as_deref().unwrap_or(&info.peer));
        record.downstream_local = Some(&*info.local);
        record.connection_id = Some(info.id);
        match &self.tries.timeline {
            None => sinks.ended(&record),
            Some(timeline) => timeline.read(took, |timings, attempts| {
                let trace = timeline.trace();
                sinks.ended(&StreamRecord { timings, attempts, trace, ..record });
            }),
        }
    }
}

impl Trailers {
    /// Notes the trailers of a response.
    pub(crate) fn note(&self, trailers: &Headers, sinks: &ChainSinks) {
        let find = |name: &http::HeaderName| trailers.first(name.as_str());
        *self.captured.borrow_mut() = Captured::capture(&sinks.needs().response_trailers, find);
        self.grpc_status.set(grpc::status(trailers));
    }
}

impl<I: Io> Observer for StreamGuard<I> {
    fn finish(mut self, end: &StreamEnd) {
        self.end(&end.reason, end.body_sent, end.body_received);
    }
}

impl<I: Io> Drop for StreamGuard<I> {
    fn drop(&mut self) {
        let received = self.progress.as_ref().map_or(self.received, |progress| progress.bytes.get());
        let reset = self.conn.is_resetting();
        let why = if reset { "http2_remote_reset" } else { "downstream_remote_disconnect" };
        self.end(&EndReason::Downstream(why), 0, received);
    }
}
