//! A brown-out: hosts become slow for a while. Do retries make it worse, and does it end when the cause does?

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::latency::virtual_hosts;
use crate::mesh::{Conduct, Fleet, Load, Mesh, config, host_names};
use crate::report::Figure;
use crate::svg::{Axis, Plot};
use crate::{Part, Run, Table};

const WORKERS: usize = 4;
/// Of the cluster that browns out; as many again are another's.
const HOSTS: usize = 5;
/// When the hosts are slow, in seconds.
const SLOW: (u64, u64) = (10, 20);

/// What is done about failures.
struct Policy {
    name: &'static str,
    retries: bool,
    limits: Value,
}

/// What a run came to.
struct Found {
    /// Tries per request of all, while hosts are slow and for 5 s after.
    amplification: f64,
    /// Answered well over all requests, in the same time.
    good: f64,
    /// Seconds from the end of the cause until nine of ten requests are answered well, for good.
    recovered: Option<u64>,
    /// Of the other cluster, over the whole run.
    bystander: f64,
    retries: u64,
    /// Per second: tries that hosts got, requests that were answered well.
    tries: Vec<(f64, f64)>,
    goodput: Vec<(f64, f64)>,
}

/// Without retries, with the budget that is the default, and without a bound.
pub fn run(run: Run) -> Result<Part> {
    let boundless = json!({ "max_retries": 1_000_000, "max_requests": 1_000_000, "max_connections": 1_000_000,
        "max_pending_requests": 1_000_000 });
    let budget = json!({ "max_requests": 1_000_000, "max_connections": 1_000_000, "max_pending_requests": 1_000_000 });
    // Twice as many as the hosts serve at once.
    let tight = json!({ "max_requests": 2 * HOSTS * places(run) });
    let policies = [
        Policy { name: "no retries", retries: false, limits: budget.clone() },
        Policy { name: "budget (default)", retries: true, limits: budget },
        Policy { name: "budget, low max_requests", retries: true, limits: tight },
        Policy { name: "no bound", retries: true, limits: boundless },
    ];
    let mut part =
        Part::new("Brown-out: hosts serve 40 % of their usual load for 10 s, clients ask for 60 % throughout");
    let columns = [
        "retries",
        "tries per request",
        "answered well %",
        "well again after s",
        "other cluster's %",
        "retries in all",
    ];
    let mut table = Table::new(
        "Up to 3 retries, tries of 250 ms, 1 s in all; the first two columns are of the time from 10 s to 25 s",
        columns,
    );
    let mut offered = Plot::new(
        "brownout-load",
        "Brown-out: what hosts are asked for",
        Axis::linear("seconds"),
        Axis::linear("tries per second / requests per second"),
    );
    let mut good = Plot::new(
        "brownout-goodput",
        "Brown-out: requests that are answered well",
        Axis::linear("seconds"),
        Axis::linear("% of what clients ask for"),
    );
    for plot in [&mut offered, &mut good] {
        plot.spans.push((SLOW.0 as f64, SLOW.1 as f64, "hosts are slow"));
    }
    for policy in &policies {
        let found = slow_hosts(policy, run)?;
        let recovered = found.recovered.map_or(Figure::Text("never".to_owned()), Figure::count);
        table.row(
            policy.name,
            [
                Figure::Number(found.amplification, 2),
                Figure::percent(found.good),
                recovered,
                Figure::percent(found.bystander),
                Figure::count(found.retries),
            ],
        );
        part.at_least(format!("{}: the other cluster is answered well", policy.name), found.bystander, 0.999);
        match policy.name {
            "no bound" => part.at_least("no bound: tries per request", found.amplification, 2.5),
            "no retries" => part.at_most("no retries: tries per request", found.amplification, 1.0),
            name => {
                part.at_most(format!("{name}: tries per request"), found.amplification, 1.35);
                let seconds = found.recovered.map_or(f64::NAN, |seconds| seconds as f64);
                part.at_most(format!("{name}: seconds until all is well"), seconds, 20.0);
            }
        }
        offered.line(policy.name, found.tries);
        good.line(policy.name, found.goodput);
    }
    part.tables.push(table);
    part.plots.extend([offered, good]);
    Ok(part)
}

/// Requests that a host serves at once, 50 of each per second.
fn places(run: Run) -> usize {
    run.size(4, 1)
}

fn slow_hosts(policy: &Policy, run: Run) -> Result<Found> {
    let seconds = Duration::from_secs;
    let behaviour = move |host, at: Duration| {
        let slow = host < HOSTS && (seconds(SLOW.0)..seconds(SLOW.1)).contains(&at);
        Conduct::Serve(if slow { 2.5 } else { 1.0 })
    };
    let places = places(run);
    let rate = HOSTS as f64 * places as f64 * 50.0 * 0.6;
    let fleet = Fleet::new(2 * HOSTS, places, Duration::from_millis(20), seconds(3), run.seed, Box::new(behaviour));
    let shop = json!({ "name": "shop", "lb": "least_request", "endpoints": Fleet::endpoints(0..HOSTS), "limits": policy.limits });
    let other = json!({ "name": "other", "lb": "least_request", "endpoints": Fleet::endpoints(HOSTS..2 * HOSTS) });
    // Without retries a request has as long as a try has with them.
    let mut route = json!({ "timeout": "250ms" });
    if policy.retries {
        let retry = json!({ "on": ["5xx", "reset", "connect-failure"], "attempts": 3, "per_try_timeout": "250ms" });
        route = json!({ "timeout": "1s", "retry": retry });
    }
    let mesh = Mesh::new(WORKERS, run.seed, &config(virtual_hosts(run), &[shop, other], &route), None, fleet)?;
    let end = run.size(60, 33);
    let load = |from: usize, rate| Load {
        rate,
        from: Duration::ZERO,
        until: seconds(end),
        hosts: host_names(virtual_hosts(run), from, 2),
    };
    let answers = mesh.send(load(0, rate), run.seed);
    let others = mesh.send(load(1, rate / 6.0), run.seed + 1);
    mesh.advance(seconds(end + 5));
    let (answers, others, tries) = (answers.borrow(), others.borrow(), mesh.fleet.tries());
    let in_second = |second: u64, at: Duration| at.as_secs() == second;
    let of_second = |second: u64| {
        let requests = answers.iter().filter(|answer| in_second(second, answer.at));
        let (mut all, mut good) = (0, 0);
        requests.for_each(|answer| {
            all += 1;
            good += u64::from(answer.status == 200);
        });
        let tries = tries.iter().filter(|(at, host)| *host < HOSTS && in_second(second, *at)).count() as u64;
        (all, good, tries)
    };
    let by_second: Vec<(u64, u64, u64)> = (0..end).map(of_second).collect();
    let span = by_second.iter().skip(SLOW.0 as usize).take(15);
    let (all, good, tried) = span.fold((0, 0, 0), |sum, second| (sum.0 + second.0, sum.1 + second.1, sum.2 + second.2));
    let well = |(all, good, _): &(u64, u64, u64)| *good * 10 >= *all * 9;
    let last_bad = by_second.iter().rposition(|second| !well(second)).map_or(0, |at| at as u64 + 1);
    let plotted = |value: &dyn Fn(&(u64, u64, u64)) -> f64| {
        by_second.iter().enumerate().map(|(at, second)| (at as f64, value(second))).collect()
    };
    Ok(Found {
        amplification: tried as f64 / all.max(1) as f64,
        good: good as f64 / all.max(1) as f64,
        recovered: (last_bad < end).then(|| last_bad.saturating_sub(SLOW.1)),
        bystander: others.iter().filter(|answer| answer.status == 200).count() as f64 / others.len().max(1) as f64,
        retries: mesh.stat("shop", |stats| stats.upstream_rq_retry.value()),
        tries: plotted(&|(_, _, tries)| *tries as f64 / rate),
        goodput: plotted(&|(all, good, _)| *good as f64 * 100.0 / (*all).max(1) as f64),
    })
}
