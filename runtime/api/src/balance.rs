//! Load balancers: which host takes the next request.

use std::cell::Cell;
use std::collections::BTreeMap;

/// A host as a balancer sees it, on one worker.
#[derive(Debug)]
pub struct HostState {
    /// The configured weight, at least 1.
    pub weight: u32,
    /// Requests (or connections, for raw protocols) under way on this worker.
    pub active: Cell<u32>,
    /// Whether it may be picked.
    pub usable: Cell<bool>,
}

impl HostState {
    /// A usable host with nothing under way.
    pub fn new(weight: u32) -> Self {
        Self { weight: weight.max(1), active: Cell::new(0), usable: Cell::new(true) }
    }
}

/// What a pick may depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickCx {
    /// Fresh random bits.
    pub random: u64,
    /// What the request hashes to, by the policy of its route; none when it has nothing of what is hashed.
    pub hash: Option<u64>,
}

/// What is known of a host besides its address, by key.
pub type Metadata = BTreeMap<Box<str>, Box<str>>;

/// An algorithm that picks hosts. One value per cluster, worker and host set.
pub trait LoadBalancer: 'static {
    /// The name in configurations.
    const NAME: &'static str;

    /// The state for these hosts. `seed` differs from worker to worker, so that workers do not move in step.
    fn build(hosts: &[HostState], seed: u64) -> Self;

    /// The index of a usable host, or `None` when there is none.
    fn pick(&self, hosts: &[HostState], cx: PickCx) -> Option<usize>;
}

/// [`LoadBalancer`] with its type erased.
pub trait DynBalancer {
    /// As [`LoadBalancer::pick`].
    fn pick(&self, hosts: &[HostState], cx: PickCx) -> Option<usize>;
}

impl<B: LoadBalancer> DynBalancer for B {
    fn pick(&self, hosts: &[HostState], cx: PickCx) -> Option<usize> {
        LoadBalancer::pick(self, hosts, cx)
    }
}

/// A balancer as the catalogue lists it.
#[derive(Clone, Copy)]
pub struct BalancerSpec {
    /// The name in configurations.
    pub name: &'static str,
    /// Builds one.
    pub build: fn(&[HostState], u64) -> Box<dyn DynBalancer>,
}

impl BalancerSpec {
    /// The specification of a balancer.
    pub const fn of<B: LoadBalancer>() -> Self {
        Self { name: B::NAME, build: |hosts, seed| Box::new(B::build(hosts, seed)) }
    }
}
