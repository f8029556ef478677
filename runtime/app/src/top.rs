//! `ringway top`: what goes through a running process, in a terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::admin::client;

/// The figures of a running process, each second. Ctrl-C ends it.
#[derive(Args, Clone, Debug)]
pub(crate) struct TopArgs {
    /// The admin address of the process.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Print the figures of one second, and end.
    #[arg(long)]
    once: bool,
}

/// Clusters that fit.
const CLUSTERS: usize = 20;

#[expect(clippy::disallowed_methods, reason = "a command of its own: there is no worker here")]
fn pause() {
    thread::sleep(Duration::from_secs(1));
}

/// Shows figures until it is told to end.
///
/// # Errors
/// When the process does not answer, or ends.
pub(crate) fn run(args: &TopArgs) -> Result<()> {
    let ask = || -> Result<Value> { Ok(serde_json::from_str(&client::get(args.admin, "/live")?)?) };
    let mut before = ask()?;
    loop {
        pause();
        let now = ask()?;
        let page = page(&before, &now);
        let mut out = std::io::stdout().lock();
        // Drawn over the one before, line by line, so that nothing flickers and scrolling back stays what it was.
        if !args.once && out.is_terminal() {
            let lines = page.replace('\n', "\x1b[K\n");
            write!(out, "\x1b[H{lines}\x1b[J")?;
        } else {
            write!(out, "{page}")?;
        }
        out.flush()?;
        if args.once {
            return Ok(());
        }
        before = now;
    }
}

fn page(before: &Value, now: &Value) -> String {
    let since = Since { before, now, seconds: (number(now, "at_ms") - number(before, "at_ms")).max(1.0) / 1000.0 };
    let mut out = String::new();
    let server = now.get("server").unwrap_or(&Value::Null);
    let text = |key: &str| server.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    line(
        &mut out,
        format_args!(
            "ringway {}  {}  up {} s  generation {}  {} connections",
            text("version"),
            text("state"),
            number(server, "uptime_seconds"),
            number(server, "generation"),
            number(server, "open_connections"),
        ),
    );
    let mut cores = String::from("cores");
    for worker in rows(now, "workers") {
        let busy = since.rate("workers", name(worker), &["busy_us"]) / 1e6 * 100.0;
        let written = write!(cores, "  {}: {busy:.0} %", name(worker));
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    line(&mut out, format_args!("{cores}"));
    line(
        &mut out,
        format_args!(
            "\n{:<24} {:>10} {:>8} {:>8} {:>9} {:>9} {:>9} {:>7}",
            "LISTENER", "REQ/S", "4XX/S", "5XX/S", "P50 MS", "P99 MS", "UNDER WAY", "CONNS"
        ),
    );
    for row in rows(now, "http") {
        let per = |keys: &[&str]| since.rate("http", name(row), keys);
        let cells = since.cells(name(row));
        line(
            &mut out,
            format_args!(
                "{:<24} {:>10.1} {:>8.1} {:>8.1} {:>9} {:>9} {:>9} {:>7}",
                short(name(row)),
                per(&["downstream_rq_total"]),
                per(&["downstream_rq_4xx"]),
                per(&["downstream_rq_5xx"]),
                millis(&cells, 0.5),
                millis(&cells, 0.99),
                number(row, "downstream_rq_active"),
                number(row, "downstream_cx_active"),
            ),
        );
    }
    line(
        &mut out,
        format_args!(
            "\n{:<24} {:>10} {:>8} {:>8} {:>9} {:>9} {:>9} {:>7}",
            "CLUSTER", "REQ/S", "RETRY/S", "5XX/S", "MEAN MS", "HEALTHY", "UNDER WAY", "CONNS"
        ),
    );
    let clusters = rows(now, "clusters");
    for row in clusters.iter().take(CLUSTERS) {
        let per = |keys: &[&str]| since.rate("clusters", name(row), keys);
        let mean = since.mean(name(row)).map_or_else(|| "-".to_owned(), |us| format!("{:.2}", us / 1000.0));
        let healthy = format!("{}/{}", number(row, "membership_healthy"), number(row, "membership_total"));
        line(
            &mut out,
            format_args!(
                "{:<24} {:>10.1} {:>8.1} {:>8.1} {mean:>9} {healthy:>9} {:>9} {:>7}",
                short(name(row)),
                per(&["upstream_rq_total"]),
                per(&["upstream_rq_retry"]),
                per(&["upstream_rq_5xx"]),
                number(row, "upstream_rq_active"),
                number(row, "upstream_cx_active"),
            ),
        );
    }
    let more = clusters.len().saturating_sub(CLUSTERS) as f64 + number(now, "clusters_left_out");
    if more > 0.0 {
        line(&mut out, format_args!("and {more} more with fewer requests"));
    }
    out
}

/// Two looks at the figures.
struct Since<'a> {
    before: &'a Value,
    now: &'a Value,
    seconds: f64,
}

impl Since<'_> {
    fn rate(&self, kind: &str, of: &str, keys: &[&str]) -> f64 {
        let sum =
            |told: &Value| keys.iter().map(|key| row(told, kind, of).map_or(0.0, |row| number(row, key))).sum::<f64>();
        (sum(self.now) - sum(self.before)).max(0.0) / self.seconds
    }

    /// Microseconds that a request to a cluster took.
    fn mean(&self, of: &str) -> Option<f64> {
        let part = |told: &Value, key: &str| {
            row(told, "clusters", of)
                .and_then(|row| row.get("upstream_rq_time"))
                .map_or(0.0, |times| number(times, key))
        };
        let count = part(self.now, "count") - part(self.before, "count");
        (count > 0.0).then(|| (part(self.now, "sum_us") - part(self.before, "sum_us")) / count)
    }

    /// Requests of a listener by cell of the latency histogram.
    fn cells(&self, of: &str) -> Vec<f64> {
        let cells = |told: &Value| -> Vec<f64> {
            let cells = row(told, "http", of).and_then(|row| row.get("downstream_rq_time")?.get("cells")?.as_array());
            cells.map_or_else(Vec::new, |cells| cells.iter().map(|cell| cell.as_f64().unwrap_or(0.0)).collect())
        };
        let before = cells(self.before);
        let now = cells(self.now).into_iter().enumerate();
        now.map(|(at, count)| (count - before.get(at).unwrap_or(&0.0)).max(0.0)).collect()
    }
}

/// A quantile in milliseconds: the cells' ends are 16 us times a fourth root of two each.
fn millis(cells: &[f64], quantile: f64) -> String {
    let wanted = cells.iter().sum::<f64>() * quantile;
    let mut seen = 0.0;
    let end = |cell: i32| 16.0 * 2_f64.powf(f64::from(cell) / 4.0);
    for (count, cell) in cells.iter().zip(0..) {
        if *count > 0.0 && seen + count >= wanted {
            let low = if cell > 0 { end(cell - 1) } else { 0.0 };
            return format!("{:.2}", (low + (wanted - seen) / count * (end(cell) - low)) / 1000.0);
        }
        seen += count;
    }
    "-".to_owned()
}

fn rows<'a>(told: &'a Value, kind: &str) -> &'a [Value] {
    told.get(kind).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn row<'a>(told: &'a Value, kind: &str, of: &str) -> Option<&'a Value> {
    rows(told, kind).iter().find(|row| name(row) == of)
}

fn name(row: &Value) -> &str {
    row.get("name").and_then(Value::as_str).unwrap_or("-")
}

fn number(row: &Value, key: &str) -> f64 {
    row.get(key).and_then(Value::as_f64).unwrap_or(0.0)
}

/// What fits into a column; nothing that steers a terminal.
fn short(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { '?' } else { letter }).take(24).collect()
}

fn line(out: &mut String, what: std::fmt::Arguments<'_>) {
    let written = writeln!(out, "{what}");
    debug_assert!(written.is_ok(), "a string takes everything");
}
