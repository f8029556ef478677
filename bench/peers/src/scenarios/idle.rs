//! Thousands of connections that did one request each and then nothing: what they cost in memory and CPU.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::traffic::{GET_1K, H1, Over};
use super::{FRESH_ROUNDS, Scenario, mib, processes};
use crate::bench::{Bench, Entrant};
use crate::cgroup::Cgroup;
use crate::launch;
use crate::load::Load;
use crate::metric::{self, Metric};
use crate::procfs;
use crate::rounds::{self, Row};
use crate::stats::Sample;

pub(crate) const IDLE_10K: Idle = Idle { name: "idle-10k", traffic: GET_1K, connections: 10_000 };
pub(crate) const TLS_IDLE_4K: Idle =
    Idle { name: "tls-idle-4k", traffic: H1 { ask: GET_1K.ask, over: Over::Tls }, connections: 4_000 };

pub(crate) struct Idle {
    name: &'static str,
    traffic: H1,
    connections: usize,
}

/// Time to let buffers be given back before memory is read.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the CPU of the idle proxy is watched.
const IDLE: Duration = Duration::from_secs(5);
/// Time to let the proxy release what closed connections held.
const RELEASE: Duration = Duration::from_secs(3);
/// For everything that is no client connection.
const SPARE_DESCRIPTORS: usize = 500;
const OPEN_PATIENCE: Duration = Duration::from_secs(30);

impl Scenario for Idle {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> String {
        format!(
            "{} keep-alive connections{}, one 1 KB request each, then {} s of silence; each round a fresh process. RSS per \
             connection counts from before the first connection.",
            self.connections,
            if self.traffic.over == Over::Tls { " over TLS 1.3" } else { "" },
            IDLE.as_secs()
        )
    }

    fn columns(&self) -> &'static [&'static Metric] {
        &[
            &metric::CONNECTIONS,
            &metric::IDLE_BYTES,
            &metric::CGROUP_BYTES,
            &metric::IDLE_CPU,
            &metric::RSS_BEFORE,
            &metric::RSS_OPEN,
            &metric::RSS_AFTER,
        ]
    }

    fn primary(&self) -> &'static Metric {
        &metric::IDLE_BYTES
    }

    fn run(&self, bench: &Bench) -> Result<Vec<Row>> {
        let rounds = bench.options.rounds.min(FRESH_ROUNDS);
        let round = |entrant: &mut &Entrant| self.round(bench, entrant);
        Ok(rounds::interleave(
            rounds,
            processes(bench, self.traffic.mode()),
            self.primary(),
            || bench.message_ns(),
            round,
        ))
    }
}

impl Idle {
    /// As many connections as are wanted and the descriptors of one process allow.
    fn connections_for(&self, entrant: &Entrant) -> usize {
        let per_connection = if entrant.peer.pairs_connections() { 2 } else { 1 };
        self.connections.min(launch::descriptor_limit().saturating_sub(SPARE_DESCRIPTORS) / per_connection)
    }

    fn round(&self, bench: &Bench, entrant: &Entrant) -> Result<Sample> {
        let connections = self.connections_for(entrant);
        let (cgroup, note) = match Cgroup::create(bench.options.cgroup.as_deref(), entrant.peer.name()) {
            Ok(cgroup) => (Some(cgroup), None),
            Err(why) => (None, Some(format!("no cgroup figure: {why}"))),
        };
        let core = [bench.options.proxy_core];
        let dir = cgroup.as_ref().map(Cgroup::dir);
        let mut instance = bench.launch(entrant, self.traffic.mode(), &core, dir, |_| Ok(()))?;
        thread::sleep(SETTLE);
        let charge = || cgroup.as_ref().and_then(Cgroup::charge);
        let (rss_before, charge_before) = (instance.rss(), charge());

        let mut idle = Load::start_idle(self.traffic.plan(bench, instance.target)?, connections, OPEN_PATIENCE)?;
        thread::sleep(SETTLE);
        let (rss_open, charge_open) = (instance.rss(), charge());

        let pids = instance.pids();
        let (began, cpu) = (Instant::now(), procfs::cpu_ns(&pids));
        idle.run(IDLE)?;
        let cpu = procfs::cpu_ns(&pids).saturating_sub(cpu);
        let share = cpu as f64 / began.elapsed().as_nanos() as f64;
        if idle.dead() > 0 {
            bail!("the proxy closed {} of {} idle connections", idle.dead(), connections);
        }
        drop(idle);
        thread::sleep(RELEASE);
        instance.check_alive()?;

        let per_connection = |bytes: u64| bytes as f64 / connections as f64;
        let mut sample = Sample::new(None, note);
        sample.set(&metric::CONNECTIONS, connections as f64);
        sample.set(&metric::IDLE_BYTES, per_connection(rss_open.saturating_sub(rss_before)));
        if let (Some(before), Some(open)) = (charge_before, charge_open) {
            sample.set(&metric::CGROUP_BYTES, per_connection(open.saturating_sub(before)));
        }
        sample.set(&metric::IDLE_CPU, share * 100.0);
        sample.set(&metric::RSS_BEFORE, mib(rss_before));
        sample.set(&metric::RSS_OPEN, mib(rss_open));
        sample.set(&metric::RSS_AFTER, mib(instance.rss()));
        Ok(sample)
    }
}
