//! The worker threads, as the control plane sees them.

mod accept;
mod main_loop;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use ringway_api::Address;
use ringway_io::{Accepted, Bound, CoreConfig, Sender};
use ringway_proxy::Plan;
use ringway_telemetry::Registry;
use ringway_upstream::HostReport;
use tokio::sync::{Notify, oneshot};

/// Messages that wait in a worker's mailbox at most. Handed-over connections share it with the control plane's.
const MAILBOX: usize = 4096;

/// What a worker is told.
pub(crate) enum Command {
    /// Use this plan from now on; the sockets are those of addresses that are new.
    Publish { plan: Arc<Plan>, sockets: HashMap<Address, Listening> },
    /// A connection that another worker accepted for this one.
    Adopt { accepted: Accepted, listener: Address },
    /// The health of these clusters' hosts has changed.
    Health(Arc<[String]>),
    /// Stop listening and ask every connection to end.
    Drain,
    /// Drop what is left and end.
    Stop,
    /// Copy the engine's counters into the statistics.
    Sample(oneshot::Sender<()>),
    /// The state of every cluster's hosts.
    Clusters(oneshot::Sender<Vec<(String, Vec<HostReport>)>>),
}

/// A bound socket and how its connections are spread.
pub(crate) struct Listening {
    pub(crate) socket: Bound,
    /// Give connections to the least busy worker.
    pub(crate) balanced: bool,
}

/// What workers show of themselves; each writes its own.
pub(crate) struct Shared {
    cells: Vec<CachePadded<Shown>>,
    /// Told when a worker has ended.
    ended: Arc<Notify>,
}

/// One worker's.
#[derive(Default)]
pub(crate) struct Shown {
    /// Open downstream connections, those on their way to it included.
    pub(crate) open: AtomicUsize,
    /// The generation it uses.
    pub(crate) generation: AtomicU64,
    /// It has ended.
    pub(crate) ended: AtomicBool,
}

impl Shared {
    fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { cells: (0..workers).map(|_| CachePadded::default()).collect(), ended: Arc::default() })
    }

    pub(crate) fn worker(&self, number: usize) -> Option<&Shown> {
        self.cells.get(number).map(|cell| &**cell)
    }

    pub(crate) fn open(&self) -> usize {
        self.cells.iter().map(|cell| cell.open.load(Ordering::Relaxed)).sum()
    }
}

/// All workers.
pub(crate) struct Workers {
    senders: Vec<Sender<Command>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    shared: Arc<Shared>,
}

/// What every worker is started with.
struct Start {
    number: usize,
    config: CoreConfig,
    /// Bytes of requests' contents that all workers may keep for retries.
    replay: usize,
    registry: Arc<Registry>,
    shared: Arc<Shared>,
    peers: mpsc::Receiver<Vec<Sender<Command>>>,
}

impl Workers {
    /// Starts a worker per entry of `cpus`, pinned there if one is named. `replay` is [`Start::replay`].
    ///
    /// # Errors
    /// The first worker's error, when its ring or thread cannot be made.
    pub(crate) fn start(
        config: &CoreConfig,
        replay: usize,
        cpus: &[Option<usize>],
        registry: &Arc<Registry>,
    ) -> io::Result<Self> {
        let shared = Shared::new(cpus.len());
        let (mut senders, mut threads, mut introductions) = (Vec::new(), Vec::new(), Vec::new());
        for (number, cpu) in cpus.iter().enumerate() {
            let (introduce, peers) = mpsc::channel();
            let (ready, started) = mpsc::channel();
            let start = Start {
                number,
                config: CoreConfig { cpu: *cpu, ..config.clone() },
                replay,
                registry: Arc::clone(registry),
                shared: Arc::clone(&shared),
                peers,
            };
            let name = format!("worker-{number}");
            let thread = thread::Builder::new().name(name).spawn(move || main_loop::run(start, ready))?;
            match started.recv() {
                Ok(sender) => senders.push(sender),
                // It ended before it was ready: its error says why.
                Err(_) => return Err(join(thread).err().unwrap_or_else(|| io::ErrorKind::Other.into())),
            }
            threads.push(thread);
            introductions.push(introduce);
        }
        for introduce in introductions {
            if introduce.send(senders.clone()).is_err() {
                return Err(io::Error::other("a worker ended while it was started"));
            }
        }
        Ok(Self { senders, threads, shared })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.senders.len()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Tells one worker. Waits for room, in time slices, while its mailbox is full.
    pub(crate) async fn tell(&self, number: usize, mut command: Command) -> bool {
        let Some(sender) = self.senders.get(number) else { return false };
        loop {
            if self.has_ended(number) {
                return false;
            }
            match sender.send(command) {
                Ok(()) => return true,
                Err(full) => command = full.0,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn has_ended(&self, number: usize) -> bool {
        self.shared.worker(number).is_none_or(|shown| shown.ended.load(Ordering::Acquire))
    }

    /// Notified when a worker has ended. Before [`stop`](Self::stop), none should.
    pub(crate) fn ended(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.ended)
    }

    /// Has every worker bring its statistics up to date; those that do not within a moment are left out.
    pub(crate) async fn sample(&self) {
        for number in 0..self.count() {
            let (done, sampled) = oneshot::channel();
            if self.tell(number, Command::Sample(done)).await {
                // A worker that is too busy shows what it showed before.
                drop(tokio::time::timeout(Duration::from_millis(200), sampled).await);
            }
        }
    }

    /// Every worker's clusters.
    pub(crate) async fn clusters(&self) -> Vec<Vec<(String, Vec<HostReport>)>> {
        let mut all = Vec::new();
        for number in 0..self.count() {
            let (done, report) = oneshot::channel();
            if self.tell(number, Command::Clusters(done)).await
                && let Ok(Ok(report)) = tokio::time::timeout(Duration::from_secs(1), report).await
            {
                all.push(report);
            }
        }
        all
    }

    /// Ends all workers and waits for them.
    ///
    /// # Errors
    /// The first error that a worker ended with.
    pub(crate) async fn stop(self) -> io::Result<()> {
        for number in 0..self.count() {
            self.tell(number, Command::Stop).await;
        }
        // All are waited for, whatever the first says.
        let ended: Vec<_> = self.threads.into_iter().map(join).collect();
        ended.into_iter().collect()
    }
}

fn join(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
}
