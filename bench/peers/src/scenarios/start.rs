//! How long a proxy takes to serve its first request.

use anyhow::Result;

use super::traffic::{GET_1K, Traffic};
use super::{Scenario, mib, processes};
use crate::bench::{Bench, Entrant};
use crate::metric::{self, Metric};
use crate::procfs;
use crate::rounds::{self, Row};
use crate::stats::Sample;

pub(crate) const START: Start = Start;

pub(crate) struct Start;

impl Scenario for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    fn about(&self) -> String {
        "From the start of the process, by a small launcher that is the same for all, to the end of the first reply (1 KB); \
         what it then has in memory, and the CPU that it took."
            .to_owned()
    }

    fn columns(&self) -> &'static [&'static Metric] {
        &[&metric::START_MS, &metric::START_CPU_MS, &metric::RSS_MIB]
    }

    fn primary(&self) -> &'static Metric {
        &metric::START_MS
    }

    fn run(&self, bench: &Bench) -> Result<Vec<Row>> {
        let traffic = Traffic::H1(GET_1K);
        let round = |entrant: &mut &Entrant| {
            let mut instance = bench.launch_plain(entrant, traffic.mode())?;
            traffic.check(bench, instance.target)?;
            let took = instance.age();
            let pids = instance.pids();
            instance.check_alive()?;
            let mut sample = Sample::default();
            sample.set(&metric::START_MS, took.as_secs_f64() * 1e3);
            sample.set(&metric::START_CPU_MS, procfs::cpu_ns(&pids) as f64 / 1e6);
            sample.set(&metric::RSS_MIB, mib(instance.rss()));
            Ok(sample)
        };
        let entrants = processes(bench, traffic.mode());
        Ok(rounds::interleave(bench.options.rounds, entrants, self.primary(), || bench.message_ns(), round))
    }
}
