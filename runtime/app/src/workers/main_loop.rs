//! A worker's own side: it does what it is told, and accepts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ringway_api::{Address, Connect, Env};
use ringway_io::{Core, Sender, Stream, mailbox};
use ringway_proxy::{CoreView, Plan, Toolbox, Worker};
use ringway_telemetry::{Cells, WorkerStats};
use ringway_upstream::HostReport;

use super::accept::{Acceptor, Crew};
use super::{Command, Listening, MAILBOX, Shared, Start};
use crate::catalog::PROTOCOLS;
use crate::security::SECURITY;

/// How often unused shares of process-wide limits go back.
const SETTLE: Duration = Duration::from_secs(1);

/// Runs a worker on this thread until it is told to stop.
pub(super) fn run(start: Start, ready: mpsc::Sender<Sender<Command>>) -> io::Result<()> {
    let _ending = Ending { number: start.number, shared: Arc::clone(&start.shared) };
    let config = start.config.clone();
    ringway_io::run(&config, |core| serve(core, start, ready))
}

/// Tells the end of a worker, also when it panics.
struct Ending {
    number: usize,
    shared: Arc<Shared>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(shown) = self.shared.worker(self.number) {
            shown.ended.store(true, Ordering::Release);
        }
        self.shared.ended.notify_one();
    }
}

async fn serve(core: Core, start: Start, ready: mpsc::Sender<Sender<Command>>) {
    let (sender, mut mail) = mailbox(&core, MAILBOX);
    if ready.send(sender).is_err() {
        return;
    }
    drop(ready);
    // Sent as soon as all workers are there; nothing is served before.
    let Ok(peers) = start.peers.recv() else { return };
    let mut this = This::new(core, &start, peers);
    loop {
        match mail.recv().await {
            Command::Publish { plan, sockets } => this.publish(plan, sockets),
            Command::Adopt { accepted, listener } => this.crew.adopt(accepted, &listener),
            Command::Health(clusters) => this.sync_health(&clusters),
            Command::Drain => this.drain(),
            Command::Sample(done) => {
                this.sample();
                // Whoever asked may have given up.
                done.send(()).ok();
            }
            Command::Clusters(done) => drop(done.send(this.clusters())),
            Command::Stop => return,
        }
    }
}

struct This {
    core: Core,
    tools: Toolbox<Stream>,
    worker: Rc<Worker>,
    crew: Rc<Crew>,
    view: Rc<RefCell<Option<CoreView<Stream>>>>,
    acceptors: HashMap<Address, Acceptor>,
    stats: Option<Cells<WorkerStats>>,
    shared: Arc<Shared>,
    number: usize,
}

impl This {
    fn new(core: Core, start: &Start, peers: Vec<Sender<Command>>) -> Self {
        let env: Rc<dyn Env> = Rc::new(core.clone());
        let (shared, number) = (Arc::clone(&start.shared), start.number);
        let show_open = move |open| {
            if let Some(shown) = shared.worker(number) {
                shown.open.store(open, Ordering::Relaxed);
            }
        };
        let worker = Worker::new(Rc::clone(&env), start.number, Box::new(show_open));
        let connect: Rc<dyn Connect<Stream>> = Rc::new(core.clone());
        let local = |io: &Stream| io.local_address().ok();
        let tools =
            Toolbox::new(Rc::clone(&worker), env, connect, local, SECURITY, PROTOCOLS, (start.number, peers.len()))
                .with_replay_memory(start.replay);
        let crew = Crew::new(core.clone(), Rc::clone(&worker), start.number, Arc::clone(&start.shared), peers);
        let view = Rc::new(RefCell::new(None));
        let this = Self {
            core,
            tools,
            worker,
            crew,
            view: Rc::clone(&view),
            acceptors: HashMap::new(),
            stats: start.registry.worker(start.number),
            shared: Arc::clone(&start.shared),
            number: start.number,
        };
        this.spawn_settling();
        this
    }

    /// Returns unused shares of limits now and then, while there is traffic, and once more after it.
    fn spawn_settling(&self) {
        let (view, core) = (Rc::clone(&self.view), self.core.clone());
        let mut timer = core.timer();
        self.core.spawn(Box::pin(async move {
            let mut seen = 0;
            loop {
                seen = core.work_since(seen).await;
                // What is unused goes back when it was already so the time before.
                for _ in 0..2 {
                    timer.set_after(SETTLE);
                    timer.expired().await;
                    if let Some(view) = &*view.borrow() {
                        let view: &CoreView<Stream> = view;
                        view.settle();
                    }
                }
            }
        }));
    }

    fn publish(&mut self, plan: Arc<Plan>, mut sockets: HashMap<Address, Listening>) {
        let old = self.view.take();
        let view = CoreView::build(Arc::clone(&plan), old.as_ref(), &self.tools);
        drop(old);
        let wanted = |address: &Address| plan.listeners.iter().any(|listener| listener.address == *address);
        self.acceptors.retain(|address, acceptor| {
            let stays = wanted(address);
            if !stays {
                acceptor.stop();
            }
            stays
        });
        for listener in &plan.listeners {
            if let Some(handle) = view.listener(&listener.address) {
                self.crew.know(&listener.address, handle);
            }
            if let Some(listening) = sockets.remove(&listener.address) {
                let acceptor = Acceptor::start(&self.crew, listener.address.clone(), listening);
                self.acceptors.insert(listener.address.clone(), acceptor);
            }
        }
        self.crew.forget_others(&wanted);
        if let Some(shown) = self.shared.worker(self.number) {
            shown.generation.store(plan.generation, Ordering::Release);
        }
        if let Some(stats) = &self.stats {
            stats.snapshot_generation.set(plan.generation);
        }
        self.view.replace(Some(view));
    }

    fn sync_health(&self, clusters: &[String]) {
        if let Some(view) = &*self.view.borrow() {
            let view: &CoreView<Stream> = view;
            clusters.iter().for_each(|cluster| view.sync_health(cluster));
        }
    }

    fn drain(&mut self) {
        for (_, acceptor) in self.acceptors.drain() {
            acceptor.stop();
        }
        self.worker.drain();
    }

    fn sample(&self) {
        let Some(cells) = &self.stats else { return };
        let stats = self.core.stats();
        cells.loop_turns.set(stats.driver.enters);
        cells.task_polls.set(stats.polls);
        cells.task_panics.set(stats.panics);
        cells.tasks_active.set(stats.tasks as u64);
        cells.ring_enters.set(stats.driver.enters);
        cells.ring_completions.set(stats.driver.completions);
        cells.recv_starved.set(stats.driver.starved);
        cells.recv_paused.set(stats.driver.paused);
        cells.linger_expired.set(stats.driver.linger_expired);
        cells.timers_active.set(stats.timers as u64);
        cells.connections_handed_off.set(self.crew.handed_off());
        cells.buffer_bytes.set(stats.held_bytes as u64);
        cells.busy_us.set(u64::try_from(ringway_io::thread_cpu_time().as_micros()).unwrap_or(u64::MAX));
    }

    fn clusters(&self) -> Vec<(String, Vec<HostReport>)> {
        let view = self.view.borrow();
        let Some(view) = &*view else { return Vec::new() };
        view.clusters().map(|(name, cluster)| (name.to_owned(), cluster.report())).collect()
    }
}
