//! Configuration sources, name resolution, health checks and exporters of Ringway's control plane.
//!
//! Everything here runs on the control thread (a tokio current-thread runtime), never on a worker: files are read and
//! names are looked up here, and the data plane sees only what was published from them.
//!
//! - [`ConfigSource`] yields whole configurations and is told what became of each; [`FileSource`] is the file on disk.
//! - [`Exporter`] takes spans, logs and metrics to collectors.
//! - [`HealthChecker`] asks hosts whether they are well.
//! - [`Resolver`] keeps the addresses of the names that the clusters' endpoints use.

#![forbid(unsafe_code)]

mod dns;
mod export;
mod file;
mod health;
mod source;

pub use dns::{
    Answer, Event, Families, Family, Lookup, LookupError, Name, NameStatus, Resolver, ResolverOptions, SystemLookup,
    Unresolved,
};
pub use export::{Batching, Destination, Exporter, Exporting, OtlpTransport, Resource, Tell};
pub use file::{FileOptions, FileSource, FileStatus, Reload};
pub use health::{
    CheckFailure, ClusterCheck, HealthChecker, HostTarget, MOST_IN_FLIGHT, Report, Secure, SecureFor, Securing, Socket,
};
pub use source::{ConfigSource, SourceError, SourceErrorKind, Update, Verdict};
