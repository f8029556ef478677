//! The end of a stream: counted and logged exactly once, also when it is cancelled.

use std::rc::Rc;

use http::{Method, StatusCode};
use ringway_api::{
    Address, ConnCx, EndReason, Io, LocalReply, LocalSource, Observer, RequestHead, Response, ResponseFlag,
    ResponseFlags, ResponseHead, StreamCx, StreamEnd, Time, Version,
};
use ringway_config::Route;
use ringway_telemetry::{Captured, StreamRecord};

use crate::attempt::{RequestProgress, Tries};
use crate::dialect::Dialect;
use crate::edits::{self, Facts};
use crate::sinks::ChainSinks;
use crate::timeline::Timeline;
use crate::view::{ChainView, Target};

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
    method: Method,
    path: Box<[u8]>,
    authority: Box<[u8]>,
    version: Version,
    request: Captured,
    response: Captured,
    header_bytes: (usize, usize),
}

impl<I: Io> StreamGuard<I> {
    pub(crate) fn begin(view: Rc<ChainView<I>>, cx: &StreamCx) -> Self {
        view.http.downstream_rq_total.inc();
        view.http.downstream_rq_active.inc();
        let timed = view.sinks.as_ref().is_some_and(ChainSinks::are_timed);
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
        self.captured = Some(Box::new(Captures {
            method: head.method.clone(),
            path: head.path_and_query().into(),
            authority: head.authority().into(),
            version: head.version,
            request: Captured::capture(sinks.request_headers(), find),
            header_bytes: (head.headers.wire_len(), 0),
            ..Captures::default()
        }));
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
            captures.header_bytes.1 = head.headers.wire_len();
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
            EndReason::Downstream(_) => {
                http.downstream_rq_rx_reset.inc();
                self.flags.insert(ResponseFlag::DownstreamConnectionTermination);
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
        let mut record = StreamRecord::new(start);
        let upstream_local: Option<&Address> = self.tries.local.as_ref().map(|conn| &*conn.info.local);
        record.duration = took;
        if let Some(captures) = &self.captured {
            record.method = Some(captures.method.as_str());
            record.path = Some(&captures.path);
            record.authority = Some(&captures.authority).filter(|text| !text.is_empty()).map(AsRef::as_ref);
            record.protocol = Some(captures.version);
            record.request_headers = &captures.request;
            record.response_headers = &captures.response;
            record.request_headers_bytes = captures.header_bytes.0 as u64;
            record.response_headers_bytes = captures.header_bytes.1 as u64;
        }
        record.scheme = Some(self.conn.info.scheme().as_str());
        record.response_code = self.status.map(|status| status.as_u16());
        record.response_code_details = Some(self.details).filter(|details| !details.is_empty());
        record.flags = self.flags.union(self.tries.flags);
        record.bytes_received = received;
        record.bytes_sent = sent;
        if let Some(target) = &self.target {
            record.route_name = self.view.route(target).and_then(|route| route.name.as_deref());
            record.upstream_cluster = target.cluster.and_then(|at| self.view.cluster(at)).map(|cluster| &*cluster.name);
        }
        record.upstream_host = self.tries.host.as_ref();
        record.upstream_local = upstream_local;
        record.upstream_attempts = self.tries.count;
        record.downstream_remote = Some(&self.conn.info.peer);
        record.downstream_direct_remote = Some(self.conn.info.direct_peer.as_deref().unwrap_or(&self.conn.info.peer));
        record.downstream_local = Some(&*self.conn.info.local);
        record.connection_id = Some(self.conn.info.id);
        match &self.tries.timeline {
            None => sinks.ended(&record),
            Some(timeline) => timeline.read(took, |timings, attempts| {
                sinks.ended(&StreamRecord { timings, attempts, ..record });
            }),
        }
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
        self.end(&EndReason::Downstream("downstream_remote_disconnect"), 0, received);
    }
}
