//! One cluster over several workers, each of which balances for itself.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use anyhow::{Context, Result};
use ringway_api::{HostState, Hosts, PickCx, Time};
use ringway_testkit::Rng;
use ringway_upstream::Want;
use serde_json::json;

use crate::algorithms::{Algorithm, hosts, peak, turns, unit};
use crate::mesh::{Conduct, Fleet, Mesh, config};
use crate::report::Figure;
use crate::svg::{Axis, Plot};
use crate::{Part, Run, Table};

const WORKERS: [usize; 5] = [1, 2, 4, 8, 16];
const HOSTS: usize = 20;

/// Shares over all workers, from the first request on; then what is under way at once.
pub fn run(run: Run) -> Result<Part> {
    let mut part = Part::new(format!("Fairness: {HOSTS} equal hosts over 1 to 16 workers"));
    shares(run, &mut part)?;
    under_way(run, &mut part)?;
    Ok(part)
}

/// The busiest host of all workers together, after so many requests, on average over many processes.
fn shares(run: Run, part: &mut Part) -> Result<()> {
    let points: &[u64] = run.size(&[20, 100, 1_000, 10_000, 100_000], &[20, 100, 1_000]);
    let processes = run.size(20, 4);
    let columns = points.iter().map(|requests| format!("after {requests}"));
    let columns: Vec<_> = ["balancer", "workers"].map(str::to_owned).into_iter().chain(columns).collect();
    let mut table = Table::new("Requests of the busiest host / mean (1 is even)", columns);
    let mut plot = Plot::new(
        "fairness",
        "Busiest of 20 hosts, round robin on each of several workers",
        Axis::log10("requests of all workers together, since the start"),
        Axis::linear("requests of the busiest host / mean"),
    );
    for balancer in ["round_robin", "random"] {
        for workers in WORKERS {
            let found = began(balancer, workers, points, processes, run.seed)?;
            let figures = found.iter().map(|peak| Figure::Number(*peak, 3));
            table.row(balancer, std::iter::once(Figure::count(workers)).chain(figures));
            if balancer == "round_robin" {
                plot.line(format!("{workers} workers"), points.iter().map(|at| *at as f64).zip(found.iter().copied()));
                let (first, last) = (found.first().copied().unwrap_or(0.0), found.last().copied().unwrap_or(0.0));
                // Workers in step would give one host a request of each.
                part.at_most(format!("round_robin, {workers} workers: busiest at the start"), first, 3.5);
                let requests = points.last().map_or(1.0, |requests| *requests as f64);
                let uneven = 1.0 + (workers * HOSTS) as f64 / requests;
                part.at_most(format!("round_robin, {workers} workers: busiest in the end"), last, uneven);
            }
        }
    }
    // What it would be like if workers began at one host.
    let in_step = in_step(16, points, run.seed)?;
    table.row(
        "the same if workers began in step",
        std::iter::once(Figure::count(16_usize)).chain(in_step.iter().map(|peak| Figure::Number(*peak, 3))),
    );
    plot.line("16 if in step", points.iter().map(|at| *at as f64).zip(in_step));
    part.tables.push(table);
    part.plots.push(plot);
    Ok(())
}

fn began(balancer: &str, workers: usize, points: &[u64], processes: u64, seed: u64) -> Result<Vec<f64>> {
    let cluster = json!({ "name": "app", "lb": balancer, "endpoints": Fleet::endpoints(0..HOSTS) });
    let config = config(1, &[cluster], &json!({}));
    let mut sums = vec![0.0; points.len()];
    for process in 0..processes {
        let seed = Rng::new(seed ^ (process << 32)).bits();
        let second = Duration::from_secs(1);
        let fleet = Fleet::new(HOSTS, 1, second, second, seed, Box::new(|_, _| Conduct::Hang));
        let mesh = Mesh::new(workers, seed, &config, None, fleet)?;
        let clusters = (0..workers).map(|worker| mesh.cluster(worker, "app")).collect::<Result<Vec<_>>>()?;
        let mut rng = Rng::new(!seed);
        let mut got = [0_u64; HOSTS];
        for request in 1..=points.last().copied().unwrap_or(0) {
            let cluster = clusters.get(rng.below(workers)).context("no worker")?;
            let host = cluster.pick(Want::default()).map_err(|error| anyhow::anyhow!("{error:?}"))?;
            let at = cluster.hosts().iter().position(|other| std::rc::Rc::ptr_eq(other, &host));
            if let Some(got) = at.and_then(|at| got.get_mut(at)) {
                *got += 1;
            }
            if let Some(sum) = points.iter().position(|at| *at == request).and_then(|at| sums.get_mut(at)) {
                *sum += peak(&got) / processes as f64;
            }
        }
    }
    Ok(sums)
}

fn in_step(workers: usize, points: &[u64], seed: u64) -> Result<Vec<f64>> {
    let all = turns()?;
    let round_robin = all.first().context("no balancer")?;
    let states = hosts([1; HOSTS]);
    let balancers = (0..workers).map(|_| round_robin.on(&states, 0)).collect::<Result<Vec<_>>>()?;
    let mut rng = Rng::new(seed);
    let (mut got, mut peaks) = ([0_u64; HOSTS], Vec::new());
    for request in 1..=points.last().copied().unwrap_or(0) {
        let balancer = balancers.get(rng.below(workers)).context("no worker")?;
        let at = balancer.pick(Hosts::all(&states), PickCx::default()).context("no host")?;
        if let Some(got) = got.get_mut(at) {
            *got += 1;
        }
        if points.contains(&request) {
            peaks.push(peak(&got));
        }
    }
    Ok(peaks)
}

/// What is under way at the busiest host of all workers, on average over time.
fn under_way(run: Run, part: &mut Part) -> Result<()> {
    let requests = run.size(200_000, 8_000);
    let columns = std::iter::once("balancer".to_owned()).chain(WORKERS.map(|workers| format!("{workers} workers")));
    let mut table = Table::new("Under way at the busiest host / mean, 60 requests under way", columns);
    let mut plot = Plot::new(
        "under-way",
        "What is under way at the busiest of 20 hosts (60 under way at all)",
        Axis::log2("workers, each of which knows its own requests only"),
        Axis::linear("busiest host / mean"),
    );
    for algorithm in &turns()? {
        let found: Vec<f64> =
            WORKERS.iter().map(|workers| crowd(algorithm, *workers, requests, run.seed)).collect::<Result<_>>()?;
        table.row(algorithm.name, found.iter().map(|peak| Figure::Number(*peak, 2)));
        plot.line(algorithm.name, WORKERS.iter().map(|workers| *workers as f64).zip(found.iter().copied()));
        if let (Some(one), Some(most)) = (found.first(), found.last()) {
            // Many workers know little, each of its own few requests: that must not be worse than knowing nothing.
            part.at_most(format!("{}: busiest host, 16 workers", algorithm.name), *most, 2.6);
            if algorithm.name == "least_request" {
                part.at_most("least_request: busiest host, one worker", *one, 1.6);
            }
        }
    }
    part.tables.push(table);
    part.plots.push(plot);
    Ok(())
}

/// Requests that take 10 ms on average arrive 6,000 times a second, each at any worker.
fn crowd(algorithm: &Algorithm, workers: usize, requests: u64, seed: u64) -> Result<f64> {
    let mut rng = Rng::new(seed);
    let states: Vec<Vec<HostState>> = (0..workers).map(|_| hosts([1; HOSTS])).collect();
    let balancers = states.iter().map(|states| algorithm.on(states, rng.bits())).collect::<Result<Vec<_>>>()?;
    let mut ends: BinaryHeap<Reverse<(u64, usize, usize)>> = BinaryHeap::new();
    let (mut now, mut all, mut sum) = (0_u64, [0_u64; HOSTS], 0.0);
    for _ in 0..requests {
        now += (-(1.0 - unit(&mut rng)).ln() * 1e9 / 6_000.0) as u64;
        while let Some(Reverse((_, worker, host))) = ends.peek().copied().filter(|end| end.0.0 <= now) {
            ends.pop();
            let state = states.get(worker).and_then(|states| states.get(host));
            if let (Some(state), Some(count)) = (state, all.get_mut(host)) {
                state.active.set(state.active.get().saturating_sub(1));
                *count = count.saturating_sub(1);
            }
        }
        let worker = rng.below(workers);
        let (Some(states), Some(balancer)) = (states.get(worker), balancers.get(worker)) else { continue };
        let cx = PickCx { random: rng.bits(), hash: None, now: Time(now) };
        let host = balancer.pick(Hosts::all(states), cx).context("no host")?;
        if let (Some(state), Some(count)) = (states.get(host), all.get_mut(host)) {
            state.active.set(state.active.get() + 1);
            *count += 1;
        }
        ends.push(Reverse((now + (-(1.0 - unit(&mut rng)).ln() * 1e7) as u64, worker, host)));
        sum += peak(&all);
    }
    Ok(sum / requests as f64)
}
