use std::num::NonZeroU128;
use std::time::{Duration, SystemTime};

use ringway_api::{Address, PeerCertificate, TlsInfo, Version};

use super::*;
use crate::{LogType, Registry, ResponseFlag, ResponseFlags, Sinks, SpanId, StreamRecord, StreamSink, TraceIds};

struct World {
    registry: Registry,
    istio: Arc<Istio>,
}

impl World {
    fn new(mesh: Mesh, workers: usize) -> Self {
        let registry = Registry::new(workers);
        let istio = Istio::new(mesh, workers, Arc::clone(&registry.metrics));
        registry.show_istio(Some(Arc::clone(&istio)));
        Self { registry, istio }
    }

    fn lane(&self, reporter: Reporter, worker: usize) -> Box<dyn StreamSink> {
        let mut sinks = Sinks::default();
        sinks.add(|needs| IstioSink::new(Arc::clone(&self.istio), reporter, needs));
        sinks.on_worker(worker).into_iter().next().unwrap()
    }

    /// The series of a family, as the value under its labels.
    fn series(&self, name: &str) -> Vec<(Labels, Point)> {
        let family = self.istio.families().into_iter().find(|family| family.name == name);
        family.map_or(Vec::new(), |family| {
            family.series.into_iter().map(|(labels, point)| (labels.to_vec(), point)).collect()
        })
    }
}

fn mesh() -> Mesh {
    Mesh {
        local: Workload { name: "web-v1".into(), namespace: "shop".into(), ..Workload::default() },
        max_series: 100,
        ..Mesh::default()
    }
}

fn record(cluster: &str) -> StreamRecord<'_> {
    let mut record = StreamRecord::new(SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    record.response_code = Some(200);
    record.upstream_cluster = Some(cluster).filter(|cluster| !cluster.is_empty());
    record.duration = Duration::from_millis(7);
    record.bytes_received = 100;
    record.bytes_sent = 2_000;
    record
}

fn label<'a>(labels: &'a Labels, name: &str) -> &'a str {
    labels.iter().find(|(known, _)| *known == name).map_or("absent", |(_, value)| value)
}

#[test]
fn requests_of_all_workers_are_added_up_under_istios_labels() {
    let world = World::new(mesh(), 2);
    for worker in [0, 1, 1] {
        let lane = world.lane(Reporter::Source, worker);
        lane.ended(&record("outbound|80|v1|reviews.books.svc.cluster.local"));
        // The same service by another name of its cluster.
        lane.ended(&record("outbound|80|v2|reviews.books.svc.cluster.local"));
    }
    let requests = world.series("istio_requests");
    let [(labels, Point::Counter(6))] = &requests[..] else { panic!("{requests:?}") };
    for (name, value) in [
        ("reporter", "source"),
        ("source_workload", "web-v1"),
        ("source_workload_namespace", "shop"),
        ("destination_service", "reviews.books.svc.cluster.local"),
        ("destination_service_name", "reviews"),
        ("destination_service_namespace", "books"),
        ("destination_workload", "unknown"),
        ("request_protocol", "http"),
        ("response_code", "200"),
        ("grpc_response_status", ""),
        ("response_flags", "-"),
        ("connection_security_policy", "unknown"),
    ] {
        assert_eq!(label(labels, name), value, "{name}");
    }
    assert_eq!(labels.len(), 25);
    let [(_, Point::Histogram(buckets, sum))] = &world.series("istio_request_duration_milliseconds")[..] else {
        panic!()
    };
    assert!((sum - 42.0).abs() < 1e-9);
    let filled: Vec<_> = buckets.iter().filter(|bucket| bucket.count > 0).collect();
    assert!(matches!(filled[..], [Bucket { bound: 10.0, count: 6, exemplar: None }]), "{filled:?}");
    let [(_, Point::Histogram(buckets, sum))] = &world.series("istio_response_bytes")[..] else { panic!() };
    assert_eq!((*sum, buckets.iter().map(|bucket| bucket.count).sum::<u64>()), (12_000.0, 6));
}

#[test]
fn what_differs_has_series_of_its_own() {
    let world = World::new(Mesh { by_authority: true, ..mesh() }, 1);
    let lane = world.lane(Reporter::Destination, 0);
    let certificate = PeerCertificate {
        chain: Vec::new(),
        sha256: [0; 32],
        subject: "".into(),
        issuer: "".into(),
        serial: Box::default(),
        not_before: SystemTime::UNIX_EPOCH,
        not_after: SystemTime::UNIX_EPOCH,
        uri_sans: vec!["spiffe://cluster.local/ns/books/sa/reviews".into()],
        dns_sans: Vec::new(),
    };
    let tls = TlsInfo {
        version: "TLSv1.3",
        cipher: "TLS13_AES_128_GCM_SHA256",
        server_name: None,
        alpn: None,
        resumed: false,
        peer: Some(Arc::new(certificate)),
    };
    let mut one = record("app");
    lane.ended(&one);
    one.authority = Some(b"Shop.example:8080");
    lane.ended(&one);
    one.tls = Some(&tls);
    lane.ended(&one);
    (one.is_call, one.grpc_status) = (true, Some(14));
    lane.ended(&one);
    one.protocol = Some(Version::Rpc("dubbo"));
    lane.ended(&one);
    one.flags = ResponseFlags::of(ResponseFlag::UpstreamRequestTimeout);
    one.response_code = None;
    lane.ended(&one);
    let requests = world.series("istio_requests");
    let told = |name: &str| -> Vec<&str> {
        let mut values: Vec<_> = requests.iter().map(|(labels, _)| label(labels, name)).collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    assert_eq!(requests.len(), 6);
    assert_eq!(told("destination_service"), ["app", "shop.example"]);
    assert_eq!(told("destination_workload"), ["web-v1"]);
    assert_eq!(told("source_principal"), ["spiffe://cluster.local/ns/books/sa/reviews", "unknown"]);
    assert_eq!(told("source_workload_namespace"), ["books", "unknown"]);
    assert_eq!(told("connection_security_policy"), ["mutual_tls", "none"]);
    assert_eq!(told("request_protocol"), ["dubbo", "grpc", "http"]);
    assert_eq!(told("grpc_response_status"), ["", "14"]);
    assert_eq!(told("response_flags"), ["-", "UT"]);
    assert_eq!(told("response_code"), ["0", "200"]);
}

#[test]
fn clusters_are_what_the_configuration_says() {
    let workload = Workload { name: "reviews-v2".into(), namespace: "books".into(), ..Workload::default() };
    let service =
        MeshService { host: "reviews.example".into(), name: "reviews".into(), workload, ..Default::default() };
    let services = [("app".into(), service)].into_iter().collect();
    let world = World::new(Mesh { services, by_authority: true, ..mesh() }, 1);
    let mut one = record("app");
    one.authority = Some(b"anything");
    world.lane(Reporter::Source, 0).ended(&one);
    let requests = world.series("istio_requests");
    let labels = &requests[0].0;
    let values = ["destination_service", "destination_service_name", "destination_workload"].map(|n| label(labels, n));
    assert_eq!(values, ["reviews.example", "reviews", "reviews-v2"]);
    assert_eq!(label(labels, "destination_service_namespace"), "books", "the workload's, for want of a better one");
}

#[test]
fn connections_of_bytes_are_counted_when_they_begin_and_when_they_end() {
    let world = World::new(mesh(), 1);
    let lane = world.lane(Reporter::Source, 0);
    let host = Address::Ip(([127, 0, 0, 1], 9).into());
    let mut one = record("db");
    (one.kind, one.upstream_host) = (LogType::TcpUpstreamConnected, Some(&host));
    lane.connected(&one);
    lane.connected(&one);
    one.kind = LogType::TcpConnectionEnd;
    lane.ended(&one);
    let mut refused = record("");
    refused.kind = LogType::TcpConnectionEnd;
    refused.flags = ResponseFlags::of(ResponseFlag::UpstreamConnectionFailure);
    lane.ended(&refused);
    let read = |name| -> Vec<(String, Point)> {
        let series = world.series(name).into_iter();
        series.map(|(labels, point)| (label(&labels, "response_flags").to_owned(), point)).collect()
    };
    let counts =
        |of_db, of_nobody| [("-".to_owned(), Point::Counter(of_db)), ("UF".to_owned(), Point::Counter(of_nobody))];
    assert_eq!(read("istio_tcp_connections_opened"), counts(2, 1));
    assert_eq!(read("istio_tcp_connections_closed"), counts(1, 1));
    assert_eq!(read("istio_tcp_received_bytes"), counts(100, 100));
    assert_eq!(read("istio_tcp_sent_bytes"), counts(2_000, 2_000));
    assert!(world.series("istio_requests").is_empty());
    assert!(world.series("istio_tcp_sent_bytes").iter().all(|(labels, _)| label(labels, "response_code") == "absent"));
}

#[test]
fn what_finds_no_room_counts_together_and_nothing_shown_is_lost() {
    let world = World::new(Mesh { max_series: 10, ..mesh() }, 2);
    let (one, two) = (world.lane(Reporter::Source, 0), world.lane(Reporter::Source, 1));
    let names: Vec<String> = (0..30).map(|at| format!("c{at}")).collect();
    let total = |world: &World| -> u64 {
        let count = |point| match point {
            Point::Counter(count) => count,
            Point::Histogram(..) => 0,
        };
        world.series("istio_requests").into_iter().map(|(_, point)| count(point)).sum()
    };
    // Six on the first worker, which are shown.
    names[..6].iter().for_each(|name| one.ended(&record(name)));
    assert_eq!((world.series("istio_requests").len(), total(&world)), (6, 6));
    // More than either worker has room for, and others than on the first.
    names[..20].iter().for_each(|name| one.ended(&record(name)));
    names[15..].iter().for_each(|name| two.ended(&record(name)));
    for _ in 0..3 {
        let series = world.series("istio_requests");
        assert_eq!((series.len(), total(&world)), (11, 6 + 20 + 15));
        let of = |name: &str| series.iter().find(|(labels, _)| label(labels, "destination_service") == name);
        assert!(names[..6].iter().all(|name| of(name).is_some_and(|(_, point)| *point == Point::Counter(2))));
        assert!(of("overflow").is_some_and(|(labels, _)| labels.iter().all(|(_, value)| value == "overflow")));
        let cells = &world.registry.metrics;
        let overflowed: u64 = cells.blocks().map(|block| block.overflowed.value()).sum();
        let (_, Point::Counter(shown)) = of("overflow").unwrap() else { panic!() };
        assert_eq!((overflowed, cells.control().label_sets.value()), (*shown, 10));
    }
}

#[test]
fn recorded_traces_are_examples_of_their_buckets() {
    let world = World::new(mesh(), 1);
    let lane = world.lane(Reporter::Source, 0);
    for (trace, sampled, ms) in [(1, true, 7), (2, true, 9), (3, false, 8), (4, true, 400)] {
        let mut one = record("app");
        let trace = NonZeroU128::new(trace).unwrap();
        one.trace = Some(TraceIds { trace, span: SpanId::MIN, parent: None, sampled });
        one.duration = Duration::from_millis(ms);
        lane.ended(&one);
    }
    let series = world.series("istio_request_duration_milliseconds");
    let Point::Histogram(buckets, _) = &series[0].1 else { panic!() };
    let examples: Vec<_> =
        buckets.iter().filter_map(|bucket| bucket.exemplar.map(|e| (bucket.bound, e.trace.get(), e.us))).collect();
    assert_eq!(examples, [(10.0, 2, 9_000), (500.0, 4, 400_000)]);
}
