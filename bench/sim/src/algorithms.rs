//! The balancers under examination, and hosts for them.

use anyhow::{Context, Result};
use ringway_api::{Address, Balancer, BalancerSpec, DynBalancer, HostState, Hosts};
use ringway_testkit::Rng;
use ringway_upstream::balance::{LeastRequest, Maglev, PeakEwma, Random, RingHash, RoundRobin};
use serde_json::{Value, json};

/// A balancer with options.
pub(crate) struct Algorithm {
    pub(crate) name: &'static str,
    pub(crate) balancer: Balancer,
}

impl Algorithm {
    pub(crate) fn new(name: &'static str, spec: BalancerSpec, options: Value) -> Result<Self> {
        let options = (spec.compile)(options).map_err(anyhow::Error::msg)?;
        Ok(Self { name, balancer: Balancer { spec, options } })
    }

    /// Its state on one worker.
    pub(crate) fn on(&self, hosts: &[HostState], seed: u64) -> Result<Box<dyn DynBalancer>> {
        self.balancer.build(Hosts::all(hosts), seed).context("options of another balancer")
    }
}

/// Those that know no hash.
pub(crate) fn turns() -> Result<Vec<Algorithm>> {
    Ok(vec![
        Algorithm::new("round_robin", BalancerSpec::of::<RoundRobin>(), Value::Null)?,
        Algorithm::new("random", BalancerSpec::of::<Random>(), Value::Null)?,
        Algorithm::new("least_request", BalancerSpec::of::<LeastRequest>(), Value::Null)?,
        Algorithm::new("peak_ewma", BalancerSpec::of::<PeakEwma>(), Value::Null)?,
    ])
}

/// Those that go by a hash.
pub(crate) fn hashes() -> Result<Vec<Algorithm>> {
    let large = json!({ "minimum_ring_size": 65_536 });
    Ok(vec![
        Algorithm::new("ring_hash", BalancerSpec::of::<RingHash>(), Value::Null)?,
        Algorithm::new("ring_hash 65536", BalancerSpec::of::<RingHash>(), large)?,
        Algorithm::new("maglev", BalancerSpec::of::<Maglev>(), Value::Null)?,
    ])
}

/// Hosts as a worker has them, with these weights and the keys of real addresses.
pub(crate) fn hosts(weights: impl IntoIterator<Item = u32>) -> Vec<HostState> {
    weights.into_iter().enumerate().map(|(at, weight)| HostState::new(weight, key(at))).collect()
}

/// What balancers know the host with this number by.
pub(crate) fn key(at: usize) -> u64 {
    let [.., high, low] = (at as u32).to_be_bytes();
    let address = std::net::SocketAddr::from(([10, 1, high, low], 8080));
    ringway_upstream::key(&Address::from(address))
}

/// A number from 0 to 1, 1 excluded.
pub(crate) fn unit(rng: &mut Rng) -> f64 {
    (rng.bits() >> 11) as f64 / (1_u64 << 53) as f64
}

/// How far the worst of `got` is off its share: |got / expected - 1|.
pub(crate) fn worst(got: &[u64], weights: &[u64]) -> f64 {
    let (all, sum) = (got.iter().sum::<u64>() as f64, weights.iter().sum::<u64>() as f64);
    got.iter()
        .zip(weights)
        .map(|(got, weight)| (*got as f64 / (all * *weight as f64 / sum) - 1.0).abs())
        .fold(0.0, f64::max)
}

/// The greatest, as a multiple of the mean.
pub(crate) fn peak(got: &[u64]) -> f64 {
    let (most, all) = (got.iter().copied().max().unwrap_or(0), got.iter().sum::<u64>());
    if all == 0 { 1.0 } else { most as f64 * got.len() as f64 / all as f64 }
}

/// Pearson's statistic over its degrees of freedom: 1 of independent random picks, less of those that remember.
pub(crate) fn chi_square(got: &[u64], weights: &[u64]) -> f64 {
    let (all, sum) = (got.iter().sum::<u64>() as f64, weights.iter().sum::<u64>() as f64);
    let part = |(got, weight): (&u64, &u64)| {
        let expected = all * *weight as f64 / sum;
        (*got as f64 - expected).powi(2) / expected
    };
    got.iter().zip(weights).map(part).sum::<f64>() / (got.len() as f64 - 1.0).max(1.0)
}
