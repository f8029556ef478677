//! Prometheus' text format, version 0.0.4.

use std::fmt;

use super::{Order, Query, Reading, Sample, millis, put};
use crate::Registry;

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

pub(super) fn render(registry: &Registry, query: &Query<'_>) -> String {
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
            put!(&mut out, "# HELP {family} {}\n# TYPE {family} {kind}\n", help.replace('\\', "\\\\"));
            last_family.clone_from(&family);
        }
        write_sample(&mut out, &family, class, sample);
    });
    out
}

fn write_sample(out: &mut String, family: &str, class: Option<&str>, sample: &Sample<'_>) {
    let labels = |le| Labels { class, scope: sample.set.label.map(|label| (label, sample.scope)), le };
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
    le: Option<f64>,
}

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut open = '{';
        if let Some(class) = self.class {
            write!(f, "{open}envoy_response_code_class=\"{class}\"")?;
            open = ',';
        }
        if let Some((label, value)) = self.scope {
            // Scope names hold no control characters; these two are what the format escapes besides.
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "{open}{label}=\"{value}\"")?;
            open = ',';
        }
        match self.le {
            Some(le) if le.is_infinite() => write!(f, "{open}le=\"+Inf\"")?,
            Some(le) => write!(f, "{open}le=\"{le}\"")?,
            None if open == '{' => return Ok(()),
            None => {}
        }
        f.write_str("}")
    }
}
