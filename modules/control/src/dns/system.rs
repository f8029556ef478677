//! Lookups as the system is configured: the hosts file, then its name servers.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr;
use hickory_resolver::{Hosts, TokioResolver, system_conf};

use super::{Answer, Families, Family, Lookup, LookupError};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// The hosts file states no TTL; looking it up again costs two stats, so its changes are seen soon.
const HOSTS_TTL: Duration = Duration::from_secs(10);

/// Looks names up as programs of this system do: IP addresses stand for themselves, then `/etc/hosts`, then the name
/// servers and the search list of `/etc/resolv.conf`, for A and AAAA side by side. `localhost` never leaves the
/// machine (RFC 6761 section 6.3). Both files are read again when they changed. Nothing is cached here.
pub struct SystemLookup {
    servers: Option<Vec<SocketAddr>>,
    current: Mutex<Current>,
}

struct Current {
    files: [Option<Stamp>; 2],
    setup: Arc<Setup>,
}

/// Identity, size and time of change of a file.
type Stamp = (u64, u64, u64, i64, i64);

struct Setup {
    resolver: TokioResolver,
    hosts: Hosts,
    search: Vec<rr::Name>,
    dots: usize,
}

/// Why one question gave no address, the lesser trouble first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Miss {
    /// A server says that there is none.
    Empty,
    /// A server answered that it cannot tell.
    Refused(String),
    /// No server answered.
    Silent(String),
}

// === impl SystemLookup ===

impl SystemLookup {
    /// With the name servers of `/etc/resolv.conf`; without that file, the one of this machine (resolv.conf(5)).
    /// Errors if the file cannot be read or names no server.
    pub fn new() -> Result<Self, LookupError> {
        Self::build(None)
    }

    /// With the given name servers (UDP, and TCP for what does not fit), tried in that order, instead of those of
    /// `/etc/resolv.conf`, and without its search list.
    pub fn with_servers(servers: Vec<SocketAddr>) -> Result<Self, LookupError> {
        Self::build(Some(servers))
    }

    fn build(servers: Option<Vec<SocketAddr>>) -> Result<Self, LookupError> {
        let files = stamps();
        let setup = Arc::new(Setup::read(servers.as_deref())?);
        Ok(Self { servers, current: Mutex::new(Current { files, setup }) })
    }

    /// The set-up of now. A changed file that cannot be used is an error of the lookups until it is mended.
    fn setup(&self) -> Result<Arc<Setup>, LookupError> {
        let files = stamps();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.files != files {
            let setup = Arc::new(Setup::read(self.servers.as_deref())?);
            *current = Current { files, setup };
        }
        Ok(current.setup.clone())
    }
}

impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str, families: Families) -> Result<Answer, LookupError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Answer { addresses: vec![address], ttl: Duration::MAX, failed: None });
        }
        let setup = self.setup()?;
        let name = rr::Name::from_str_relaxed(host).map_err(|error| LookupError::Failed(error.to_string()))?;
        if let Some(answer) = setup.in_hosts(&name, families) {
            return Ok(answer);
        }
        let mut refused = None;
        for name in setup.candidates(name) {
            match setup.ask(name, families).await {
                Ok(answer) => return Ok(answer),
                Err(Miss::Empty) => {}
                // A search domain whose servers are broken must not hide the names after it, as in libc; but then it
                // is not certain that there is no such name.
                Err(Miss::Refused(reason)) => refused = refused.or(Some(reason)),
                // The next candidate would be another host; only an answer may lead on to it.
                Err(Miss::Silent(reason)) => return Err(LookupError::Failed(reason)),
            }
        }
        Err(refused.map_or(LookupError::Empty, LookupError::Failed))
    }
}

// === impl Setup ===

impl Setup {
    fn read(servers: Option<&[SocketAddr]>) -> Result<Self, LookupError> {
        let (config, mut options) = match servers {
            Some(servers) => (given(servers), ResolverOpts::default()),
            None => system().map_err(|error| LookupError::Failed(format!("{RESOLV_CONF}: {error}")))?,
        };
        let (search, dots) = (config.search().to_vec(), options.ndots);
        // The resolver above keeps each answer for its TTL; a second cache below it would only delay what is forced.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(|error| LookupError::Failed(error.to_string()))?;
        // Without a hosts file there are no such names.
        Ok(Self { resolver, hosts: Hosts::from_system().unwrap_or_default(), search, dots })
    }

    fn in_hosts(&self, name: &rr::Name, families: Families) -> Option<Answer> {
        let mut addresses = Vec::new();
        for record in records(families) {
            if let Some(found) = self.hosts.lookup_static_host(&Query::query(name.clone(), record)) {
                addresses.extend(found.answers().iter().filter_map(|record| record.data.ip_addr()));
            }
        }
        (!addresses.is_empty()).then_some(Answer { addresses, ttl: HOSTS_TTL, failed: None })
    }

    /// The names to ask for, in order: the search list is tried first for names of few dots (resolv.conf(5), ndots).
    fn candidates(&self, name: rr::Name) -> Vec<rr::Name> {
        let mut absolute = name.clone();
        absolute.set_fqdn(true);
        if name.is_fqdn() || name.is_localhost() {
            return vec![absolute];
        }
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let searched = self.search.iter().filter_map(|domain| {
            let mut full = name.clone().append_domain(domain).ok()?; // too long to be a name at all
            full.set_fqdn(true);
            Some(full)
        });
        if dots >= self.dots {
            [absolute].into_iter().chain(searched).collect()
        } else {
            searched.chain([absolute]).collect()
        }
    }

    /// Asks for both families of one name at once.
    async fn ask(&self, name: rr::Name, families: Families) -> Result<Answer, Miss> {
        let (v4, v6) =
            tokio::join!(self.ask_family(&name, Family::V4, families), self.ask_family(&name, Family::V6, families));
        match (v4, v6) {
            (Ok((mut addresses, ttl)), Ok((more, other))) => {
                addresses.extend(more);
                Ok(Answer { addresses, ttl: ttl.min(other), failed: None })
            }
            (Ok((addresses, ttl)), Err(miss)) => {
                Ok(Answer { addresses, ttl, failed: (miss != Miss::Empty).then_some(Family::V6) })
            }
            (Err(miss), Ok((addresses, ttl))) => {
                Ok(Answer { addresses, ttl, failed: (miss != Miss::Empty).then_some(Family::V4) })
            }
            (Err(miss), Err(other)) => Err(miss.max(other)),
        }
    }

    async fn ask_family(
        &self,
        name: &rr::Name,
        family: Family,
        families: Families,
    ) -> Result<(Vec<IpAddr>, Duration), Miss> {
        if !families.wants(family) {
            return Err(Miss::Empty);
        }
        let lookup = self.resolver.lookup(name.clone(), record_of(family)).await.map_err(Miss::of)?;
        let answers = lookup.answers();
        let addresses: Vec<_> = answers.iter().filter_map(|record| record.data.ip_addr()).collect();
        if addresses.is_empty() {
            return Err(Miss::Empty);
        }
        // An alias on the way holds no longer than its own TTL.
        let ttl = answers.iter().map(|record| record.ttl).min().unwrap_or_default();
        Ok((addresses, Duration::from_secs(ttl.into())))
    }
}

// === impl Miss ===

impl Miss {
    fn of(error: NetError) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(_)) => Self::Empty,
            NetError::Dns(error) => Self::Refused(error.to_string()),
            other => Self::Silent(other.to_string()),
        }
    }
}

fn system() -> Result<(ResolverConfig, ResolverOpts), NetError> {
    match system_conf::read_system_conf() {
        Err(NetError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            Ok((given(&[(Ipv4Addr::LOCALHOST, 53).into()]), ResolverOpts::default()))
        }
        other => other,
    }
}

fn given(servers: &[SocketAddr]) -> ResolverConfig {
    let servers = servers.iter().map(|server| {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        (udp.port, tcp.port) = (server.port(), server.port());
        NameServerConfig::new(server.ip(), true, vec![udp, tcp])
    });
    ResolverConfig::from_name_servers(servers.collect())
}

fn records(families: Families) -> impl Iterator<Item = rr::RecordType> {
    [Family::V4, Family::V6].into_iter().filter(move |family| families.wants(*family)).map(record_of)
}

fn record_of(family: Family) -> rr::RecordType {
    match family {
        Family::V4 => rr::RecordType::A,
        Family::V6 => rr::RecordType::AAAA,
    }
}

fn stamps() -> [Option<Stamp>; 2] {
    [RESOLV_CONF, HOSTS].map(|path| {
        let meta = fs::metadata(Path::new(path)).ok()?;
        Some((meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()))
    })
}
