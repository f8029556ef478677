//! Names of endpoints and their addresses.

mod options;
mod resolver;
mod system;

#[cfg(test)]
mod tests;

use std::error;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use options::ResolverOptions;
pub use resolver::{Event, NameStatus, Resolver, Unresolved};
pub use system::SystemLookup;

/// A host name with a port, as an endpoint names it. Hosts compare without regard to ASCII case (RFC 4343).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    host: Arc<str>,
    port: u16,
}

/// How a host name is looked up once. The [`Resolver`] adds everything that has to do with time.
pub trait Lookup: Send + Sync + 'static {
    /// Looks `host` up. It may take as long as it likes: the caller bounds it and drops the future.
    fn lookup(&self, host: &str, families: Families) -> impl Future<Output = Result<Answer, LookupError>> + Send;
}

/// The addresses of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// In any order; at least one.
    pub addresses: Vec<IpAddr>,
    /// How long the answer holds.
    pub ttl: Duration,
    /// The family whose question failed while the other's was answered: what was known of it still holds.
    pub failed: Option<Family>,
}

/// Why there is no [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupError {
    /// The name server says so: there is no such name, or it has no address of the families asked for.
    Empty,
    /// It could not be found out: no answer, an error answer, or a name that cannot be asked for.
    Failed(String),
}

/// A family of IP addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Which addresses of a host are asked for and used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Families {
    /// IPv4 and IPv6, each address an endpoint of its own.
    #[default]
    All,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// IPv4 if the host has any such address, else IPv6. Right for names like `localhost`, whose server often listens
    /// on one of the two alone.
    PreferV4,
    /// IPv6 if the host has any such address, else IPv4.
    PreferV6,
}

// === impl Name ===

impl Name {
    /// The name `host:port`. A trailing dot keeps the search list from being applied.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_ascii_lowercase().into(), port }
    }

    /// The host, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

// === impl LookupError ===

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name does not exist or has no address; correct it or add its record"),
            Self::Failed(reason) => write!(f, "cannot be looked up: {reason}"),
        }
    }
}

impl error::Error for LookupError {}

// === impl Families ===

impl Families {
    /// Whether addresses of `family` are asked for.
    pub fn wants(self, family: Family) -> bool {
        !matches!((self, family), (Self::V4, Family::V6) | (Self::V6, Family::V4))
    }
}
