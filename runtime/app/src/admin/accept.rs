//! Which format of metrics a client wants to have.

/// What Prometheus calls OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Whether OpenMetrics is what a client likes best, by its `Accept` field (RFC 9110, section 12.5.1). Who takes anything
/// gets the text format, which everybody reads.
pub(super) fn prefers_open_metrics(accept: &str) -> bool {
    let mut open_metrics = 0.0_f32;
    let mut text = 0.0_f32;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let parameter = |name: &str| parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let quality = parameter("q").map_or(1.0, |(_, value)| value.parse().unwrap_or(0.0));
        let version = parameter("version").map(|(_, value)| value.trim_matches('"'));
        if media.eq_ignore_ascii_case(OPEN_METRICS) {
            if version.is_none_or(|version| version == "1.0.0") {
                open_metrics = open_metrics.max(quality);
            }
        } else if ["text/plain", "text/*", "*/*"].iter().any(|known| media.eq_ignore_ascii_case(known)) {
            text = text.max(quality);
        }
    }
    open_metrics > 0.0 && open_metrics >= text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_open_metrics_gets_it() {
        for accept in [
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text",
            "application/OpenMetrics-Text; version=\"1.0.0\"; charset=utf-8",
            "text/plain;q=0.5, application/openmetrics-text;q=0.6",
        ] {
            assert!(prefers_open_metrics(accept), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain;version=0.0.4;q=1,application/openmetrics-text;q=0.5",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=a lot",
            "text/html,application/xhtml+xml,*/*;q=0.8",
        ] {
            assert!(!prefers_open_metrics(accept), "{accept}");
        }
    }
}
