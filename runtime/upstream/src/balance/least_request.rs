//! `least_request`: where the least is under way.

use std::cell::RefCell;

use ringway_api::{Hosts, LoadBalancer, PickCx};
use schemars::JsonSchema;
use serde::Deserialize;

use super::edf::Schedule;
use super::{Draw, equal_weights};

/// With equal weights the best of some random hosts (power of two choices). Otherwise turns as in round robin, each
/// with the weight divided by one more than what is under way at the host, to the power of the bias; as Envoy does.
#[derive(Debug)]
pub struct LeastRequest {
    choices: u32,
    bias: f64,
    weighted: Option<RefCell<Schedule>>,
}

/// The options of [`LeastRequest`].
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LeastRequestConfig {
    /// How many random hosts are compared, where weights are equal: 2 to 64.
    pub choice_count: u32,
    /// How much what is under way counts, where weights differ: `0` not at all, which is round robin; up to 10.
    pub active_request_bias: f64,
}

impl Default for LeastRequestConfig {
    fn default() -> Self {
        Self { choice_count: 2, active_request_bias: 1.0 }
    }
}

impl LoadBalancer for LeastRequest {
    const NAME: &'static str = "least_request";
    type Config = LeastRequestConfig;
    type Compiled = LeastRequestConfig;

    fn compile(config: LeastRequestConfig) -> Result<LeastRequestConfig, String> {
        if !(2..=64).contains(&config.choice_count) {
            return Err(format!("choice_count: {} is not between 2 and 64", config.choice_count));
        }
        if !(0.0..=10.0).contains(&config.active_request_bias) {
            return Err(format!("active_request_bias: {} is not between 0 and 10", config.active_request_bias));
        }
        Ok(config)
    }

    fn build(options: &LeastRequestConfig, hosts: Hosts<'_>, seed: u64) -> Self {
        let weighted = (!equal_weights(hosts)).then(|| RefCell::new(Schedule::new(hosts, seed)));
        Self { choices: options.choice_count, bias: options.active_request_bias, weighted }
    }

    fn pick(&self, hosts: Hosts<'_>, cx: PickCx) -> Option<usize> {
        if let Some(schedule) = &self.weighted {
            return schedule.borrow_mut().next(hosts, |host| {
                let load = f64::from(host.active.get()) + 1.0;
                // The usual bias needs no power.
                if (self.bias - 1.0).abs() < f64::EPSILON { load } else { load.powf(self.bias) }
            });
        }
        let mut draw = Draw(cx.random);
        let active = |index: usize| hosts.get(index).map_or(u32::MAX, |host| host.active.get());
        let mut best = draw.usable(hosts)?;
        for _ in 1..self.choices {
            let other = draw.other(hosts, best);
            if active(other) < active(best) {
                best = other;
            }
        }
        Some(best)
    }
}
