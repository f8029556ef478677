//! What moves when a host leaves, of what hashes alike.

use anyhow::{Context, Result};
use ringway_api::{Hosts, PickCx};
use ringway_testkit::Rng;

use crate::algorithms::{Algorithm, hashes, key, peak};
use crate::report::Figure;
use crate::svg::{Axis, Plot};
use crate::{Part, Run, Table};

/// Keys whose host is another one when one of N hosts has left.
pub fn run(run: Run) -> Result<Part> {
    let sizes: &[usize] = run.size(&[3, 10, 30, 100, 300], &[3, 10, 30]);
    let keys = run.size(200_000, 10_000);
    let mut part = Part::new("Stability: keys that move when one of N hosts leaves");
    let mut plot = Plot::new(
        "stability",
        "Keys that move though their host stays",
        Axis::log10("hosts"),
        Axis::linear("% of all keys"),
    );
    let columns = ["balancer", "hosts", "1/N %", "moved %", "needlessly %", "busiest host / mean"];
    let mut table = Table::new("One of N hosts leaves", columns);
    for algorithm in &hashes()? {
        let mut needless = Vec::new();
        for &size in sizes {
            let found = leave(algorithm, size, keys, run.seed)?;
            let ideal = 1.0 / size as f64;
            let shares = [ideal, found.moved, found.needless].map(Figure::percent);
            table.row(
                algorithm.name,
                std::iter::once(Figure::count(size)).chain(shares).chain([Figure::Number(found.peak, 2)]),
            );
            // A ring moves nothing else; a table of 65,537 places moves a few percent.
            let bound = if algorithm.name == "maglev" { 0.06 } else { 0.0 };
            let what = format!("{}, {size} hosts", algorithm.name);
            part.at_most(format!("{what}: moved needlessly"), found.needless, bound);
            let own = if algorithm.name == "ring_hash" { 2.0 } else { 1.35 };
            part.at_most(format!("{what}: moved"), found.moved, ideal * own + bound);
            needless.push((size as f64, found.needless * 100.0));
        }
        plot.line(algorithm.name, needless);
    }
    part.tables.push(table);
    part.plots.push(plot);
    Ok(part)
}

struct Found {
    moved: f64,
    /// Keys whose host stayed and that moved nevertheless.
    needless: f64,
    /// Of the hosts before.
    peak: f64,
}

fn leave(algorithm: &Algorithm, size: usize, keys: u64, seed: u64) -> Result<Found> {
    let gone = size / 2;
    let before: Vec<usize> = (0..size).collect();
    let after: Vec<usize> = before.iter().copied().filter(|host| *host != gone).collect();
    let (before, after) = (homes(algorithm, &before, keys, seed)?, homes(algorithm, &after, keys, seed)?);
    let (mut moved, mut needless, mut load) = (0_u64, 0_u64, vec![0_u64; size]);
    for (was, is) in before.iter().zip(&after) {
        moved += u64::from(was != is);
        needless += u64::from(was != is && *was != gone);
        if let Some(load) = load.get_mut(*was) {
            *load += 1;
        }
    }
    let share = |count: u64| count as f64 / keys as f64;
    Ok(Found { moved: share(moved), needless: share(needless), peak: peak(&load) })
}

/// The host of each key, by number.
fn homes(algorithm: &Algorithm, hosts: &[usize], keys: u64, seed: u64) -> Result<Vec<usize>> {
    let states: Vec<_> = hosts.iter().map(|host| ringway_api::HostState::new(1, key(*host))).collect();
    let balancer = algorithm.on(&states, seed)?;
    let mut rng = Rng::new(seed);
    let home = |_| {
        let cx = PickCx { hash: Some(rng.bits()), ..PickCx::default() };
        let at = balancer.pick(Hosts::all(&states), cx).context("no host")?;
        hosts.get(at).copied().context("no such host")
    };
    (0..keys).map(home).collect()
}
