//! The report as JSON: every round, so that it can be judged again later.

use serde_json::{Map, Value, json as object};

use super::{Report, Table};
use crate::bars::{BARS, Verdict};
use crate::rounds::Row;
use crate::stats::Sample;

/// The whole report.
pub(crate) fn json(report: &Report) -> Value {
    let machine = &report.machine;
    let peer = |(name, found): &(&'static str, Result<String, String>)| {
        let value = match found {
            Ok(version) => object!({ "version": version }),
            Err(why) => object!({ "skipped": why }),
        };
        ((*name).to_owned(), value)
    };
    object!({
        "machine": { "cpu": machine.cpu, "cores": machine.cores, "kernel": machine.kernel, "date": machine.date },
        "method": report.method,
        "peers": report.peers.iter().map(peer).collect::<Map<_, _>>(),
        "scenarios": report.tables.iter().map(table).collect::<Vec<_>>(),
        "bars": bars(&report.tables),
    })
}

fn table(table: &Table) -> Value {
    let row = |row: &Row| match &row.outcome {
        Err(why) => object!({ "peer": row.peer, "failed": why }),
        Ok(samples) => object!({
            "peer": row.peer,
            "median": medians(table, row.peer),
            "rounds": samples.iter().map(|s| round(table, s)).collect::<Vec<_>>(),
        }),
    };
    object!({
        "name": table.scenario,
        "about": table.about,
        "primary": table.primary.key,
        "rows": table.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn medians(table: &Table, peer: &str) -> Map<String, Value> {
    let median = |metric: &&'static crate::metric::Metric| {
        let summary = table.summary(peer, metric)?;
        let value = object!({ "median": summary.median, "min": summary.min, "max": summary.max });
        Some((metric.key.to_owned(), value))
    };
    table.columns.iter().filter_map(median).collect()
}

fn round(table: &Table, sample: &Sample) -> Value {
    let value = |m: &&'static crate::metric::Metric| Some((m.key.to_owned(), sample.value(m)?.into()));
    let mut round: Map<String, Value> = table.columns.iter().filter_map(value).collect();
    let mut remark = |key: &str, text: &Option<String>| {
        if let Some(text) = text {
            round.insert(key.to_owned(), text.clone().into());
        }
    };
    remark("disturbed", &sample.disturbed.map(|d| d.to_string()));
    remark("note", &sample.note);
    round.insert("calibration_ns".to_owned(), sample.message_ns.into());
    Value::Object(round)
}

fn bars(tables: &[Table]) -> Vec<Value> {
    let bar = |bar: &crate::bars::Bar| {
        let verdict = match bar.judge(tables)? {
            Verdict::Met { figure, allowed } => object!({ "met": true, "figure": figure, "allowed": allowed }),
            Verdict::NotMet { figure, allowed } => object!({ "met": false, "figure": figure, "allowed": allowed }),
            Verdict::Open(why) => object!({ "open": why }),
        };
        Some(object!({ "scenario": bar.scenario, "bar": bar.demand(), "verdict": verdict }))
    };
    BARS.iter().filter_map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn rounds_and_verdicts_are_there() {
        let json = json(&report());
        let rows = &json["scenarios"][0]["rows"];
        assert_eq!(rows[0]["median"]["cpu_us_per_request"]["median"], 9.0);
        assert_eq!(rows[1]["rounds"][1]["disturbed"], "steal 5 %");
        assert_eq!(rows[2]["failed"], "skipped: no envoy");
        assert_eq!(json["bars"][1]["verdict"]["met"], true);
        assert_eq!(json["peers"]["envoy"]["skipped"], "no envoy");
    }
}
