//! `name: value` lines.

use super::{Order, QUANTILES, Query, Reading, millis, put};
use crate::Registry;
use crate::histogram::empty_hdr;

/// Renders all statistics, one per line.
///
/// A histogram's line has Envoy's form `P50(interval,cumulative)`. Values of an interval are not kept, so the first
/// of each pair is always `nan`, which is what Envoy prints for an interval without values.
pub(super) fn render(registry: &Registry, query: &Query<'_>) -> String {
    let mut out = String::new();
    let mut hdr = empty_hdr();
    registry.each(Order::ByScope, query, &mut |sample| match &sample.value {
        Reading::Counter(value) | Reading::Gauge(value) => put!(&mut out, "{}: {value}\n", sample.full_name),
        Reading::Histogram(reading) => {
            put!(&mut out, "{}:", sample.full_name);
            hdr.reset();
            reading.add_to(&mut hdr);
            if hdr.is_empty() {
                out.push_str(" No recorded values");
            } else {
                for (quantile, name) in QUANTILES {
                    put!(&mut out, " {name}(nan,{})", millis(hdr.value_at_quantile(quantile)));
                }
            }
            out.push('\n');
        }
    });
    out
}
