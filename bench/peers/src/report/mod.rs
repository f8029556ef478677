//! The results, and how they are written down.

mod json;
mod markdown;
mod plot;

use crate::machine::Machine;
use crate::metric::Metric;
use crate::rounds::Row;
use crate::scenarios::Scenario;
use crate::stats::{self, Sample, Summary};

pub(crate) use json::json;
pub(crate) use markdown::{markdown, table_text};
pub(crate) use plot::plot;

/// All that a run found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// One line on how it was measured.
    pub(crate) method: String,
    /// Name and version, or the reason for being skipped.
    pub(crate) peers: Vec<(&'static str, Result<String, String>)>,
    pub(crate) tables: Vec<Table>,
}

/// The rounds of one scenario.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) scenario: &'static str,
    pub(crate) about: String,
    pub(crate) columns: &'static [&'static Metric],
    pub(crate) primary: &'static Metric,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(scenario: &dyn Scenario, rows: Vec<Row>) -> Self {
        let (columns, primary) = (scenario.columns(), scenario.primary());
        Self { scenario: scenario.name(), about: scenario.about(), columns, primary, rows }
    }

    /// The rounds of `peer`, if it ran.
    pub(crate) fn samples(&self, peer: &str) -> Option<&[Sample]> {
        self.rows.iter().find(|r| r.peer == peer)?.outcome.as_deref().ok()
    }

    /// What stands for all rounds of `peer`.
    pub(crate) fn overall(&self, peer: &str, metric: &Metric) -> Option<f64> {
        stats::overall(self.samples(peer)?, metric)
    }

    /// Median and range of `metric` over the rounds of `peer`.
    pub(crate) fn summary(&self, peer: &str, metric: &Metric) -> Option<Summary> {
        stats::summarise(self.samples(peer)?, metric)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::metric::{CPU_US, RATE};
    use crate::stats::Disturbance;

    /// A table with two rounds per row, the second 10 % above the first.
    pub(crate) fn table(scenario: &'static str, rows: &[(&'static str, f64)]) -> Table {
        let sample = |value: f64| {
            let mut sample = Sample::default();
            sample.set(&CPU_US, value);
            sample
        };
        let row = |(peer, value): &(&'static str, f64)| Row { peer, outcome: Ok(vec![sample(*value); 2]) };
        let rows = rows.iter().map(row).collect();
        Table { scenario, about: "About it.".into(), columns: &[&CPU_US, &RATE], primary: &CPU_US, rows }
    }

    pub(crate) fn report() -> Report {
        let mut table = table("h1-1k-c64", &[("ringway", 9.0), ("nginx", 18.0)]);
        table.rows.push(Row { peer: "envoy", outcome: Err("skipped: no envoy".into()) });
        if let Some(Ok([_, second])) = table.rows.get_mut(1).map(|r| r.outcome.as_deref_mut()) {
            second.set(&CPU_US, 20.0);
            second.disturbed = Some(Disturbance::Steal(0.05));
            second.note = Some("status 502".into());
        }
        let machine = Machine { cpu: "A CPU".into(), cores: 2, kernel: "6.18".into(), date: "2026-01-01".into() };
        let peers = vec![("nginx", Ok("1.22".into())), ("envoy", Err("no envoy".into()))];
        Report { machine, method: "Two rounds.".into(), peers, tables: vec![table] }
    }

    #[test]
    fn skipped_peers_have_no_summary() {
        let report = report();
        let table = &report.tables[0];
        assert!(table.summary("envoy", &CPU_US).is_none());
        assert_eq!(table.summary("nginx", &CPU_US).unwrap().median, 19.0);
    }
}
