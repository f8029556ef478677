//! N connections, one request (or a few streams) in flight on each, for a few seconds.

use anyhow::Result;

use super::traffic::{STREAMS, Traffic};
use super::{Scenario, entrants, mib};
use crate::bench::{Bench, Entrant, Instance};
use crate::metric::{self, Metric};
use crate::procfs;
use crate::rounds::{self, Row};
use crate::stats::Sample;

#[derive(Debug)]
pub(crate) struct ClosedLoop {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) traffic: Traffic,
    pub(super) connections: usize,
}

/// With less of its core used, in percent, a proxy could have done more than it was asked for.
const BUSY_ENOUGH: f64 = 85.0;
const LOAD_LIMITED: &str = "the load side was the limit (see busy %)";

const LATENCY_COLUMNS: &[&Metric] = &[
    &metric::P50_US,
    &metric::P99_US,
    &metric::P999_US,
    &metric::RATE,
    &metric::CPU_US,
    &metric::BUSY,
    &metric::RSS_MIB,
    &metric::ERRORS,
];
const CPU_COLUMNS: &[&Metric] = &[
    &metric::CPU_US,
    &metric::RATE,
    &metric::BUSY,
    &metric::P50_US,
    &metric::P99_US,
    &metric::P999_US,
    &metric::RSS_MIB,
    &metric::ERRORS,
];

impl Scenario for ClosedLoop {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> String {
        let plural = if self.connections == 1 { "" } else { "s" };
        let streams = match self.traffic {
            Traffic::H1(_) => String::new(),
            Traffic::H2(_) => format!(" with {STREAMS} streams each"),
        };
        format!("{}; {} connection{plural}{streams}, closed loop.", self.about, self.connections)
    }

    fn columns(&self) -> &'static [&'static Metric] {
        if self.connections == 1 { LATENCY_COLUMNS } else { CPU_COLUMNS }
    }

    fn primary(&self) -> &'static Metric {
        if self.connections == 1 { &metric::P50_US } else { &metric::CPU_US }
    }

    fn run(&self, bench: &Bench) -> Result<Vec<Row>> {
        let start = |entrant: &Entrant| -> Result<Instance> {
            let instance = bench.launch_plain(entrant, self.traffic.mode())?;
            self.traffic.check(bench, instance.target)?;
            Ok(instance)
        };
        let entrants = entrants(bench, self.traffic.mode()).map(|(name, entrant)| {
            let instance = entrant.and_then(|e| start(e).map_err(|why| format!("failed to start: {why:#}")));
            (name, instance)
        });
        let entrants = entrants.collect();
        let round = |instance: &mut Instance| measure(bench, instance, self.traffic, self.connections);
        Ok(rounds::interleave(bench.options.rounds, entrants, self.primary(), || bench.message_ns(), round))
    }
}

/// Loads `instance` for one window, after the warm-up.
pub(super) fn measure(bench: &Bench, instance: &mut Instance, traffic: Traffic, connections: usize) -> Result<Sample> {
    let mut load = traffic.start(bench, instance.target, connections)?;
    load.run(bench.options.warm_up)?;
    let pids = instance.pids();
    let watch = bench.watch(&pids)?;
    let cpu = procfs::cpu_ns(&pids);
    let window = load.run(bench.options.window)?;
    let cpu = procfs::cpu_ns(&pids).saturating_sub(cpu);
    let disturbed = watch.end(&bench.own(&pids))?;
    instance.check_alive()?;
    let busy = cpu as f64 / window.elapsed.as_nanos() as f64 * 100.0;
    // Whether a disturbed round says the same is not known, and one connection never keeps a proxy busy.
    let limited = disturbed.is_none() && !pids.is_empty() && connections > 1 && busy < BUSY_ENOUGH;
    let note = window.first_error.clone().or_else(|| limited.then(|| LOAD_LIMITED.to_owned()));
    let mut sample = Sample::new(disturbed, note);
    sample.set(&metric::RATE, window.rate());
    sample.set(&metric::P50_US, window.latency_us(0.5));
    sample.set(&metric::P99_US, window.latency_us(0.99));
    sample.set(&metric::P999_US, window.latency_us(0.999));
    sample.set(&metric::ERRORS, window.errors as f64);
    if !pids.is_empty() {
        sample.set(&metric::CPU_US, cpu as f64 / 1_000.0 / window.completed as f64);
        sample.set(&metric::BUSY, busy);
        sample.set(&metric::RSS_MIB, mib(procfs::rss_bytes(&pids)));
    }
    Ok(sample)
}
