//! What an attempt tells about its host's health: its status, and what becomes of its body.

use std::rc::Rc;

use ringway_api::{Headers, Io, ResponseHead};
use ringway_upstream::{AcquireError, Cluster, Host, Outcome};

use crate::attempt::Failure;
use crate::dialect::Dialect;
use crate::view::ClusterView;

/// By this field a host takes itself out of a cluster that is actively checked.
const IMMEDIATE_FAIL: &str = "x-envoy-immediate-health-check-fail";

/// Waits for the end of a response whose host is watched.
pub(crate) struct BodyWatch {
    tell: Box<dyn Fn(Outcome)>,
    /// Of a gRPC call, whose status is in its trailers: that of the head, should there be none.
    open: Option<u16>,
}

/// Notes an attempt that brought no response head.
pub(crate) fn failed<I: 'static>(cluster: &Cluster<I>, host: &Host, failure: &Failure) {
    use ringway_api::ExchangeErrorKind as Kind;
    let outcome = match failure {
        Failure::Timeout | Failure::PerTryTimeout | Failure::PerTryIdle => Outcome::TimedOut,
        Failure::Acquire(AcquireError::Connect { .. } | AcquireError::Handshake { .. }) => Outcome::ConnectFailed,
        Failure::Exchange(error) => match error.kind {
            Kind::Closed => Outcome::ConnectFailed,
            Kind::Protocol | Kind::TooLarge => Outcome::Malformed,
            // The request's fault.
            Kind::RequestBody => return,
        },
        // The cluster's limits, not the host.
        Failure::Acquire(_) => return,
    };
    cluster.attempt_ended(host, outcome);
}

/// Notes a response head. What else is to be watched for comes with its body, if that is still on its way.
pub(crate) fn answered<I: Io>(
    upstream: &Rc<ClusterView<I>>,
    host: &Rc<Host>,
    head: &ResponseHead,
    dialect: Dialect,
    streaming: bool,
) -> Option<BodyWatch> {
    let cluster = &upstream.cluster;
    if cluster.heeds_immediate_failure() && head.headers.first(IMMEDIATE_FAIL).is_some() {
        cluster.fail_immediately(host);
    }
    if !cluster.watches_outcomes() {
        return None;
    }
    let grpc = if dialect == Dialect::Grpc { grpc_status(&head.headers) } else { None };
    let status = grpc.unwrap_or(head.status.as_u16());
    let open = (dialect == Dialect::Grpc && grpc.is_none() && streaming).then_some(status);
    if open.is_none() {
        cluster.attempt_ended(host, Outcome::Answered(status));
    }
    if !streaming {
        return None;
    }
    // The box is for clusters with outlier detection alone, and for bodies that did not come with their head.
    let (upstream, host) = (Rc::clone(upstream), Rc::clone(host));
    Some(BodyWatch { tell: Box::new(move |outcome| upstream.cluster.attempt_ended(&host, outcome)), open })
}

impl BodyWatch {
    /// The trailers are there.
    pub(crate) fn trailers(&mut self, trailers: &Headers) {
        if let Some(status) = self.open.take() {
            (self.tell)(Outcome::Answered(grpc_status(trailers).unwrap_or(status)));
        }
    }

    /// The body has ended.
    pub(crate) fn ended(&mut self) {
        if let Some(status) = self.open.take() {
            (self.tell)(Outcome::Answered(status));
        }
    }

    /// The body was cut off, or took too long.
    pub(crate) fn cut(&mut self, outcome: Outcome) {
        self.open = None;
        (self.tell)(outcome);
    }
}

/// The HTTP status that the `grpc-status` among these fields stands for, in Envoy's table.
fn grpc_status(fields: &Headers) -> Option<u16> {
    Some(match fields.first("grpc-status")? {
        b"0" => 200,
        b"1" => 499,
        b"3" | b"9" | b"11" => 400,
        b"4" => 504,
        b"5" => 404,
        b"6" | b"10" => 409,
        b"7" => 403,
        b"8" => 429,
        b"12" => 501,
        b"14" => 503,
        b"16" => 401,
        // Unknown, internal, data loss, and what is no status.
        _ => 500,
    })
}
