//! How long requests take when a host is slow, and what a host gets that is new.

use std::time::Duration;

use anyhow::Result;
use ringway_testkit::Rng;
use serde_json::json;

use crate::mesh::{Asked, Conduct, Fleet, Load, Mesh, config, host_names};
use crate::report::Figure;
use crate::svg::{Axis, Plot};
use crate::{Part, Run, Table};

const HOSTS: usize = 10;
pub(crate) const BALANCERS: [&str; 4] = ["round_robin", "random", "least_request", "peak_ewma"];

/// Whole workers, hosts with queues.
pub fn run(run: Run) -> Result<Part> {
    let mut part = Part::new("Latency: hosts that are not alike");
    slow(run, &mut part)?;
    joins(run, &mut part)?;
    errors(run, &mut part)?;
    Ok(part)
}

/// One of ten hosts is five times slower than the others.
fn slow(run: Run, part: &mut Part) -> Result<()> {
    let columns = ["balancer", "workers", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "failed %", "slow host's share %"];
    let mut table = Table::new("One of 10 hosts is 5 times slower; half of what all could do is asked for", columns);
    let mut plot = Plot::new(
        "slow-host",
        "One of 10 hosts is 5 times slower, 4 workers",
        Axis::log10("one request in so many takes longer"),
        Axis::log10("milliseconds"),
    );
    let mut tails = Vec::new();
    for balancer in BALANCERS {
        for workers in [1, 4, 16] {
            // Those that look at nothing do not care how many they are.
            if workers != 4 && (run.small || matches!(balancer, "round_robin" | "random")) {
                continue;
            }
            let seconds = run.size(30, 2);
            let behaviour = |host, _| Conduct::Serve(if host == 0 { 5.0 } else { 1.0 });
            let mesh = mesh(balancer, workers, 10, HOSTS, Box::new(behaviour), run)?;
            let load = Load {
                rate: 1_000.0,
                from: Duration::ZERO,
                until: Duration::from_secs(seconds),
                hosts: host_names(virtual_hosts(run), 0, 1),
            };
            let answers = mesh.send(load, run.seed);
            mesh.advance(Duration::from_secs(seconds + 20));
            let answers = answers.borrow();
            let quantiles = [0.5, 0.9, 0.99, 0.999].map(|part| quantile(&answers, part));
            let failed = answers.iter().filter(|answer| answer.status != 200).count() as f64 / answers.len() as f64;
            let share = share_of(&mesh, 0, (Duration::ZERO, Duration::MAX));
            let figures = quantiles.map(|millis| Figure::Number(millis, 1));
            table.row(
                balancer,
                std::iter::once(Figure::count(workers)).chain(figures).chain([failed, share].map(Figure::percent)),
            );
            if workers == 4 {
                let parts = [2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];
                plot.line(balancer, parts.map(|rest| (rest, quantile(&answers, 1.0 - 1.0 / rest))));
                tails.push(quantiles[2]);
            }
        }
    }
    if let [round_robin, _, least_request, peak_ewma] = tails.as_slice() {
        part.at_most("least_request: p99 / that of round_robin", least_request / round_robin, 0.5);
        part.at_most("peak_ewma: p99 / that of round_robin", peak_ewma / round_robin, 0.35);
    }
    part.tables.push(table);
    part.plots.push(plot);
    Ok(())
}

/// A tenth host joins nine that answer in 2 ms.
fn joins(run: Run, part: &mut Part) -> Result<()> {
    let columns = ["balancer", "share in its first second %", "in the next 4 s %", "p99 ms"];
    let mut table = Table::new("A tenth host joins nine others, 4 workers (its fair share is 10 %)", columns);
    for balancer in BALANCERS {
        let mut mesh = mesh(balancer, 4, 2, HOSTS - 1, Box::new(|_, _| Conduct::Serve(1.0)), run)?;
        let load = Load {
            rate: run.size(2_000.0, 300.0),
            from: Duration::ZERO,
            until: Duration::from_secs(8),
            hosts: host_names(virtual_hosts(run), 0, 1),
        };
        let answers = mesh.send(load, run.seed);
        let joined = Duration::from_secs(3);
        mesh.advance(joined);
        mesh.publish(&configuration(balancer, HOSTS, run))?;
        mesh.advance(Duration::from_secs(10));
        let second = Duration::from_secs(1);
        let first = share_of(&mesh, HOSTS - 1, (joined, joined + second));
        let next = share_of(&mesh, HOSTS - 1, (joined + second, joined + 5 * second));
        let tail = quantile(&answers.borrow(), 0.99);
        table.row(balancer, [Figure::percent(first), Figure::percent(next), Figure::Number(tail, 1)]);
        part.at_least(format!("{balancer}: a new host's share after a second"), next, run.size(0.06, 0.03));
        part.at_most(format!("{balancer}: a new host's share at once"), first, run.size(0.2, 0.35));
    }
    part.tables.push(table);
    Ok(())
}

/// All hosts cut one request in a hundred off, at random: they are all alike.
fn errors(run: Run, part: &mut Part) -> Result<()> {
    let columns = ["balancer", "busiest host of a second / mean", "p50 ms", "p99 ms", "failed %"];
    let mut table = Table::new("All 10 hosts cut 1 % of the requests off, 4 workers", columns);
    let seconds = run.size(20, 2);
    for balancer in BALANCERS {
        let behaviour = |host, at: Duration| {
            let mut rng = Rng::new(at.as_nanos() as u64 ^ host as u64);
            if rng.one_in(100) { Conduct::Refuse } else { Conduct::Serve(1.0) }
        };
        let mesh = mesh(balancer, 4, 10, HOSTS, Box::new(behaviour), run)?;
        let until = Duration::from_secs(seconds);
        let load = Load { rate: 1_000.0, from: Duration::ZERO, until, hosts: host_names(virtual_hosts(run), 0, 1) };
        let answers = mesh.send(load, run.seed);
        mesh.advance(until + Duration::from_secs(5));
        let answers = answers.borrow();
        let second = Duration::from_secs(1);
        let busiest = |at: u64| {
            let span = (second * at as u32, second * (at as u32 + 1));
            (0..HOSTS).map(|host| share_of(&mesh, host, span)).fold(0.0, f64::max) * HOSTS as f64
        };
        let busiest = (1..seconds).map(busiest).sum::<f64>() / (seconds - 1) as f64;
        let failed = answers.iter().filter(|answer| answer.status != 200).count() as f64 / answers.len() as f64;
        let [half, tail] = [0.5, 0.99].map(|part| Figure::Number(quantile(&answers, part), 1));
        table.row(balancer, [Figure::Number(busiest, 2), half, tail, Figure::percent(failed)]);
        part.at_most(format!("{balancer}, 1 % errors everywhere: busiest host / mean"), busiest, 2.0);
    }
    part.tables.push(table);
    Ok(())
}

fn mesh(
    balancer: &str,
    workers: usize,
    millis: u64,
    hosts: usize,
    behaviour: crate::mesh::Behaviour,
    run: Run,
) -> Result<Mesh> {
    let fleet = Fleet::new(HOSTS, 2, Duration::from_millis(millis), Duration::from_secs(1), run.seed, behaviour);
    Mesh::new(workers, run.seed, &configuration(balancer, hosts, run), None, fleet)
}

fn configuration(balancer: &str, hosts: usize, run: Run) -> serde_json::Value {
    let cluster = json!({ "name": "app", "lb": balancer, "endpoints": Fleet::endpoints(0..hosts) });
    config(virtual_hosts(run), &[cluster], &json!({ "timeout": "0" }))
}

/// How many virtual hosts whole workers have.
pub(crate) fn virtual_hosts(run: Run) -> usize {
    run.size(2_000, 100)
}

/// In milliseconds.
pub(crate) fn quantile(answers: &[Asked], part: f64) -> f64 {
    let mut took: Vec<Duration> = answers.iter().map(|answer| answer.took).collect();
    took.sort_unstable();
    let at = ((took.len() as f64 * part) as usize).min(took.len().saturating_sub(1));
    took.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
}

/// The share of the requests of a span of time that a host got.
pub(crate) fn share_of(mesh: &Mesh, host: usize, (from, until): (Duration, Duration)) -> f64 {
    let tries = mesh.fleet.tries();
    let within = || tries.iter().filter(|(at, _)| (from..until).contains(at));
    within().filter(|(_, at)| *at == host).count() as f64 / within().count().max(1) as f64
}
