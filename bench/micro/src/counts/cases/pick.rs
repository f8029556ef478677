//! Picking a host, with the balancer's type erased as a cluster has it.

use anyhow::{Context, Result};
use ringway_api::{BalancerSpec, HostState, Hosts, LoadBalancer, PickCx};

use super::measured;

const WEIGHTS: [u32; 10] = [1, 2, 3, 5, 8, 10, 20, 50, 90, 100];
/// Requests under way, repeated over the hosts.
const ACTIVE: [u32; 10] = [0, 3, 1, 4, 1, 5, 2, 6, 5, 3];

pub(super) fn equal<B: LoadBalancer, const HOSTS: usize>(times: u64) -> Result<()> {
    pick::<B>([1; 10], HOSTS, times)
}

pub(super) fn weighted<B: LoadBalancer, const HOSTS: usize>(times: u64) -> Result<()> {
    pick::<B>(WEIGHTS, HOSTS, times)
}

fn pick<B: LoadBalancer>(weights: [u32; 10], hosts: usize, times: u64) -> Result<()> {
    let hosts: Vec<_> =
        weights.into_iter().cycle().take(hosts).zip(1..).map(|(weight, key)| HostState::new(weight, key)).collect();
    for (host, active) in hosts.iter().zip(ACTIVE.into_iter().cycle()) {
        host.active.set(active);
    }
    let hosts_seen = Hosts::all(&hosts);
    let balancer = BalancerSpec::of::<B>().with_defaults().map_err(anyhow::Error::msg)?;
    let balancer = balancer.build(hosts_seen, 7).context("other options")?;
    balancer.pick(hosts_seen, PickCx::default()).context("no host")?;
    // Fixed, so that every run draws the same.
    let mut random = 0u64;
    measured(times, || {
        random = random.wrapping_add(0xd134_2543_de82_ef95);
        balancer.pick(hosts_seen, PickCx { random, hash: Some(random), ..PickCx::default() })
    });
    Ok(())
}
