//! The JSON of Envoy's `/stats?format=json`.

use super::{Order, QUANTILES, Query, Reading, millis, put};
use crate::Registry;
use crate::access_log::push_json_string;
use crate::histogram::empty_hdr;

pub(super) fn render(registry: &Registry, query: &Query<'_>) -> String {
    let mut stats = String::new();
    let mut histograms = String::new();
    let mut hdr = empty_hdr();
    registry.each(Order::ByScope, query, &mut |sample| match &sample.value {
        Reading::Counter(value) | Reading::Gauge(value) => {
            put!(&mut stats, "{{\"name\":{},\"value\":{value}}},", quoted(sample.full_name));
        }
        Reading::Histogram(reading) => {
            hdr.reset();
            reading.add_to(&mut hdr);
            put!(&mut histograms, "{{\"name\":{},\"values\":[", quoted(sample.full_name));
            for (quantile, _) in QUANTILES {
                histograms.push_str("{\"interval\":null,\"cumulative\":");
                if hdr.is_empty() {
                    histograms.push_str("null},");
                } else {
                    put!(&mut histograms, "{}}},", millis(hdr.value_at_quantile(quantile)));
                }
            }
            end_list(&mut histograms);
            histograms.push_str("},");
        }
    });
    let mut quantiles = String::new();
    QUANTILES.iter().for_each(|(quantile, _)| put!(&mut quantiles, "{},", quantile * 100.0));
    end_list(&mut quantiles);
    end_list(&mut histograms);
    format!(
        "{{\"stats\":[{stats}{{\"histograms\":{{\"supported_quantiles\":[{quantiles},\
         \"computed_quantiles\":[{histograms}}}}}]}}\n"
    )
}

/// Turns the comma after the last item into the end of the list.
fn end_list(list: &mut String) {
    if list.ends_with(',') {
        list.pop();
    }
    list.push(']');
}

fn quoted(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    push_json_string(&mut bytes, name.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
