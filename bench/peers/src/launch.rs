//! Starts processes pinned to a core, with room for many descriptors, and ends them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setpriority_process, setrlimit, setsid};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::procfs;

/// Descriptors wanted: 10,000 connections on both sides, and more.
const DESCRIPTORS: u64 = 65_536;
const START_PATIENCE: Duration = Duration::from_secs(20);
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether it listens: what start-up times are known to.
const LOOK: Duration = Duration::from_millis(1);

const AUTOGROUP: &str = "/proc/self/autogroup";

/// The hidden first argument of a run that is to take the priority it was asked for.
pub(crate) const PRIORITISED: &str = "run-prioritised";
/// The hidden subcommand that prepares a process and becomes the program: see [`become_program`].
pub(crate) const EXEC: &str = "exec-pinned";

/// What to start, and where.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
}

impl Program {
    pub(crate) fn new<A: Into<OsString>>(path: impl Into<PathBuf>, args: impl IntoIterator<Item = A>) -> Self {
        Self { path: path.into(), args: args.into_iter().map(Into::into).collect() }
    }
}

/// A started process with its descendants. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    since: Instant,
    /// Its output goes here; the end of it explains a failed start.
    log: PathBuf,
}

impl Running {
    /// Starts `program` on `cores`, joined to the cgroup directory `cgroup` if there is one.
    pub(crate) fn start(program: &Program, cores: &[usize], cgroup: Option<&Path>, log: PathBuf) -> Result<Self> {
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(EXEC).arg(cores.join(",")).arg(cgroup.unwrap_or(Path::new("-")));
        command.arg(&program.path).args(&program.args);
        // The pipe stays open as long as this process lives; the upstream ends when it closes.
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        let since = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", program.path.display()))?;
        Ok(Self { child, since, log })
    }

    /// How long ago it was started.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The process and its descendants.
    pub(crate) fn pids(&self) -> Vec<u32> {
        procfs::tree(self.child.id())
    }

    /// Waits until `address` accepts connections.
    pub(crate) fn wait_for(&mut self, address: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once ({status}): {}", self.last_words());
            }
            if Instant::now() > deadline {
                bail!("it does not listen on {address}: {}", self.last_words());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Fails if the process has ended.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the proxy ended by itself ({status}): {}", self.last_words()),
        }
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&self) {
        self.pids().iter().for_each(|pid| signal(*pid, Signal::KILL));
    }

    /// Stops it without ending it.
    pub(crate) fn pause(&self) {
        pause(&self.pids());
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        resume(&self.pids());
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(3).collect();
        if lines.is_empty() {
            "it said nothing".into()
        } else {
            lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
        }
    }

    fn stop(&mut self) {
        let pids = self.pids();
        signal(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + STOP_PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                pids.iter().for_each(|pid| signal(*pid, Signal::KILL));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The body of the hidden subcommand: `CORES CGROUP PROGRAM ARGS...`. Sets affinity, descriptor limit, cgroup and
/// parent-death signal on itself, then becomes the program. Only returns on failure.
pub(crate) fn become_program(args: Vec<OsString>) -> Result<()> {
    let mut args = args.into_iter();
    let mut next = |what| args.next().ok_or_else(|| anyhow!("{EXEC}: no {what}"));
    let (cores, cgroup, program) = (next("cores")?, next("cgroup")?, next("program")?);
    let cores = cores.to_str().unwrap_or_default().split(',');
    pin(&cores.map(str::parse).collect::<Result<Vec<usize>, _>>().context("cores")?)?;
    raise_descriptor_limit();
    if cgroup != "-" {
        let file = Path::new(&cgroup).join("cgroup.procs");
        fs::write(&file, std::process::id().to_string()).with_context(|| format!("joining {}", file.display()))?;
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    let error = Command::new(&program).args(args).exec();
    Err(error).with_context(|| format!("running {}", Path::new(&program).display()))
}

/// Pins the calling thread, and what it starts from now on, to `cores`.
pub(crate) fn pin(cores: &[usize]) -> Result<()> {
    pin_thread(None, cores)
}

/// Pins the thread `tid` of any process (the caller if `None`) to `cores`.
pub(crate) fn pin_thread(tid: Option<u32>, cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    let tid = tid.and_then(|t| Pid::from_raw(i32::try_from(t).ok()?));
    sched_setaffinity(tid, &set).with_context(|| format!("pinning to cores {cores:?}"))
}

/// Raises the descriptor limit as far as this user may.
pub(crate) fn raise_descriptor_limit() {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: Some(DESCRIPTORS), maximum: Some(now.maximum.unwrap_or(0).max(DESCRIPTORS)) };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        let highest = Rlimit { current: now.maximum, maximum: now.maximum };
        // The hard limit always may be reached; if not, the run shows it as a failed connection.
        setrlimit(Resource::Nofile, highest).unwrap_or_default();
    }
}

/// Descriptors that a process started from here may have.
pub(crate) fn descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Gives this process and all that it starts the scheduling priority `niceness`. Where sessions share the CPU as
/// groups, it begins a session, so that the priority holds against others. The parent's end ends it.
pub(crate) fn prioritise(niceness: i32) -> Result<()> {
    setpriority_process(None, niceness).context("setting the priority")?;
    setsid().context("beginning a session")?;
    // Absent where the kernel does not group sessions.
    if Path::new(AUTOGROUP).exists() {
        fs::write(AUTOGROUP, niceness.to_string()).context("setting the priority of the session")?;
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    Ok(())
}

/// A loopback address that nobody listens on, below the range from which the kernel picks client ports.
pub(crate) fn free_address() -> Result<SocketAddr> {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let start = 15_000 + u16::try_from(std::process::id() % 100).unwrap_or(0) * 100;
    for _ in 0..2_000 {
        let port = start + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 7_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port on 127.0.0.1 above {start}")
}

/// Stops processes without ending them.
pub(crate) fn pause(pids: &[u32]) {
    pids.iter().for_each(|pid| signal(*pid, Signal::STOP));
}

/// Lets stopped processes go on.
pub(crate) fn resume(pids: &[u32]) {
    pids.iter().for_each(|pid| signal(*pid, Signal::CONT));
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A process that has just ended by itself is what was wanted.
        kill_process(pid, signal).unwrap_or_default();
    }
}
