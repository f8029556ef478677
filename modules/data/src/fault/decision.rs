//! What happens to one request.

use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;
use ringway_api::{LocalReply, RequestHead, ResponseFlag};

use super::options::{Abort, Options, Setting};
use crate::percent::Percent;

/// What happens to a request, in this order.
pub(super) struct Decision {
    pub(super) delay: Option<Duration>,
    pub(super) end: End,
    /// Of the response.
    pub(super) bytes_per_second: Option<u64>,
}

/// What comes after the delay.
pub(super) enum End {
    Continue,
    Reset,
    /// For so long at most.
    Silence(Option<Duration>),
    Abort(Box<LocalReply>),
}

/// Fields by which a request chooses its faults, as Envoy has them.
const DELAY: &str = "x-envoy-fault-delay-request";
const DELAY_PERCENTAGE: &str = "x-envoy-fault-delay-request-percentage";
const ABORT: &str = "x-envoy-fault-abort-request";
const ABORT_GRPC: &str = "x-envoy-fault-abort-grpc-request";
const ABORT_PERCENTAGE: &str = "x-envoy-fault-abort-request-percentage";
const THROUGHPUT: &str = "x-envoy-fault-throughput-response";
const THROUGHPUT_PERCENTAGE: &str = "x-envoy-fault-throughput-response-percentage";

impl Decision {
    pub(super) fn is_nothing(&self) -> bool {
        self.delay.is_none() && self.bytes_per_second.is_none() && matches!(self.end, End::Continue)
    }
}

impl Options {
    /// Decides. Each fault that is configured takes one number, whether it is needed or not: with a seed, what happens to a
    /// request depends on its place in the order alone.
    pub(super) fn decide(&self, head: &RequestHead, mut random: impl FnMut() -> u64) -> Decision {
        let mut hit = |share: Percent, header: Option<&str>| {
            // A request may ask for a smaller share than is configured.
            let asked = header.and_then(|name| Percent::try_from(number::<f64>(head, name)?).ok());
            asked.unwrap_or(Percent::ALL).min(share).hits(random())
        };
        let delay = self.delay.as_ref().and_then(|(setting, share)| match setting {
            Setting::Fixed(delay) => hit(*share, None).then_some(*delay),
            Setting::Header => {
                let asked = number(head, DELAY).map(Duration::from_millis);
                hit(*share, Some(DELAY_PERCENTAGE)).then_some(asked?.min(self.max_delay))
            }
        });
        let reset = self.reset.is_some_and(|share| hit(share, None));
        let silence = self.blackhole.and_then(|(most, share)| hit(share, None).then_some(most));
        let abort = self.abort.as_ref().and_then(|(setting, share)| match setting {
            Setting::Fixed(abort) => hit(*share, None).then_some(*abort),
            Setting::Header => {
                let asked = number(head, ABORT).and_then(Abort::http);
                let asked = asked.or_else(|| number(head, ABORT_GRPC).and_then(Abort::grpc));
                if hit(*share, Some(ABORT_PERCENTAGE)) { asked } else { None }
            }
        });
        let bytes_per_second = self.rate.as_ref().and_then(|(setting, share)| match setting {
            Setting::Fixed(rate) => hit(*share, None).then_some(*rate),
            Setting::Header => {
                let asked = number::<u32>(head, THROUGHPUT).filter(|kib| *kib > 0).map(|kib| u64::from(kib) * 1024);
                if hit(*share, Some(THROUGHPUT_PERCENTAGE)) { asked } else { None }
            }
        });
        let end = match (reset, silence, abort) {
            (true, ..) => End::Reset,
            (_, Some(most), _) => End::Silence(most),
            (_, _, Some(abort)) => End::Abort(Box::new(abort.reply())),
            _ => End::Continue,
        };
        Decision { delay: delay.filter(|delay| !delay.is_zero()), end, bytes_per_second }
    }
}

impl Abort {
    fn reply(self) -> LocalReply {
        let (status, grpc) = match self {
            Self::Http(status) => (status, None),
            Self::Grpc(code) => (http_status(code), Some(code)),
        };
        let silent = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        let body = if silent { "" } else { "fault filter abort" };
        let reply = LocalReply::new(status, body, "fault_filter_abort").flag(ResponseFlag::FaultInjected);
        grpc.map_or(reply.clone(), |code| reply.grpc_status(code))
    }
}

/// The HTTP status for a gRPC status (`google/rpc/code.proto`).
fn http_status(grpc: u8) -> StatusCode {
    match grpc {
        0 => StatusCode::OK,
        // 499 is nginx's "client closed request".
        1 => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        3 | 9 | 11 => StatusCode::BAD_REQUEST,
        4 => StatusCode::GATEWAY_TIMEOUT,
        5 => StatusCode::NOT_FOUND,
        6 | 10 => StatusCode::CONFLICT,
        7 => StatusCode::FORBIDDEN,
        8 => StatusCode::TOO_MANY_REQUESTS,
        12 => StatusCode::NOT_IMPLEMENTED,
        14 => StatusCode::SERVICE_UNAVAILABLE,
        16 => StatusCode::UNAUTHORIZED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn number<T: FromStr>(head: &RequestHead, name: &str) -> Option<T> {
    std::str::from_utf8(head.headers.first(name)?).ok()?.trim().parse().ok()
}
