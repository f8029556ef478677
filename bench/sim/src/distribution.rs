//! How exactly hosts get their shares.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use ringway_api::{Hosts, PickCx, Time};
use ringway_testkit::Rng;

use crate::algorithms::{Algorithm, chi_square, hashes, hosts, turns, worst};
use crate::report::Figure;
use crate::svg::{Axis, Plot};
use crate::{Part, Run, Table};

/// Hosts of a case: their weights, and how many of the first are out.
struct Case {
    name: &'static str,
    weights: &'static [u32],
    out: usize,
}

const CASES: [Case; 3] = [
    Case { name: "10 equal hosts", weights: &[1; 10], out: 0 },
    Case { name: "10 hosts, weights 1 to 5 twice", weights: &[1, 2, 3, 4, 5, 1, 2, 3, 4, 5], out: 0 },
    Case { name: "10 equal hosts, 3 of them ejected", weights: &[1; 10], out: 3 },
];

/// Requests under way while one is picked.
const UNDER_WAY: usize = 32;

/// Shares after these many picks.
pub fn run(run: Run) -> Result<Part> {
    let last: u64 = run.size(1_000_000, 20_000);
    let mut part = Part::new("Distribution: how far the worst host is off its share");
    let mut plot = Plot::new(
        "distribution",
        "Error of the worst of 10 equal hosts",
        Axis::log10("requests"),
        Axis::log10("error of the worst host (share of its own)"),
    );
    for case in CASES {
        let points = [100, 1_000, 10_000, last];
        let columns = points.iter().map(|picks| format!("after {picks} %"));
        let columns = std::iter::once("balancer".to_owned()).chain(columns).chain(["chi2/df".to_owned()]);
        let mut table = Table::new(case.name, columns);
        for algorithm in turns()?.iter().chain(&hashes()?) {
            let found = shares(algorithm, &case, &points, run.seed)?;
            let errors = found.iter().map(|(error, _)| Figure::percent(*error));
            let (error, chi) = found.last().copied().unwrap_or((f64::NAN, f64::NAN));
            table.row(algorithm.name, errors.chain([Figure::Number(chi, 2)]));
            if let Some(bound) = bound(algorithm.name, &case, last) {
                part.at_most(format!("{}, {}: error of the worst host", algorithm.name, case.name), error, bound);
            }
            if case.out == 0 && case.weights.iter().all(|weight| *weight == 1) {
                plot.line(
                    algorithm.name,
                    points.iter().zip(&found).map(|(at, (error, _))| (*at as f64, error.max(1e-4))),
                );
            }
        }
        part.tables.push(table);
    }
    part.plots.push(plot);
    Ok(part)
}

/// The error that is allowed at the end; `None` where shares are not what the balancer is after.
fn bound(name: &str, case: &Case, picks: u64) -> Option<f64> {
    let lightest = 1.0 / case.weights.iter().map(|weight| f64::from(*weight)).sum::<f64>();
    // Four standard deviations of independent picks for the lightest host, and a fifth for how many hosts there are.
    let noise = 5.0 / (picks as f64 * lightest).sqrt();
    match name {
        // A turn more or less.
        "round_robin" => Some(2.0 / (picks as f64 * lightest)),
        "random" => Some(noise),
        "ring_hash" => Some(0.60 + noise),
        "ring_hash 65536" => Some(0.10 + noise),
        "maglev" => Some(0.05 + noise),
        _ if case.weights.iter().all(|weight| *weight == 1) => Some(noise),
        _ => None,
    }
}

/// The worst host's error and the statistic after each number of picks.
fn shares(algorithm: &Algorithm, case: &Case, points: &[u64], seed: u64) -> Result<Vec<(f64, f64)>> {
    let states = hosts(case.weights.iter().copied());
    states.iter().take(case.out).for_each(|state| state.usable.set(false));
    let balancer = algorithm.on(&states, seed)?;
    let mut rng = Rng::new(seed);
    let mut got = vec![0_u64; states.len()];
    let mut under_way = VecDeque::with_capacity(UNDER_WAY);
    let mut found = Vec::with_capacity(points.len());
    let weights: Vec<u64> = case.weights.iter().skip(case.out).map(|weight| u64::from(*weight)).collect();
    for picked in 1..=points.last().copied().unwrap_or(0) {
        let cx = PickCx { random: rng.bits(), hash: Some(rng.bits()), now: Time(picked) };
        let at = balancer.pick(Hosts::all(&states), cx).context("no host")?;
        let (Some(state), Some(count)) = (states.get(at), got.get_mut(at)) else { continue };
        *count += 1;
        state.active.set(state.active.get() + 1);
        under_way.push_back(state);
        if under_way.len() > UNDER_WAY
            && let Some(done) = under_way.pop_front()
        {
            done.active.set(done.active.get().saturating_sub(1));
        }
        if points.contains(&picked) {
            let usable = got.get(case.out..).unwrap_or_default();
            found.push((worst(usable, &weights), chi_square(usable, &weights)));
        }
    }
    Ok(found)
}
