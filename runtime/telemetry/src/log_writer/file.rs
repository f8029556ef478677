//! Files and the lanes that lead to them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crossbeam::utils::CachePadded;

/// What workers and the log thread share of one file.
pub(super) struct FileShared {
    name: String,
    lanes: Box<[CachePadded<Lane>]>,
    full: AtomicBool,
    retired: AtomicBool,
}

/// Lines of one worker on their way to one file.
#[derive(Default)]
pub(super) struct Lane(Mutex<Vec<u8>>);

impl FileShared {
    pub(super) fn new(name: String, workers: usize) -> Self {
        let lanes = (0..workers).map(|_| CachePadded::default()).collect();
        Self { name, lanes, full: AtomicBool::new(false), retired: AtomicBool::new(false) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn lane(&self, worker: usize) -> Option<&Lane> {
        self.lanes.get(worker).map(|lane| &**lane)
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().map(|lane| &**lane)
    }

    /// A lane has enough for a write.
    pub(super) fn mark_full(&self) {
        self.full.store(true, Ordering::Release);
    }

    /// Whether a lane had enough for a write since the last call. For the log thread.
    pub(super) fn take_full(&self) -> bool {
        self.full.load(Ordering::Acquire) && self.full.swap(false, Ordering::AcqRel)
    }

    /// Nobody will log to the file any more.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}

impl Lane {
    /// For a worker, which never waits.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Vec<u8>>> {
        match self.0.try_lock() {
            Ok(lane) => Some(lane),
            Err(TryLockError::Poisoned(lane)) => Some(lane.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// For the log thread, which may wait the nanoseconds that a worker needs to append a line.
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where bytes go in the end.
pub(super) struct Output {
    file: File,
    /// The path to open again; `None` for what has none of its own.
    path: Option<PathBuf>,
    name: String,
    /// The last write ended within a line.
    torn: bool,
}

impl Output {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Not by opening the name: that fails when the descriptor is a socket, as under systemd.
        let own = match path.to_str() {
            Some("/dev/stdout") => Some(io::stdout().as_fd().try_clone_to_owned()?),
            Some("/dev/stderr") => Some(io::stderr().as_fd().try_clone_to_owned()?),
            _ => None,
        };
        let name = path.display().to_string();
        Ok(match own {
            Some(own) => Self { file: own.into(), path: None, name, torn: false },
            None => Self { file: append(path)?, path: Some(path.to_owned()), name, torn: false },
        })
    }

    /// Writes to what is open already.
    #[cfg(test)]
    pub(super) fn over(file: File, name: &str) -> Self {
        Self { file, path: None, name: name.to_owned(), torn: false }
    }

    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    /// Opens the path again; on failure the old file stays.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.file = append(path)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Writes whole lines. Returns how many bytes of them were written, and the error that stopped it there.
    pub(super) fn write(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        if self.torn {
            // What follows must not look like the rest of a line that was cut off.
            match self.file.write(b"\n") {
                Ok(1..) => self.torn = false,
                Ok(0) => return (0, Err(io::ErrorKind::WriteZero.into())),
                Err(error) => return (0, Err(error)),
            }
        }
        let mut written = 0;
        let mut waits = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            let error = match self.file.write(rest) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(n) => {
                    written += n;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Standard output may be a pipe that somebody else made non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && waits < 100 => {
                    waits += 1;
                    std::thread::park_timeout(Duration::from_millis(10));
                    continue;
                }
                Err(error) => error,
            };
            let whole = lines.get(..written).unwrap_or_default();
            self.torn = !(whole.is_empty() || whole.ends_with(b"\n"));
            return (written, Err(error));
        }
        (written, Ok(()))
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
