//! A mesh: workers as they are in the product, hosts and clients in memory, one clock.

mod clients;
mod config;
mod control;
mod fleet;
mod plan;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use ringway_api::{Address, Blame, ConnError, Connect, Env, LocalBoxFuture, Time, Timer};
use ringway_config::{Snapshot, compile};
use ringway_proxy::{CoreView, Handshake, ListenerHandle, Security, Toolbox, Worker};
use ringway_telemetry::{ClusterStats, Registry};
use ringway_testkit::{MemoryIo, Sim};
use ringway_upstream::outlier::OutlierConfig;
use ringway_upstream::{Cluster, SharedLimit};
use serde_json::Value;

pub(crate) use clients::{Asked, Load};
pub(crate) use config::{config, host_names};
pub(crate) use fleet::{Behaviour, Conduct, Fleet};

use control::Control;
use fleet::Network;
pub(crate) use plan::CATALOG;
use plan::{Kept, LISTENER, PROTOCOLS};

/// Workers of one process, and the hosts they send requests to.
pub(crate) struct Mesh {
    pub(crate) sim: Sim,
    pub(crate) fleet: Rc<Fleet>,
    cores: Vec<Rc<Core>>,
    registry: Registry,
    kept: Kept,
    snapshot: Option<Snapshot>,
    control: Rc<RefCell<Control>>,
}

/// A worker.
struct Core {
    worker: Rc<Worker>,
    tools: Toolbox<MemoryIo>,
    view: RefCell<Option<CoreView<MemoryIo>>>,
    /// Connections of clients that wait for their next request.
    idle: RefCell<Vec<MemoryIo>>,
}

/// A worker's services: the clock of all, and random bits of its own as the engine makes them.
struct CoreEnv {
    sim: Sim,
    random: Cell<u64>,
}

/// How often workers return what they do not use of leases.
const TICK: Duration = Duration::from_millis(4);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Mesh {
    /// So many workers with this configuration, and hosts that behave so.
    pub(crate) fn new(
        workers: usize,
        seed: u64,
        config: &Value,
        outliers: Option<OutlierConfig>,
        fleet: Fleet,
    ) -> Result<Self> {
        let sim = Sim::new(seed);
        let fleet = Rc::new(fleet.begin(&sim));
        let cores = (0..workers).map(|number| Rc::new(Core::new(&sim, &fleet, seed, (number, workers)))).collect();
        let registry = Registry::new(workers);
        let control = Rc::new(RefCell::new(Control::new(outliers, seed)));
        let mut mesh = Self { sim, fleet, cores, registry, kept: Kept::default(), snapshot: None, control };
        mesh.publish(config)?;
        mesh.spawn_control(outliers.is_some());
        Ok(mesh)
    }

    /// Puts a configuration in force on all workers.
    pub(crate) fn publish(&mut self, config: &Value) -> Result<()> {
        let text = config.to_string();
        let snapshot = compile("sim", &text, &CATALOG, self.snapshot.as_ref()).map_err(|error| anyhow!("{error}"))?;
        let plan = self.kept.plan(&snapshot, &self.registry, self.cores.len(), &mut self.control.borrow_mut())?;
        let plan = Arc::new(plan);
        for core in &self.cores {
            let view = CoreView::build(Arc::clone(&plan), core.view.borrow().as_ref(), &core.tools);
            core.view.replace(Some(view));
        }
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, span: Duration) {
        self.sim.advance(span);
    }

    /// A cluster as a worker sees it.
    pub(crate) fn cluster(&self, worker: usize, name: &str) -> Result<Rc<Cluster<MemoryIo>>> {
        let core = self.cores.get(worker).context("no such worker")?;
        let view = core.view.borrow();
        let mut clusters = view.iter().flat_map(CoreView::clusters);
        let found = clusters.find(|(known, _)| *known == name).map(|(_, cluster)| Rc::clone(cluster));
        found.with_context(|| format!("no cluster {name}"))
    }

    /// The limit on a cluster's requests.
    pub(crate) fn request_limit(&self, name: &str) -> Result<SharedLimit> {
        self.kept.limits.get(name).map(|limits| limits.requests.clone()).context("no such cluster")
    }

    /// A statistic of a cluster over all workers.
    pub(crate) fn stat(&self, cluster: &str, read: impl Fn(&ClusterStats) -> u64) -> u64 {
        self.registry.cluster(cluster).blocks().map(read).sum()
    }

    pub(crate) fn workers(&self) -> usize {
        self.cores.len()
    }

    fn spawn_control(&self, detects: bool) {
        let (sim, control, cores) = (self.sim.clone(), Rc::clone(&self.control), self.cores.clone());
        self.sim.spawn(async move {
            loop {
                sim.sleep(TICK).await;
                let changed = if detects { control.borrow_mut().round(sim.now()) } else { Vec::new() };
                for view in cores.iter().map(|core| core.view.borrow()) {
                    let Some(view) = view.as_ref() else { continue };
                    changed.iter().for_each(|cluster| view.sync_health(cluster));
                    view.settle();
                }
            }
        });
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.sim.stop();
    }
}

impl Core {
    fn new(sim: &Sim, fleet: &Rc<Fleet>, seed: u64, (number, workers): (usize, usize)) -> Self {
        let random = Cell::new(seed ^ (number as u64).wrapping_mul(GOLDEN));
        let env: Rc<dyn Env> = Rc::new(CoreEnv { sim: sim.clone(), random });
        let worker = Worker::new(Rc::clone(&env), number, Box::new(|_| {}));
        let connect: Rc<dyn Connect<MemoryIo>> = Rc::new(Network(Rc::clone(fleet)));
        let security = Security { accept: |_, _| no_tls(), connect: |_, _, _| no_tls() };
        let tools = Toolbox::new(Rc::clone(&worker), env, connect, |_| None, security, PROTOCOLS, (number, workers));
        Self { worker, tools, view: RefCell::default(), idle: RefCell::default() }
    }

    fn listener(&self) -> Option<Rc<ListenerHandle<MemoryIo>>> {
        let address: Address = LISTENER.parse().ok().map(Address::Ip)?;
        self.view.borrow().as_ref()?.listener(&address).cloned()
    }
}

fn no_tls() -> Handshake<MemoryIo> {
    Box::pin(std::future::ready(Err(ConnError::new(Blame::Local, "no_tls"))))
}

impl Env for CoreEnv {
    fn now(&self) -> Time {
        self.sim.now()
    }

    fn wall(&self) -> SystemTime {
        self.sim.wall()
    }

    fn timer(&self) -> Timer {
        self.sim.timer()
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        Env::spawn(&self.sim, task);
    }

    fn random(&self) -> u64 {
        // As the engine does it, from a seed that differs by worker in the same way.
        let state = self.random.get().wrapping_add(GOLDEN);
        self.random.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
