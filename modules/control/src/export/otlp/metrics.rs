//! All statistics in OTLP: cumulative sums, gauges and histograms in milliseconds, under Envoy's names.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use ringway_telemetry::{Family, HistogramReading, Point, Reading, Registry, Sample, Unit};

use super::{nanos, scope, text};
use crate::export::OtlpTransport;
use crate::export::queue::Queue;
use crate::export::sending::Batch;

/// Batches of metrics.
pub(in crate::export) struct Metrics {
    transport: OtlpTransport,
    resource: Resource,
}

/// The bounds of histogram buckets in milliseconds.
const BOUNDS_MS: [u32; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000];

impl Metrics {
    pub(in crate::export) fn new(transport: OtlpTransport, resource: &Resource) -> Self {
        Self { transport, resource: resource.clone() }
    }
}

impl Batch for Metrics {
    type Item = Metric;

    fn path(&self) -> &'static str {
        super::path(self.transport, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", "/v1/metrics")
    }

    fn content_type(&self) -> &'static str {
        super::content_type(self.transport)
    }

    fn message(&self, items: &[Metric]) -> Bytes {
        let scope_metrics =
            vec![ScopeMetrics { scope: Some(scope()), metrics: items.to_vec(), schema_url: String::new() }];
        let resource_metrics =
            vec![ResourceMetrics { resource: Some(self.resource.clone()), scope_metrics, schema_url: String::new() }];
        ExportMetricsServiceRequest { resource_metrics }.encode_to_vec().into()
    }

    fn rejected(&self, answer: &[u8]) -> u64 {
        let answer = ExportMetricsServiceResponse::decode(answer).unwrap_or_default();
        answer.partial_success.map_or(0, |partial| u64::try_from(partial.rejected_data_points).unwrap_or(0))
    }
}

/// Reads all statistics at each interval, for ever.
pub(in crate::export) async fn report(registry: Arc<Registry>, queue: Arc<Queue<Metric>>, interval: Duration) {
    let began = SystemTime::now();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is at once, when there is nothing to tell.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        read(&registry, began, SystemTime::now(), |metric| queue.push(metric.encoded_len(), metric));
    }
}

/// What the registry holds, one metric per name.
fn read(registry: &Registry, began: SystemTime, now: SystemTime, mut take: impl FnMut(Metric)) {
    let (start, time) = (nanos(began), nanos(now));
    let mut last: Option<Metric> = None;
    registry.walk(&mut |sample| {
        let (name, class) = sample.family();
        if last.as_ref().is_none_or(|metric| metric.name != name)
            && let Some(done) = last.replace(empty(name, sample))
        {
            take(done);
        }
        if let Some(metric) = &mut last {
            add(metric, sample, class, start, time);
        }
    });
    if let Some(done) = last {
        take(done);
    }
    let families = registry.istio().map(|istio| istio.families()).unwrap_or_default();
    families.iter().for_each(|family| take(of_family(family, start, time)));
}

/// A metric of Istio's, under the name that Prometheus has it by.
fn of_family(family: &Family, start: u64, time: u64) -> Metric {
    let cumulative: i32 = AggregationTemporality::Cumulative.into();
    let (mut numbers, mut histograms) = (Vec::new(), Vec::new());
    for (labels, point) in &family.series {
        let attributes = labels.iter().map(|(name, value)| text(name, value.clone())).collect();
        match point {
            Point::Counter(value) => numbers.push(NumberDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: time,
                value: Some(number_data_point::Value::AsInt(i64::try_from(*value).unwrap_or(i64::MAX))),
                ..NumberDataPoint::default()
            }),
            Point::Histogram(buckets, sum) => histograms.push(HistogramDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: time,
                count: buckets.iter().map(|bucket| bucket.count).sum(),
                sum: Some(*sum),
                bucket_counts: buckets.iter().map(|bucket| bucket.count).collect(),
                explicit_bounds: buckets.iter().map(|bucket| bucket.bound).filter(|bound| bound.is_finite()).collect(),
                exemplars: buckets.iter().filter_map(|bucket| bucket.exemplar.as_ref()).map(exemplar).collect(),
                ..HistogramDataPoint::default()
            }),
        }
    }
    let (name, data) = if histograms.is_empty() {
        let sum = Sum { data_points: numbers, aggregation_temporality: cumulative, is_monotonic: true };
        (format!("{}_total", family.name), metric::Data::Sum(sum))
    } else {
        let histogram = Histogram { data_points: histograms, aggregation_temporality: cumulative };
        (family.name.to_owned(), metric::Data::Histogram(histogram))
    };
    let unit = match family.unit {
        Unit::One => "1",
        Unit::Milliseconds => "ms",
        Unit::Bytes => "By",
    };
    Metric { name, description: family.help.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}

fn exemplar(of: &ringway_telemetry::Exemplar) -> Exemplar {
    Exemplar {
        time_unix_nano: nanos(of.at),
        trace_id: of.trace.get().to_be_bytes().to_vec(),
        value: Some(exemplar::Value::AsDouble(of.us as f64 / 1000.0)),
        ..Exemplar::default()
    }
}

fn empty(name: String, sample: &Sample<'_>) -> Metric {
    let cumulative = AggregationTemporality::Cumulative.into();
    let (unit, data) = match sample.value {
        Reading::Counter(_) => (
            "1",
            metric::Data::Sum(Sum { data_points: Vec::new(), aggregation_temporality: cumulative, is_monotonic: true }),
        ),
        Reading::Gauge(_) => ("1", metric::Data::Gauge(Gauge { data_points: Vec::new() })),
        Reading::Histogram(_) => {
            ("ms", metric::Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality: cumulative }))
        }
    };
    Metric { name, description: sample.help.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}

fn add(metric: &mut Metric, sample: &Sample<'_>, class: Option<&str>, start: u64, time: u64) {
    let class = class.map(|class| text("envoy_response_code_class", class.to_owned()));
    let scope = sample.set.label.map(|label| text(label, sample.scope.to_owned()));
    let attributes = class.into_iter().chain(scope).collect();
    let number = |value: u64, attributes| NumberDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: time,
        value: Some(number_data_point::Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))),
        ..NumberDataPoint::default()
    };
    match (&mut metric.data, &sample.value) {
        (Some(metric::Data::Sum(sum)), Reading::Counter(value)) => sum.data_points.push(number(*value, attributes)),
        (Some(metric::Data::Gauge(gauge)), Reading::Gauge(value)) => gauge.data_points.push(number(*value, attributes)),
        (Some(metric::Data::Histogram(histogram)), Reading::Histogram(reading)) => {
            let point = HistogramDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: time,
                ..buckets(reading)
            };
            histogram.data_points.push(point);
        }
        _ => debug_assert!(false, "statistics of one name are of one kind"),
    }
}

fn buckets(reading: &HistogramReading) -> HistogramDataPoint {
    let bounds: Vec<u64> = BOUNDS_MS.iter().map(|ms| u64::from(*ms) * 1000).collect();
    let count = reading.count();
    let mut before = 0;
    let mut bucket_counts: Vec<u64> = Vec::with_capacity(bounds.len() + 1);
    for seen in reading.cumulative(&bounds) {
        bucket_counts.push(seen - before);
        before = seen;
    }
    // Cells were read one after the other: the sum may be a little older than the parts.
    bucket_counts.push(count.saturating_sub(before));
    HistogramDataPoint {
        count,
        sum: Some(reading.sum_us() as f64 / 1000.0),
        bucket_counts,
        explicit_bounds: BOUNDS_MS.iter().map(|ms| f64::from(*ms)).collect(),
        ..HistogramDataPoint::default()
    }
}
