//! The report as one page that needs nothing else: tables, and drawings in SVG.

use std::fmt::Write;

use super::{QUANTILES, time};
use crate::codec::Messages;
use crate::run::{ROWS, Summary};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 180.0;
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse}td,th{padding:.15em 1.2em .15em 0;text-align:left}\
    td.n{text-align:right;font-variant-numeric:tabular-nums}\
    svg{display:block;background:#f7f7f7}svg text{font-size:11px;fill:#555}.warn{color:#a40}";

/// The whole page. Everything that came from outside is escaped.
pub fn html(title: &str, summary: &Summary) -> String {
    let mut out = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| out.write_fmt(text).unwrap_or_default();
    let title = escape(title);
    put(format_args!("<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"));
    put(format_args!("<h1>{title}</h1>"));
    for warning in &summary.warnings {
        put(format_args!("<p class=warn>Warning: {}</p>", escape(warning)));
    }
    put(format_args!("<table><tr><th>Requests<td class=n>{}", summary.within));
    put(format_args!("<tr><th>Requests per second<td class=n>{:.1}", summary.rate()));
    if let Some(asked) = summary.asked {
        put(format_args!("<tr><th>Asked for<td class=n>{asked:.1}"));
    }
    if summary.messages != Messages::default() {
        let [sent, received] = summary.message_rates();
        put(format_args!("<tr><th>Messages sent per second<td class=n>{sent:.1}"));
        put(format_args!("<tr><th>Messages received per second<td class=n>{received:.1}"));
    }
    put(format_args!("<tr><th>Errors<td class=n>{}", summary.total.failed()));
    put(format_args!("<tr><th>Generator's CPU per request<td class=n>{:.2} us", summary.cpu_us()));
    put(format_args!("<tr><th>Generator busy<td class=n>{:.0} %</table>", 100.0 * summary.busy()));
    let from = if summary.asked.is_some() { "from the intended start" } else { "from the send" };
    put(format_args!("<h2>Latency, {from}</h2><table>"));
    for (name, quantile) in QUANTILES {
        put(format_args!("<tr><th>{name}<td class=n>{}", time(summary.latency_us(quantile))));
    }
    put(format_args!("</table>{}", percentiles(summary)));
    if !summary.total.errors.is_empty() {
        put(format_args!("<h2>Errors</h2><table>"));
        for (kind, count) in &summary.total.errors {
            put(format_args!("<tr><th>{}<td class=n>{count}", escape(kind)));
        }
        put(format_args!("</table>"));
    }
    put(format_args!("<h2>Requests per second over time</h2>{}", rates(summary)));
    put(format_args!("<h2>Latencies over time</h2>{}</html>\n", heat(summary)));
    out
}

/// Latency by percentile; the axis gives each further nine the same room.
fn percentiles(summary: &Summary) -> String {
    let top = summary.latency_us(1.0).max(1.0);
    let nines = 4.0;
    let mut points = String::new();
    for step in 0..=100 {
        let x = f64::from(step) / 100.0;
        let value = summary.latency_us(1.0 - 10f64.powf(-x * nines));
        write!(points, "{:.1},{:.1} ", x * WIDTH, HEIGHT - value / top * (HEIGHT - 20.0)).unwrap_or_default();
    }
    let mut out = open(HEIGHT + 20.0);
    write!(out, "<polyline fill=none stroke=#06c stroke-width=2 points=\"{points}\"/>").unwrap_or_default();
    for (at, name) in ["0 %", "90 %", "99 %", "99.9 %"].iter().enumerate() {
        let x = at as f64 / nines * WIDTH + 2.0;
        write!(out, "<text x={x:.0} y={:.0}>{name}</text>", HEIGHT + 14.0).unwrap_or_default();
    }
    write!(out, "<text x=2 y=12>{}</text></svg>", time(top)).unwrap_or_default();
    out
}

fn rates(summary: &Summary) -> String {
    let top = summary.seconds.iter().map(|second| second.completed).max().unwrap_or(0).max(1) as f64;
    let wide = WIDTH / summary.seconds.len().max(1) as f64;
    let mut out = open(HEIGHT);
    for (at, second) in summary.seconds.iter().enumerate() {
        let high = second.completed as f64 / top * (HEIGHT - 20.0);
        let (x, y) = (at as f64 * wide, HEIGHT - high);
        let colour = if second.errors > 0 { "#c40" } else { "#06c" };
        let (done, errors) = (second.completed, second.errors);
        write!(
            out,
            "<rect x={x:.1} y={y:.1} width={:.1} height={high:.1} fill=\"{colour}\"><title>second {at}: {done} \
             requests, {errors} errors</title></rect>",
            wide * 0.95
        )
        .unwrap_or_default();
    }
    write!(out, "<text x=2 y=12>{top:.0}</text></svg>").unwrap_or_default();
    out
}

/// A column per second, a row per power of two; the darker, the more requests.
fn heat(summary: &Summary) -> String {
    let used = |row: usize| summary.seconds.iter().any(|second| second.heat.get(row).is_some_and(|count| *count > 0));
    let (low, high) = ((0..ROWS).find(|row| used(*row)), (0..ROWS).rfind(|row| used(*row)));
    let (Some(low), Some(high)) = (low, high) else { return String::new() };
    let (tall, left) = (16.0, 70.0);
    let wide = (WIDTH - left) / summary.seconds.len().max(1) as f64;
    let mut out = open(tall * (high - low + 1) as f64);
    for row in low..=high {
        let y = (high - row) as f64 * tall;
        write!(out, "<text x=2 y={:.0}>{}</text>", y + 12.0, time((1u64 << row) as f64)).unwrap_or_default();
        for (at, second) in summary.seconds.iter().enumerate() {
            let count = second.heat.get(row).copied().unwrap_or(0);
            if count == 0 {
                continue;
            }
            let share = (count as f64).ln_1p() / (second.completed.max(1) as f64).ln_1p();
            let x = left + at as f64 * wide;
            write!(
                out,
                "<rect x={x:.1} y={y:.0} width={wide:.1} height={tall} fill=#06c fill-opacity={:.2}><title>second \
                 {at}: {count}</title></rect>",
                share.clamp(0.05, 1.0)
            )
            .unwrap_or_default();
        }
    }
    out + "</svg>"
}

fn open(height: f64) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let mut total = Tally::default();
        total.fail("<script>&'\"".into());
        let summary = Summary {
            total,
            seconds: Vec::new(),
            elapsed: 1.0,
            within: 0,
            messages: Default::default(),
            asked: None,
            threads: 1,
            warnings: Vec::new(),
        };
        let page = html("http://x/<b>", &summary);
        assert!(!page.contains("<script") && !page.contains("<b>"));
        assert!(page.contains("&lt;script&gt;&amp;&#39;&quot;"));
    }
}
