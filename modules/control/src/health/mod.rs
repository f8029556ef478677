//! Active health checks: every host of a cluster that wants it is asked, again and again, whether it is well.
//!
//! A task per host asks; what it finds is told by [`HealthChecker::try_report`]. At most so many checks of all clusters
//! are under way at once, so that a thousand hosts make no burst.

mod dial;
mod grpc;
mod http;
mod judge;
mod rpc;
mod session;
mod tcp;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringway_api::Address;
use ringway_config::HealthCheck;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;

pub use dial::{Secure, Securing, Socket};
pub use judge::CheckFailure;

use judge::Judge;
use session::Session;

/// Checks under way at once, of all clusters together.
pub const MOST_IN_FLIGHT: usize = 64;
/// Reports that nobody has taken yet. A check waits with its report when there are so many.
const MOST_REPORTS: usize = 1024;

/// Checks the hosts that it is told of. Needs a tokio runtime with time and I/O; dropping it ends all checks.
pub struct HealthChecker {
    shared: Arc<Shared>,
    reports: mpsc::Receiver<Report>,
    clusters: HashMap<Arc<str>, Checked>,
}

/// How a cluster is checked.
#[derive(Clone)]
pub struct ClusterCheck {
    /// What is asked, and how often.
    pub check: Arc<HealthCheck>,
    /// Secures connections; `None` leaves them in plaintext. Another closure restarts the checks.
    pub secure: Option<Arc<dyn SecureFor>>,
    /// What connections begin with, before they are secured: a PROXY header.
    pub preamble: Arc<[u8]>,
    /// Whether the cluster has had a request since it came to be.
    pub has_traffic: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Makes what secures connections to a host.
pub trait SecureFor: Send + Sync {
    /// For the host at this address, configured by this name if it has one.
    fn host(&self, address: &Address, name: Option<&str>) -> Secure;
}

/// A host to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTarget {
    /// Where it is.
    pub address: Address,
    /// The name it was configured by.
    pub name: Option<Arc<str>>,
}

/// What a check came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The cluster.
    pub cluster: Arc<str>,
    /// The host.
    pub address: Address,
    /// Why it failed, if it did.
    pub outcome: Result<(), CheckFailure>,
    /// What is thought of the host now.
    pub healthy: bool,
    /// Whether that is new.
    pub changed: bool,
}

/// What all sessions share.
struct Shared {
    permits: Semaphore,
    reports: mpsc::Sender<Report>,
    told: Arc<Notify>,
    seed: u64,
}

/// A cluster's checks.
struct Checked {
    how: ClusterCheck,
    hosts: HashMap<Address, Running>,
}

/// One host's checks.
struct Running {
    target: HostTarget,
    memory: Arc<Memory>,
    task: JoinHandle<()>,
}

/// What outlives a change of the configuration.
struct Memory {
    judge: Mutex<Judge>,
    /// Told when a response says that the host must not get more requests.
    immediate: Notify,
}

impl HealthChecker {
    /// A checker without hosts. `seed` decides jitter; `told` is notified whenever there is a report.
    pub fn new(seed: u64, told: Arc<Notify>) -> Self {
        let (sender, reports) = mpsc::channel(MOST_REPORTS);
        let shared = Shared { permits: Semaphore::new(MOST_IN_FLIGHT), reports: sender, told, seed };
        Self { shared: Arc::new(shared), reports, clusters: HashMap::new() }
    }

    /// Checks these hosts of a cluster from now on. Those that stay keep what is known of them; their checks begin
    /// anew if they are made in another way.
    pub fn set(&mut self, cluster: &str, how: ClusterCheck, hosts: impl IntoIterator<Item = HostTarget>) {
        let name: Arc<str> = cluster.into();
        let mut before = self.clusters.remove(&name);
        let same_way = before.as_ref().is_some_and(|before| before.how.is_like(&how));
        let mut running = HashMap::new();
        for target in hosts {
            let known = before.as_mut().and_then(|before| before.hosts.remove(&target.address));
            let entry = match known {
                Some(known) if same_way && known.target == target => known,
                known => {
                    let memory = known.map_or_else(Arc::default, |known| Arc::clone(&known.memory));
                    self.start(&name, &how, target, memory)
                }
            };
            running.insert(entry.target.address.clone(), entry);
        }
        self.clusters.insert(name, Checked { how, hosts: running });
    }

    /// Checks the hosts of these clusters only.
    pub fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.clusters.retain(|name, _| stays(name));
    }

    /// What a check came to, if a report is there.
    pub fn try_report(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// A response has said that its host must not get more requests: the host is out until checks bring it back.
    pub fn fail_immediately(&self, cluster: &str, address: &Address) {
        if let Some(host) = self.clusters.get(cluster).and_then(|checked| checked.hosts.get(address)) {
            host.memory.immediate.notify_one();
        }
    }

    fn start(&self, cluster: &Arc<str>, how: &ClusterCheck, target: HostTarget, memory: Arc<Memory>) -> Running {
        let mut hasher = DefaultHasher::new();
        (self.shared.seed, cluster, &target.address).hash(&mut hasher);
        let session = Session::new(cluster, how, &target, Arc::clone(&memory), hasher.finish());
        let task = tokio::spawn(session.run(Arc::clone(&self.shared)));
        Running { target, memory, task }
    }
}

impl ClusterCheck {
    fn is_like(&self, other: &Self) -> bool {
        let same_security = match (&self.secure, &other.secure) {
            (None, None) => true,
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        };
        self.check == other.check && self.preamble == other.preamble && same_security
    }
}

impl Memory {
    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { judge: Mutex::new(Judge::new()), immediate: Notify::new() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for HealthChecker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthChecker").field("clusters", &self.clusters.len()).finish_non_exhaustive()
    }
}
