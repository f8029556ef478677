//! The report as one page that needs nothing else: tables, and drawings in SVG.

use std::fmt::Write;

use super::{QUANTILES, time};
use crate::codec::Messages;
use crate::run::{ROWS, Second, Summary};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 180.0;
/// Columns of drawings over time; longer runs have several seconds in each.
const MAX_COLUMNS: usize = 300;
/// The page may load nothing and run nothing, whatever got into it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse}td,th{padding:.15em 1.2em .15em 0;text-align:left}\
    td.n{text-align:right;font-variant-numeric:tabular-nums}\
    svg{display:block;background:#f7f7f7}svg text{font-size:11px;fill:#555}.warn{color:#a40}";

/// The whole page. Everything that came from outside is escaped.
pub fn html(title: &str, summary: &Summary) -> String {
    let mut out = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| out.write_fmt(text).unwrap_or_default();
    let title = escape(title);
    put(format_args!("<!doctype html><html lang=en><meta charset=utf-8>"));
    put(format_args!("<meta http-equiv=Content-Security-Policy content=\"{POLICY}\">"));
    put(format_args!("<title>{title}</title><style>{STYLE}</style>"));
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
    let columns = columns(&summary.seconds);
    put(format_args!("<h2>Requests per second over time</h2>{}", rates(&columns)));
    put(format_args!("<h2>Latency over time</h2>{}", latencies(&columns)));
    put(format_args!("<h2>How many requests had which latency, over time</h2>{}</html>\n", heat(&columns)));
    out
}

/// Some seconds that are drawn as one.
struct Column {
    /// Which, in words.
    name: String,
    seconds: f64,
    completed: u64,
    errors: u64,
    /// Of the worst second, in microseconds.
    p50_us: f64,
    p99_us: f64,
    heat: Vec<u64>,
}

fn columns(seconds: &[Second]) -> Vec<Column> {
    let each = seconds.len().div_ceil(MAX_COLUMNS).max(1);
    let column = |(at, part): (usize, &[Second])| {
        let from = at * each;
        let name =
            if each == 1 { format!("second {from}") } else { format!("seconds {from} to {}", from + part.len() - 1) };
        let worst = |figure: fn(&Second) -> f64| part.iter().map(figure).fold(0.0, f64::max);
        Column {
            name,
            seconds: part.len() as f64,
            completed: part.iter().map(|second| second.completed).sum(),
            errors: part.iter().map(|second| second.errors).sum(),
            p50_us: worst(|second| second.p50_us),
            p99_us: worst(|second| second.p99_us),
            heat: (0..ROWS).map(|row| part.iter().filter_map(|second| second.heat.get(row)).sum()).collect(),
        }
    };
    seconds.chunks(each).enumerate().map(column).collect()
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

fn rates(columns: &[Column]) -> String {
    let rate = |column: &Column| column.completed as f64 / column.seconds;
    let top = columns.iter().map(rate).fold(1.0, f64::max);
    let wide = WIDTH / columns.len().max(1) as f64;
    let mut out = open(HEIGHT);
    for (at, column) in columns.iter().enumerate() {
        let high = rate(column) / top * (HEIGHT - 20.0);
        let (x, y) = (at as f64 * wide, HEIGHT - high);
        let colour = if column.errors > 0 { "#c40" } else { "#06c" };
        let Column { name, completed, errors, .. } = column;
        write!(
            out,
            "<rect x={x:.1} y={y:.1} width={:.1} height={high:.1} fill=\"{colour}\"><title>{name}: {completed} \
             requests, {errors} errors</title></rect>",
            wide * 0.95
        )
        .unwrap_or_default();
    }
    write!(out, "<text x=2 y=12>{top:.0}</text></svg>").unwrap_or_default();
    out
}

/// The median and the 99th percentile of each column, on one scale.
fn latencies(columns: &[Column]) -> String {
    let top = columns.iter().map(|column| column.p99_us).fold(1.0, f64::max);
    let wide = WIDTH / columns.len().max(1) as f64;
    let mut out = open(HEIGHT);
    for (colour, figure) in [("#06c", (|column| column.p50_us) as fn(&Column) -> f64), ("#c40", |column| column.p99_us)]
    {
        // A column is a line of its width, so that a run of a second shows, too.
        let points = columns.iter().enumerate().fold(String::new(), |mut points, (at, column)| {
            let (x, y) = (at as f64 * wide, HEIGHT - figure(column) / top * (HEIGHT - 20.0));
            write!(points, "{x:.1},{y:.1} {:.1},{y:.1} ", x + wide).unwrap_or_default();
            points
        });
        write!(out, "<polyline fill=none stroke=\"{colour}\" stroke-width=2 points=\"{points}\"/>").unwrap_or_default();
    }
    write!(out, "<text x=2 y=12>{}</text>", time(top)).unwrap_or_default();
    out + "<text x=90 y=12 style=\"fill:#06c\">p50</text><text x=120 y=12 style=\"fill:#c40\">p99</text></svg>"
}

/// A row per power of two; the darker, the more requests.
fn heat(columns: &[Column]) -> String {
    let used = |row: usize| columns.iter().any(|column| column.heat.get(row).is_some_and(|count| *count > 0));
    let (low, high) = ((0..ROWS).find(|row| used(*row)), (0..ROWS).rfind(|row| used(*row)));
    let (Some(low), Some(high)) = (low, high) else { return String::new() };
    let (tall, left) = (16.0, 70.0);
    let wide = (WIDTH - left) / columns.len().max(1) as f64;
    let mut out = open(tall * (high - low + 1) as f64);
    for row in low..=high {
        let y = (high - row) as f64 * tall;
        write!(out, "<text x=2 y={:.0}>{}</text>", y + 12.0, time((1u64 << row) as f64)).unwrap_or_default();
        for (at, column) in columns.iter().enumerate() {
            let count = column.heat.get(row).copied().unwrap_or(0);
            if count == 0 {
                continue;
            }
            let share = (count as f64).ln_1p() / (column.completed.max(1) as f64).ln_1p();
            let (x, name) = (left + at as f64 * wide, &column.name);
            write!(
                out,
                "<rect x={x:.1} y={y:.0} width={wide:.1} height={tall} fill=\"#06c\" \
                 fill-opacity={:.2}><title>{name}: {count}</title></rect>",
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
            // No page may have it.
            '\0' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;

    /// Ends a tag, an attribute, a style, a comment; loads, runs and refers.
    const HOSTILE: &str = "</title></style></svg>--><script src=http://x/>x</script>\" onload='x()' <img src=x onerror=x> &lt; \u{202e}\0";

    fn page(title: &str, seconds: usize) -> String {
        let mut total = Tally::default();
        total.fail(HOSTILE.into());
        total.latency.saturating_record(1_000_000);
        let heat = (0..ROWS as u64).collect();
        let second = Second { completed: 7, errors: 1, p50_us: 10.0, p99_us: 99.0, heat, ..Second::default() };
        let summary = Summary {
            total,
            seconds: vec![second; seconds],
            messages: Messages { sent: 1, received: 2 },
            asked: Some(3.0),
            warnings: vec![HOSTILE.into()],
            ..empty()
        };
        html(title, &summary)
    }

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let (hostile, harmless) = (page(HOSTILE, 1), page("", 1));
        // Nothing that came from outside has made a tag or an attribute.
        let tags = |page: &str| page.matches('<').count();
        assert_eq!(tags(&hostile), tags(&harmless));
        for text in ["<script", "<img", "</title></style>", "-->", "\" onload"] {
            assert!(!hostile.contains(text), "{text}");
        }
        // The title twice, the warning, the error.
        assert_eq!(hostile.matches("&lt;script src=http://x/&gt;").count(), 4);
        assert_eq!(hostile.matches("&amp;lt; \u{202e}\u{fffd}").count(), 4);
    }

    #[test]
    fn the_page_needs_nothing_else_and_stays_small() {
        let short = page("a", 1);
        for text in ["href", "url(", "@import", "<link", "<script", "<iframe", "NaN", "inf"] {
            assert!(!short.contains(text), "{text}");
        }
        assert!(short.contains("default-src 'none'"));
        for part in
            ["<h2>Latency, from the intended start", "99.9 %", "second 0: 7 requests, 1 errors", "second 0: 25<"]
        {
            assert!(short.contains(part), "{part}");
        }
        // A week.
        let long = page("a", 604_800);
        assert!(long.len() < 2_000_000, "{} bytes", long.len());
        assert!(long.contains("seconds 602784 to 604799: 14112 requests, 2016 errors"));
        assert!(html("a", &empty()).contains("</html>"));
    }

    fn empty() -> Summary {
        Summary {
            total: Tally::default(),
            seconds: Vec::new(),
            elapsed: 1.0,
            within: 0,
            messages: Messages::default(),
            asked: None,
            threads: 1,
            warnings: Vec::new(),
        }
    }
}
