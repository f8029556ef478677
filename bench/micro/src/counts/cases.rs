//! What is counted.

mod head;
mod log;
mod pick;
mod route;
mod rpc;

use std::hint::black_box;

use anyhow::Result;
use ringway_upstream::balance::{LeastRequest, Maglev, PeakEwma, Random, RingHash, RoundRobin};

/// Something that is done once per request.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Prepares, then does it so many times within [`measured`].
    pub(crate) run: fn(u64) -> Result<()>,
}

/// All cases.
pub(crate) const CASES: &[Case] = &[
    Case { name: "head/request", what: "decode a request head with six fields", run: head::request },
    Case { name: "head/response", what: "decode a response head with six fields", run: head::response },
    Case { name: "head/request-forward", what: "decode, add two fields, encode", run: head::request_forward },
    Case { name: "head/response-forward", what: "decode, set a field, encode", run: head::response_forward },
    Case { name: "route/1", what: "the only route there is", run: route::one },
    Case { name: "route/100", what: "a virtual host of 100 routes", run: route::hundred },
    Case { name: "route/10k", what: "1000 virtual hosts of 10 routes", run: route::ten_thousand },
    Case { name: "route/mixed", what: "path, segments, header, regular expression; wildcards", run: route::mixed },
    Case { name: "pick/round-robin/3", what: "equal hosts", run: pick::equal::<RoundRobin, 3> },
    Case { name: "pick/round-robin/100", what: "equal hosts", run: pick::equal::<RoundRobin, 100> },
    Case { name: "pick/round-robin/100-weighted", what: "10 weights", run: pick::weighted::<RoundRobin, 100> },
    Case { name: "pick/least-request/3", what: "equal hosts", run: pick::equal::<LeastRequest, 3> },
    Case { name: "pick/least-request/100", what: "equal hosts", run: pick::equal::<LeastRequest, 100> },
    Case { name: "pick/least-request/100-weighted", what: "10 weights", run: pick::weighted::<LeastRequest, 100> },
    Case { name: "pick/random/3", what: "equal hosts", run: pick::equal::<Random, 3> },
    Case { name: "pick/random/100", what: "equal hosts", run: pick::equal::<Random, 100> },
    Case { name: "pick/peak-ewma/100", what: "equal hosts", run: pick::equal::<PeakEwma, 100> },
    Case { name: "pick/ring-hash/100-weighted", what: "10 weights", run: pick::weighted::<RingHash, 100> },
    Case { name: "pick/maglev/100-weighted", what: "10 weights", run: pick::weighted::<Maglev, 100> },
    Case { name: "pick/random/100-weighted", what: "10 weights", run: pick::weighted::<Random, 100> },
    Case { name: "log/text", what: "three headers, the default line", run: log::text },
    Case { name: "log/json", what: "three headers, the default JSON line of 24 members", run: log::json },
    Case { name: "log/short", what: "a line of three operators", run: log::short },
    Case { name: "rpc/dubbo", what: "read a Dubbo call: frame, service, method, four attachments", run: rpc::dubbo },
    Case { name: "rpc/bolt", what: "read a bolt call: frame, service, method, four pairs", run: rpc::bolt },
    Case { name: "rpc/renumber", what: "a Dubbo call of 1 KB under another id", run: rpc::renumber },
];

/// Does something so many times. Callgrind collects within this function only.
#[inline(never)]
pub(crate) fn measured<T>(times: u64, mut once: impl FnMut() -> T) {
    for _ in 0..times {
        black_box(once());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs_and_has_a_name_of_its_own() {
        for (at, case) in CASES.iter().enumerate() {
            (case.run)(20).unwrap_or_else(|error| panic!("{}: {error:#}", case.name));
            assert!(CASES.iter().take(at).all(|other| other.name != case.name), "{}", case.name);
        }
    }
}
