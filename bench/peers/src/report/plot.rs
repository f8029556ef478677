//! A scenario's main figure as a bar for each peer, with the range of its rounds.

use std::fmt::Write as _;

use super::Table;
use crate::machine::Machine;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 120.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 54.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;

/// The SVG, readable on a light and on a dark page.
pub(crate) fn plot(table: &Table, machine: &Machine) -> String {
    let rows: Vec<_> =
        table.rows.iter().filter_map(|row| Some((row.peer, table.summary(row.peer, table.primary)?))).collect();
    let most = rows.iter().map(|(_, summary)| summary.max).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    let height = TOP + ROW * rows.len() as f64 + 26.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<style>text {{ fill: #24292f }} .dim {{ fill: #57606a }} \
         .own {{ fill: #0969da }} .peer {{ fill: #8c959f }} .range {{ stroke: #24292f }} \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .dim {{ fill: #8d96a0 }} .own {{ fill: #4493f8 }} \
         .peer {{ fill: #6e7681 }} .range {{ stroke: #e6edf3 }} }}</style>\n\
         <text x=\"8\" y=\"20\" font-weight=\"600\">{}: {}</text>\n<text x=\"8\" y=\"38\" class=\"dim\">median of {} rounds, lines from \
         least to most; less is better</text>\n",
        escaped(table.scenario),
        escaped(table.primary.title),
        table.rows.iter().filter_map(|row| row.outcome.as_ref().ok()).map(Vec::len).max().unwrap_or(0),
    );
    let digits = table.primary.digits;
    for (at, (peer, summary)) in rows.iter().enumerate() {
        let (y, end) = (TOP + ROW * at as f64, LEFT + summary.max * scale);
        let class = if *peer == "ringway" { "own" } else { "peer" };
        let (middle, base) = (y + BAR / 2.0, y + BAR - 4.0);
        // Writing into a String cannot fail.
        let _written = writeln!(
            svg,
            "<text x=\"{}\" y=\"{base:.0}\" text-anchor=\"end\">{}</text><rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.0}\" \
             width=\"{:.1}\" height=\"{BAR}\"/><line class=\"range\" x1=\"{:.1}\" x2=\"{end:.1}\" y1=\"{middle:.0}\" y2=\"{middle:.0}\"/>\
             <text x=\"{:.1}\" y=\"{base:.0}\">{:.digits$}</text>",
            LEFT - 8.0,
            escaped(peer),
            summary.median * scale,
            LEFT + summary.min * scale,
            end + 6.0,
            summary.median,
        );
    }
    let foot = format!("{}, {} cores, Linux {}, {}", machine.cpu, machine.cores, machine.kernel, machine.date);
    svg + &format!(
        "<text x=\"8\" y=\"{:.0}\" class=\"dim\" font-size=\"11\">{}</text>\n</svg>\n",
        height - 8.0,
        escaped(&foot)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn every_peer_that_ran_has_a_bar_and_nothing_escapes() {
        let mut report = report();
        report.machine.cpu = "<script>".into();
        let svg = plot(&report.tables[0], &report.machine);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains(">19.00</text>") && svg.contains("&lt;script&gt;") && !svg.contains("<script>"));
    }
}
