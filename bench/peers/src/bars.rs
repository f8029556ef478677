//! The bars that Ringway is held to, and whether a run met them.

use crate::metric::{self, Metric};
use crate::report::Table;

/// Whose bars these are.
const SUBJECT: &str = "ringway";

/// One bar: a figure of a scenario and its limit.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) scenario: &'static str,
    pub(crate) metric: &'static Metric,
    pub(crate) limit: Limit,
}

/// The most that a figure may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Absolute(f64),
    /// Times the same figure of the best of these peers, all of which must have run.
    TimesBest(f64, &'static [&'static str]),
}

/// How a bar came out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Met {
        figure: f64,
        allowed: f64,
    },
    NotMet {
        figure: f64,
        allowed: f64,
    },
    /// Something it needs did not run.
    Open(String),
}

const fn bar(scenario: &'static str, metric: &'static Metric, limit: Limit) -> Bar {
    Bar { scenario, metric, limit }
}

/// Every bar.
pub(crate) const BARS: &[Bar] = &[
    bar("h1-1k-c64", &metric::CPU_US, Limit::TimesBest(1.18, &["pump"])),
    bar("h1-1k-c64", &metric::CPU_US, Limit::TimesBest(0.90, &["nginx"])),
    bar("h1-1k-c64", &metric::CPU_US, Limit::TimesBest(0.33, &["envoy"])),
    bar("h1-1k-c64", &metric::P99_US, Limit::TimesBest(1.0, &["nginx", "haproxy", "envoy"])),
    bar("h1-1k-c64", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("h1-64k-c64", &metric::CPU_US, Limit::TimesBest(0.90, &["nginx", "haproxy"])),
    bar("h1-64k-c64", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("h1-post16k-c64", &metric::CPU_US, Limit::TimesBest(0.80, &["nginx", "haproxy"])),
    bar("h1-post16k-c64", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("tcp-1k-c64", &metric::CPU_US, Limit::TimesBest(1.08, &["pump"])),
    bar("tcp-1k-c64", &metric::CPU_US, Limit::TimesBest(0.97, &["nginx", "haproxy"])),
    bar("tcp-1k-c64", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("dubbo-1k-c64", &metric::CPU_US, Limit::TimesBest(1.25, &["pump"])),
    bar("dubbo-1k-c64", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("h1-1k-c1", &metric::P50_US, Limit::TimesBest(1.0, &["nginx"])),
    bar("h1-1k-c1", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("tls-h1-1k-c64", &metric::CPU_US, Limit::TimesBest(0.95, &["nginx", "haproxy"])),
    bar("tls-h1-1k-c64", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("tls-handshake", &metric::CPU_US, Limit::TimesBest(1.0, &["nginx", "haproxy", "envoy", "pingora"])),
    bar("tls-handshake", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("h2-tls-to-h1", &metric::CPU_US, Limit::TimesBest(0.80, &["pingora"])),
    bar("h2-tls-to-h1", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("h2c-to-h2c", &metric::CPU_US, Limit::TimesBest(0.85, &["pingora"])),
    bar("h2c-to-h2c", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("grpc-unary", &metric::CPU_US, Limit::TimesBest(0.60, &["envoy"])),
    bar("grpc-unary", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("logged-h1-1k-c64", &metric::FEATURE_RATIO, Limit::Absolute(1.10)),
    bar("traced-1-h1-1k-c64", &metric::FEATURE_RATIO, Limit::Absolute(1.03)),
    bar("traced-100-h1-1k-c64", &metric::FEATURE_RATIO, Limit::Absolute(1.35)),
    bar("mesh-h1-1k-c64", &metric::FEATURE_RATIO, Limit::Absolute(1.10)),
    bar("mesh-h1-1k-c64", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("unix-h1-1k-c64", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("tls-idle-4k", &metric::IDLE_BYTES, Limit::Absolute(6000.0)),
    bar("idle-10k", &metric::IDLE_BYTES, Limit::Absolute(1000.0)),
    // Zero at the resolution of the measurement: half a millisecond in five seconds.
    bar("idle-10k", &metric::IDLE_CPU, Limit::Absolute(0.01)),
    bar("swap-10k-routes", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("swap-10k-routes", &metric::SWAPS_MISSED, Limit::Absolute(0.0)),
    bar("swap-10k-routes", &metric::P99_RATIO, Limit::Absolute(1.15)),
    bar("slow-readers", &metric::ERRORS, Limit::Absolute(0.0)),
    bar("slow-readers", &metric::P99_RATIO, Limit::Absolute(1.15)),
];

impl Bar {
    /// What it demands, in words.
    pub(crate) fn demand(&self) -> String {
        let limit = match self.limit {
            Limit::Absolute(limit) => format!("{limit}"),
            Limit::TimesBest(factor, [peer]) => format!("{factor:.2} x {peer}"),
            Limit::TimesBest(factor, peers) => format!("{factor:.2} x the best of {}", peers.join(", ")),
        };
        format!("{} <= {limit}", self.metric.title)
    }

    /// How it came out in `tables`; `None` if its scenario did not run.
    pub(crate) fn judge(&self, tables: &[Table]) -> Option<Verdict> {
        let table = tables.iter().find(|t| t.scenario == self.scenario)?;
        Some(self.verdict(table).unwrap_or_else(Verdict::Open))
    }

    fn verdict(&self, table: &Table) -> Result<Verdict, String> {
        let overall = |peer| table.overall(peer, self.metric).ok_or_else(|| format!("no figure of {peer}"));
        let figure = overall(SUBJECT)?;
        let allowed = match self.limit {
            Limit::Absolute(limit) => limit,
            Limit::TimesBest(factor, peers) => {
                let figures: Vec<f64> = peers.iter().map(|p| overall(p)).collect::<Result<_, _>>()?;
                factor * figures.into_iter().fold(f64::INFINITY, f64::min)
            }
        };
        let met = figure <= allowed;
        Ok(if met { Verdict::Met { figure, allowed } } else { Verdict::NotMet { figure, allowed } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::report::tests::table;

    #[test]
    fn bars_name_what_exists() {
        let catalog = Catalog::built_in().unwrap();
        for bar in BARS {
            let scenario = catalog.scenario(bar.scenario).expect(bar.scenario);
            assert!(scenario.columns().contains(&bar.metric), "{}: {}", bar.scenario, bar.demand());
            if let Limit::TimesBest(_, names) = bar.limit {
                assert!(names.iter().all(|n| catalog.peer(n).is_some()));
            }
        }
    }

    #[test]
    fn verdicts() {
        let bar = bar("h1-1k-c64", &metric::CPU_US, Limit::TimesBest(0.9, &["nginx", "haproxy"]));
        let judge = |rows: &[(&'static str, f64)]| bar.judge(&[table("h1-1k-c64", rows)]).unwrap();
        let met = judge(&[("ringway", 9.0), ("nginx", 20.0), ("haproxy", 10.0)]);
        assert_eq!(met, Verdict::Met { figure: 9.0, allowed: 9.0 });
        assert!(matches!(judge(&[("ringway", 9.1), ("nginx", 10.0), ("haproxy", 12.0)]), Verdict::NotMet { .. }));
        assert_eq!(judge(&[("ringway", 9.1), ("nginx", 10.0)]), Verdict::Open("no figure of haproxy".into()));
        assert_eq!(bar.judge(&[table("other", &[])]), None);
    }
}
