//! N keep-alive connections, one request in flight on each, for a few seconds.

use anyhow::Result;

use super::{GET_1K, Scenario, Traffic, mib};
use crate::bench::{Bench, Instance};
use crate::load::Load;
use crate::metric::{self, Metric};
use crate::procfs;
use crate::rounds::{self, Row};
use crate::stats::Sample;

pub(crate) const H1_1K_C64: ClosedLoop =
    ClosedLoop { name: "h1-1k-c64", about: "HTTP/1.1, 1 KB replies", traffic: GET_1K, connections: 64 };
pub(crate) const H1_64K_C64: ClosedLoop = ClosedLoop {
    name: "h1-64k-c64",
    about: "HTTP/1.1, 64 KB replies",
    traffic: Traffic::Get("/64k", 64 * 1024),
    connections: 64,
};
pub(crate) const H1_POST16K_C64: ClosedLoop = ClosedLoop {
    name: "h1-post16k-c64",
    about: "HTTP/1.1, POST of 16 KB, small replies",
    traffic: Traffic::Post(16 * 1024),
    connections: 64,
};
pub(crate) const TCP_1K_C64: ClosedLoop =
    ClosedLoop { name: "tcp-1k-c64", about: "TCP, 1 KB each way", traffic: Traffic::Tcp, connections: 64 };
pub(crate) const H1_1K_C1: ClosedLoop =
    ClosedLoop { name: "h1-1k-c1", about: "HTTP/1.1, 1 KB replies, latency", traffic: GET_1K, connections: 1 };

pub(crate) struct ClosedLoop {
    name: &'static str,
    about: &'static str,
    traffic: Traffic,
    connections: usize,
}

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
        format!("{}; {} connection{plural}, closed loop.", self.about, self.connections)
    }

    fn columns(&self) -> &'static [&'static Metric] {
        if self.connections == 1 { LATENCY_COLUMNS } else { CPU_COLUMNS }
    }

    fn primary(&self) -> &'static Metric {
        if self.connections == 1 { &metric::P50_US } else { &metric::CPU_US }
    }

    fn run(&self, bench: &Bench) -> Result<Vec<Row>> {
        let mode = self.traffic.mode();
        let start = |entrant| -> Result<Instance> {
            let instance = bench.launch_plain(entrant, mode)?;
            instance.check_serves(self.traffic.plan(instance.target))?;
            Ok(instance)
        };
        let entrants = bench.peers.iter().filter(|e| e.peer.carries(mode)).map(|entrant| {
            let instance = match &entrant.found {
                Ok(_) => start(entrant).map_err(|why| format!("failed to start: {why:#}")),
                Err(why) => Err(format!("skipped: {why}")),
            };
            (entrant.peer.name(), instance)
        });
        let entrants = entrants.collect();
        let round = |instance: &mut Instance| self.round(bench, instance);
        Ok(rounds::interleave(bench.options.rounds, entrants, self.primary(), || bench.message_ns(), round))
    }
}

impl ClosedLoop {
    fn round(&self, bench: &Bench, instance: &mut Instance) -> Result<Sample> {
        let mut load = Load::start(self.traffic.plan(instance.target), self.connections)?;
        load.run(bench.options.warm_up)?;
        let pids = instance.pids();
        let watch = bench.watch(&pids)?;
        let cpu = procfs::cpu_ns(&pids);
        let window = load.run(bench.options.window)?;
        let cpu = procfs::cpu_ns(&pids).saturating_sub(cpu);
        let disturbed = watch.end(&bench.own(&pids))?;
        instance.check_alive()?;
        let mut sample = Sample::new(disturbed, window.first_error.clone());
        sample.set(&metric::RATE, window.rate());
        sample.set(&metric::P50_US, window.latency_us(0.5));
        sample.set(&metric::P99_US, window.latency_us(0.99));
        sample.set(&metric::P999_US, window.latency_us(0.999));
        sample.set(&metric::ERRORS, window.errors as f64);
        if !pids.is_empty() {
            sample.set(&metric::CPU_US, cpu as f64 / 1_000.0 / window.completed as f64);
            sample.set(&metric::BUSY, cpu as f64 / window.elapsed.as_nanos() as f64 * 100.0);
            sample.set(&metric::RSS_MIB, mib(procfs::rss_bytes(&pids)));
        }
        Ok(sample)
    }
}
