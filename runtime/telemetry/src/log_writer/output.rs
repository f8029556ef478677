//! Files, and how one follows the other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{FileOptions, Rotation};
use crate::{AccessLogStats, Cells};

/// Where bytes go in the end.
pub(super) struct Output {
    file: File,
    /// The path to open again; `None` for what has none of its own.
    path: Option<PathBuf>,
    name: String,
    options: FileOptions,
    /// Bytes of the file, as far as this process knows.
    size: u64,
    /// No rotation is tried below this size: the last one failed.
    patience: u64,
    /// The last write ended within a line.
    torn: bool,
}

impl Output {
    pub(super) fn open(path: &Path, options: FileOptions) -> io::Result<Self> {
        // Not by opening the name: that fails when the descriptor is a socket, as under systemd.
        let own = match path.to_str() {
            Some("/dev/stdout") => Some(io::stdout().as_fd().try_clone_to_owned()?),
            Some("/dev/stderr") => Some(io::stderr().as_fd().try_clone_to_owned()?),
            _ => None,
        };
        let name = path.display().to_string();
        let (file, size, path) = match own {
            Some(own) => (own.into(), 0, None),
            None => {
                let (file, size) = append(path, options.mode)?;
                (file, size, Some(path.to_owned()))
            }
        };
        Ok(Self { file, path, name, options, size, patience: 0, torn: false })
    }

    /// Writes to what is open already.
    #[cfg(test)]
    pub(super) fn over(file: File, name: &str) -> Self {
        let (name, options) = (name.to_owned(), FileOptions::default());
        Self { file, path: None, name, options, size: 0, patience: 0, torn: false }
    }

    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    pub(super) fn configure(&mut self, options: FileOptions) {
        self.options = options;
        self.patience = 0;
    }

    /// Opens the path again; on failure the old file stays.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            (self.file, self.size) = append(path, self.options.mode)?;
            (self.patience, self.torn) = (0, false);
        }
        Ok(())
    }

    /// Writes whole lines, into as many files as it takes. Returns how many bytes of them were written, and the error
    /// that stopped it there.
    pub(super) fn write(&mut self, lines: &[u8], stats: &Cells<AccessLogStats>) -> (usize, io::Result<()>) {
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            let fits = match self.options.rotation.filter(|_| self.path.is_some()) {
                None => rest.len(),
                Some(rotation) => match self.room(rest, rotation) {
                    0 => {
                        self.rotate(rotation, stats);
                        continue;
                    }
                    fits => fits,
                },
            };
            let (more, result) = self.put(rest.get(..fits).unwrap_or(rest));
            written += more;
            self.size += more as u64;
            if result.is_err() {
                return (written, result);
            }
        }
        (written, Ok(()))
    }

    /// How many bytes of these lines the file takes; 0 when another is to be begun first.
    fn room(&self, lines: &[u8], rotation: Rotation) -> usize {
        if self.size < self.patience {
            return lines.len();
        }
        let room = usize::try_from(rotation.max_size.saturating_sub(self.size)).unwrap_or(usize::MAX);
        let Some(fitting) = lines.get(..room) else { return lines.len() };
        let end = |line: usize| line + 1;
        match fitting.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => end(last),
            None if self.size > 0 => 0,
            // No file takes it, so this one does.
            None => lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), end),
        }
    }

    /// Renames what is there and begins another. When that fails the file goes on, and it is tried again when it has
    /// grown by as much as it may.
    fn rotate(&mut self, rotation: Rotation, stats: &Cells<AccessLogStats>) {
        let moved = self.path.as_deref().map(|path| shift(path, rotation.keep)).transpose();
        match moved.and_then(|_| self.reopen()) {
            Ok(()) if self.size == 0 => stats.rotations.inc(),
            // Somebody else writes to it as well; this turn it is left as it is.
            Ok(()) => self.patience = self.size.saturating_add(rotation.max_size),
            Err(_) => {
                stats.rotate_failed.inc();
                self.patience = self.size.saturating_add(rotation.max_size);
            }
        }
    }

    /// Writes whole lines to the file there is.
    fn put(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
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

/// Opens a file for appending; also says how large it is.
fn append(path: &Path, mode: Option<u32>) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    if let Some(mode) = mode {
        options.mode(mode);
    }
    let file = options.open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// Renames a file and those that were renamed before; the oldest is lost.
fn shift(path: &Path, keep: u32) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..keep).rev() {
        gone_is_fine(fs::rename(numbered(number), numbered(number + 1)))?;
    }
    // Somebody may have renamed it already.
    gone_is_fine(fs::rename(path, numbered(1)))
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
