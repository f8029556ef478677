//! 200 connections ask for 8 MiB each and never read, while others are served.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::traffic::GET_1K;
use super::{FRESH_ROUNDS, Scenario, mib, processes};
use crate::bench::{Bench, Entrant};
use crate::load::Load;
use crate::message::{self, HOST};
use crate::metric::{self, Metric};
use crate::peers::Mode;
use crate::rounds::{self, Row};
use crate::stats::Sample;

pub(crate) const SLOW_READERS: SlowReaders = SlowReaders { readers: 200, connections: 64 };

pub(crate) struct SlowReaders {
    readers: usize,
    /// Connections of the load that must not notice.
    connections: usize,
}

impl Scenario for SlowReaders {
    fn name(&self) -> &'static str {
        "slow-readers"
    }

    fn about(&self) -> String {
        format!(
            "{} connections ask for 8 MiB each and never read, while {} connections do 1 KB requests; p99 of these before \
             and with the slow readers. Each round a fresh process.",
            self.readers, self.connections
        )
    }

    fn columns(&self) -> &'static [&'static Metric] {
        &[
            &metric::RSS_GROWTH,
            &metric::RSS_MIB,
            &metric::BASE_P99_US,
            &metric::P99_US,
            &metric::P99_RATIO,
            &metric::RATE,
            &metric::ERRORS,
        ]
    }

    fn primary(&self) -> &'static Metric {
        &metric::RSS_GROWTH
    }

    fn run(&self, bench: &Bench) -> Result<Vec<Row>> {
        let rounds = bench.options.rounds.min(FRESH_ROUNDS);
        let round = |entrant: &mut &Entrant| self.round(bench, entrant);
        Ok(rounds::interleave(rounds, processes(bench, Mode::Http), self.primary(), || bench.message_ns(), round))
    }
}

impl SlowReaders {
    fn round(&self, bench: &Bench, entrant: &Entrant) -> Result<Sample> {
        let mut instance = bench.launch_plain(entrant, Mode::Http)?;
        let mut load = Load::start(GET_1K.plan(bench, instance.target)?, self.connections)?;
        load.run(bench.options.warm_up)?;
        let watch = bench.watch(&instance.pids())?;
        let before = load.run(bench.options.window)?;
        let rss_before = instance.rss();

        let request: Arc<[u8]> = message::get(HOST, "/8m").into();
        let mut readers = Vec::with_capacity(self.readers);
        for _ in 0..self.readers {
            let mut reader = TcpStream::connect(instance.target).context("connecting a slow reader")?;
            reader.write_all(&request)?;
            readers.push(reader);
        }
        load.run(bench.options.warm_up)?;
        let with = load.run(bench.options.window)?;
        let rss_with = instance.rss();
        let disturbed = watch.end(&bench.own(&instance.pids()))?;
        instance.check_alive()?;
        drop(readers);

        let errors = before.errors + with.errors;
        let mut sample = Sample::new(disturbed, before.first_error.clone().or(with.first_error.clone()));
        let (base, p99) = (before.latency_us(0.99), with.latency_us(0.99));
        sample.set(&metric::RSS_GROWTH, mib(rss_with.saturating_sub(rss_before)));
        sample.set(&metric::RSS_MIB, mib(rss_with));
        sample.set(&metric::BASE_P99_US, base);
        sample.set(&metric::P99_US, p99);
        sample.set(&metric::P99_RATIO, p99 / base);
        sample.set(&metric::RATE, with.rate());
        sample.set(&metric::ERRORS, errors as f64);
        Ok(sample)
    }
}
