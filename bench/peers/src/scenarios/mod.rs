//! The scenarios: one file each (the closed loops share one), one line in [`SCENARIOS`].

mod closed_loop;
mod idle;
mod slow_readers;
mod swap;

use std::sync::Arc;

use anyhow::Result;

use crate::bench::{Bench, Entrant};
use crate::load::{Expect, Plan};
use crate::message;
use crate::metric::Metric;
use crate::peers::Mode;
use crate::rounds::Row;

/// Every scenario, in the order of the report.
pub(crate) const SCENARIOS: &[&dyn Scenario] = &[
    &closed_loop::H1_1K_C64,
    &closed_loop::H1_64K_C64,
    &closed_loop::H1_POST16K_C64,
    &closed_loop::TCP_1K_C64,
    &closed_loop::H1_1K_C1,
    &idle::IDLE_10K,
    &swap::SWAP_10K_ROUTES,
    &slow_readers::SLOW_READERS,
];

/// Something that can be measured of several peers.
pub(crate) trait Scenario: Sync {
    fn name(&self) -> &'static str;

    /// One sentence for the report.
    fn about(&self) -> String;

    /// Its figures, in the order of the columns.
    fn columns(&self) -> &'static [&'static Metric];

    /// The figure that peers are compared by.
    fn primary(&self) -> &'static Metric;

    /// Measures all peers that it suits.
    fn run(&self, bench: &Bench) -> Result<Vec<Row>>;
}

/// Scenarios that start every proxy anew take at most this many rounds: each is long, and they vary little.
const FRESH_ROUNDS: usize = 3;

/// What the client sends.
#[derive(Clone, Copy, Debug)]
enum Traffic {
    /// GET of a path with a body of this size.
    Get(&'static str, u64),
    /// POST of this many bytes, small reply.
    Post(usize),
    /// 1 KB each way.
    Tcp,
}

/// The host that clients ask for.
const HOST: &str = "app.test";

const GET_1K: Traffic = Traffic::Get("/1k", 1024);

impl Traffic {
    fn mode(self) -> Mode {
        if matches!(self, Self::Tcp) { Mode::Tcp } else { Mode::Http }
    }

    fn plan(self, target: std::net::SocketAddr) -> Plan {
        let (request, expect): (Vec<u8>, Expect) = match self {
            Self::Get(path, size) => (message::get(HOST, path), Expect::Http(size)),
            Self::Post(size) => (message::post(HOST, message::UPLOAD, size), Expect::Http(message::SMALL as u64)),
            Self::Tcp => (message::body(message::TCP_MESSAGE).collect(), Expect::Fixed(message::TCP_MESSAGE as u64)),
        };
        Plan { target, request: Arc::from(request), expect }
    }
}

/// The peers of `bench` that are processes and carry `mode`, or the reason for which one is skipped.
fn processes(bench: &Bench, mode: Mode) -> Vec<(&'static str, Result<&Entrant, String>)> {
    let suits = |e: &&Entrant| e.peer.is_process() && e.peer.carries(mode);
    let entry = |e| (Entrant::name(e), e.found.as_ref().map(|_| e).map_err(|why| format!("skipped: {why}")));
    bench.peers.iter().filter(suits).map(entry).collect()
}

impl Entrant {
    fn name(&self) -> &'static str {
        self.peer.name()
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_primaries_are_columns() {
        let names: BTreeSet<_> = SCENARIOS.iter().map(|s| s.name()).collect();
        assert_eq!(names.len(), SCENARIOS.len());
        for scenario in SCENARIOS {
            assert!(scenario.columns().contains(&scenario.primary()), "{}", scenario.name());
            assert!(!scenario.about().is_empty());
        }
    }

    #[test]
    fn bodies_that_are_asked_for_are_served() {
        for (path, size) in message::BODIES {
            assert!(message::reply(*size).len() > *size, "{path}");
        }
        let Traffic::Get(path, size) = GET_1K else { panic!("a GET") };
        assert!(message::BODIES.iter().any(|(p, s)| *p == path && *s as u64 == size));
    }
}
