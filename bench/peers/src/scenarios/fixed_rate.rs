//! Latency while a proxy has time left: the same rate for all, with intended start times, so that a proxy that stalls
//! cannot hold back the very requests that would have shown it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringway_bench::codec::{Call, Protocol};
use ringway_bench::request::{Request, Target};
use ringway_bench::schedule::Shape;
use ringway_bench::{Plan, Summary};

use super::traffic::{Ask, GET_1K, Traffic};
use super::{Scenario, entrants};
use crate::bench::{Bench, Entrant, Instance};
use crate::message::HOST;
use crate::metric::{self, Metric};
use crate::procfs;
use crate::rounds::{self, Row};
use crate::stats::{Disturbance, Sample};

pub(crate) const RATE_H1_1K: FixedRate = FixedRate { name: "rate-h1-1k" };

pub(crate) struct FixedRate {
    name: &'static str,
}

const CONNECTIONS: usize = 64;
/// The shares of the slowest proxy's capacity.
const HALF: f64 = 0.5;
const MOST: f64 = 0.8;
/// Rates are rounded down to this many requests per second.
const STEP: f64 = 100.0;

impl Scenario for FixedRate {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> String {
        format!(
            "HTTP/1.1, 1 KB replies, {CONNECTIONS} connections, open loop: all proxies get 50 % and 80 % of what the slowest of \
             them could do in a closed loop just before (capacity). Latency counts from when a request was due."
        )
    }

    fn columns(&self) -> &'static [&'static Metric] {
        &[
            &metric::CAPACITY,
            &metric::RATE_50,
            &metric::P50_50,
            &metric::P99_50,
            &metric::P999_50,
            &metric::CPU_50,
            &metric::RATE_80,
            &metric::P50_80,
            &metric::P99_80,
            &metric::P999_80,
            &metric::CPU_80,
            &metric::ERRORS,
        ]
    }

    fn primary(&self) -> &'static Metric {
        &metric::CPU_80
    }

    fn run(&self, bench: &Bench) -> Result<Vec<Row>> {
        let traffic = Traffic::H1(GET_1K);
        let start = |entrant: &Entrant| -> Result<(Instance, f64)> {
            let instance = bench.launch_plain(entrant, traffic.mode())?;
            traffic.check(bench, instance.target)?;
            let mut load = traffic.start(bench, instance.target, CONNECTIONS)?;
            load.run(bench.options.warm_up)?;
            let window = load.run(bench.options.window)?;
            ensure!(window.completed > 0, "it served nothing");
            Ok((instance, window.rate()))
        };
        let entrants: Vec<_> = entrants(bench, traffic.mode())
            .map(|(name, entrant)| {
                let started = entrant.and_then(|e| start(e).map_err(|why| format!("failed to start: {why:#}")));
                (name, started)
            })
            .collect();
        let capacities = entrants.iter().filter_map(|(_, entrant)| entrant.as_ref().ok().map(|(_, rate)| *rate));
        let slowest = capacities.fold(f64::INFINITY, f64::min);
        let round = |entrant: &mut (Instance, f64)| round(bench, entrant, slowest);
        Ok(rounds::interleave(bench.options.rounds, entrants, self.primary(), || bench.message_ns(), round))
    }
}

fn round(bench: &Bench, (instance, capacity): &mut (Instance, f64), slowest: f64) -> Result<Sample> {
    let mut sample = Sample::default();
    sample.set(&metric::CAPACITY, *capacity);
    let half = [&metric::RATE_50, &metric::P50_50, &metric::P99_50, &metric::P999_50, &metric::CPU_50];
    let most = [&metric::RATE_80, &metric::P50_80, &metric::P99_80, &metric::P999_80, &metric::CPU_80];
    let mut failed = 0;
    for (share, columns) in [(HALF, half), (MOST, most)] {
        let rate = (slowest * share / STEP).floor().max(1.0) * STEP;
        let (summary, cpu, disturbed) = load(bench, instance, rate)?;
        let values = [
            summary.rate(),
            summary.latency_us(0.5),
            summary.latency_us(0.99),
            summary.latency_us(0.999),
            cpu / 1_000.0 / summary.within.max(1) as f64,
        ];
        let of_processes = |column: &Metric| !instance.pids().is_empty() || *column != *columns[4];
        columns.iter().zip(values).filter(|(column, _)| of_processes(column)).for_each(|(c, v)| sample.set(c, v));
        failed += summary.total.failed() + summary.total.unsent;
        sample.disturbed = sample.disturbed.or(disturbed);
        sample.note = sample.note.or_else(|| summary.warnings.first().cloned());
    }
    sample.set(&metric::ERRORS, failed as f64);
    Ok(sample)
}

/// One window at this rate, after the warm-up; the CPU of the proxy in nanoseconds.
fn load(bench: &Bench, instance: &mut Instance, rate: f64) -> Result<(Summary, f64, Option<Disturbance>)> {
    let Ask::Get(path, _) = GET_1K.ask else { anyhow::bail!("a GET is measured") };
    let target = Target::parse(&format!("http://{}{path}", instance.target), None)?;
    let request = Request {
        method: "GET".to_owned(),
        path: path.to_owned(),
        authority: HOST.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    let plan = |duration: Duration| Plan {
        protocol: Protocol::of("http", false),
        place: target.place.clone(),
        tls: None,
        requests: Arc::from([request.clone()]),
        literal: true,
        shape: Shape::Constant(rate),
        connections: CONNECTIONS,
        threads: 1,
        streams: 1,
        call: Call::default(),
        duration,
        warmup: Duration::ZERO,
        timeout: Duration::from_secs(5),
        per_connection: u64::MAX,
        think: Duration::ZERO,
        seed: 1,
        most: u64::MAX,
    };
    ringway_bench::run(&plan(bench.options.warm_up), |_| ()).context("warming up")?;
    let pids = instance.pids();
    let watch = bench.watch(&pids)?;
    let cpu = procfs::cpu_ns(&pids);
    let summary = ringway_bench::run(&plan(bench.options.window), |_| ())?;
    let cpu = procfs::cpu_ns(&pids).saturating_sub(cpu);
    let disturbed = watch.end(&bench.own(&pids))?;
    instance.check_alive()?;
    Ok((summary, cpu as f64, disturbed))
}
