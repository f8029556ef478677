//! The configuration file on disk, watched.

mod plan;
mod watch;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch as channel};
use tokio::time::{Instant, sleep_until};

use crate::source::{ConfigSource, SourceError, SourceErrorKind, Update, Verdict};
use plan::Plan;
use watch::Watch;

/// A configuration file. The first `next` reads it; later ones wait until its content has changed, however it was
/// changed: written in place, renamed over, reached by another symbolic link (as Kubernetes swaps volumes), or
/// deleted and created again.
///
/// Changes are noticed by file events and, as a safety net where there are none, by looking at the file's metadata
/// every [`FileOptions::poll`] or less often. A file that cannot be read is an error of `next`, told once, until it is another
/// error or the file can be read again. A pipe is read once, to its end; a reload yields the same text again.
pub struct FileSource {
    path: PathBuf,
    origin: String,
    options: FileOptions,
    changed: Arc<Notify>,
    reload: Reload,
    watch: Option<Watch>,
    /// When the burst of changes that is going on began.
    burst: Option<Instant>,
    /// When to read; set by changes, put off while they go on.
    due: Option<Instant>,
    /// When to look whether the file changed unnoticed.
    poll: Instant,
    /// The first reading, or one that was asked for: it yields in any case.
    forced: bool,
    /// Until when a reading that looks like a moment within a replacement is not believed.
    doubt: Option<Instant>,
    stamp: Option<Stamp>,
    text: Option<Arc<str>>,
    /// The error told last, so that the same one is not told again.
    told: Option<String>,
    status: channel::Sender<FileStatus>,
}

/// How a [`FileSource`] watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// How long the file must be left alone before it is read. Default 50 ms.
    pub debounce: Duration,
    /// How long reading is put off while changes do not end. Default 1 s.
    pub debounce_limit: Duration,
    /// How long a file that is missing or empty after a change may stay so before that is believed: tools that
    /// replace a file often remove or empty it first. Default 250 ms.
    pub grace: Duration,
    /// How often the file's metadata is looked at; a sixth as often while there are file events, which only file
    /// systems of other machines may lack. Default 5 s.
    pub poll: Duration,
    /// Whether to use file events. Default true.
    pub events: bool,
    /// The largest file that is read, in bytes. Default 64 MiB.
    pub limit: u64,
}

/// What a [`FileSource`] knows of its file, for the admin interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileStatus {
    /// When its content last changed, as far as it was read.
    pub read_at: Option<SystemTime>,
    /// What became of that content.
    pub verdict: Option<Verdict>,
    /// Why it cannot be read at present.
    pub error: Option<String>,
    /// Why there are no file events (then changes are seen by polling alone).
    pub unwatched: Option<String>,
}

/// Makes a [`FileSource`] read and yield its file at once, changed or not: for SIGHUP and the admin interface.
/// Asking again before it was read adds nothing.
#[derive(Debug, Clone, Default)]
pub struct Reload(Arc<Notify>);

/// What of a file's metadata tells that its content may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// With file events, polling is a safety net under a safety net, and should not wake an idle process often.
const WATCHED: u32 = 6;

// === impl FileSource ===

impl FileSource {
    /// A source for the file at `path`. Nothing is read before the first `next`.
    pub fn new(path: impl Into<PathBuf>, options: FileOptions) -> Self {
        let path = path.into();
        Self {
            origin: format!("file {}", path.display()),
            path,
            options,
            changed: Arc::default(),
            reload: Reload::default(),
            watch: None,
            burst: None,
            due: Some(Instant::now()),
            poll: Instant::now(),
            forced: true,
            doubt: None,
            stamp: None,
            text: None,
            told: None,
            status: channel::Sender::default(),
        }
    }

    /// A handle that forces readings.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// What is known of the file, kept current.
    pub fn status(&self) -> channel::Receiver<FileStatus> {
        self.status.subscribe()
    }

    /// Waits until there is reason to look at the file. All state is in `self`: the future may be dropped.
    async fn wait(&mut self) {
        loop {
            let until = self.due.unwrap_or(self.poll);
            tokio::select! {
                () = self.reload.0.notified() => {
                    self.forced = true;
                    return;
                }
                () = self.changed.notified() => {
                    let now = Instant::now();
                    let burst = *self.burst.get_or_insert(now);
                    self.due = Some((now + self.options.debounce).min(burst + self.options.debounce_limit));
                }
                () = sleep_until(until) => return,
            }
        }
    }

    /// Looks at the file and tells what is new, if anything.
    fn look(&mut self) -> Option<Result<Update, SourceError>> {
        let watched = self.watch.is_some() && self.status.borrow().unwatched.is_none();
        self.poll = Instant::now() + self.options.poll * if watched { WATCHED } else { 1 };
        self.burst = None;
        let noticed = self.due.take().is_some();
        let once = fs::metadata(&self.path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
        if let Some(text) = self.text.clone().filter(|_| once) {
            // A pipe: what it held was read.
            let again = std::mem::take(&mut self.forced);
            return again.then(|| Ok(self.update(text, SystemTime::now())));
        }
        let moved = !once && self.follow();
        let stamp = fs::metadata(&self.path).ok().map(|meta| Stamp::of(&meta));
        if !(noticed || moved || self.forced || stamp != self.stamp || self.told.is_some()) {
            return None;
        }
        let read = read(&self.path, self.options.limit);
        if !self.forced && self.is_doubtful(&read) {
            let now = Instant::now();
            let until = *self.doubt.get_or_insert(now + self.options.grace);
            if now < until {
                self.due = Some(until);
                return None;
            }
        }
        self.doubt = None;
        self.stamp = stamp;
        let forced = std::mem::take(&mut self.forced);
        let at = SystemTime::now();
        match read {
            Ok(text) => {
                self.told = None;
                let known = self.text.as_deref() == Some(text.as_str());
                self.status.send_if_modified(|status| {
                    status.error = None;
                    if forced || !known {
                        status.read_at = Some(at);
                        status.verdict = None;
                    }
                    true
                });
                if known && !forced {
                    return None;
                }
                let text: Arc<str> = text.into();
                self.text = Some(text.clone());
                Some(Ok(self.update(text, at)))
            }
            Err(kind) => {
                let told = kind.to_string();
                if !forced && self.told.as_ref() == Some(&told) {
                    return None;
                }
                self.status.send_modify(|status| status.error = Some(told.clone()));
                self.told = Some(told);
                Some(Err(SourceError { origin: self.origin.clone(), kind, at }))
            }
        }
    }

    fn update(&self, text: Arc<str>, at: SystemTime) -> Update {
        Update { origin: self.origin.clone(), text, at }
    }

    /// Whether the reading looks like a moment within the replacement of a file that was good.
    fn is_doubtful(&self, read: &Result<String, SourceErrorKind>) -> bool {
        self.told.is_none()
            && match read {
                Ok(text) => text.trim_ascii().is_empty() && self.text.as_ref().is_some_and(|old| !old.is_empty()),
                Err(_) => true,
            }
    }

    /// Watches what the path leads through now; true if that changed. Called before each reading, so that no change
    /// after the reading can be missed.
    fn follow(&mut self) -> bool {
        if !self.options.events {
            return false;
        }
        let followed = self.try_follow();
        let unwatched = followed.as_ref().err().map(ToString::to_string);
        self.status.send_if_modified(|status| {
            let other = status.unwatched != unwatched;
            status.unwatched = unwatched;
            other
        });
        followed.unwrap_or(true)
    }

    fn try_follow(&mut self) -> notify::Result<bool> {
        let watch = match &mut self.watch {
            Some(watch) => watch,
            none => none.insert(Watch::new(self.changed.clone())?),
        };
        // A link that changed after the plan was made and before its watch was set is seen by planning again.
        let mut moved = false;
        for _ in 0..3 {
            if !watch.follow(&Plan::of(&self.path)?)? {
                break;
            }
            moved = true;
        }
        Ok(moved)
    }
}

impl ConfigSource for FileSource {
    async fn next(&mut self) -> Result<Update, SourceError> {
        loop {
            self.wait().await;
            if let Some(news) = self.look() {
                return news;
            }
        }
    }

    async fn report(&mut self, verdict: Verdict) {
        self.status.send_modify(|status| status.verdict = Some(verdict));
    }
}

// === impl FileOptions ===

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(50),
            debounce_limit: Duration::from_secs(1),
            grace: Duration::from_millis(250),
            poll: Duration::from_secs(5),
            events: true,
            limit: 64 << 20,
        }
    }
}

// === impl Reload ===

impl Reload {
    /// Asks for a reading.
    pub fn ask(&self) {
        self.0.notify_one();
    }
}

// === impl Stamp ===

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

fn read(path: &Path, limit: u64) -> Result<String, SourceErrorKind> {
    let file = File::open(path).map_err(SourceErrorKind::Io)?;
    if file.metadata().map_err(SourceErrorKind::Io)?.is_dir() {
        return Err(SourceErrorKind::Io(io::ErrorKind::IsADirectory.into()));
    }
    let mut bytes = Vec::new();
    // One byte more than the limit tells a file at the limit from one above it.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(SourceErrorKind::Io)?;
    if bytes.len() as u64 > limit {
        return Err(SourceErrorKind::TooLarge { limit });
    }
    String::from_utf8(bytes).map_err(|error| SourceErrorKind::NotUtf8 { offset: error.utf8_error().valid_up_to() })
}
