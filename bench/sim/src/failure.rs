//! A host fails and comes back: how many requests that costs, and how long it takes to see either.

use std::cell::Cell;
use std::time::Duration;

use anyhow::Result;
use ringway_upstream::outlier::OutlierConfig;
use serde_json::{Value, json};

use crate::latency::{BALANCERS, share_of, virtual_hosts};
use crate::mesh::{Behaviour, Conduct, Fleet, Load, Mesh, config, host_names};
use crate::report::Figure;
use crate::svg::{Axis, Plot};
use crate::{Part, Run, Table};

const HOSTS: usize = 10;
const WORKERS: usize = 4;
/// When the host is ill.
const ILL: (u64, u64) = (10, 40);

/// What is done about failures.
#[derive(Clone, Copy)]
struct Care {
    name: &'static str,
    detects: bool,
    retries: bool,
}

const CARES: [Care; 3] = [
    Care { name: "nothing", detects: false, retries: false },
    Care { name: "detection", detects: true, retries: false },
    Care { name: "detection, retry", detects: true, retries: true },
];

const KINDS: [(&str, Conduct); 3] = [
    ("503 at once", Conduct::Fail(Duration::from_millis(1))),
    ("refuses connections", Conduct::Refuse),
    ("no answer", Conduct::Hang),
];

/// What a run came to.
struct Found {
    requests: usize,
    failed: usize,
    /// From the illness on, until the host gets nothing for a while; the end of the illness at most.
    gone_after: Duration,
    /// From the end of the illness on, until it has four fifths of its share for a second.
    back_after: Option<Duration>,
    /// Of the ill host, by second.
    shares: Vec<(f64, f64)>,
}

/// With and without outlier detection and retries; then each balancer and a host that fails at once.
pub fn run(run: Run) -> Result<Part> {
    let mut part = Part::new(format!("Failure: one of {HOSTS} hosts fails for 30 s, {WORKERS} workers"));
    kinds(run, &mut part)?;
    black_hole(run, &mut part)?;
    once(run, &mut part)?;
    Ok(part)
}

fn kinds(run: Run, part: &mut Part) -> Result<()> {
    let columns = ["the host", "what is done", "requests", "failed", "gone after ms", "back after s"];
    let mut table =
        Table::new("Outlier detection with its defaults; a timeout of 500 ms; one retry elsewhere", columns);
    let mut plot = Plot::new(
        "ejection",
        "Share of a host that fails and is ejected by outlier detection",
        Axis::linear("seconds"),
        Axis::linear("% of all tries"),
    );
    plot.spans.push((ILL.0 as f64, ILL.1 as f64, "the host is ill"));
    for (kind, conduct) in KINDS {
        for care in CARES {
            let found = fails("round_robin", conduct, care, run)?;
            let back = found.back_after.map_or(f64::NAN, |back| back.as_secs_f64());
            let ever = found.gone_after < Duration::from_secs(ILL.1 - ILL.0);
            let or = |ever: bool, figure| if ever { figure } else { Figure::Text("never".to_owned()) };
            let figures = [
                Figure::Text(care.name.to_owned()),
                Figure::count(found.requests),
                Figure::count(found.failed),
                or(ever, Figure::Number(found.gone_after.as_secs_f64() * 1e3, 0)),
                if ever { or(!back.is_nan(), Figure::Number(back, 0)) } else { Figure::Text("-".to_owned()) },
            ];
            table.row(kind, figures);
            let what = format!("{kind}, {}", care.name);
            if care.detects {
                part.at_most(
                    format!("{what}: seconds until it is gone"),
                    found.gone_after.as_secs_f64(),
                    run.size(1.5, 4.0),
                );
                // 30 s of ejection, of which some pass during the illness, and the next interval of 10 s.
                part.at_most(format!("{what}: seconds until it is back"), back, 45.0);
                let worst = if care.retries { 2.0 } else { 40.0 };
                part.at_most(format!("{what}: failed requests"), found.failed as f64, worst);
            }
            if care.detects && !care.retries || (kind == "503 at once" && !care.detects) {
                plot.line(format!("{kind}{}", if care.detects { "" } else { ", not ejected" }), found.shares);
            }
        }
    }
    part.tables.push(table);
    part.plots.push(plot);
    Ok(())
}

/// Who answers 503 in a millisecond looks like the best host there is.
fn black_hole(run: Run, part: &mut Part) -> Result<()> {
    let columns = ["balancer", "ill host's share %", "failed %", "the same with detection: share %", "failed %"];
    let mut table = Table::new("A host that fails at once, while it is ill (its fair share is 10 %)", columns);
    for balancer in run.size(&BALANCERS[..], &BALANCERS[3..]) {
        let mut figures = Vec::new();
        for care in [CARES[0], CARES[1]] {
            let found = fails(balancer, KINDS[0].1, care, run)?;
            let ill: Vec<f64> = found
                .shares
                .iter()
                .filter(|(at, _)| (ILL.0 as f64..ILL.1 as f64).contains(at))
                .map(|(_, share)| *share)
                .collect();
            let share = ill.iter().sum::<f64>() / ill.len().max(1) as f64 / 100.0;
            let failed = found.failed as f64 / (found.requests as f64 * (ILL.1 - ILL.0) as f64 / length(run) as f64);
            figures.extend([share, failed].map(Figure::percent));
            // Who goes by latency must see for itself.
            let bound = if care.detects || *balancer == "peak_ewma" { 0.02 } else { 0.15 };
            part.at_most(format!("{balancer}, {}: share of a host that fails at once", care.name), share, bound);
        }
        table.row(*balancer, figures);
    }
    part.tables.push(table);
    Ok(())
}

/// A host fails one request, among thousands that go well everywhere.
fn once(run: Run, part: &mut Part) -> Result<()> {
    let columns = ["outlier_detection", "failed", "its share in the 30 s after the interval %"];
    let mut table = Table::new("A single failure at one of 10 hosts (its fair share is 10 %)", columns);
    for (name, enforcing) in [("{} (the defaults)", 100), ("{ enforcing_success_rate: 0 }", 0)] {
        let done = Cell::new(false);
        let behaviour = move |host, at| {
            let fails = host == 0 && at >= Duration::from_secs(5) && !done.replace(true);
            if fails { Conduct::Fail(Duration::from_millis(1)) } else { Conduct::Serve(1.0) }
        };
        let outliers = OutlierConfig { enforcing_success_rate: enforcing, ..OutlierConfig::default() };
        let mesh = mesh("round_robin", false, Some(outliers), Box::new(behaviour), run)?;
        let until = Duration::from_secs(45);
        let load = Load { rate: rate(run), from: Duration::ZERO, until, hosts: host_names(virtual_hosts(run), 0, 2) };
        let answers = mesh.send(load, run.seed);
        mesh.advance(until);
        let failed = answers.borrow().iter().filter(|answer| answer.status != 200).count();
        let share = share_of(&mesh, 0, (Duration::from_secs(11), Duration::from_secs(40)));
        table.row(name, [Figure::count(failed), Figure::percent(share)]);
        if enforcing == 0 {
            part.at_least("a single failure, without success rates: the host's share", share, 0.08);
        }
    }
    part.tables.push(table);
    Ok(())
}

/// Seconds of a run.
fn length(run: Run) -> u64 {
    run.size(90, 56)
}

fn fails(balancer: &str, conduct: Conduct, care: Care, run: Run) -> Result<Found> {
    let seconds = Duration::from_secs;
    let (from, until) = (seconds(ILL.0), seconds(ILL.1));
    let behaviour =
        move |host, at| if host == 0 && (from..until).contains(&at) { conduct } else { Conduct::Serve(1.0) };
    let outliers = care.detects.then(OutlierConfig::default);
    let mesh = mesh(balancer, care.retries, outliers, Box::new(behaviour), run)?;
    let rate = rate(run);
    let load =
        Load { rate, from: Duration::ZERO, until: seconds(length(run)), hosts: host_names(virtual_hosts(run), 0, 2) };
    let answers = mesh.send(load, run.seed);
    mesh.advance(seconds(length(run) + 2));
    let answers = answers.borrow();
    let failed = answers.iter().filter(|answer| answer.status != 200).count();
    let shares: Vec<(f64, f64)> = (0..length(run))
        .map(|second| (second as f64, share_of(&mesh, 0, (seconds(second), seconds(second + 1))) * 100.0))
        .collect();
    let tries = mesh.fleet.tries();
    let ill: Vec<Duration> =
        tries.iter().filter(|(at, host)| *host == 0 && (from..until).contains(at)).map(|(at, _)| *at).collect();
    // Nothing for ten times as long as its turns are apart.
    let silence = Duration::from_secs_f64(HOSTS as f64 * 10.0 / rate);
    let gone = ill.iter().zip(ill.iter().skip(1).chain([&until])).find(|(at, next)| **next - **at >= silence);
    let gone_after = gone.map_or(until - from, |(at, _)| *at - from);
    let back = (ILL.1..length(run))
        .find(|second| share_of(&mesh, 0, (seconds(*second), seconds(*second + 1))) >= 0.8 / HOSTS as f64);
    let back_after = back.map(|second| seconds(second) - until);
    Ok(Found { requests: answers.len(), failed, gone_after, back_after, shares })
}

/// Requests per second of all clients.
fn rate(run: Run) -> f64 {
    run.size(400.0, 40.0)
}

fn mesh(
    balancer: &str,
    retries: bool,
    outliers: Option<OutlierConfig>,
    behaviour: Behaviour,
    run: Run,
) -> Result<Mesh> {
    let fleet = Fleet::new(HOSTS, 8, Duration::from_millis(10), Duration::from_secs(1), run.seed, behaviour);
    let clusters: [Value; 2] = [
        json!({ "name": "app", "lb": balancer, "endpoints": Fleet::endpoints(0..HOSTS) }),
        json!({ "name": "idle", "endpoints": Fleet::endpoints(0..HOSTS) }),
    ];
    let mut route = json!({ "timeout": "500ms" });
    if retries {
        let retry = json!({
            "on": ["5xx", "reset", "connect-failure"],
            "attempts": 1,
            "per_try_timeout": "200ms",
            "host_selection": ["previous_hosts"],
        });
        route = json!({ "timeout": "500ms", "retry": retry });
    }
    let config = config(virtual_hosts(run), &clusters, &route);
    Mesh::new(WORKERS, run.seed, &config, outliers, fleet)
}
