//! The report as Markdown.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Report, Table};
use crate::bars::{BARS, Verdict};
use crate::metric::Metric;
use crate::rounds::Row;
use crate::stats::{Disturbance, Sample, Summary};

/// Peers that get a ratio column.
const REFERENCES: &[&str] = &["pump", "nginx", "haproxy", "envoy", "pingora"];

/// The whole report.
pub(crate) fn markdown(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "# Side by side\n\n{}, {} cores, Linux {}, {}.\n{}\n\n",
        machine.cpu, machine.cores, machine.kernel, machine.date, report.method
    );
    for (peer, version) in &report.peers {
        line(
            &mut text,
            match version {
                Ok(version) => format!("- {peer}: {version}"),
                Err(why) => format!("- {peer}: skipped: {why}"),
            },
        );
    }
    for table in &report.tables {
        text.push('\n');
        text.push_str(&table_text(table));
    }
    text.push_str(&bars_text(&report.tables));
    text
}

/// One scenario.
pub(crate) fn table_text(table: &Table) -> String {
    let mut text = format!("## {}\n\n{}\n\n", table.scenario, table.about);
    let ratios: Vec<&str> = REFERENCES.iter().copied().filter(|peer| reference(table, peer).is_some()).collect();
    let mut head = vec!["peer".to_owned()];
    head.extend(table.columns.iter().map(|m| m.title.to_owned()));
    head.extend(ratios.iter().map(|peer| format!("x {peer}")));
    head.push("rounds".into());
    line(&mut text, cells(&head));
    line(&mut text, format!("|---|{}", "--:|".repeat(head.len() - 1)));
    for row in &table.rows {
        line(
            &mut text,
            match &row.outcome {
                Ok(samples) => cells(&row_cells(table, row, samples, &ratios)),
                Err(why) => format!("| {} | {why} |{}", row.peer, " |".repeat(head.len() - 2)),
            },
        );
    }
    let remarks = remarks(table);
    if !remarks.is_empty() {
        text.push('\n');
        remarks.into_iter().for_each(|remark| line(&mut text, format!("- {remark}")));
    }
    text
}

fn bars_text(tables: &[Table]) -> String {
    let mut text = "\n## Bars\n\n| scenario | bar | ringway | allowed | |\n|---|---|--:|--:|---|\n".to_owned();
    for bar in BARS {
        let Some(verdict) = bar.judge(tables) else { continue };
        let (figure, allowed, word) = match verdict {
            Verdict::Met { figure, allowed } => (number(bar.metric, figure), number(bar.metric, allowed), "met".into()),
            Verdict::NotMet { figure, allowed } => {
                (number(bar.metric, figure), number(bar.metric, allowed), "**not met**".into())
            }
            Verdict::Open(why) => ("-".into(), "-".into(), format!("open: {why}")),
        };
        line(&mut text, cells(&[bar.scenario.into(), bar.demand(), figure, allowed, word]));
    }
    text
}

fn row_cells(table: &Table, row: &Row, samples: &[Sample], ratios: &[&str]) -> Vec<String> {
    let mut out = vec![row.peer.to_owned()];
    for metric in table.columns {
        let text = if *metric == table.primary {
            table.summary(row.peer, metric).map(|s| with_range(metric, s))
        } else {
            table.overall(row.peer, metric).map(|value| number(metric, value))
        };
        out.push(text.unwrap_or_else(|| "-".into()));
    }
    let own = table.summary(row.peer, table.primary).map(|s| s.median);
    for peer in ratios {
        let ratio = own.zip(reference(table, peer)).map(|(own, other)| format!("{:.2}", own / other));
        out.push(ratio.unwrap_or_else(|| "-".into()));
    }
    let disturbed = samples.iter().filter(|s| s.disturbed.is_some()).count();
    let count = samples.len();
    out.push(if disturbed == 0 { count.to_string() } else { format!("{count} ({disturbed} disturbed)") });
    out
}

/// What a ratio to `peer` divides by; ratios to nothing and to zero are not shown.
fn reference(table: &Table, peer: &str) -> Option<f64> {
    table.summary(peer, table.primary).map(|s| s.median).filter(|m| *m > 0.0)
}

fn with_range(metric: &Metric, summary: Summary) -> String {
    let Summary { median, min, max } = summary;
    format!("{} ({}..{})", number(metric, median), number(metric, min), number(metric, max))
}

fn number(metric: &Metric, value: f64) -> String {
    format!("{value:.*}", metric.digits)
}

/// One line per peer that has something to remark: the worst disturbance of each kind, and each note once.
fn remarks(table: &Table) -> Vec<String> {
    let of_row = |row: &Row| -> Option<String> {
        let samples = row.outcome.as_deref().unwrap_or_default();
        let worst = Disturbance::worst(samples.iter().filter_map(|s| s.disturbed));
        let worst: Vec<String> = worst.iter().map(Disturbance::to_string).collect();
        let notes: BTreeSet<&String> = samples.iter().filter_map(|s| s.note.as_ref()).collect();
        let disturbed = (!worst.is_empty()).then(|| format!("disturbed, at worst by {}", worst.join(", ")));
        let remarks: Vec<String> = disturbed.into_iter().chain(notes.into_iter().cloned()).collect();
        (!remarks.is_empty()).then(|| format!("{}: {}", row.peer, remarks.join("; ")))
    };
    table.rows.iter().filter_map(of_row).collect()
}

fn cells(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

fn line(text: &mut String, line: impl AsRef<str>) {
    // Writing into a String cannot fail.
    writeln!(text, "{}", line.as_ref()).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn the_whole_report() {
        let want = "\
# Side by side

A CPU, 2 cores, Linux 6.18, 2026-01-01.
Two rounds.

- nginx: 1.22
- envoy: skipped: no envoy

## h1-1k-c64

About it.

| peer | CPU us/req | req/s | x nginx | rounds |
|---|--:|--:|--:|--:|
| ringway | 9.00 (9.00..9.00) | - | 0.47 | 2 |
| nginx | 19.00 (18.00..20.00) | - | 1.00 | 2 (1 disturbed) |
| envoy | skipped: no envoy | | | |

- nginx: disturbed, at worst by steal 5 %; status 502

## Bars

| scenario | bar | ringway | allowed | |
|---|---|--:|--:|---|
| h1-1k-c64 | CPU us/req <= 1.18 x pump | - | - | open: no figure of pump |
| h1-1k-c64 | CPU us/req <= 0.90 x nginx | 9.00 | 17.10 | met |
| h1-1k-c64 | CPU us/req <= 0.33 x envoy | - | - | open: no figure of envoy |
| h1-1k-c64 | p99 us <= 1.00 x the best of nginx, haproxy, envoy | - | - | open: no figure of ringway |
| h1-1k-c64 | errors <= 0 | - | - | open: no figure of ringway |
";
        assert_eq!(markdown(&report()), want);
    }
}
