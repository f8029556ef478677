//! Reading: the cells of all cores added up and written out for people, programs and Prometheus.

mod json;
mod prometheus;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

use self::prometheus::Exposition;
use crate::{Cell, FilterScope, HistogramReading, HttpStats, Registry, Row, Scope, SetInfo, StatSet};

/// Which statistics to show.
#[derive(Clone, Copy, Default)]
pub struct Query<'a> {
    /// Only those that were ever written.
    pub used_only: bool,
    /// Only those whose full name (`cluster.app.upstream_rq_total`) passes.
    pub filter: NameFilter<'a>,
}

/// Which names to show.
#[derive(Clone, Copy, Default)]
pub enum NameFilter<'a> {
    /// All.
    #[default]
    All,
    /// Those that begin with this.
    Prefix(&'a str),
    /// Those that contain this.
    Contains(&'a str),
    /// Those that this approves: a regular expression, say.
    With(&'a dyn Fn(&str) -> bool),
}

/// The quantiles that are shown of a histogram, and how they are called.
const QUANTILES: [(f64, &str); 10] = [
    (0.0, "P0"),
    (0.25, "P25"),
    (0.5, "P50"),
    (0.75, "P75"),
    (0.9, "P90"),
    (0.95, "P95"),
    (0.99, "P99"),
    (0.995, "P99.5"),
    (0.999, "P99.9"),
    (1.0, "P100"),
];

impl Registry {
    /// All statistics as `name: value` lines; a histogram as its quantiles in milliseconds.
    pub fn text(&self, query: &Query<'_>) -> String {
        text::render(self, query)
    }

    /// All statistics as the JSON that Envoy's `/stats?format=json` gives.
    pub fn json(&self, query: &Query<'_>) -> String {
        json::render(self, query)
    }

    /// All statistics in Prometheus' text format, version 0.0.4, under Envoy's names; histograms in milliseconds.
    pub fn prometheus(&self, query: &Query<'_>) -> String {
        prometheus::render(self, query, Exposition::Prometheus)
    }

    /// The same in OpenMetrics 1.0, with examples of traces. Counters whose names do not end in `_total` are of an
    /// unknown type there, so that names are the same in both.
    pub fn open_metrics(&self, query: &Query<'_>) -> String {
        prometheus::render(self, query, Exposition::OpenMetrics)
    }

    /// Visits every statistic that was ever written, those of one name together.
    pub fn walk(&self, visit: &mut dyn FnMut(&Sample<'_>)) {
        self.each(Order::ByName, &Query { used_only: true, ..Query::default() }, visit);
    }

    /// Visits every statistic that the query asks for.
    fn each(&self, order: Order, query: &Query<'_>, visit: &mut dyn FnMut(&Sample<'_>)) {
        let mut walk = Walk { order, query, visit, name: String::new(), histogram: HistogramReading::default() };
        walk.set(std::slice::from_ref(&self.server));
        walk.set(std::slice::from_ref(&self.config));
        walk.set(std::slice::from_ref(&self.listener_manager));
        walk.set(std::slice::from_ref(&self.cluster_manager));
        walk.set(std::slice::from_ref(&self.access_logs));
        walk.set(std::slice::from_ref(&self.tracing));
        walk.set(std::slice::from_ref(&self.metrics));
        walk.set(&self.workers_stats);
        walk.set(&self.listeners.live());
        walk.set(&self.http.live());
        walk.set(&self.tcp.live());
        walk.filters(&self.filters.live());
        walk.set(&self.clusters.live());
        walk.set(&self.outliers.live());
        walk.set(&self.health_checks.live());
        walk.set(&self.exporters.live());
    }
}

/// In which order statistics are visited.
#[derive(Clone, Copy)]
enum Order {
    /// All of one listener or cluster, then the next: what people read.
    ByScope,
    /// One statistic of all listeners, then the next: what Prometheus wants.
    ByName,
}

/// One statistic of one scope, added up over the cores.
pub struct Sample<'a> {
    /// The table it is of.
    pub set: SetInfo,
    /// The thing it is of: a cluster's name, say.
    pub scope: &'a str,
    /// `cluster.app.upstream_rq_total`
    pub full_name: &'a str,
    /// `upstream_rq_total`, or `fault.delays_injected`
    pub name: &'a str,
    /// What it counts, one sentence.
    pub help: &'static str,
    /// What it holds.
    pub value: Reading<'a>,
}

/// What a statistic holds.
pub enum Reading<'a> {
    /// It only grows.
    Counter(u64),
    /// It goes up and down.
    Gauge(u64),
    /// Durations.
    Histogram(&'a HistogramReading),
}

impl Sample<'_> {
    /// The name that it shares with the same of other things, as Prometheus wants it
    /// (`envoy_cluster_upstream_rq_xx`), and the class of statuses that it counts, if it does.
    pub fn family(&self) -> (String, Option<&'static str>) {
        let (base, class) = prometheus::response_class(self.name);
        let base = base.replace('.', "_");
        let family = match self.set.group {
            "" => format!("envoy_{}_{base}", self.set.prefix),
            group => format!("envoy_{}_{group}_{base}", self.set.prefix),
        };
        (family, class)
    }
}

struct Walk<'a> {
    order: Order,
    query: &'a Query<'a>,
    visit: &'a mut dyn FnMut(&Sample<'_>),
    name: String,
    histogram: HistogramReading,
}

impl Walk<'_> {
    fn set<S: StatSet>(&mut self, scopes: &[Arc<Scope<S>>]) {
        match self.order {
            Order::ByScope => scopes.iter().for_each(|scope| S::ROWS.iter().for_each(|row| self.row(scope, row))),
            Order::ByName => S::ROWS.iter().for_each(|row| scopes.iter().for_each(|scope| self.row(scope, row))),
        }
    }

    /// The rows of filters, which stand under their listener's HTTP as in Envoy: `http.web.fault.aborts_injected`.
    fn filters(&mut self, scopes: &[Arc<FilterScope>]) {
        // Those of one filter are together and have the same rows.
        for same in scopes.chunk_by(|one, other| one.filter() == other.filter()) {
            let rows = same.first().map_or(0, |scope| scope.stats().len());
            match self.order {
                Order::ByScope => same.iter().for_each(|scope| (0..rows).for_each(|row| self.filter_row(scope, row))),
                Order::ByName => (0..rows).for_each(|row| same.iter().for_each(|scope| self.filter_row(scope, row))),
            }
        }
    }

    fn filter_row(&mut self, scope: &FilterScope, row: usize) {
        let Some(stat) = scope.stats().get(row) else { return };
        let set = HttpStats::INFO;
        let name = format!("{}.{}", scope.filter(), stat.name);
        let full_name = format!("{}.{}.{name}", set.prefix, scope.listener());
        let (value, used) = scope.read(row);
        if self.query.filter.passes(&full_name) && (used || !self.query.used_only) {
            let value = if stat.gauge { Reading::Gauge(value) } else { Reading::Counter(value) };
            let (scope, help) = (scope.listener(), stat.help);
            (self.visit)(&Sample { set, scope, full_name: &full_name, name: &name, help, value });
        }
    }

    fn row<S: StatSet>(&mut self, scope: &Scope<S>, row: &Row<S>) {
        self.name.clear();
        for part in [S::INFO.prefix, scope.name(), S::INFO.group, row.name] {
            if !part.is_empty() {
                let dot = if self.name.is_empty() { "" } else { "." };
                self.name.extend([dot, part]);
            }
        }
        if !self.query.filter.passes(&self.name) {
            return;
        }
        let (value, used) = self.read(scope, row);
        if used || !self.query.used_only {
            let value = value.unwrap_or(Reading::Histogram(&self.histogram));
            let (set, full_name) = (S::INFO, self.name.as_str());
            (self.visit)(&Sample { set, scope: scope.name(), full_name, name: row.name, help: row.help, value });
        }
    }

    /// The value over all cores, `None` for a histogram, which is left in `self.histogram`; and whether it was used.
    fn read<S: StatSet>(&mut self, scope: &Scope<S>, row: &Row<S>) -> (Option<Reading<'static>>, bool) {
        match row.cell {
            Cell::Counter(find) => {
                let sum = scope.blocks().fold(0_u64, |sum, block| sum.wrapping_add(find(block).value()));
                (Some(Reading::Counter(sum)), sum > 0)
            }
            Cell::Gauge(find) => {
                let sum = scope.blocks().fold(0_i64, |sum, block| sum.wrapping_add(find(block).value()));
                // Between the reads of two cores a connection may have moved: never show less than nothing.
                let used = scope.blocks().any(|block| find(block).is_used());
                (Some(Reading::Gauge(u64::try_from(sum).unwrap_or(0))), used)
            }
            Cell::Level(find) => {
                let most = scope.blocks().map(|block| find(block).value()).max().unwrap_or(0);
                (Some(Reading::Gauge(most)), scope.blocks().any(|block| find(block).is_used()))
            }
            Cell::Histogram(find) => {
                self.histogram.clear();
                scope.blocks().for_each(|block| self.histogram.merge(find(block)));
                (None, scope.blocks().any(|block| find(block).is_used()))
            }
        }
    }
}

impl NameFilter<'_> {
    fn passes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => name.starts_with(prefix),
            Self::Contains(part) => name.contains(part),
            Self::With(approves) => approves(name),
        }
    }
}

/// A duration in microseconds as milliseconds.
fn millis(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// Adds formatted text to a string, which cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => { { let _infallible: std::fmt::Result = std::fmt::Write::write_fmt($out, format_args!($($text)*)); } };
}
use put;
