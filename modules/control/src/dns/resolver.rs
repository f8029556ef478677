//! Keeps the addresses of a set of names current.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Answer, Families, Family, Lookup, LookupError, Name, ResolverOptions};

/// Keeps the addresses of the names given to [`set`](Self::set), looking each host up again when its answer has
/// expired, and tells what changed by [`next`](Self::next).
///
/// A lookup that fails, or that finds nothing, changes nothing: the last good addresses stay, the failure is told
/// once, and the host is asked for again after a growing, jittered wait. Needs a tokio runtime with time; one task is
/// spawned per host, and all end when the resolver is dropped.
pub struct Resolver<L> {
    lookup: Arc<L>,
    shared: Arc<Shared>,
}

/// What [`Resolver::next`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The name's addresses are others than before.
    Changed {
        /// The name.
        name: Name,
        /// Its addresses: sorted, without repetition, at least one.
        addresses: Arc<[SocketAddr]>,
    },
    /// A host could not be looked up or has no address now. Told once, until the host is found again or the error is
    /// another.
    Failed {
        /// The host.
        host: Arc<str>,
        /// Why.
        error: LookupError,
        /// How many addresses, found earlier, stay in use.
        kept: usize,
    },
}

/// What is known of one name, for the admin interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameStatus {
    /// The name.
    pub name: Name,
    /// Its addresses, if it was ever found.
    pub addresses: Option<Arc<[SocketAddr]>>,
    /// When it was last found.
    pub resolved_at: Option<SystemTime>,
    /// Lookups that failed or found nothing since.
    pub failures: u32,
    /// Why the last of them did.
    pub error: Option<LookupError>,
}

/// A name without addresses after the warm-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// The name.
    pub name: Name,
    /// Why, unless its lookup goes on still.
    pub error: Option<LookupError>,
}

struct Shared {
    options: ResolverOptions,
    state: Mutex<State>,
    permits: Semaphore,
    /// There may be an event.
    event: Notify,
    /// A lookup ended.
    looked_up: Notify,
}

#[derive(Default)]
struct State {
    hosts: BTreeMap<Arc<str>, Host>,
    /// Names and hosts with something to tell. What is told is what holds then, so a slow reader costs no memory.
    changed: BTreeSet<Name>,
    failed: BTreeSet<Arc<str>>,
    /// Tells a host from an earlier one of the same name, whose task may be at its end still.
    last_id: u64,
}

struct Host {
    id: u64,
    task: AbortHandle,
    since: Instant,
    /// For each port that is in use, the addresses told last.
    ports: BTreeMap<u16, Option<Arc<[SocketAddr]>>>,
    /// Sorted, each address once.
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    resolved_at: Option<SystemTime>,
    failures: u32,
    error: Option<LookupError>,
}

// === impl Resolver ===

impl<L: Lookup> Resolver<L> {
    /// A resolver of no names yet.
    pub fn new(lookup: L, options: ResolverOptions) -> Self {
        let shared = Shared {
            permits: Semaphore::new(options.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            options,
            state: Mutex::default(),
            event: Notify::new(),
            looked_up: Notify::new(),
        };
        Self { lookup: Arc::new(lookup), shared: Arc::new(shared) }
    }

    /// Makes `names` the names to keep: new ones are looked up at once, those no longer among them are forgotten and
    /// nothing more is told of them. Must be called within the runtime.
    pub fn set(&self, names: impl IntoIterator<Item = Name>) {
        let mut wanted: BTreeMap<Arc<str>, BTreeSet<u16>> = BTreeMap::new();
        for name in names {
            wanted.entry(name.host).or_default().insert(name.port);
        }
        let mut state = self.shared.state();
        let State { hosts, changed, failed, last_id } = &mut *state;
        hosts.retain(|host, entry| match wanted.get(host) {
            Some(ports) => {
                entry.ports.retain(|port, _| ports.contains(port));
                true
            }
            None => {
                entry.task.abort();
                false
            }
        });
        changed.retain(|name| wanted.get(&name.host).is_some_and(|ports| ports.contains(&name.port)));
        failed.retain(|host| wanted.contains_key(host));
        for (host, ports) in wanted {
            let entry = hosts.entry(host.clone()).or_insert_with(|| {
                *last_id += 1;
                let keep = keep(self.lookup.clone(), self.shared.clone(), host.clone(), *last_id);
                Host::new(*last_id, tokio::spawn(keep).abort_handle())
            });
            for port in ports {
                if entry.ports.insert(port, None).is_none() && entry.is_found() {
                    changed.insert(Name { host: host.clone(), port });
                }
            }
        }
        if !changed.is_empty() {
            self.shared.event.notify_one();
        }
    }

    /// Waits until each name has addresses or is known to have none, but for no name longer than
    /// [`ResolverOptions::warm_up`] from when it was set: one that was in vain once delays no later configuration.
    /// Gives the names that have none.
    pub async fn warm_up(&self) -> Vec<Unresolved> {
        let mut looked_up = pin!(self.shared.looked_up.notified());
        loop {
            // Registered before the look, so that no lookup can end unseen in between.
            looked_up.as_mut().enable();
            let open = self.shared.state().hosts.values().filter(|host| host.is_open()).map(|host| host.since).max();
            let Some(until) = open.map(|since| since + self.shared.options.warm_up) else { break };
            if timeout_at(until, looked_up.as_mut()).await.is_err() {
                break;
            }
            looked_up.set(self.shared.looked_up.notified());
        }
        let missing = self.status().into_iter().filter(|status| status.addresses.is_none());
        missing.map(|status| Unresolved { name: status.name, error: status.error }).collect()
    }

    /// Waits for the next thing to tell. Changes of one name between two calls are told as one. For one reader;
    /// dropping the future before it is ready loses nothing.
    pub async fn next(&self) -> Event {
        loop {
            if let Some(event) = self.shared.state().event(&self.shared.options) {
                return event;
            }
            self.shared.event.notified().await;
        }
    }

    /// The addresses of `name`: sorted, without repetition, at least one. None if it was never found or is not kept.
    pub fn addresses(&self, name: &Name) -> Option<Arc<[SocketAddr]>> {
        let state = self.shared.state();
        let host = state.hosts.get(&name.host)?;
        host.ports.contains_key(&name.port).then(|| host.addresses(name.port, &self.shared.options))?
    }

    /// What is known of each name, sorted by name.
    pub fn status(&self) -> Vec<NameStatus> {
        let state = self.shared.state();
        let of = |host: &Arc<str>, entry: &Host, port: u16| NameStatus {
            name: Name { host: host.clone(), port },
            addresses: entry.addresses(port, &self.shared.options),
            resolved_at: entry.resolved_at,
            failures: entry.failures,
            error: entry.error.clone(),
        };
        let hosts = state.hosts.iter();
        hosts.flat_map(|(host, entry)| entry.ports.keys().map(move |port| of(host, entry, *port))).collect()
    }
}

impl<L> Drop for Resolver<L> {
    fn drop(&mut self) {
        // The tasks hold the shared state too, so it does not end with the resolver by itself.
        for (_, host) in std::mem::take(&mut self.shared.state().hosts) {
            host.task.abort();
        }
    }
}

/// The life of one host: look up, wait, again.
async fn keep<L: Lookup>(lookup: Arc<L>, shared: Arc<Shared>, host: Arc<str>, id: u64) {
    let options = &shared.options;
    loop {
        let outcome = {
            let Ok(_permit) = shared.permits.acquire().await else { return };
            timeout(options.timeout, lookup.lookup(&host, options.families)).await
        };
        let outcome = outcome
            .unwrap_or_else(|_| Err(LookupError::Failed(format!("no answer within {:?}", options.timeout))))
            .and_then(|answer| Found::of(answer, options.families));
        let Some(wait) = shared.settle(&host, id, outcome) else { return };
        sleep(wait).await;
    }
}

/// An answer, sorted out.
struct Found {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    ttl: Duration,
    failed: Option<Family>,
}

impl Found {
    fn of(answer: Answer, families: Families) -> Result<Self, LookupError> {
        // An IPv4 address written as IPv6 is the same endpoint.
        let all: BTreeSet<IpAddr> = answer.addresses.iter().map(IpAddr::to_canonical).collect();
        let (mut v4, mut v6): (Vec<_>, Vec<_>) = all.into_iter().partition(IpAddr::is_ipv4);
        if !families.wants(Family::V4) {
            v4.clear();
        }
        if !families.wants(Family::V6) {
            v6.clear();
        }
        if v4.is_empty() && v6.is_empty() {
            return Err(LookupError::Empty);
        }
        Ok(Self { v4, v6, ttl: answer.ttl, failed: answer.failed })
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the outcome of a lookup; gives how long to wait for the next, or none if the host is no longer kept.
    fn settle(&self, name: &Arc<str>, id: u64, outcome: Result<Found, LookupError>) -> Option<Duration> {
        let mut state = self.state();
        let State { hosts, changed, failed, .. } = &mut *state;
        let host = hosts.get_mut(name).filter(|host| host.id == id)?;
        let wait = match outcome {
            Ok(found) => {
                let ttl = host.take(found).max(self.options.ttl_floor).min(self.options.ttl_ceiling);
                failed.remove(name);
                changed.extend(host.ports.keys().map(|port| Name { host: name.clone(), port: *port }));
                ttl
            }
            Err(error) => {
                host.failures = host.failures.saturating_add(1);
                if host.error.as_ref() != Some(&error) {
                    host.error = Some(error);
                    failed.insert(name.clone());
                }
                self.options.retry_after(host.failures)
            }
        };
        self.event.notify_one();
        self.looked_up.notify_waiters();
        Some(wait)
    }
}

// === impl State ===

impl State {
    fn event(&mut self, options: &ResolverOptions) -> Option<Event> {
        while let Some(name) = self.changed.pop_first() {
            let Some(host) = self.hosts.get_mut(&name.host) else { continue };
            let Some(addresses) = host.addresses(name.port, options) else { continue };
            let Some(told) = host.ports.get_mut(&name.port) else { continue };
            if told.as_ref() != Some(&addresses) {
                *told = Some(addresses.clone());
                return Some(Event::Changed { name, addresses });
            }
        }
        while let Some(name) = self.failed.pop_first() {
            if let Some(Host { error: Some(error), v4, v6, .. }) = self.hosts.get(&name) {
                let kept = options.families.choose(v4, v6).count();
                return Some(Event::Failed { host: name, error: error.clone(), kept });
            }
        }
        None
    }
}

// === impl Host ===

impl Host {
    fn new(id: u64, task: AbortHandle) -> Self {
        let ports = BTreeMap::new();
        let since = Instant::now();
        Self { id, task, since, ports, v4: vec![], v6: vec![], resolved_at: None, failures: 0, error: None }
    }

    /// Replaces what is known by what was found; gives the time it holds.
    fn take(&mut self, found: Found) -> Duration {
        let Found { v4, v6, ttl, failed } = found;
        if failed != Some(Family::V4) || !v4.is_empty() {
            self.v4 = v4;
        }
        if failed != Some(Family::V6) || !v6.is_empty() {
            self.v6 = v6;
        }
        self.resolved_at = Some(SystemTime::now());
        self.failures = 0;
        self.error = None;
        ttl
    }

    fn is_found(&self) -> bool {
        self.resolved_at.is_some()
    }

    /// Whether waiting may still bring addresses soon.
    fn is_open(&self) -> bool {
        !self.is_found() && self.error != Some(LookupError::Empty)
    }

    fn addresses(&self, port: u16, options: &ResolverOptions) -> Option<Arc<[SocketAddr]>> {
        let chosen = options.families.choose(&self.v4, &self.v6);
        self.is_found().then(|| chosen.map(|address| SocketAddr::new(*address, port)).collect())
    }
}

impl Families {
    fn choose<'a>(self, v4: &'a [IpAddr], v6: &'a [IpAddr]) -> impl Iterator<Item = &'a IpAddr> {
        let (v4, v6): (&[_], &[_]) = match self {
            Self::All | Self::V4 | Self::V6 => (v4, v6),
            Self::PreferV4 if v4.is_empty() => (&[], v6),
            Self::PreferV4 => (v4, &[]),
            Self::PreferV6 if v6.is_empty() => (v4, &[]),
            Self::PreferV6 => (&[], v6),
        };
        v4.iter().chain(v6)
    }
}
