//! A line per second of what goes through the proxy, read from its admin API like anybody could.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::run::block_on;

const COLUMNS: [(&str, &str); 5] = [
    ("requests/s", "http.demo.downstream_rq_total"),
    ("2xx/s", "http.demo.downstream_rq_2xx"),
    ("v1/s", "cluster.stable.upstream_rq_total"),
    ("v2/s", "cluster.canary.upstream_rq_total"),
    ("both/s", "cluster.both.upstream_rq_total"),
];

/// Prints until the process ends.
pub(super) fn run(admin: SocketAddr) {
    let shown = block_on(async {
        let mut before: Option<HashMap<String, f64>> = None;
        let mut line = 0u64;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // While the proxy starts, or ends.
            let Ok(now) = read(admin).await else { continue };
            if let Some(before) = &before {
                if line.is_multiple_of(20) {
                    print_row(COLUMNS.iter().map(|(title, _)| (*title).to_owned()), "open", "p50 ms", "p99 ms");
                }
                let rate = |name: &str| now.get(name).unwrap_or(&0.0) - before.get(name).unwrap_or(&0.0);
                let number = |name: &str| now.get(name).map_or_else(|| "-".into(), |value| format!("{value}"));
                print_row(
                    COLUMNS.iter().map(|(_, name)| format!("{:.0}", rate(name))),
                    &number("http.demo.downstream_cx_active"),
                    &number("http.demo.downstream_rq_time P50"),
                    &number("http.demo.downstream_rq_time P99"),
                );
                line += 1;
            }
            before = Some(now);
        }
    });
    let Err::<std::convert::Infallible, _>(error) = shown;
    eprintln!("ringway: table: {error:#}");
}

fn print_row(columns: impl Iterator<Item = String>, open: &str, p50: &str, p99: &str) {
    let cells: String = columns.map(|cell| format!("{cell:>11}")).collect();
    println!("{cells}{open:>7}{p50:>9}{p99:>9}");
}

/// The statistics by name; histograms as `name P50` and `name P99`.
async fn read(admin: SocketAddr) -> Result<HashMap<String, f64>> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(b"GET /stats HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let (_, body) = text.split_once("\r\n\r\n").context("no answer")?;
    let mut all = HashMap::new();
    for line in body.lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if let Ok(number) = value.parse() {
            all.insert(name.to_owned(), number);
            continue;
        }
        for quantile in ["P50", "P99"] {
            let found = value.split_whitespace().find_map(|part| part.strip_prefix(quantile)?.strip_prefix('('));
            let total = found.and_then(|pair| pair.trim_end_matches(')').rsplit(',').next()?.parse().ok());
            if let Some(total) = total {
                all.insert(format!("{name} {quantile}"), total);
            }
        }
    }
    Ok(all)
}
