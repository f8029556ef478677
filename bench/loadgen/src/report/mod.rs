//! Reports of a run: text, JSON, CSV and a page of HTML.

mod html;

use std::fmt::Write;

use serde_json::{Value, json};

use crate::codec::Messages;
use crate::run::Summary;

pub use html::html;

/// Percentiles that reports show.
pub const QUANTILES: [(&str, f64); 8] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
    ("max", 1.0),
];

/// For reading in a terminal.
pub fn text(title: &str, summary: &Summary) -> String {
    let mut out = format!("{title}\n");
    let mut line = |text: std::fmt::Arguments<'_>| out.write_fmt(format_args!("{text}\n")).unwrap_or_default();
    let total = &summary.total;
    line(format_args!("  requests    {} in {:.1} s", summary.within, summary.elapsed));
    match summary.asked {
        Some(asked) => line(format_args!("  rate        {:.1}/s of {asked:.1}/s asked", summary.rate())),
        None => line(format_args!("  rate        {:.1}/s", summary.rate())),
    }
    if summary.messages != Messages::default() {
        let [sent, received] = summary.message_rates();
        line(format_args!("  messages    {sent:.1}/s sent, {received:.1}/s received"));
    }
    line(format_args!("  received    {:.2} MB/s", total.bytes as f64 / 1e6 / summary.elapsed));
    let from = if summary.asked.is_some() { "from the intended start" } else { "from the send" };
    line(format_args!("  latency     {from}"));
    for (name, quantile) in QUANTILES {
        line(format_args!("    {name:<8}{:>10}", time(summary.latency_us(quantile))));
    }
    if summary.asked.is_some() {
        let at = |quantile| time(total.service.value_at_quantile(quantile) as f64 / 1e3);
        line(format_args!("  service     p50 {}, p99 {} from the send (hides what waited)", at(0.5), at(0.99)));
        let late = time(total.lateness.value_at_quantile(0.99) as f64 / 1e3);
        line(format_args!("  generator   sent late by {late} at p99"));
    }
    let busy = 100.0 * summary.busy();
    line(format_args!("  generator   {:.2} us of CPU per request, {busy:.0} % busy", summary.cpu_us()));
    line(format_args!("  errors      {}", total.failed()));
    for (kind, count) in &total.errors {
        line(format_args!("    {count:>8}  {kind}"));
    }
    for warning in &summary.warnings {
        line(format_args!("  warning: {warning}"));
    }
    out
}

/// For programs. Times are microseconds.
pub fn json(title: &str, summary: &Summary) -> Value {
    let total = &summary.total;
    let [sent_per_s, received_per_s] = summary.message_rates();
    let latency: serde_json::Map<String, Value> =
        QUANTILES.iter().map(|(name, quantile)| ((*name).to_owned(), json!(summary.latency_us(*quantile)))).collect();
    json!({
        "title": title,
        "seconds": summary.elapsed,
        "requests": summary.within,
        "rate": summary.rate(),
        "asked_rate": summary.asked,
        "sent": total.sent,
        "unsent": total.unsent,
        "messages": {
            "sent": summary.messages.sent,
            "received": summary.messages.received,
            "sent_rate": sent_per_s,
            "received_rate": received_per_s,
        },
        "received_bytes": total.bytes,
        "connections_opened": total.connects,
        "latency_from": if summary.asked.is_some() { "intended start" } else { "send" },
        "latency_us": latency,
        "latency_mean_us": total.latency.mean() / 1e3,
        "errors": total.errors,
        "generator": {
            "threads": summary.threads,
            "cpu_us_per_request": summary.cpu_us(),
            "busy": summary.busy(),
            "late_p99_us": total.lateness.value_at_quantile(0.99) as f64 / 1e3,
        },
        "warnings": summary.warnings,
        "timeline": summary.seconds,
    })
}

/// A line per second, for spreadsheets.
pub fn csv(summary: &Summary) -> String {
    let mut out = String::from("second,completed,errors,p50_us,p99_us,max_us\n");
    for (at, second) in summary.seconds.iter().enumerate() {
        let (done, errors) = (second.completed, second.errors);
        let (p50, p99, max) = (second.p50_us, second.p99_us, second.max_us);
        writeln!(out, "{at},{done},{errors},{p50:.1},{p99:.1},{max:.1}").unwrap_or_default();
    }
    out
}

/// A time in microseconds, in the unit that reads best.
pub(crate) fn time(us: f64) -> String {
    match us {
        ..1_000.0 => format!("{us:.0} us"),
        ..1_000_000.0 => format!("{:.2} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}
