use std::collections::{BTreeMap, HashSet};
use std::num::{NonZeroU64, NonZeroU128};
use std::time::{Duration, UNIX_EPOCH};

use ringway_api::Stat;

use super::*;
use crate::{Istio, IstioSink, Mesh, Reporter, Sinks, StreamRecord, TraceIds};

fn filled() -> (Registry, Vec<Box<dyn std::any::Any>>) {
    let registry = Registry::new(2);
    let app = registry.cluster("outbound|80||a:b");
    app.worker(0).upstream_rq_total.add(3);
    app.worker(1).upstream_rq_total.add(4);
    app.worker(0).upstream_rq_active.inc();
    app.worker(1).upstream_rq_active.dec();
    app.worker(1).upstream_rq_2xx.add(5);
    app.worker(0).membership_total.set(2);
    app.control().membership_total.set(3);
    for ms in 1..=100 {
        app.worker(ms as usize % 2).upstream_rq_time.record(Duration::from_millis(ms));
    }
    let quoted = registry.cluster("q\"u\\o\nte");
    quoted.worker(0).upstream_rq_5xx.inc();
    let web = registry.listener("127.0.0.1:80");
    web.worker(0).downstream_cx_total.inc();
    registry.server.control().state.set(0);
    registry.worker(1).unwrap().loop_turns.add(9);
    let held: Vec<Box<dyn std::any::Any>> = vec![Box::new(app), Box::new(quoted), Box::new(web)];
    (registry, held)
}

#[test]
fn text_adds_up_the_cores() {
    let (registry, _held) = filled();
    let text = registry.text(&Query::default());
    let lines: HashSet<&str> = text.lines().collect();
    for line in [
        "cluster.outbound|80||a_b.upstream_rq_total: 7",
        "cluster.outbound|80||a_b.upstream_rq_active: 0",
        "cluster.outbound|80||a_b.membership_total: 3",
        "cluster.outbound|80||a_b.upstream_cx_connect_ms: No recorded values",
        "listener.127.0.0.1_80.downstream_cx_total: 1",
        "server.state: 0",
        "worker.1.loop_turns: 9",
        "worker.0.loop_turns: 0",
    ] {
        assert!(lines.contains(line), "{line} in\n{text}");
    }
    let time = lines.iter().find(|line| line.contains("a_b.upstream_rq_time: ")).unwrap();
    let p50: f64 = time.split("P50(nan,").nth(1).unwrap().split(')').next().unwrap().parse().unwrap();
    assert!((p50 - 50.0).abs() <= 50.0 / 16.0 + 1.0, "{time}");
    assert!(time.contains(" P99.9(nan,") && time.contains(" P0(nan,") && time.contains(" P100(nan,"));
}

#[test]
fn a_group_stands_before_the_names_of_its_cells() {
    let registry = Registry::new(1);
    let outliers = registry.outliers("app");
    outliers.control().ejections_active.inc();
    let text = registry.text(&Query::default());
    assert!(text.contains("\ncluster.app.outlier_detection.ejections_active: 1\n"), "{text}");
    let text = registry.prometheus(&Query::default());
    let line = "\nenvoy_cluster_outlier_detection_ejections_active{envoy_cluster_name=\"app\"} 1\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn only_what_was_used_and_asked_for() {
    let (registry, _held) = filled();
    let used = registry.text(&Query { used_only: true, ..Query::default() });
    assert!(used.contains("server.state: 0\n"), "a gauge that was set to 0 was used");
    assert!(used.contains("upstream_rq_active: 0\n"));
    assert!(!used.contains("upstream_rq_1xx") && !used.contains("connect_ms") && !used.contains("worker.0."));
    let of = |filter| registry.text(&Query { filter, ..Query::default() });
    assert!(of(NameFilter::Prefix("listener.")).lines().all(|line| line.starts_with("listener.127")));
    assert!(of(NameFilter::Contains("_5xx")).lines().all(|line| line.contains("_rq_5xx: ")));
    assert_eq!(of(NameFilter::With(&|name| name.ends_with("1.loop_turns"))), "worker.1.loop_turns: 9\n");
    assert_eq!(of(NameFilter::Contains("no such thing")), "");
}

#[test]
fn json_is_what_it_says() {
    let (registry, _held) = filled();
    for query in [Query::default(), Query { filter: NameFilter::Prefix("nothing"), ..Query::default() }] {
        let json: serde_json::Value = serde_json::from_str(&registry.json(&query)).unwrap();
        let stats = json["stats"].as_array().unwrap();
        let histograms = &stats.last().unwrap()["histograms"];
        assert_eq!(histograms["supported_quantiles"].as_array().unwrap().len(), QUANTILES.len());
        if matches!(query.filter, NameFilter::All) {
            let total = stats.iter().find(|stat| stat["name"] == "cluster.outbound|80||a_b.upstream_rq_total").unwrap();
            assert_eq!(total["value"], 7);
            let computed = histograms["computed_quantiles"].as_array().unwrap();
            let time = computed.iter().find(|h| h["name"] == "cluster.outbound|80||a_b.upstream_rq_time").unwrap();
            assert_eq!(time["values"].as_array().unwrap().len(), QUANTILES.len());
            assert!(time["values"][2]["cumulative"].as_f64().is_some_and(|p50| (46.0..54.0).contains(&p50)));
            let idle =
                computed.iter().find(|h| h["name"] == "cluster.outbound|80||a_b.upstream_cx_connect_ms").unwrap();
            assert!(idle["values"][2]["cumulative"].is_null());
        } else {
            assert_eq!(stats.len(), 1);
        }
    }
}

#[test]
fn prometheus_families_are_whole_and_typed_once() {
    let (registry, _held) = filled();
    let text = registry.prometheus(&Query::default());
    let mut kinds = BTreeMap::new();
    let mut current = "";
    let mut helped = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped = rest.split(' ').next().unwrap();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').unwrap();
            assert_eq!(helped, family);
            assert!(kinds.insert(family, kind).is_none(), "{family} twice");
            current = family;
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let stem = if kinds[current] == "histogram" { name.rsplit_once('_').unwrap().0 } else { name };
            assert_eq!(stem, current, "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    assert_eq!(kinds["envoy_cluster_upstream_rq_total"], "counter");
    assert_eq!(kinds["envoy_cluster_upstream_rq_active"], "gauge");
    assert_eq!(kinds["envoy_cluster_upstream_rq_time"], "histogram");
}

#[test]
fn prometheus_names_and_labels_are_envoys() {
    let (registry, _held) = filled();
    let text = registry.prometheus(&Query::default());
    for line in [
        "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"outbound|80||a_b\"} 7",
        "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"outbound|80||a_b\"} 5",
        "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"5\",envoy_cluster_name=\"q\\\"u\\\\o_te\"} 1",
        "envoy_listener_downstream_cx_total{envoy_listener_address=\"127.0.0.1_80\"} 1",
        "envoy_worker_loop_turns{envoy_worker_id=\"1\"} 9",
        "envoy_server_state 0",
        "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"outbound|80||a_b\"} 100",
        "envoy_cluster_upstream_rq_time_sum{envoy_cluster_name=\"outbound|80||a_b\"} 5050",
        "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"outbound|80||a_b\",le=\"0.5\"} 0",
        "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"outbound|80||a_b\",le=\"250\"} 100",
        "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"outbound|80||a_b\",le=\"+Inf\"} 100",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} in\n{text}");
    }
}

#[test]
fn every_name_is_a_metric_name_and_unique_in_its_set() {
    fn check<S: StatSet>() {
        let mut seen = HashSet::new();
        for row in S::ROWS {
            assert!(row.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
            assert!(seen.insert(row.name), "{}", row.name);
            assert!(row.help.ends_with('.') && !row.help.contains('\n'), "{}", row.help);
        }
    }
    check::<crate::ServerStats>();
    check::<crate::ConfigStats>();
    check::<crate::ListenerManagerStats>();
    check::<crate::ClusterManagerStats>();
    check::<crate::AccessLogStats>();
    check::<crate::WorkerStats>();
    check::<crate::ListenerStats>();
    check::<HttpStats>();
    check::<crate::TcpStats>();
    check::<crate::MetricsStats>();
    check::<crate::ClusterStats>();
}

#[test]
fn what_filters_count_stands_under_their_listener() {
    const STATS: &[Stat] = &[Stat::counter("delays_injected", "Delays."), Stat::gauge("active_faults", "Faults now.")];
    let registry = Registry::new(2);
    let (web, api) = (registry.filter("web", "fault", STATS), registry.filter("api", "fault", STATS));
    web.worker(0).inc(0);
    web.worker(1).add(0, 2);
    web.worker(1).inc(1);
    web.worker(1).dec(1);
    api.worker(0).inc(0);
    assert!(Arc::ptr_eq(&web, &registry.filter("web", "fault", STATS)));
    let text = registry.text(&Query::default());
    for line in [
        "http.web.fault.delays_injected: 3\n",
        "http.web.fault.active_faults: 0\n",
        "http.api.fault.delays_injected: 1\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let page = registry.prometheus(&Query { used_only: true, ..Query::default() });
    let family = page.split("# HELP envoy_http_fault_delays_injected").nth(1).unwrap();
    let samples: Vec<&str> = family.lines().skip(2).take(2).collect();
    let sample = |listener, value| {
        format!("envoy_http_fault_delays_injected{{envoy_http_conn_manager_prefix=\"{listener}\"}} {value}")
    };
    assert_eq!(samples, [sample("api", 1), sample("web", 3)]);
    drop((web, api));
    assert!(!registry.text(&Query::default()).contains("fault"), "nobody holds them");
}

/// With a request to a cluster of a hostile name, which was traced.
fn with_istio(registry: &Registry) {
    let mesh = Mesh { max_series: 8, ..Mesh::default() };
    let istio = Istio::new(mesh, 2, Arc::clone(&registry.metrics));
    registry.show_istio(Some(Arc::clone(&istio)));
    let mut sinks = Sinks::default();
    sinks.add(|needs| IstioSink::new(istio, Reporter::Source, needs));
    let mut record = StreamRecord::new(UNIX_EPOCH + Duration::from_secs(1));
    record.upstream_cluster = Some("a\"b\\c\nd");
    record.duration = Duration::from_millis(250);
    record.trace = Some(TraceIds { trace: NonZeroU128::MIN, span: NonZeroU64::MIN, parent: None, sampled: true });
    sinks.on_worker(1).iter().for_each(|sink| sink.ended(&record));
}

#[test]
fn istios_metrics_stand_beside_the_others() {
    let (registry, _held) = filled();
    with_istio(&registry);
    let text = registry.prometheus(&Query::default());
    assert!(text.contains("# TYPE istio_requests_total counter\nistio_requests_total{reporter=\"source\","), "{text}");
    assert!(text.contains("destination_service=\"a\\\"b\\\\c\\nd\""), "{text}");
    let buckets = text.lines().filter(|line| line.starts_with("istio_request_duration_milliseconds_bucket"));
    let counts: Vec<_> = buckets.map(|line| line.rsplit_once(' ').unwrap().1).collect();
    assert_eq!((counts.len(), &counts[..8]), (20, &["0", "0", "0", "0", "0", "0", "0", "1"][..]), "cumulative");
    assert!(counts[8..].iter().all(|count| *count == "1"));
    assert!(!text.contains(" # {") && !text.contains("# EOF"), "{text}");
    let some = registry.prometheus(&Query { filter: NameFilter::Prefix("istio_request_b"), ..Query::default() });
    assert!(some.starts_with("# HELP istio_request_bytes ") && !some.contains("istio_requests_total"), "{some}");
}

#[test]
fn open_metrics_has_its_own_rules() {
    let (registry, _held) = filled();
    with_istio(&registry);
    let text = registry.open_metrics(&Query::default());
    assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1);
    let mut types = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (family, kind) = line.split_once(' ').unwrap();
        assert!(types.insert(family, kind).is_none(), "{family} twice");
    }
    let family_of = |name: &str| -> Option<(String, &str)> {
        let known = |family: &str| types.get(family).map(|kind| (family.to_owned(), *kind));
        let stem = ["_total", "_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        stem.and_then(known).or_else(|| known(name))
    };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let (family, kind) = family_of(name).unwrap_or_else(|| panic!("{line} is of no family"));
        assert_eq!(kind == "counter", name == format!("{family}_total") && kind != "gauge", "{line}");
    }
    assert_eq!(types["envoy_cluster_upstream_rq"], "counter");
    assert_eq!(types["envoy_cluster_upstream_rq_xx"], "unknown", "its name stays Envoy's");
    assert_eq!(types["envoy_cluster_membership_total"], "gauge");
    for line in [
        "# UNIT istio_request_duration_milliseconds milliseconds\n",
        "# UNIT istio_request_bytes bytes\n",
        "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"outbound|80||a_b\",le=\"250.0\"} 100\n",
        "le=\"250.0\"} 1 # {trace_id=\"00000000000000000000000000000001\"} 250 1.250\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
