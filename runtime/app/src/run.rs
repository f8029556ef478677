//! `ringway run`: the life of the process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ringway_config::{Snapshot, compile};
use ringway_control::{ConfigSource, FileOptions, FileSource, Verdict};
use ringway_io::ring::{BufConfig, RingConfig};
use ringway_io::{CoreConfig, Executor};
use ringway_telemetry::{LogWriter, LogWriterConfig, Registry};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::admin::{self, After, Ask};
use crate::control::{CATALOG, Control, Planner};
use crate::names::Names;
use crate::workers::Workers;
use crate::{notify, rlimits};

/// The control plane's thread yields to the workers.
const NICE: i32 = 10;
/// How often a drain looks whether connections are left.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How long until retired plans that workers still use are looked at again. Nothing ticks while there are none.
const REAP: Duration = Duration::from_secs(5);

/// Between two looks at what workers and checks tell of hosts: hosts that fail thousands of times a second and may not
/// be ejected must not keep this thread busy.
const HEALTH_PAUSE: Duration = Duration::from_millis(5);

/// Between two looks at what workers have reported: so many make a batch.
const REPORTS_PAUSE: Duration = Duration::from_millis(20);

/// Runs a proxy under the configuration file until it is told to end.
///
/// # Errors
/// One clear sentence (or several lines for an error in the configuration).
pub(crate) fn run(path: &Path, executor: Executor) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let origin = path.display().to_string();
    let first = compile(&origin, &text, &CATALOG, None).map_err(|error| anyhow!("{error}"))?;
    block_on(async {
        let source = FileSource::new(path, FileOptions::default());
        let mut process = Process::start(&first, executor).await?;
        drop(first);
        process.serve(source).await
    })
}

/// Runs the control plane's future on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// A running proxy.
pub(crate) struct Process {
    control: Option<Control>,
    asks: mpsc::Receiver<Ask>,
    names: Names,
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
    reopen: Signal,
}

impl Process {
    /// Starts workers and the admin API for a configuration that is not published yet.
    pub(crate) async fn start(first: &Snapshot, executor: Executor) -> Result<Self> {
        rlimits::raise();
        let ring = RingConfig {
            buffers: BufConfig { pool: first.raw.memory.receive_pool.bytes(), ..BufConfig::default() },
            ..RingConfig::default()
        };
        ringway_io::probe(&ring).map_err(|error| anyhow!("{error}"))?;
        let config = CoreConfig {
            ring,
            send_limit: first.raw.memory.per_connection.bytes(),
            executor,
            on_rest: Some(ringway_io::release_heap),
            ..CoreConfig::default()
        };
        let admin = first.admin.map(admin::bind).transpose()?;
        let cpus = placement(first.workers.map(|count| count.get() as usize));
        let registry = Arc::new(Registry::new(cpus.len()));
        let logs = LogWriter::start(cpus.len(), &registry, LogWriterConfig::default()).context("access log thread")?;
        let replay = first.raw.memory.replay.bytes();
        let workers = Workers::start(&config, replay, &cpus, &registry).context("cannot start a worker")?;
        // After the workers, which inherit the priority of the thread that starts them.
        if let Err(error) = ringway_io::lower_priority(NICE) {
            eprintln!("ringway: cannot lower the control thread's priority: {error}");
        }
        let planner = Planner::new(Arc::clone(&registry), logs, cpus.len());
        let (sender, asks) = mpsc::channel(64);
        if let Some(socket) = admin {
            let hosts = first.raw.admin.hosts.clone();
            tokio::spawn(async move {
                if let Err(error) = admin::serve(socket, sender, &hosts).await {
                    eprintln!("ringway: the admin API has ended: {error:#}");
                }
            });
        }
        Ok(Self { control: Some(Control::new(workers, registry, planner)), asks, names: Names::start()? })
    }

    fn control(&mut self) -> Result<&mut Control> {
        self.control.as_mut().context("the process has ended")
    }

    /// Publishes what the source yields and answers signals and the admin API, until told to end.
    pub(crate) async fn serve(&mut self, mut source: FileSource) -> Result<()> {
        let mut signals = Signals::listen()?;
        let reload = source.reload();
        let first = source.next().await.map_err(|error| anyhow!("{error}"))?;
        self.apply(&first.origin, first.text).await?;
        announce(self.control()?);
        notify::ready();
        let certificates = self.control()?.watched.changes();
        let endpoints = self.control()?.endpoints.changes();
        let ended = self.control()?.workers.ended();
        let health = self.control()?.planner.health.wake();
        let mut health_round = Instant::now();
        let reports = self.control()?.planner.reports();
        let mut reports_round = Instant::now();
        loop {
            let retired = self.control()?.has_retired();
            let taps_due = self.control()?.planner.taps.due();
            let health_due = self.control()?.planner.health.due();
            tokio::select! {
                update = source.next() => match update {
                    Ok(update) => {
                        let verdict = match self.apply(&update.origin, update.text).await {
                            Ok(generation) => Verdict::Published { generation },
                            Err(error) => Verdict::Rejected { reason: format!("{error:#}") },
                        };
                        match &verdict {
                            Verdict::Published { generation } => eprintln!("ringway: generation {generation} is in force"),
                            Verdict::Rejected { reason } => eprintln!("ringway: refused, nothing has changed: {reason}"),
                        }
                        source.report(verdict).await;
                    }
                    Err(error) => eprintln!("ringway: {error}"),
                },
                Some(ask) = self.asks.recv() => match self.answer(ask).await? {
                    After::Nothing => {}
                    After::Reload => reload.ask(),
                    After::Quit => break,
                },
                resolved = self.names.changed() => {
                    let control = self.control()?;
                    control.resolved.set_names(resolved);
                    control.refresh().await;
                }
                () = endpoints.next() => {
                    let control = self.control.as_mut().context("the process has ended")?;
                    control.reload_endpoints(&mut self.names).await;
                }
                () = certificates.next() => match self.control()?.reload_certificates().await {
                    Ok(true) => eprintln!("ringway: new certificates are in use"),
                    Ok(false) => {}
                    Err(error) => eprintln!("ringway: the old certificates stay in use: {error:#}"),
                },
                () = next_round(&reports, reports_round, REPORTS_PAUSE) => {
                    let more = self.control()?.reports_round();
                    self.control()?.close_taps().await;
                    match more {
                        // At once, but others have their turn.
                        true => reports.notify_one(),
                        false => reports_round = Instant::now(),
                    }
                }
                () = next_round(&health, health_round, HEALTH_PAUSE) => {
                    self.control()?.health_round().await;
                    health_round = Instant::now();
                }
                () = at(taps_due) => self.control()?.close_taps().await,
                () = at(health_due) => self.control()?.health_round().await,
                _ = signals.hangup.recv() => reload.ask(),
                _ = signals.reopen.recv() => self.control()?.reopen_logs(),
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                () = tokio::time::sleep(REAP), if retired => self.control()?.reap(),
                // Its error says why.
                () = ended.notified() => return self.end().await.and(Err(anyhow!("a worker has ended"))),
            }
        }
        self.drain(&mut signals).await?;
        self.end().await
    }

    async fn apply(&mut self, origin: &str, text: Arc<str>) -> Result<u64> {
        let control = self.control.as_mut().context("the process has ended")?;
        Ok(control.apply(origin, text, &mut self.names).await?.generation)
    }

    async fn answer(&mut self, ask: Ask) -> Result<After> {
        let control = self.control.as_mut().context("the process has ended")?;
        control.audit.actor = ask.by;
        let (answer, after) = admin::answer(control, &mut self.names, ask.what).await;
        control.audit.actor = None;
        // Whoever asked may have gone.
        drop(ask.reply.send(answer));
        Ok(after)
    }

    /// Ends connections in order. A second signal, or the time limit, ends them at once.
    async fn drain(&mut self, signals: &mut Signals) -> Result<()> {
        let control = self.control()?;
        control.drain().await;
        let limit = control.drain_timeout();
        let open = control.workers.shared().open();
        if open > 0 {
            eprintln!("ringway: draining {open} connections, at most {} s", limit.as_secs());
        }
        let until = Instant::now() + limit;
        // The workers hear of the drain through their mailboxes: a zero before the first look means nothing.
        let mut look = tokio::time::interval_at(Instant::now() + DRAIN_LOOK, DRAIN_LOOK);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    let left = self.control()?.workers.shared().open();
                    if left > 0 && Instant::now() < until {
                        continue;
                    }
                    if left > 0 {
                        eprintln!("ringway: {left} connections were cut at the time limit");
                    }
                    return Ok(());
                }
                Some(ask) = self.asks.recv() => {
                    self.answer(ask).await?;
                    continue;
                }
                _ = signals.terminate.recv() => {}
                _ = signals.interrupt.recv() => {}
            }
            eprintln!("ringway: second signal, ending at once");
            return Ok(());
        }
    }

    async fn end(&mut self) -> Result<()> {
        match self.control.take() {
            Some(control) => control.shut_down().await,
            None => Ok(()),
        }
    }
}

/// Waits until there is news, but not right after the round before.
async fn next_round(news: &Notify, last: Instant, pause: Duration) {
    tokio::time::sleep_until(last + pause).await;
    news.notified().await;
}

/// Waits until then, or for ever.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            reopen: listen(SignalKind::user_defined1())?,
        })
    }
}

fn announce(control: &Control) {
    let Some(current) = control.store.current() else { return };
    for listener in &current.snapshot.listeners {
        eprintln!("ringway: {} listens on {} ({})", listener.raw.name, listener.address, listener.raw.protocol);
    }
    match current.snapshot.admin {
        Some(admin) => eprintln!("ringway: admin on http://{admin}, {} workers", control.workers.count()),
        None => eprintln!("ringway: no admin API, {} workers", control.workers.count()),
    }
    notify::status("serving");
}

/// Where workers run: one per CPU this process may use (and its cgroup pays for), pinned as long as each has its own.
fn placement(wanted: Option<usize>) -> Vec<Option<usize>> {
    let cpus = ringway_io::allowed_cpus();
    let paid = std::thread::available_parallelism().map_or(cpus.len(), std::num::NonZero::get);
    let count = wanted.unwrap_or_else(|| cpus.len().min(paid)).max(1);
    // With a quota below the CPUs, or more workers than CPUs, the kernel places better.
    let pinned = count == cpus.len();
    (0..count).map(|number| cpus.get(number).copied().filter(|_| pinned)).collect()
}
