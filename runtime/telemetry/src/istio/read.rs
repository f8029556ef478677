//! The tables of all workers added up under Istio's labels. On the control plane.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Istio;
use super::buckets::{DURATIONS_US, Exemplar, SIZES};
use super::facts::Facts;
use super::mesh::{MeshService, Reporter, Workload, namespace_of};
use super::table::Counts;

/// Label names and values. A value that is not known is `unknown`.
pub type Labels = Vec<(&'static str, String)>;

/// A metric with all of its series.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name without `_total`: `istio_requests`.
    pub name: &'static str,
    /// What it counts, one sentence.
    pub help: &'static str,
    /// What it is measured in.
    pub unit: Unit,
    /// Its series, by labels.
    pub series: Vec<(Arc<Labels>, Point)>,
}

/// What a metric is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    One,
    /// Time.
    Milliseconds,
    /// Sizes.
    Bytes,
}

/// What a series holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    /// It only grows.
    Counter(u64),
    /// In the family's unit: what each bucket has, ascending, and the sum of all.
    Histogram(Vec<Bucket>, f64),
}

/// What lies above the bound of the bucket before and not above its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The bound; infinite for the last.
    pub bound: f64,
    /// How many.
    pub count: u64,
    /// One of them.
    pub exemplar: Option<Exemplar>,
}

/// How many requests and connections were counted as one when last seen, for want of room in what all workers share.
#[derive(Default)]
pub(super) struct Shown(Mutex<u64>);

/// The sum of some [`Counts`].
#[derive(Clone, Default)]
struct Sum {
    began: u64,
    closed: u64,
    received: u64,
    sent: u64,
    http: Option<Box<HttpSum>>,
}

#[derive(Clone, Default)]
struct HttpSum {
    durations: Vec<u64>,
    sum_us: u64,
    exemplars: Vec<Option<Exemplar>>,
    sizes: [Vec<u64>; 2],
    sums: [u64; 2],
}

/// The series of the same facts, of all workers.
#[derive(Default)]
struct Same<'a> {
    sum: Sum,
    shown: bool,
    members: Vec<&'a AtomicBool>,
}

impl Istio {
    /// All metrics. What does not fit [`Mesh::max_series`](super::Mesh::max_series) over all workers is counted together
    /// under labels that say `overflow`; what was shown once is shown for ever.
    pub fn families(&self) -> Vec<Family> {
        let mut all: HashMap<Facts<'_>, Same<'_>> = HashMap::new();
        let mut overflow = [Sum::default(), Sum::default()];
        for table in &self.tables {
            for (facts, counts, shown) in table.series() {
                let same = all.entry(facts).or_default();
                same.sum.add(counts);
                same.shown |= shown.load(Ordering::Relaxed);
                same.members.push(shown);
            }
            overflow.iter_mut().zip([false, true]).for_each(|(sum, tcp)| sum.add(table.overflow(tcp)));
        }
        let mut room = self.mesh.max_series.saturating_sub(all.values().filter(|same| same.shown).count());
        let mut folded = 0;
        let mut series: [BTreeMap<Arc<Labels>, Sum>; 2] = Default::default();
        let [http, of_bytes] = &mut series;
        let mut shown = 0;
        for (facts, same) in all {
            if !same.shown && room == 0 {
                folded += same.sum.began;
                let [http, of_bytes] = &mut overflow;
                if facts.tcp { of_bytes } else { http }.merge(&same.sum);
                continue;
            }
            room -= usize::from(!same.shown);
            shown += 1;
            same.members.iter().for_each(|member| member.store(true, Ordering::Relaxed));
            // Two clusters may be one service: what has the same labels is one series.
            let of_kind = if facts.tcp { &mut *of_bytes } else { &mut *http };
            of_kind.entry(Arc::new(self.labels(&facts))).or_default().merge(&same.sum);
        }
        for ((series, sum), tcp) in series.iter_mut().zip(&overflow).zip([false, true]) {
            if sum.began + sum.closed > 0 {
                series.insert(Arc::new(overflow_labels(tcp)), sum.clone());
            }
        }
        let cells = self.stats.control();
        cells.label_sets.set(shown);
        let mut before = self.shown.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.overflowed.add(folded.saturating_sub(std::mem::replace(&mut *before, folded)));
        let [http, of_bytes] = &series;
        families(http, of_bytes)
    }

    fn labels(&self, facts: &Facts<'_>) -> Labels {
        let service = self.mesh.services.get(facts.cluster).cloned();
        let service = service.or_else(|| MeshService::of_cluster(facts.cluster)).unwrap_or_default();
        let namespace = namespace_of(facts.peer).unwrap_or_default();
        let peer = |known: Workload| Workload {
            principal: if facts.peer.is_empty() { known.principal } else { facts.peer.into() },
            namespace: if known.namespace.is_empty() { namespace.into() } else { known.namespace },
            ..known
        };
        let local = self.mesh.local.clone();
        let (source, destination, security) = match facts.reporter {
            Reporter::Source => (local, peer(service.workload), "unknown"),
            Reporter::Destination if facts.mutual_tls => (peer(Workload::default()), local, "mutual_tls"),
            Reporter::Destination => (peer(Workload::default()), local, "none"),
        };
        let authority = facts.authority.to_ascii_lowercase();
        let host = first([&service.host, &authority, facts.cluster]);
        let name = first([&service.name, &service.host, &authority, facts.cluster]);
        let service_namespace = first([&service.namespace, &destination.namespace]);
        let values = [
            facts.reporter.name().to_owned(),
            known(&source.name),
            known(&source.canonical_service),
            known(&source.canonical_revision),
            known(&source.namespace),
            known(&source.principal),
            known(&source.app),
            known(&source.version),
            known(&source.cluster),
            known(&destination.name),
            known(&destination.namespace),
            known(&destination.principal),
            known(&destination.app),
            known(&destination.version),
            known(host),
            known(&destination.canonical_service),
            known(&destination.canonical_revision),
            known(name),
            known(service_namespace),
            known(&destination.cluster),
            facts.protocol.to_owned(),
            facts.flags.to_string(),
            security.to_owned(),
            facts.code.to_string(),
            facts.grpc_status.map(|status| status.to_string()).unwrap_or_default(),
        ];
        named(values, facts.tcp)
    }
}

impl Sum {
    fn add(&mut self, counts: &Counts) {
        self.began += counts.began.value();
        self.closed += counts.closed.value();
        self.received += counts.received.value();
        self.sent += counts.sent.value();
        if let Some(http) = counts.http.get() {
            let sum = self.http.get_or_insert_default();
            add_all(&mut sum.durations, http.duration.counts());
            sum.sum_us += http.duration.sum_us();
            newest(&mut sum.exemplars, http.duration.exemplars());
            let [request, response] = &mut sum.sizes;
            add_all(request, http.request_bytes.counts());
            add_all(response, http.response_bytes.counts());
            let more = [http.request_bytes.sum(), http.response_bytes.sum()];
            sum.sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.began += other.began;
        self.closed += other.closed;
        self.received += other.received;
        self.sent += other.sent;
        if let Some(http) = &other.http {
            let sum = self.http.get_or_insert_default();
            add_all(&mut sum.durations, http.durations.iter().copied());
            sum.sum_us += http.sum_us;
            newest(&mut sum.exemplars, http.exemplars.iter().copied());
            sum.sizes.iter_mut().zip(&http.sizes).for_each(|(sum, more)| add_all(sum, more.iter().copied()));
            sum.sums.iter_mut().zip(http.sums).for_each(|(sum, more)| *sum += more);
        }
    }
}

fn families(http: &BTreeMap<Arc<Labels>, Sum>, of_bytes: &BTreeMap<Arc<Labels>, Sum>) -> Vec<Family> {
    let family = |name, help, unit, of: &BTreeMap<Arc<Labels>, Sum>, point: fn(&Sum) -> Point| Family {
        name,
        help,
        unit,
        series: of.iter().map(|(labels, sum)| (Arc::clone(labels), point(sum))).collect(),
    };
    let mut families = vec![
        family("istio_requests", "Requests.", Unit::One, http, |sum| Point::Counter(sum.began)),
        family(
            "istio_request_duration_milliseconds",
            "From a request's first byte to the end of its response.",
            Unit::Milliseconds,
            http,
            |sum| sum.http().durations(),
        ),
        family("istio_request_bytes", "Content of requests.", Unit::Bytes, http, |sum| sum.http().sizes(0)),
        family("istio_response_bytes", "Content of responses.", Unit::Bytes, http, |sum| sum.http().sizes(1)),
        family("istio_tcp_sent_bytes", "Bytes sent to clients of connections.", Unit::Bytes, of_bytes, |sum| {
            Point::Counter(sum.sent)
        }),
        family(
            "istio_tcp_received_bytes",
            "Bytes received from clients of connections.",
            Unit::Bytes,
            of_bytes,
            |sum| Point::Counter(sum.received),
        ),
        family("istio_tcp_connections_opened", "Connections opened.", Unit::One, of_bytes, |sum| {
            Point::Counter(sum.began)
        }),
        family("istio_tcp_connections_closed", "Connections closed.", Unit::One, of_bytes, |sum| {
            Point::Counter(sum.closed)
        }),
    ];
    families.retain(|family| !family.series.is_empty());
    families
}

impl Sum {
    fn http(&self) -> HttpSum {
        self.http.as_deref().cloned().unwrap_or_default()
    }
}

impl HttpSum {
    fn durations(&self) -> Point {
        let bounds = DURATIONS_US.iter().map(|us| *us as f64 / 1000.0).chain([f64::INFINITY]);
        let exemplars = self.exemplars.iter().copied().chain(std::iter::repeat(None));
        let counts = self.durations.iter().copied().chain(std::iter::repeat(0));
        let buckets = bounds.zip(counts).zip(exemplars);
        let buckets = buckets.map(|((bound, count), exemplar)| Bucket { bound, count, exemplar }).collect();
        Point::Histogram(buckets, self.sum_us as f64 / 1000.0)
    }

    fn sizes(&self, which: usize) -> Point {
        let bounds = SIZES.iter().map(|bytes| *bytes as f64).chain([f64::INFINITY]);
        let counts = self.sizes.get(which).into_iter().flatten().copied().chain(std::iter::repeat(0));
        let buckets = bounds.zip(counts).map(|(bound, count)| Bucket { bound, count, exemplar: None }).collect();
        Point::Histogram(buckets, self.sums.get(which).copied().unwrap_or(0) as f64)
    }
}

fn add_all(to: &mut Vec<u64>, more: impl Iterator<Item = u64>) {
    for (at, more) in more.enumerate() {
        match to.get_mut(at) {
            Some(sum) => *sum += more,
            None => to.push(more),
        }
    }
}

/// Of two exemplars of a bucket the newer.
fn newest(to: &mut Vec<Option<Exemplar>>, more: impl Iterator<Item = Option<Exemplar>>) {
    for (at, more) in more.enumerate() {
        match to.get_mut(at) {
            Some(known) => {
                let newer = more.filter(|more| known.is_none_or(|known| known.at < more.at));
                *known = newer.or(*known);
            }
            None => to.push(more),
        }
    }
}

fn first<const N: usize>(candidates: [&str; N]) -> &str {
    candidates.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

fn known(value: &str) -> String {
    if value.is_empty() { "unknown".to_owned() } else { value.to_owned() }
}

/// The names of labels. Connections of bytes do without the last two.
const NAMES: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_flags",
    "connection_security_policy",
    "response_code",
    "grpc_response_status",
];

fn named(values: [String; NAMES.len()], tcp: bool) -> Labels {
    NAMES.into_iter().zip(values).take(if tcp { NAMES.len() - 2 } else { NAMES.len() }).collect()
}

/// The labels of what has none of its own.
fn overflow_labels(tcp: bool) -> Labels {
    named(std::array::from_fn(|_| "overflow".to_owned()), tcp)
}
