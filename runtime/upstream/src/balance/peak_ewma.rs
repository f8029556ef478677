//! `peak_ewma`: where the least is under way, counted in the time that hosts recently took to answer.

use std::time::Duration;

use ringway_api::{HostState, Hosts, Latency, LoadBalancer, Millis, PickCx, Time};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Draw;

/// The better of two random hosts, by its recent latency times one more than what is under way. Latencies rise at once
/// and fall slowly: a host that got slow is believed, one that got quick has to show it (as in Finagle and linkerd).
#[derive(Debug)]
pub struct PeakEwma {
    options: PeakEwmaConfig,
}

/// The options of [`PeakEwma`].
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PeakEwmaConfig {
    /// In how long a latency loses its weight to 1/e.
    pub decay: Millis,
    /// What a host that has not answered yet is taken to need while it is asked. It is asked at once, by one request at
    /// a time: whoever expects the worst of hosts that are quicker than this never learns better.
    pub default_rtt: Millis,
}

impl Default for PeakEwmaConfig {
    fn default() -> Self {
        Self { decay: Millis(10_000), default_rtt: Millis(30) }
    }
}

impl LoadBalancer for PeakEwma {
    const NAME: &'static str = "peak_ewma";
    const LATENCY: bool = true;
    type Config = PeakEwmaConfig;
    type Compiled = PeakEwmaConfig;

    fn compile(config: PeakEwmaConfig) -> Result<PeakEwmaConfig, String> {
        if config.decay.0 == 0 || config.default_rtt.0 == 0 {
            return Err("decay and default_rtt must be more than 0".into());
        }
        Ok(config)
    }

    fn latency_decay(options: &PeakEwmaConfig) -> Duration {
        options.decay.duration()
    }

    fn build(options: &PeakEwmaConfig, _: Hosts<'_>, _: u64) -> Self {
        Self { options: *options }
    }

    fn pick(&self, hosts: Hosts<'_>, cx: PickCx) -> Option<usize> {
        let mut draw = Draw(cx.random);
        let first = draw.usable(hosts)?;
        let second = draw.other(hosts, first);
        let cost = |at: usize| hosts.get(at).map_or(f64::INFINITY, |host| self.cost(host, cx.now));
        Some(if cost(second) < cost(first) { second } else { first })
    }
}

impl PeakEwma {
    fn cost(&self, host: &HostState, now: Time) -> f64 {
        let Latency { nanos, at } = host.latency.get();
        if nanos <= 0.0 && host.active.get() == 0 {
            return 0.0;
        }
        let latency = if nanos > 0.0 {
            // What nobody has asked for a while is forgotten.
            nanos * decayed(now.since(at), self.options.decay.duration())
        } else {
            self.options.default_rtt.duration().as_nanos() as f64
        };
        (latency + 1.0) * (f64::from(host.active.get()) + 1.0) / f64::from(host.weight)
    }
}

/// How much of its weight something has kept after `age`.
fn decayed(age: Duration, decay: Duration) -> f64 {
    (-age.as_secs_f64() / decay.as_secs_f64()).exp()
}

/// A latency with one more answer, where what was before loses its weight to 1/e within `decay`.
pub(crate) fn observed(before: Latency, took: Duration, now: Time, decay: Duration) -> Latency {
    let took = took.as_nanos() as f64;
    let kept = decayed(now.since(before.at), decay);
    // Peaks count at once.
    let nanos = if took > before.nanos { took } else { before.nanos * kept + took * (1.0 - kept) };
    Latency { nanos, at: now }
}
