//! Replaces a configuration file at a steady pace and asks the proxy whether it noticed.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::live_file;
use crate::message;
use crate::message::HOST;

/// Stands in the template where the version's number goes.
pub(super) const NUMBER: &str = "@NUMBER@";

/// The file that the proxy watches, and one like it that it does not.
#[derive(Clone, Debug)]
pub(super) struct Files {
    before: String,
    after: String,
    live: PathBuf,
    decoy: PathBuf,
}

impl Files {
    /// Files for `template` in and beside `dir`.
    pub(super) fn new(template: &str, dir: &Path) -> Result<Self> {
        let (before, after) = template.split_once(NUMBER).context("a template without a number")?;
        let decoys = dir.join("decoy");
        fs::create_dir_all(&decoys)?;
        Ok(Self { before: before.into(), after: after.into(), live: live_file(dir), decoy: decoys.join("decoy.yaml") })
    }

    /// Writes version `number` where the proxy looks, atomically.
    pub(super) fn write_live(&self, number: u32) -> Result<()> {
        self.write(&self.live, number)
    }

    fn write(&self, file: &Path, number: u32) -> Result<()> {
        // Beside the directory of the live file, so that a watch on it sees the rename only.
        let next = self.decoy.with_extension("next");
        fs::write(&next, [&self.before, &number.to_string(), &self.after].map(String::as_str).concat())?;
        fs::rename(&next, file).with_context(|| format!("replacing {}", file.display()))
    }
}

/// What was swapped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Swaps {
    pub(super) written: u32,
    /// Of these, not seen in force when the next was due.
    pub(super) missed: u32,
}

/// A thread that writes versions until it is stopped.
pub(super) struct Writer {
    stop: Sender<()>,
    thread: JoinHandle<Result<Swaps>>,
}

impl Writer {
    /// Writes a version every `period`; to the decoy unless `live`.
    pub(super) fn start(files: Files, proxy: SocketAddr, period: Duration, live: bool) -> Self {
        let (stop, stopped) = channel();
        // It inherits the pinning to the load core.
        let thread = std::thread::spawn(move || {
            let mut swaps = Swaps::default();
            let mut due = Instant::now();
            loop {
                swaps.written += 1;
                files.write(if live { &files.live } else { &files.decoy }, swaps.written)?;
                due += period;
                let left = due.saturating_duration_since(Instant::now());
                let ended = stopped.recv_timeout(left) != Err(RecvTimeoutError::Timeout);
                // The last version has its time too.
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                // The baseline asks as well, for the version it began with.
                let version = if live { swaps.written } else { 0 };
                if !in_force(proxy, version).unwrap_or(false) {
                    swaps.missed += 1;
                }
                if ended {
                    return Ok(swaps);
                }
            }
        });
        Self { stop, thread }
    }

    /// Ends the thread after its current version.
    pub(super) fn stop(self) -> Result<Swaps> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the writer thread panicked"))?
    }
}

/// Whether the proxy answers for version `number` as the template has it.
fn in_force(proxy: SocketAddr, number: u32) -> Result<bool> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(&message::get(HOST, &format!("{}{number}", message::PROBE)))?;
    let mut bytes = [0; 4096];
    let got = stream.read(&mut bytes)?;
    let head = message::parse_reply(bytes.get(..got).unwrap_or(&[])).map_err(|e| anyhow!(e))?;
    Ok(head.is_some_and(|head| head.status == 200))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::ScratchDir;

    #[test]
    fn versions_replace_the_live_file_whole() {
        let dir = ScratchDir::new("swap").unwrap();
        let files = Files::new("a: @NUMBER@\n", dir.path()).unwrap();
        files.write_live(0).unwrap();
        files.write_live(12).unwrap();
        assert_eq!(fs::read_to_string(live_file(dir.path())).unwrap(), "a: 12\n");
        assert!(Files::new("no number", dir.path()).is_err());
    }
}
