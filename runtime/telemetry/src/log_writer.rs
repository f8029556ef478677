//! The thread that writes access logs, and how lines get to it.
//!
//! A worker renders a line and appends it to its lane of the file: a buffer that it shares with the log thread alone,
//! under a lock that it only ever tries. The log thread swaps full buffers for empty ones, which takes nanoseconds,
//! and writes outside the lock, so a lane is free whenever a worker comes by; should it not be, the line waits with
//! the worker for the next one. A lane that is full drops lines and counts them: logging never holds up a request.
//!
//! The log thread is woken by the first line after a pause and by a lane that has enough for a write. In between it
//! waits, with a time limit only while lines are pending; an idle process does not wake.
//!
//! Measured with `cargo bench` on a shared machine with 2 vCPU of an AMD EPYC (Zen 4), CPU time of the worker, two
//! runs: rendering a line of 227 bytes 281 and 320 ns; rendering and handing over 301 and 352 ns, or 367 and 409 ns
//! when the thread is woken every 16 KiB. A queue of owned lines with a reader that polls took 255 and 329 ns, the
//! same within the noise, but its reader fell behind and 4 and 15 % of the lines were dropped; and polling is not
//! for a process that may be idle.

mod file;
mod output;
#[cfg(test)]
mod tests;
mod thread;

use std::collections::BTreeMap;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crossbeam::channel::{self, Sender};

use crate::{AccessLogStats, Cells, Format, Registry, Scope, StreamRecord};
use file::FileShared;
use output::Output;
use thread::{Command, Waker};

/// How lines are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogWriterConfig {
    /// A lane with so many bytes is written at once; at most half of `lane_bytes`. 64 KiB: waking the thread is most
    /// of what handing over a line costs, and does not show at this size.
    pub flush_bytes: usize,
    /// What is pending is written after this time at the latest. 1 s.
    pub flush_interval: Duration,
    /// Bytes that may wait in one lane, which is to say per worker and file; beyond, lines are dropped. 1 MiB.
    pub lane_bytes: usize,
}

/// How a file is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// When another is begun; never by default.
    pub rotation: Option<Rotation>,
    /// The permission bits of files that are made, less the umask; 0666 by default.
    pub mode: Option<u32>,
}

/// When a file is renamed and another begun: `log` becomes `log.1`, that `log.2`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes that a file may have; a line that is longer has a file of its own.
    pub max_size: u64,
    /// Renamed files that are kept, at least 1.
    pub keep: u32,
}

/// The log thread. Dropping it ends the thread without waiting for what is pending; [`shutdown`](Self::shutdown) does
/// better.
pub struct LogWriter {
    workers: usize,
    config: LogWriterConfig,
    stats: Arc<Scope<AccessLogStats>>,
    waker: Arc<Waker>,
    commands: Sender<Command>,
    files: Mutex<BTreeMap<PathBuf, Weak<LogFile>>>,
}

/// A file that logs go to. A snapshot holds it; the file is closed, once written out, when nobody does.
pub struct LogFile {
    shared: Arc<FileShared>,
    stats: Arc<Scope<AccessLogStats>>,
    waker: Arc<Waker>,
    config: LogWriterConfig,
}

/// One worker's way to one file. Stays on its thread.
pub struct LogLane {
    file: Arc<LogFile>,
    worker: usize,
    stats: Cells<AccessLogStats>,
    /// Lines that are not yet in the lane; empty between calls but for the rare time that the lane was taken.
    line: Vec<u8>,
    /// How many lines that is.
    lines: u64,
    thread: PhantomData<*const ()>,
}

impl Default for LogWriterConfig {
    fn default() -> Self {
        Self { flush_bytes: 64 << 10, flush_interval: Duration::from_secs(1), lane_bytes: 1 << 20 }
    }
}

impl LogWriter {
    /// Starts the thread, for so many workers.
    ///
    /// # Errors
    /// The system's, when it has no thread left.
    pub fn start(workers: usize, registry: &Registry, mut config: LogWriterConfig) -> io::Result<Self> {
        config.flush_bytes = config.flush_bytes.min(config.lane_bytes / 2);
        let (commands, inbox) = channel::unbounded();
        let stats = registry.access_logs.clone();
        let waker = thread::spawn(inbox, stats.clone(), config)?;
        Ok(Self { workers, config, stats, waker, commands, files: Mutex::default() })
    }

    /// Opens a file for appending, making it if need be; `/dev/stdout` and `/dev/stderr` are this process's own,
    /// whatever they are. A path that is open already, in an earlier snapshot, say, gives the same file.
    ///
    /// # Errors
    /// The system's, from opening the file.
    pub fn open(&self, path: &Path, options: FileOptions) -> io::Result<Arc<LogFile>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(path).and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = self.attach(Output::open(path, options)?);
        files.retain(|_, file| file.strong_count() > 0);
        files.insert(path.to_owned(), Arc::downgrade(&file));
        Ok(file)
    }

    fn attach(&self, output: Output) -> Arc<LogFile> {
        let shared = Arc::new(FileShared::new(output.name(), self.workers));
        self.command(Command::Add(shared.clone(), output));
        Arc::new(LogFile { shared, stats: self.stats.clone(), waker: self.waker.clone(), config: self.config })
    }

    /// Keeps a file in another way from now on.
    pub fn configure(&self, file: &LogFile, options: FileOptions) {
        self.command(Command::Configure(Arc::clone(&file.shared), options));
    }

    /// Opens every file anew by its path, after what is pending went to the old one: for log rotation. Does not wait.
    pub fn reopen(&self) {
        self.command(Command::Reopen);
    }

    /// Writes what is pending and waits for it. False when that took longer than `within`: a file blocks.
    pub fn flush(&self, within: Duration) -> bool {
        let (done, wait) = channel::bounded(1);
        self.command(Command::Flush(done));
        wait.recv_timeout(within).is_ok()
    }

    /// Writes what is pending and ends the thread. False when that took longer than `within`, in which case the thread
    /// is left to itself. Workers must have ended or lines that they still log are lost.
    pub fn shutdown(self, within: Duration) -> bool {
        let (done, wait) = channel::bounded(1);
        self.command(Command::Stop(Some(done)));
        wait.recv_timeout(within).is_ok()
    }

    fn command(&self, command: Command) {
        // The inbox is there as long as the thread, which ends only by the last command it is sent.
        if self.commands.send(command).is_ok() {
            self.waker.wake();
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.command(Command::Stop(None));
    }
}

impl LogFile {
    /// A worker's lane, to be taken on that worker and kept: it reuses its memory. `None` for a worker beyond the
    /// number that the writer was started for.
    pub fn lane(self: &Arc<Self>, worker: usize) -> Option<LogLane> {
        self.shared.lane(worker)?;
        let stats = self.stats.worker(worker);
        let (line, lines, thread) = (Vec::new(), 0, PhantomData);
        Some(LogLane { file: self.clone(), worker, stats, line, lines, thread })
    }

    /// The statistics of logs on a worker.
    pub(crate) fn stats(&self, worker: usize) -> Cells<AccessLogStats> {
        self.stats.worker(worker)
    }

    /// What the file is called: its path.
    pub fn name(&self) -> &str {
        self.shared.name()
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.shared.retire();
        self.waker.wake();
    }
}

impl LogLane {
    /// Logs one stream. Does not block; a line for which there is no room is dropped and counted.
    pub fn log(&mut self, format: &Format, record: &StreamRecord<'_>) {
        format.render(record, &mut self.line);
        self.lines += 1;
        self.hand_over();
    }

    fn hand_over(&mut self) {
        let Some(mut lane) = self.file.shared.lane(self.worker).and_then(|lane| lane.try_lock()) else {
            // The log thread is swapping buffers this very moment. The next line takes this one along.
            if self.line.len() > self.file.config.lane_bytes {
                self.stats.logs_dropped.add(std::mem::take(&mut self.lines));
                self.line.clear();
            }
            return;
        };
        let before = lane.len();
        let fits = before + self.line.len() <= self.file.config.lane_bytes;
        if fits {
            lane.extend_from_slice(&self.line);
        }
        let after = lane.len();
        drop(lane);
        let counter = if fits { &self.stats.logs_written } else { &self.stats.logs_dropped };
        counter.add(std::mem::take(&mut self.lines));
        self.line.clear();
        let flush_bytes = self.file.config.flush_bytes;
        if before < flush_bytes && after >= flush_bytes {
            self.file.shared.mark_full();
            self.file.waker.wake();
        } else if before == 0 && after > 0 {
            self.file.waker.wake_if_parked();
        }
    }
}

impl Drop for LogLane {
    fn drop(&mut self) {
        if self.lines > 0 {
            // Nobody comes after us to take the line along, so here the swap is waited for: nanoseconds.
            if let Some(lane) = self.file.shared.lane(self.worker) {
                lane.lock().extend_from_slice(&self.line);
                self.stats.logs_written.add(self.lines);
                self.file.waker.wake();
            }
        }
    }
}
