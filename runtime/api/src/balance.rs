//! Load balancers: which host takes the next request.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::Time;

/// A host as a balancer sees it, on one worker.
#[derive(Debug)]
pub struct HostState {
    /// The configured weight, at least 1.
    pub weight: u32,
    /// A hash of its address: the same on every worker and in every process.
    pub key: u64,
    /// Requests (or connections, for raw protocols) under way on this worker.
    pub active: Cell<u32>,
    /// Whether it may be picked.
    pub usable: Cell<bool>,
    /// How long it takes to answer, where the balancer [wants to know](LoadBalancer::LATENCY).
    pub latency: Cell<Latency>,
}

/// The recent latency of a host: a peak-sensitive, exponentially weighted moving average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// Nanoseconds at `at`; 0 before the first answer.
    pub nanos: f64,
    /// When it was last updated.
    pub at: Time,
}

/// Hosts that a balancer picks from.
#[derive(Clone, Copy, Debug)]
pub struct Hosts<'a> {
    all: &'a [HostState],
    /// Which of them, if not all.
    members: Option<&'a [u32]>,
    /// So few are usable that all are taken to be.
    panic: bool,
    /// What is under way at all of them.
    active: u32,
}

/// What a pick may depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickCx {
    /// Fresh random bits.
    pub random: u64,
    /// What the request hashes to, by the policy of its route; none when it has nothing of what is hashed.
    pub hash: Option<u64>,
    /// The time.
    pub now: Time,
}

/// What is known of a host besides its address, by key.
pub type Metadata = BTreeMap<Box<str>, Box<str>>;

/// An algorithm that picks hosts. One value per group of hosts and worker.
pub trait LoadBalancer: 'static {
    /// The name in configurations.
    const NAME: &'static str;

    /// Whether [`HostState::latency`] is kept up to date.
    const LATENCY: bool = false;

    /// Its options. Unknown keys must be errors.
    type Config: DeserializeOwned + JsonSchema;

    /// The options, checked; shared by all workers.
    type Compiled: Send + Sync + 'static;

    /// Checks the options.
    ///
    /// # Errors
    /// What is wrong, in words for the one who wrote it.
    fn compile(config: Self::Config) -> Result<Self::Compiled, String>;

    /// In how long an observed latency loses its weight to 1/e, where latencies are kept.
    fn latency_decay(options: &Self::Compiled) -> Duration {
        let _ = options;
        Duration::from_secs(10)
    }

    /// Makes on the control plane what is the same for all workers and takes long, for hosts with these weights and
    /// [keys](HostState::key). Workers find it in the options.
    fn prepare(options: &Self::Compiled, hosts: &[(u32, u64)]) {
        let _ = (options, hosts);
    }

    /// The state for these hosts. `seed` differs from worker to worker, so that workers do not move in step.
    fn build(options: &Self::Compiled, hosts: Hosts<'_>, seed: u64) -> Self;

    /// The index of a usable host, or `None` when there is none.
    fn pick(&self, hosts: Hosts<'_>, cx: PickCx) -> Option<usize>;
}

/// [`LoadBalancer`] with its type erased.
pub trait DynBalancer {
    /// As [`LoadBalancer::pick`].
    fn pick(&self, hosts: Hosts<'_>, cx: PickCx) -> Option<usize>;
}

/// A balancer as the catalogue lists it.
#[derive(Clone, Copy)]
pub struct BalancerSpec {
    /// The name in configurations.
    pub name: &'static str,
    /// As [`LoadBalancer::LATENCY`].
    pub latency: bool,
    /// Reads and compiles the options; the error says what is wrong with them.
    pub compile: fn(serde_json::Value) -> Result<Options, String>,
    /// The options' JSON Schema.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    latency_decay: fn(&Options) -> Option<Duration>,
    prepare: fn(&Options, &[(u32, u64)]),
    build: fn(&Options, Hosts<'_>, u64) -> Option<Box<dyn DynBalancer>>,
}

/// Compiled options; only their own balancer looks into them.
type Options = Arc<dyn Any + Send + Sync>;

/// A balancer with its options.
#[derive(Clone)]
pub struct Balancer {
    /// The algorithm.
    pub spec: BalancerSpec,
    /// What its `compile` made.
    pub options: Options,
}

// === impl HostState ===

impl HostState {
    /// A usable host with nothing under way.
    pub fn new(weight: u32, key: u64) -> Self {
        Self {
            weight: weight.max(1),
            key,
            active: Cell::new(0),
            usable: Cell::new(true),
            latency: Cell::new(Latency::default()),
        }
    }
}

// === impl Hosts ===

impl<'a> Hosts<'a> {
    /// All of these.
    pub const fn all(all: &'a [HostState]) -> Self {
        Self { all, members: None, panic: false, active: 0 }
    }

    /// Those at these places.
    pub const fn of(all: &'a [HostState], members: &'a [u32]) -> Self {
        Self { all, members: Some(members), panic: false, active: 0 }
    }

    /// The same hosts, whether they are usable or not.
    #[must_use]
    pub const fn in_panic(mut self) -> Self {
        self.panic = true;
        self
    }

    /// The same hosts, with so much under way at all of them.
    #[must_use]
    pub const fn with_active(mut self, active: u32) -> Self {
        self.active = active;
        self
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.members.map_or(self.all.len(), <[u32]>::len)
    }

    /// True when there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The host at a place.
    #[inline]
    pub fn get(self, at: usize) -> Option<&'a HostState> {
        match self.members {
            None => self.all.get(at),
            Some(members) => self.all.get(*members.get(at)? as usize),
        }
    }

    /// Whether the host at a place may be picked.
    #[inline]
    pub fn is_usable(self, at: usize) -> bool {
        self.get(at).is_some_and(|host| self.panic || host.usable.get())
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = &'a HostState> {
        (0..self.len()).filter_map(move |at| self.get(at))
    }

    /// The places of those that may be picked.
    pub fn usable(self) -> impl Iterator<Item = usize> {
        (0..self.len()).filter(move |at| self.is_usable(*at))
    }

    /// What is under way on this worker at all of them, where the cluster counts it; 0 otherwise.
    pub fn active(self) -> u32 {
        self.active
    }
}

// === impl BalancerSpec ===

impl<B: LoadBalancer> DynBalancer for B {
    fn pick(&self, hosts: Hosts<'_>, cx: PickCx) -> Option<usize> {
        LoadBalancer::pick(self, hosts, cx)
    }
}

impl BalancerSpec {
    /// The specification of a balancer.
    pub const fn of<B: LoadBalancer>() -> Self {
        Self {
            name: B::NAME,
            latency: B::LATENCY,
            compile: compile::<B>,
            schema: |generator| generator.subschema_for::<B::Config>(),
            latency_decay: |options| options.downcast_ref::<B::Compiled>().map(B::latency_decay),
            prepare: |options, hosts| {
                if let Some(options) = options.downcast_ref::<B::Compiled>() {
                    B::prepare(options, hosts);
                }
            },
            build: |options, hosts, seed| {
                let options = options.downcast_ref::<B::Compiled>()?;
                Some(Box::new(B::build(options, hosts, seed)))
            },
        }
    }

    /// The balancer with its default options.
    ///
    /// # Errors
    /// It has options without a default.
    pub fn with_defaults(self) -> Result<Balancer, String> {
        Ok(Balancer { spec: self, options: (self.compile)(serde_json::Value::Null)? })
    }
}

fn compile<B: LoadBalancer>(raw: serde_json::Value) -> Result<Options, String> {
    let raw = if raw.is_null() { serde_json::Value::Object(serde_json::Map::new()) } else { raw };
    let config = serde_json::from_value(raw).map_err(|error| error.to_string())?;
    Ok(Arc::new(B::compile(config)?))
}

// === impl Balancer ===

impl Balancer {
    /// As [`LoadBalancer::latency_decay`]; zero when the options are another balancer's.
    pub fn latency_decay(&self) -> Duration {
        (self.spec.latency_decay)(&self.options).unwrap_or_default()
    }

    /// As [`LoadBalancer::prepare`].
    pub fn prepare(&self, hosts: &[(u32, u64)]) {
        (self.spec.prepare)(&self.options, hosts);
    }

    /// As [`LoadBalancer::build`]; `None` when the options are another balancer's.
    pub fn build(&self, hosts: Hosts<'_>, seed: u64) -> Option<Box<dyn DynBalancer>> {
        (self.spec.build)(&self.options, hosts, seed)
    }

    /// Whether it is the same algorithm with the same options.
    pub fn is_same(&self, other: &Self) -> bool {
        self.spec.name == other.spec.name && Arc::ptr_eq(&self.options, &other.options)
    }
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spec.name)
    }
}

/// The options of a balancer that has none.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}
