//! The log thread's loop.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Instant;

use crossbeam::channel::{self, Receiver, Sender, TryRecvError};

use super::file::FileShared;
use super::output::Output;
use super::{FileOptions, LogWriterConfig};
use crate::{AccessLogStats, Cells, Scope};

/// Memory that is kept between writes.
const KEEP_BYTES: usize = 256 << 10;

/// What the control plane asks of the log thread.
pub(super) enum Command {
    Add(Arc<FileShared>, Output),
    Configure(Arc<FileShared>, FileOptions),
    Reopen,
    Flush(Sender<()>),
    Stop(Option<Sender<()>>),
}

/// Wakes the log thread.
pub(super) struct Waker {
    thread: Thread,
    /// The thread waits without a time limit: nothing is pending.
    parked: Arc<AtomicBool>,
}

impl Waker {
    /// A thread that is not waiting will not wait the next time: no wake-up is lost.
    pub(super) fn wake(&self) {
        self.thread.unpark();
    }

    /// Wakes the thread if it waits without a limit. For lines that may wait until the next flush.
    pub(super) fn wake_if_parked(&self) {
        // Whoever calls has put a line into a lane before, under its lock. The thread sets the flag before it looks
        // into the lanes, under the same lock. So either it sees the line or this sees the flag.
        if self.parked.load(Ordering::Relaxed) {
            self.wake();
        }
    }
}

/// Starts the thread.
pub(super) fn spawn(
    inbox: Receiver<Command>,
    stats: Arc<Scope<AccessLogStats>>,
    config: LogWriterConfig,
) -> io::Result<Arc<Waker>> {
    let parked = Arc::new(AtomicBool::new(false));
    let flag = parked.clone();
    let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || {
        let stats = stats.control();
        Loop { inbox, stats, config, parked: flag, files: Vec::new(), spare: Vec::new() }.run();
    })?;
    Ok(Arc::new(Waker { thread: thread.thread().clone(), parked }))
}

struct Loop {
    inbox: Receiver<Command>,
    stats: Cells<AccessLogStats>,
    config: LogWriterConfig,
    parked: Arc<AtomicBool>,
    files: Vec<(Arc<FileShared>, Output)>,
    /// An empty buffer to swap for a lane's.
    spare: Vec<u8>,
}

impl Loop {
    fn run(&mut self) {
        // Since when lines may be pending; `None` when there are none.
        let mut pending: Option<Instant> = None;
        loop {
            match self.inbox.try_recv() {
                Ok(command) => match self.obey(command) {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(()) => return,
                },
                Err(TryRecvError::Disconnected) => return self.write(|_| true),
                Err(TryRecvError::Empty) => {}
            }
            self.write(FileShared::take_full);
            self.forget_retired();
            match pending {
                Some(since) => {
                    let left = self.config.flush_interval.saturating_sub(now().duration_since(since));
                    if left.is_zero() {
                        // Under steady load there is a next flush to wait for, and nobody needs to wake us for it.
                        pending = self.has_lines().then(now);
                        self.write(|_| true);
                    } else {
                        thread::park_timeout(left);
                    }
                }
                None => {
                    self.parked.store(true, Ordering::Relaxed);
                    if self.has_lines() {
                        pending = Some(now());
                    } else {
                        self.release_memory();
                        thread::park();
                    }
                    self.parked.store(false, Ordering::Relaxed);
                }
            }
        }
    }

    fn obey(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Add(shared, output) => self.files.push((shared, output)),
            Command::Configure(shared, options) => {
                let files = self.files.iter_mut().filter(|(file, _)| Arc::ptr_eq(file, &shared));
                files.for_each(|(_, output)| output.configure(options));
            }
            Command::Reopen => {
                self.write(|_| true);
                for (_, output) in &mut self.files {
                    if output.reopen().is_err() {
                        self.stats.reopen_failed.inc();
                    }
                }
            }
            Command::Flush(done) => {
                self.write(|_| true);
                tell(&done);
            }
            Command::Stop(done) => {
                self.write(|_| true);
                if let Some(done) = done {
                    tell(&done);
                }
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Writes what the lanes of some files hold.
    fn write(&mut self, which: impl Fn(&FileShared) -> bool) {
        for (shared, output) in &mut self.files {
            if !which(shared) {
                continue;
            }
            for lane in shared.lanes() {
                std::mem::swap(&mut *lane.lock(), &mut self.spare);
                if self.spare.is_empty() {
                    continue;
                }
                let (written, result) = output.write(&self.spare, &self.stats);
                self.stats.bytes_written.add(written as u64);
                match result {
                    Ok(()) => self.stats.write_completed.inc(),
                    Err(_) => {
                        // Lost, and counted; trying again would only let more pile up.
                        self.stats.write_failed.inc();
                        let lost = self.spare.get(written..).unwrap_or_default();
                        self.stats.logs_dropped.add(lost.iter().filter(|b| **b == b'\n').count() as u64);
                    }
                }
                self.spare.clear();
                self.spare.shrink_to(KEEP_BYTES);
            }
        }
    }

    fn has_lines(&self) -> bool {
        self.files.iter().flat_map(|(shared, _)| shared.lanes()).any(|lane| !lane.lock().is_empty())
    }

    /// Closes what no snapshot and no worker holds any more; nothing can be added to its lanes.
    fn forget_retired(&mut self) {
        if self.files.iter().any(|(shared, _)| shared.is_retired()) {
            let (retired, kept) =
                std::mem::take(&mut self.files).into_iter().partition(|(shared, _)| shared.is_retired());
            self.files = retired;
            self.write(|_| true);
            self.files = kept;
        }
    }

    /// An idle process keeps no buffers.
    fn release_memory(&mut self) {
        self.spare = Vec::new();
        for lane in self.files.iter().flat_map(|(shared, _)| shared.lanes()) {
            let mut lane = lane.lock();
            if lane.is_empty() {
                *lane = Vec::new();
            }
        }
    }
}

fn tell(done: &Sender<()>) {
    // Whoever asked may have stopped waiting.
    let _gone: Result<(), channel::SendError<()>> = done.send(());
}

#[expect(clippy::disallowed_methods, reason = "this thread is not a worker and has no engine to ask")]
fn now() -> Instant {
    Instant::now()
}
