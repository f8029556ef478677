//! What is counted.

mod chunked;
mod head;
mod http2;
mod log;
mod pick;
mod proxied;
mod route;
mod rpc;
mod snapshot;
mod world;

use std::hint::black_box;

use anyhow::Result;
use ringway_upstream::balance::{LeastRequest, Maglev, PeakEwma, Random, RingHash, RoundRobin};

/// Something that is done once per request.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// How many times less often than a short one it is done: it takes so long.
    pub(crate) rarer: u64,
    /// Prepares, then does it so many times within [`measured`].
    pub(crate) run: fn(u64) -> Result<()>,
}

/// All cases.
pub(crate) const CASES: &[Case] = &[
    Case { name: "head/request", what: "decode a request head with six fields", rarer: 1, run: head::request },
    Case { name: "head/response", what: "decode a response head with six fields", rarer: 1, run: head::response },
    Case { name: "head/request-forward", what: "decode, add two fields, encode", rarer: 1, run: head::request_forward },
    Case { name: "head/response-forward", what: "decode, set a field, encode", rarer: 1, run: head::response_forward },
    Case {
        name: "chunked/decode",
        what: "four chunks of 256 bytes and a trailer field",
        rarer: 1,
        run: chunked::decode,
    },
    Case { name: "http2/exchange", what: "six fields each way, both ends", rarer: 10, run: http2::exchange },
    Case { name: "proxied/bare", what: "HTTP/1.1 both sides, client and host counted", rarer: 10, run: proxied::bare },
    Case { name: "proxied/five-filters", what: "the same, five filters pass it", rarer: 10, run: proxied::filtered },
    Case { name: "snapshot/100-routes", what: "read as JSON and compiled", rarer: 100, run: snapshot::build },
    Case { name: "route/1", what: "the only route there is", rarer: 1, run: route::one },
    Case { name: "route/100", what: "a virtual host of 100 routes", rarer: 1, run: route::hundred },
    Case { name: "route/10k", what: "1000 virtual hosts of 10 routes", rarer: 1, run: route::ten_thousand },
    Case {
        name: "route/mixed",
        what: "path, segments, header, regular expression; wildcards",
        rarer: 1,
        run: route::mixed,
    },
    Case { name: "pick/round-robin/3", what: "equal hosts", rarer: 1, run: pick::equal::<RoundRobin, 3> },
    Case { name: "pick/round-robin/100", what: "equal hosts", rarer: 1, run: pick::equal::<RoundRobin, 100> },
    Case {
        name: "pick/round-robin/100-weighted",
        what: "10 weights",
        rarer: 1,
        run: pick::weighted::<RoundRobin, 100>,
    },
    Case { name: "pick/least-request/3", what: "equal hosts", rarer: 1, run: pick::equal::<LeastRequest, 3> },
    Case { name: "pick/least-request/100", what: "equal hosts", rarer: 1, run: pick::equal::<LeastRequest, 100> },
    Case {
        name: "pick/least-request/100-weighted",
        what: "10 weights",
        rarer: 1,
        run: pick::weighted::<LeastRequest, 100>,
    },
    Case { name: "pick/random/3", what: "equal hosts", rarer: 1, run: pick::equal::<Random, 3> },
    Case { name: "pick/random/100", what: "equal hosts", rarer: 1, run: pick::equal::<Random, 100> },
    Case { name: "pick/peak-ewma/100", what: "equal hosts", rarer: 1, run: pick::equal::<PeakEwma, 100> },
    Case { name: "pick/ring-hash/100-weighted", what: "10 weights", rarer: 1, run: pick::weighted::<RingHash, 100> },
    Case { name: "pick/maglev/100-weighted", what: "10 weights", rarer: 1, run: pick::weighted::<Maglev, 100> },
    Case { name: "pick/random/100-weighted", what: "10 weights", rarer: 1, run: pick::weighted::<Random, 100> },
    Case { name: "log/text", what: "three headers, the default line", rarer: 1, run: log::text },
    Case { name: "log/json", what: "three headers, the default JSON line of 24 members", rarer: 1, run: log::json },
    Case { name: "log/short", what: "a line of three operators", rarer: 1, run: log::short },
    Case {
        name: "rpc/dubbo",
        what: "read a Dubbo call: frame, service, method, four attachments",
        rarer: 1,
        run: rpc::dubbo,
    },
    Case { name: "rpc/bolt", what: "read a bolt call: frame, service, method, four pairs", rarer: 1, run: rpc::bolt },
    Case { name: "rpc/renumber", what: "a Dubbo call of 1 KB under another id", rarer: 1, run: rpc::renumber },
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
