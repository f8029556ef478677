//! What the next hop is told of its time, and of which try it is.

use std::time::Duration;

use ringway_api::RequestHead;

use crate::dialect::Dialect;
use crate::grpc;

/// Which try a request is (Envoy).
pub(crate) const ATTEMPT_COUNT: &str = "x-envoy-attempt-count";
/// How long the proxy waits for the response, in milliseconds (Envoy).
const EXPECTED_TIMEOUT: &str = "x-envoy-expected-rq-timeout-ms";

/// Tells how long the response is waited for, in the request's own language.
pub(crate) fn timeout(head: &mut RequestHead, dialect: Dialect, left: Duration) {
    match dialect {
        Dialect::Http => set_number(head, EXPECTED_TIMEOUT, left.as_millis().max(1)),
        Dialect::Grpc => grpc::tell_deadline(head, left),
        // Codecs that write a call anew write it; a frame that goes on as it came keeps its caller's.
        Dialect::Rpc => head.timeout = head.timeout.map(|own| own.min(left)),
    }
}

/// Tells which try it is, from 1.
pub(crate) fn attempt_count(head: &mut RequestHead, count: u32) {
    set_number(head, ATTEMPT_COUNT, count.into());
}

fn set_number(head: &mut RequestHead, name: &str, value: u128) {
    let set = head.headers.set(name, value.to_string().as_bytes());
    debug_assert!(set.is_ok(), "digits");
}
