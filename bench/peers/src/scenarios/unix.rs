//! The leg between proxy and upstream over a unix socket, against the same leg over TCP.

use anyhow::Result;

use super::closed_loop::measure;
use super::traffic::{GET_1K, H1, Over, Traffic};
use super::{Scenario, entrants};
use crate::bench::{Bench, Entrant, Instance};
use crate::metric::{self, Metric};
use crate::rounds::{self, Row};
use crate::stats::Sample;

pub(crate) const UNIX_H1_1K_C64: UnixLeg = UnixLeg { connections: 64 };

const UNIX: Traffic = Traffic::H1(H1 { ask: GET_1K.ask, over: Over::UnixUpstream });
const TCP: Traffic = Traffic::H1(GET_1K);

pub(crate) struct UnixLeg {
    connections: usize,
}

/// The same proxy with either leg.
struct Legs {
    unix: Instance,
    tcp: Instance,
}

impl Scenario for UnixLeg {
    fn name(&self) -> &'static str {
        "unix-h1-1k-c64"
    }

    fn about(&self) -> String {
        format!(
            "HTTP/1.1, 1 KB replies, upstream on a unix socket; {} connections, closed loop. Each round measures the same proxy \
             with its upstream on TCP right after.",
            self.connections
        )
    }

    fn columns(&self) -> &'static [&'static Metric] {
        &[
            &metric::CPU_US,
            &metric::TCP_CPU_US,
            &metric::LEG_RATIO,
            &metric::RATE,
            &metric::BUSY,
            &metric::P50_US,
            &metric::P99_US,
            &metric::ERRORS,
        ]
    }

    fn primary(&self) -> &'static Metric {
        &metric::CPU_US
    }

    fn run(&self, bench: &Bench) -> Result<Vec<Row>> {
        let start = |entrant: &Entrant, traffic: Traffic| -> Result<Instance> {
            let instance = bench.launch_plain(entrant, traffic.mode())?;
            traffic.check(bench, instance.target)?;
            Ok(instance)
        };
        let legs = |entrant| Ok(Legs { unix: start(entrant, UNIX)?, tcp: start(entrant, TCP)? });
        let entrants = entrants(bench, UNIX.mode()).map(|(name, entrant)| {
            let legs = entrant.and_then(|e| legs(e).map_err(|why: anyhow::Error| format!("failed to start: {why:#}")));
            (name, legs)
        });
        let entrants = entrants.collect();
        let round = |legs: &mut Legs| self.round(bench, legs);
        Ok(rounds::interleave(bench.options.rounds, entrants, self.primary(), || bench.message_ns(), round))
    }
}

impl UnixLeg {
    fn round(&self, bench: &Bench, legs: &mut Legs) -> Result<Sample> {
        let mut sample = measure(bench, &mut legs.unix, UNIX, self.connections)?;
        let tcp = measure(bench, &mut legs.tcp, TCP, self.connections)?;
        if let (Some(unix), Some(tcp)) = (sample.value(&metric::CPU_US), tcp.value(&metric::CPU_US)) {
            sample.set(&metric::TCP_CPU_US, tcp);
            sample.set(&metric::LEG_RATIO, unix / tcp);
        }
        let errors = [&sample, &tcp].into_iter().filter_map(|s| s.value(&metric::ERRORS)).sum();
        sample.set(&metric::ERRORS, errors);
        sample.disturbed = sample.disturbed.or(tcp.disturbed);
        sample.note = sample.note.or(tcp.note);
        Ok(sample)
    }
}
