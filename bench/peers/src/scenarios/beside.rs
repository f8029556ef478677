//! The same proxy set up in two ways: what one of them costs.

use anyhow::Result;

use super::closed_loop::measure;
use super::traffic::{GET_1K, H1, Over, Traffic};
use super::{Scenario, entrants};
use crate::bench::{Bench, Entrant, Instance};
use crate::metric::{self, Metric};
use crate::rounds::{self, Row};
use crate::stats::Sample;

pub(crate) const UNIX_H1_1K_C64: Beside = Beside {
    name: "unix-h1-1k-c64",
    about: "HTTP/1.1, 1 KB replies, upstream on a unix socket; 64 connections, closed loop. Each round measures the same \
            proxy with its upstream on TCP right after.",
    over: Over::UnixUpstream,
    columns: &[
        &metric::CPU_US,
        &metric::TCP_CPU_US,
        &metric::LEG_RATIO,
        &metric::RATE,
        &metric::BUSY,
        &metric::P50_US,
        &metric::P99_US,
        &metric::ERRORS,
    ],
    other: &metric::TCP_CPU_US,
    ratio: &metric::LEG_RATIO,
};

pub(crate) const MESH_H1_1K_C64: Beside = Beside {
    name: "mesh-h1-1k-c64",
    about: "HTTP/1.1, 1 KB replies, with 1,000 routes, retries, a circuit breaker, outlier detection, a local rate limit and \
            five more filters (fault, CORS, access by address, header mutation, compression of what is large); 64 connections, closed loop. \
            Each round measures the same proxy without any of it right after.",
    over: Over::Mesh,
    columns: FEATURES,
    other: &metric::BARE_CPU_US,
    ratio: &metric::FEATURE_RATIO,
};

pub(crate) const LOGGED_H1_1K_C64: Beside = Beside {
    name: "logged-h1-1k-c64",
    about: "HTTP/1.1, 1 KB replies, with a JSON access log of every request (24 members); 64 connections, closed loop. Each \
            round measures the same proxy without it right after.",
    over: Over::Logged,
    columns: FEATURES,
    other: &metric::BARE_CPU_US,
    ratio: &metric::FEATURE_RATIO,
};

pub(crate) const TRACED_1_H1_1K_C64: Beside = Beside {
    name: "traced-1-h1-1k-c64",
    about: "HTTP/1.1, 1 KB replies, with 1 % of the requests traced and their spans sent by OTLP over gRPC; 64 connections, \
            closed loop. Each round measures the same proxy without it right after.",
    over: Over::Traced(1),
    columns: FEATURES,
    other: &metric::BARE_CPU_US,
    ratio: &metric::FEATURE_RATIO,
};

pub(crate) const TRACED_100_H1_1K_C64: Beside = Beside {
    name: "traced-100-h1-1k-c64",
    about: "The same with every request traced.",
    over: Over::Traced(100),
    columns: FEATURES,
    other: &metric::BARE_CPU_US,
    ratio: &metric::FEATURE_RATIO,
};

/// The columns of what is measured against the bare proxy.
const FEATURES: &[&Metric] = &[
    &metric::CPU_US,
    &metric::BARE_CPU_US,
    &metric::FEATURE_RATIO,
    &metric::RATE,
    &metric::BUSY,
    &metric::P50_US,
    &metric::P99_US,
    &metric::ERRORS,
];

/// [`GET_1K`] over a proxy that is set up in some way, and over one that is not.
pub(crate) struct Beside {
    name: &'static str,
    about: &'static str,
    over: Over,
    columns: &'static [&'static Metric],
    /// The CPU of the plain one.
    other: &'static Metric,
    /// The CPU of the first over that of the plain one.
    ratio: &'static Metric,
}

const CONNECTIONS: usize = 64;
const PLAIN: Traffic = Traffic::H1(GET_1K);

/// The same proxy in both ways.
struct Both {
    with: Instance,
    plain: Instance,
}

impl Scenario for Beside {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> String {
        self.about.to_owned()
    }

    fn columns(&self) -> &'static [&'static Metric] {
        self.columns
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
        let both = |entrant| Ok(Both { with: start(entrant, self.with())?, plain: start(entrant, PLAIN)? });
        let entrants = entrants(bench, self.with().mode()).map(|(name, entrant)| {
            let both = entrant.and_then(|e| both(e).map_err(|why: anyhow::Error| format!("failed to start: {why:#}")));
            (name, both)
        });
        let entrants = entrants.collect();
        let round = |both: &mut Both| self.round(bench, both);
        Ok(rounds::interleave(bench.options.rounds, entrants, self.primary(), || bench.message_ns(), round))
    }
}

impl Beside {
    fn with(&self) -> Traffic {
        Traffic::H1(H1 { ask: GET_1K.ask, over: self.over })
    }

    fn round(&self, bench: &Bench, both: &mut Both) -> Result<Sample> {
        let mut sample = measure(bench, &mut both.with, self.with(), CONNECTIONS)?;
        let plain = measure(bench, &mut both.plain, PLAIN, CONNECTIONS)?;
        if let (Some(with), Some(without)) = (sample.value(&metric::CPU_US), plain.value(&metric::CPU_US)) {
            sample.set(self.other, without);
            sample.set(self.ratio, with / without);
        }
        let errors = [&sample, &plain].into_iter().filter_map(|s| s.value(&metric::ERRORS)).sum();
        sample.set(&metric::ERRORS, errors);
        sample.disturbed = sample.disturbed.or(plain.disturbed);
        sample.note = sample.note.or(plain.note);
        Ok(sample)
    }
}
