//! What Prometheus reads: its text format, and OpenMetrics.

use std::borrow::Cow;
use std::fmt;
use std::time::UNIX_EPOCH;

use super::{Order, Query, Reading, Sample, millis, put};
use crate::{Family, Point, Registry, Unit};

/// The bounds of histogram buckets in microseconds: Envoy's, as far as a histogram reaches.
const BOUNDS_US: [u64; 17] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
];

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    /// Prometheus' text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    ///
    /// There a counter's samples end in `_total`. Names are Envoy's, whoever asks in whichever format: one that ends
    /// otherwise is of the type `unknown`.
    OpenMetrics,
}

pub(super) fn render(registry: &Registry, query: &Query<'_>, exposition: Exposition) -> String {
    let mut out = String::new();
    let mut last_family = String::new();
    registry.each(Order::ByName, query, &mut |sample| {
        let (family, class) = sample.family();
        if family != last_family {
            let kind = match sample.value {
                Reading::Counter(_) => "counter",
                Reading::Gauge(_) => "gauge",
                Reading::Histogram(_) => "histogram",
            };
            // One family, one help: what tells its rows apart is the label.
            let help = if class.is_some() { "Responses by class of their status." } else { sample.help };
            exposition.head(&mut out, &family, kind, help);
            last_family.clone_from(&family);
        }
        write_sample(&mut out, exposition, &family, class, sample);
    });
    if let Some(istio) = registry.istio() {
        let families = istio.families();
        let wanted = families.iter().filter(|family| query.filter.passes(family.name));
        wanted.for_each(|family| write_family(&mut out, exposition, family));
    }
    if exposition == Exposition::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

impl Exposition {
    fn head(self, out: &mut String, family: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        match (self, kind, family.strip_suffix("_total")) {
            (Self::OpenMetrics, "counter", Some(family)) => {
                put!(out, "# HELP {family} {help}\n# TYPE {family} counter\n");
            }
            (Self::OpenMetrics, "counter", None) => put!(out, "# HELP {family} {help}\n# TYPE {family} unknown\n"),
            _ => put!(out, "# HELP {family} {help}\n# TYPE {family} {kind}\n"),
        }
    }

    /// A bucket's bound: OpenMetrics wants floating-point numbers to look like such.
    fn bound(self, bound: f64) -> Bound {
        Bound(self, bound)
    }
}

struct Bound(Exposition, f64);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(_, bound) if bound.is_infinite() => f.write_str("+Inf"),
            Self(Exposition::Prometheus, bound) => write!(f, "{bound}"),
            Self(Exposition::OpenMetrics, bound) => write!(f, "{bound:?}"),
        }
    }
}

fn write_sample(out: &mut String, exposition: Exposition, family: &str, class: Option<&str>, sample: &Sample<'_>) {
    let labels = |le: Option<f64>| {
        let scope = sample.set.label.map(|label| (label, sample.scope));
        Labels { class, scope, le: le.map(|le| exposition.bound(le)) }
    };
    match &sample.value {
        Reading::Counter(value) | Reading::Gauge(value) => put!(out, "{family}{} {value}\n", labels(None)),
        Reading::Histogram(reading) => {
            for (bound, count) in BOUNDS_US.iter().zip(reading.cumulative(&BOUNDS_US)) {
                put!(out, "{family}_bucket{} {count}\n", labels(Some(millis(*bound))));
            }
            let count = reading.count();
            put!(out, "{family}_bucket{} {count}\n", labels(Some(f64::INFINITY)));
            put!(out, "{family}_sum{} {}\n", labels(None), millis(reading.sum_us()));
            put!(out, "{family}_count{} {count}\n", labels(None));
        }
    }
}

/// A metric of Istio's.
fn write_family(out: &mut String, exposition: Exposition, family: &Family) {
    let Family { name, help, unit, series } = family;
    let of_counters = series.iter().all(|(_, point)| matches!(point, Point::Counter(_)));
    match of_counters {
        true => exposition.head(out, &format!("{name}_total"), "counter", help),
        false => exposition.head(out, name, "histogram", help),
    }
    let unit = match unit {
        Unit::One => None,
        Unit::Milliseconds => Some("milliseconds"),
        Unit::Bytes => Some("bytes"),
    };
    if let (Exposition::OpenMetrics, Some(unit)) = (exposition, unit) {
        put!(out, "# UNIT {name} {unit}\n");
    }
    let mut text = String::new();
    for (labels, point) in series {
        text.clear();
        for (label, value) in &**labels {
            let comma = if text.is_empty() { "" } else { "," };
            put!(&mut text, "{comma}{label}=\"{}\"", escaped(value));
        }
        match point {
            Point::Counter(value) => put!(out, "{name}_total{{{text}}} {value}\n"),
            Point::Histogram(buckets, sum) => {
                let mut seen = 0;
                for bucket in buckets {
                    seen += bucket.count;
                    put!(out, "{name}_bucket{{{text},le=\"{}\"}} {seen}", exposition.bound(bucket.bound));
                    if let (Exposition::OpenMetrics, Some(exemplar)) = (exposition, &bucket.exemplar) {
                        let at = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                        put!(out, " # {{trace_id=\"{:032x}\"}} {} {at:.3}", exemplar.trace, millis(exemplar.us));
                    }
                    out.push('\n');
                }
                put!(out, "{name}_sum{{{text}}} {sum}\n{name}_count{{{text}}} {seen}\n");
            }
        }
    }
}

/// A label's value as the formats have it.
fn escaped(value: &str) -> Cow<'_, str> {
    match value.contains(['\\', '"', '\n']) {
        true => value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into(),
        false => value.into(),
    }
}

/// Parts `downstream_rq_2xx` into `downstream_rq_xx` and its class, which Envoy shows as a label.
pub(super) fn response_class(name: &str) -> (&str, Option<&'static str>) {
    let classes = ["1", "2", "3", "4", "5"];
    for base in ["downstream_rq_xx", "upstream_rq_xx"] {
        let class = base.strip_suffix("xx").and_then(|stem| name.strip_prefix(stem)?.strip_suffix("xx"));
        if let Some(class) = class.and_then(|class| classes.into_iter().find(|known| *known == class)) {
            return (base, Some(class));
        }
    }
    (name, None)
}

struct Labels<'a> {
    class: Option<&'a str>,
    scope: Option<(&'a str, &'a str)>,
    le: Option<Bound>,
}

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut open = '{';
        if let Some(class) = self.class {
            write!(f, "{open}envoy_response_code_class=\"{class}\"")?;
            open = ',';
        }
        if let Some((label, value)) = self.scope {
            write!(f, "{open}{label}=\"{}\"", escaped(value))?;
            open = ',';
        }
        match &self.le {
            Some(le) => write!(f, "{open}le=\"{le}\"")?,
            None if open == '{' => return Ok(()),
            None => {}
        }
        f.write_str("}")
    }
}
