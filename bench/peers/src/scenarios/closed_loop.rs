//! N connections, one request (or a few streams) in flight on each, for a few seconds.

use anyhow::Result;

use super::traffic::{Ask, GET_1K, H1, H2, Over, STREAMS, Traffic};
use super::{Scenario, entrants, mib};
use crate::bench::{Bench, Entrant, Instance};
use crate::load::h2::Call;
use crate::metric::{self, Metric};
use crate::procfs;
use crate::rounds::{self, Row};
use crate::stats::Sample;

pub(crate) const H1_1K_C64: ClosedLoop =
    ClosedLoop { name: "h1-1k-c64", about: "HTTP/1.1, 1 KB replies", traffic: Traffic::H1(GET_1K), connections: 64 };
pub(crate) const H1_64K_C64: ClosedLoop = ClosedLoop {
    name: "h1-64k-c64",
    about: "HTTP/1.1, 64 KB replies",
    traffic: plain(Ask::Get("/64k", 64 * 1024)),
    connections: 64,
};
pub(crate) const H1_POST16K_C64: ClosedLoop = ClosedLoop {
    name: "h1-post16k-c64",
    about: "HTTP/1.1, POST of 16 KB, small replies",
    traffic: plain(Ask::Post(16 * 1024)),
    connections: 64,
};
pub(crate) const TCP_1K_C64: ClosedLoop =
    ClosedLoop { name: "tcp-1k-c64", about: "TCP, 1 KB each way", traffic: plain(Ask::Tcp), connections: 64 };
pub(crate) const DUBBO_1K_C64: ClosedLoop = ClosedLoop {
    name: "dubbo-1k-c64",
    about: "Dubbo2, 1 KB each way, 16 calls at a time on each connection; a request is 16 calls",
    traffic: plain(Ask::Dubbo),
    connections: 64,
};
pub(crate) const H1_1K_C1: ClosedLoop = ClosedLoop {
    name: "h1-1k-c1",
    about: "HTTP/1.1, 1 KB replies, latency",
    traffic: Traffic::H1(GET_1K),
    connections: 1,
};
pub(crate) const TLS_H1_1K_C64: ClosedLoop = ClosedLoop {
    name: "tls-h1-1k-c64",
    about: "HTTP/1.1 over TLS 1.3, 1 KB replies",
    traffic: over(Over::Tls),
    connections: 64,
};
pub(crate) const TLS_HANDSHAKE: ClosedLoop = ClosedLoop {
    name: "tls-handshake",
    about: "a full TLS 1.3 handshake for every request, 1 KB replies; latency counts from the connect",
    traffic: over(Over::FreshTls),
    connections: 64,
};
pub(crate) const H2_TLS_TO_H1: ClosedLoop = ClosedLoop {
    name: "h2-tls-to-h1",
    about: "HTTP/2 over TLS 1.3 to an HTTP/1.1 upstream, 1 KB replies",
    traffic: Traffic::H2(H2 { call: CALL_1K, tls: true }),
    connections: 10,
};
pub(crate) const H2C_TO_H2C: ClosedLoop = ClosedLoop {
    name: "h2c-to-h2c",
    about: "HTTP/2 without TLS on both sides, 1 KB replies",
    traffic: Traffic::H2(H2 { call: CALL_1K, tls: false }),
    connections: 10,
};
pub(crate) const GRPC_UNARY: ClosedLoop = ClosedLoop {
    name: "grpc-unary",
    about: "gRPC without TLS on both sides, unary calls with messages of 64 bytes",
    traffic: Traffic::H2(H2 { call: Call::Unary, tls: false }),
    connections: 10,
};

const CALL_1K: Call = Call::Get("/1k", 1024);

const fn plain(ask: Ask) -> Traffic {
    Traffic::H1(H1 { ask, over: Over::Plain })
}

const fn over(over: Over) -> Traffic {
    Traffic::H1(H1 { ask: GET_1K.ask, over })
}

pub(crate) struct ClosedLoop {
    name: &'static str,
    about: &'static str,
    traffic: Traffic,
    connections: usize,
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
