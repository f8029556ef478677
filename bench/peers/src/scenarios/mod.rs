//! The scenarios. Closed loops are files (`scenarios/*.yaml`); what needs more than that is a file here and a line in
//! [`SPECIAL`].

mod beside;
mod closed_loop;
pub(crate) mod described;
mod failures;
mod fixed_rate;
mod idle;
mod slow_readers;
mod start;
mod swap;
mod traffic;

use anyhow::Result;

use crate::bench::{Bench, Entrant};
use crate::metric::Metric;
use crate::peers::Mode;
use crate::rounds::Row;

/// Those that are no closed loops, in the order of the report.
pub(crate) const SPECIAL: &[&dyn Scenario] = &[
    &fixed_rate::RATE_H1_1K,
    &beside::UNIX_H1_1K_C64,
    &beside::MESH_H1_1K_C64,
    &beside::LOGGED_H1_1K_C64,
    &beside::TRACED_1_H1_1K_C64,
    &beside::TRACED_100_H1_1K_C64,
    &start::START,
    &idle::IDLE_10K,
    &idle::TLS_IDLE_4K,
    &swap::SWAP_10K_ROUTES,
    &slow_readers::SLOW_READERS,
    &failures::KILLED,
    &failures::STALLED,
    &failures::SLOWED,
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

/// The peers of `bench` that carry `mode`, or the reason for which one is skipped.
fn entrants(bench: &Bench, mode: Mode) -> impl Iterator<Item = (&'static str, Result<&Entrant, String>)> {
    let ready = move |entrant: &'_ Entrant| match (entrant.peer.cannot(mode), &entrant.found) {
        (Some(why), _) => Err(why.to_owned()),
        (None, Err(why)) => Err(format!("skipped: {why}")),
        (None, Ok(_)) => Ok(()),
    };
    let suits = bench.peers.iter().filter(move |e| e.peer.carries(mode));
    suits.map(move |e| (e.peer.name(), ready(e).map(|()| e)))
}

/// Those of them that are processes.
fn processes(bench: &Bench, mode: Mode) -> Vec<(&'static str, Result<&Entrant, String>)> {
    let is_process = |name: &str| bench.peers.iter().any(|e| e.peer.name() == name && e.peer.is_process());
    entrants(bench, mode).filter(|(name, _)| is_process(name)).collect()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
