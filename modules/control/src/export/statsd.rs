//! All statistics as statsd datagrams: counters as what they grew by, gauges as they are, histograms as quantiles.

use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::Address;
use ringway_telemetry::{ExporterStats, Family, Point, Reading, Registry, Sample, Scope};
use tokio::net::{UdpSocket, UnixDatagram};

/// Bytes of a datagram: what fits an Ethernet frame.
const DATAGRAM: usize = 1432;
/// How long a daemon's socket may be full before what there is to tell is lost.
const PATIENCE: Duration = Duration::from_millis(100);
/// Quantiles of histograms, as gauges in milliseconds.
const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (1.0, "max")];

/// How lines are written, and what counters were when they were told last.
pub(super) struct Lines {
    prefix: String,
    /// Scopes are tags (`|#envoy_cluster_name:app`, as DogStatsD has them) and not part of the names.
    tags: bool,
    told: HashMap<String, u64>,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Lines {
    pub(super) fn new(prefix: &str, tags: bool) -> Self {
        Self { prefix: prefix.to_owned(), tags, told: HashMap::new() }
    }

    /// Datagrams of everything that there is to tell.
    fn datagrams(&mut self, registry: &Registry) -> Vec<String> {
        let mut datagrams = vec![String::new()];
        let mut known = HashMap::new();
        let mut put = |line: &str| match datagrams.last_mut() {
            Some(last) if last.len() + line.len() < DATAGRAM => {
                if !last.is_empty() {
                    last.push('\n');
                }
                last.push_str(line);
            }
            _ => datagrams.push(line.to_owned()),
        };
        let mut line = String::new();
        registry.walk(&mut |sample| {
            let mut tell = |suffix: &str, value: &dyn std::fmt::Display, kind: &str| {
                line.clear();
                self.line(&mut line, sample, suffix, value, kind);
                put(&line);
            };
            match &sample.value {
                Reading::Counter(value) => {
                    let before = self.told.get(sample.full_name).copied().unwrap_or(0);
                    known.insert(sample.full_name.to_owned(), *value);
                    // A scope that came anew begins at zero.
                    let grown = value.checked_sub(before).unwrap_or(*value);
                    if grown > 0 {
                        tell("", &grown, "c");
                    }
                }
                Reading::Gauge(value) => tell("", value, "g"),
                Reading::Histogram(reading) => {
                    let hdr = reading.to_hdr();
                    for (quantile, name) in QUANTILES {
                        tell(name, &(hdr.value_at_quantile(quantile) as f64 / 1000.0), "g");
                    }
                }
            }
        });
        // Labels need tags.
        let families = registry.istio().filter(|_| self.tags).map(|istio| istio.families()).unwrap_or_default();
        families.iter().for_each(|family| self.labelled(family, &mut known, &mut put));
        self.told = known;
        datagrams.retain(|datagram| !datagram.is_empty());
        datagrams
    }

    /// What a metric of Istio's grew by; histograms are told as their number and sum.
    fn labelled(&self, family: &Family, known: &mut HashMap<String, u64>, put: &mut impl FnMut(&str)) {
        for (labels, point) in &family.series {
            let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}:{}", plain(value))).collect();
            let mut tell = |part: &str, value: u64, show: fn(u64) -> String| {
                let (name, tags) = (format!("{}.{}_{part}", self.prefix, family.name), pairs.join(","));
                let key = format!("{name}#{tags}");
                let before = self.told.get(&key).copied().unwrap_or(0);
                let grown = value.checked_sub(before).unwrap_or(value);
                known.insert(key, value);
                if grown > 0 {
                    put(&format!("{name}:{}|c|#{tags}", show(grown)));
                }
            };
            match point {
                Point::Counter(value) => tell("total", *value, |grown| grown.to_string()),
                Point::Histogram(buckets, sum) => {
                    tell("count", buckets.iter().map(|bucket| bucket.count).sum(), |grown| grown.to_string());
                    // Sums are told to the thousandth.
                    tell("sum", (sum * 1000.0).round() as u64, |grown| (grown as f64 / 1000.0).to_string());
                }
            }
        }
    }

    fn line(&self, line: &mut String, sample: &Sample<'_>, suffix: &str, value: &dyn std::fmt::Display, kind: &str) {
        let name = if self.tags { sample.name } else { sample.full_name };
        let scope = if self.tags { format!("{}.", sample.set.prefix) } else { String::new() };
        let dot = if suffix.is_empty() { "" } else { "." };
        let written = write!(line, "{}.{scope}{}{dot}{suffix}:{value}|{kind}", self.prefix, plain(name));
        debug_assert!(written.is_ok(), "a string takes everything");
        if let (true, Some(label)) = (self.tags, sample.set.label) {
            let written = write!(line, "|#{label}:{}", plain(sample.scope));
            debug_assert!(written.is_ok(), "a string takes everything");
        }
    }
}

/// What delimits the parts of a line cannot be in them.
fn plain(name: &str) -> String {
    name.chars().map(|c| if matches!(c, ':' | '|' | '@' | '#' | ',' | '\n') { '_' } else { c }).collect()
}

impl Socket {
    async fn open(to: &Address) -> io::Result<Self> {
        match to {
            Address::Ip(to) => {
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(to).await?;
                Ok(Self::Udp(socket))
            }
            Address::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Self::Unix(socket))
            }
        }
    }

    /// Waits until a datagram can be sent; not for long.
    async fn ready(&self) -> io::Result<()> {
        let ready = async {
            match self {
                Self::Udp(socket) => socket.writable().await,
                Self::Unix(socket) => socket.writable().await,
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Sends without waiting: a daemon that is behind loses datagrams, as statsd is meant to.
    fn send(&self, datagram: &str) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.try_send(datagram.as_bytes()),
            Self::Unix(socket) => socket.try_send(datagram.as_bytes()),
        }
    }
}

/// Tells a daemon at each interval, for ever.
pub(super) async fn run(
    registry: Arc<Registry>,
    to: Address,
    mut lines: Lines,
    interval: Duration,
    scope: Arc<Scope<ExporterStats>>,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut socket = None;
    loop {
        ticks.tick().await;
        if socket.is_none() {
            socket = Socket::open(&to).await.ok();
        }
        if let Some(open) = &socket
            && open.ready().await.is_err()
        {
            socket = None;
        }
        let datagrams = lines.datagrams(&registry);
        let stats = scope.control();
        for datagram in &datagrams {
            let sent = socket.as_ref().map(|socket| socket.send(datagram));
            let records = datagram.lines().count() as u64;
            stats.requests.inc();
            match sent {
                Some(Ok(_)) => stats.sent.add(records),
                Some(Err(error)) => {
                    stats.failed.add(records);
                    // A daemon that came anew has another socket.
                    if error.kind() != io::ErrorKind::WouldBlock {
                        socket = None;
                    }
                }
                None => stats.failed.add(records),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ringway_telemetry::{Bucket, Unit};

    use super::*;

    #[test]
    fn labels_are_tags_and_histograms_their_number_and_sum() {
        let family = |name, unit, point| {
            let labels = Arc::new(vec![("source_workload", "a|b".to_owned()), ("response_code", "200".to_owned())]);
            Family { name, help: "", unit, series: vec![(labels, point)] }
        };
        let bucket = |count| Bucket { bound: f64::INFINITY, count, exemplar: None };
        let mut lines = Lines::new("ringway", true);
        for (requests, count, sum, expected) in [
            (3, 2, 4.5, ["istio_requests_total:3|c", "istio_request_bytes_count:2|c", "istio_request_bytes_sum:4.5|c"]),
            (4, 5, 5.0, ["istio_requests_total:1|c", "istio_request_bytes_count:3|c", "istio_request_bytes_sum:0.5|c"]),
        ] {
            let (mut known, mut told) = (HashMap::new(), Vec::new());
            for family in [
                family("istio_requests", Unit::One, Point::Counter(requests)),
                family("istio_request_bytes", Unit::Bytes, Point::Histogram(vec![bucket(count)], sum)),
            ] {
                lines.labelled(&family, &mut known, &mut |line: &str| told.push(line.to_owned()));
            }
            lines.told = known;
            let expected = expected.map(|line| format!("ringway.{line}|#source_workload:a_b,response_code:200"));
            assert_eq!(told, expected);
        }
    }
}
