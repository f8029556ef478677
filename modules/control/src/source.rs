//! What a source of configuration is: it yields whole configurations and hears what became of them.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;
use std::{error, fmt};

/// A source of whole configurations, used by one task of the control thread.
///
/// A source never yields a change to an earlier configuration, only a complete one, so an update that was missed or
/// refused needs no repair: the next one replaces it.
pub trait ConfigSource {
    /// Waits for the next configuration, or for an error in obtaining one. An error does not end the source: what was
    /// published stays in force, and `next` can be called again.
    ///
    /// Dropping the future before it is ready loses nothing, so it may stand in a `select!`.
    async fn next(&mut self) -> Result<Update, SourceError>;

    /// Tells the source what became of the last update it yielded.
    async fn report(&mut self, verdict: Verdict);
}

/// One whole configuration as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Where it came from, as people should read it: `file PATH`.
    pub origin: String,
    /// The text, UTF-8.
    pub text: Arc<str>,
    /// When it was read.
    pub at: SystemTime,
}

/// What became of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is in force.
    Published {
        /// The generation of the snapshot made from it.
        generation: u64,
    },
    /// It was refused and nothing changed.
    Rejected {
        /// Why, as it was told to the operator.
        reason: String,
    },
}

/// Why a configuration could not be obtained.
#[derive(Debug)]
pub struct SourceError {
    /// Where it should have come from: `file PATH`.
    pub origin: String,
    /// What went wrong.
    pub kind: SourceErrorKind,
    /// When it was noticed.
    pub at: SystemTime,
}

/// The kinds of [`SourceError`].
#[derive(Debug)]
pub enum SourceErrorKind {
    /// It could not be read.
    Io(io::Error),
    /// It is not UTF-8 text.
    NotUtf8 {
        /// Offset of the first byte that is wrong.
        offset: usize,
    },
    /// It is larger than a configuration may be.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
}

// === impl SourceError ===

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.kind)
    }
}

impl error::Error for SourceError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.kind {
            SourceErrorKind::Io(error) => Some(error),
            SourceErrorKind::NotUtf8 { .. } | SourceErrorKind::TooLarge { .. } => None,
        }
    }
}

impl fmt::Display for SourceErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => match error.kind() {
                io::ErrorKind::NotFound => f.write_str("does not exist; create it or correct the path"),
                io::ErrorKind::PermissionDenied => {
                    f.write_str("may not be read by this process; correct its owner or mode")
                }
                _ => write!(f, "cannot be read: {error}"),
            },
            Self::NotUtf8 { offset } => write!(f, "is not UTF-8 text (byte {offset}); save it as UTF-8"),
            Self::TooLarge { limit } => write!(f, "is larger than {limit} bytes, the most a configuration may be"),
        }
    }
}
