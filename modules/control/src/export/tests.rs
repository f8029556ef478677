//! Exporters against collectors that hyper serves.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroU128};
use std::sync::Mutex;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use ringway_telemetry::{LogEntry, Span, SpanKind, SpanStatus, SpanValue, StreamRecord};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

use super::*;

/// What a collector was sent: path, fields, message.
type Got = (String, HeaderMap, Bytes);

/// A collector that answers with these HTTP statuses (over gRPC: gRPC statuses), the last again and again.
async fn collector(
    grpc: bool,
    statuses: &'static [u16],
    answer: Vec<u8>,
) -> (SocketAddr, mpsc::UnboundedReceiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (got, seen) = mpsc::unbounded_channel();
    let left: Arc<Mutex<Vec<u16>>> = Arc::new(Mutex::new(statuses.iter().rev().copied().collect()));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (got, left, answer) = (got.clone(), Arc::clone(&left), answer.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (got, left, answer) = (got.clone(), Arc::clone(&left), answer.clone());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let status = {
                        let mut left = left.lock().unwrap();
                        if left.len() > 1 { left.pop().unwrap() } else { left[0] }
                    };
                    let body = if grpc { body.slice(5..) } else { body };
                    got.send((head.uri.path().to_owned(), head.headers, body)).unwrap();
                    Ok::<_, Infallible>(if grpc {
                        grpc_response(status, &answer)
                    } else {
                        http_response(status, answer)
                    })
                }
            });
            tokio::spawn(async move {
                let io = TokioIo::new(stream);
                if grpc {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    drop(server.serve_connection(io, service).await);
                } else {
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
                }
            });
        }
    });
    (address, seen)
}

type Answered = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

fn http_response(status: u16, answer: Vec<u8>) -> Response<Answered> {
    Response::builder().status(status).body(Full::new(Bytes::from(answer)).boxed_unsync()).unwrap()
}

fn grpc_response(status: u16, answer: &[u8]) -> Response<Answered> {
    let mut message = vec![0];
    message.extend(u32::try_from(answer.len()).unwrap().to_be_bytes());
    message.extend(answer);
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.to_string().parse().unwrap())]);
    let frames = [Ok(Frame::data(Bytes::from(message))), Ok(Frame::trailers(trailers))];
    let body = Frames(frames.into_iter().collect()).boxed_unsync();
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

struct Frames(std::collections::VecDeque<Result<Frame<Bytes>, Infallible>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

fn registry() -> Arc<Registry> {
    Arc::new(Registry::new(1))
}

fn resource() -> Resource {
    Resource { service: "shop".into(), attributes: vec![("service.namespace".into(), "eu".into())] }
}

const QUICK: Batching = Batching { bytes: 16 << 10, interval: Duration::from_millis(20), queue_bytes: 1 << 20 };

fn to(address: SocketAddr, path: &str) -> Destination {
    Destination {
        endpoint: format!("http://{address}{path}").parse().unwrap(),
        headers: vec![("x-api-key".parse().unwrap(), "secret".parse().unwrap())],
        timeout: Duration::from_secs(5),
        secure: None,
    }
}

fn span(id: u64) -> Span<'static> {
    Span {
        trace: NonZeroU128::new(0xabc).unwrap(),
        id: NonZeroU64::new(id).unwrap(),
        parent: NonZeroU64::new(9),
        name: "GET".into(),
        kind: SpanKind::Server,
        start: SystemTime::UNIX_EPOCH + Duration::from_secs(5),
        end: SystemTime::UNIX_EPOCH + Duration::from_secs(6),
        attributes: vec![("http.response.status_code".into(), SpanValue::Number(503))],
        events: Vec::new(),
        status: SpanStatus::Error("503".into()),
    }
}

async fn stat(registry: &Registry, read: impl Fn(&ExporterStats) -> u64, wanted: u64) {
    let scope = registry.exporter("x");
    for _ in 0..500 {
        if scope.blocks().map(&read).sum::<u64>() == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} and not {wanted}", scope.blocks().map(&read).sum::<u64>());
}

#[tokio::test]
async fn spans_go_out_in_batches_over_grpc_and_http() {
    for transport in [OtlpTransport::Grpc, OtlpTransport::Http] {
        let grpc = transport == OtlpTransport::Grpc;
        let (address, mut seen) = collector(grpc, if grpc { &[0] } else { &[200] }, Vec::new()).await;
        let (registry, resource) = (registry(), resource());
        let with =
            Exporting { name: "x", registry: &registry, batching: QUICK, resource: &resource, tell: Arc::new(|_| {}) };
        let exporter = Exporter::otlp(&with, to(address, "/below"), transport, None);
        exporter.spans.as_ref().unwrap().export(&[span(1), span(2)]);
        let (path, fields, message) = seen.recv().await.unwrap();
        let service = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        assert_eq!(path, if grpc { service } else { "/below/v1/traces" });
        assert_eq!(fields.get("x-api-key").unwrap(), "secret");
        let request = ExportTraceServiceRequest::decode(message).unwrap();
        let resource = request.resource_spans[0].resource.as_ref().unwrap();
        assert_eq!(resource.attributes.len(), 2);
        let spans = &request.resource_spans[0].scope_spans[0].spans;
        assert_eq!(spans.len(), 2);
        assert_eq!((spans[0].trace_id[14..].to_vec(), spans[0].span_id[7]), (vec![0x0a, 0xbc], 1));
        assert_eq!((spans[0].start_time_unix_nano, spans[0].kind), (5_000_000_000, 2));
        stat(&registry, |stats| stats.sent.value(), 2).await;
    }
}

#[tokio::test]
async fn what_may_help_is_sent_again_and_what_cannot_is_given_up() {
    let (address, mut seen) = collector(false, &[503, 200], Vec::new()).await;
    let (registry, resource) = (registry(), resource());
    let with =
        Exporting { name: "x", registry: &registry, batching: QUICK, resource: &resource, tell: Arc::new(|_| {}) };
    let exporter = Exporter::otlp(&with, to(address, ""), OtlpTransport::Http, None);
    exporter.spans.as_ref().unwrap().export(&[span(1)]);
    assert_eq!(seen.recv().await.unwrap().2, seen.recv().await.unwrap().2);
    stat(&registry, |stats| stats.sent.value(), 1).await;
    stat(&registry, |stats| stats.retries.value(), 1).await;
    drop(exporter);

    let (address, _seen) = collector(true, &[3], Vec::new()).await;
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let hears = Arc::clone(&said);
    let tell: Tell = Arc::new(move |what: &str| hears.lock().unwrap().push(what.to_owned()));
    let with = Exporting { tell, ..with };
    let exporter = Exporter::otlp(&with, to(address, ""), OtlpTransport::Grpc, None);
    exporter.spans.as_ref().unwrap().export(&[span(1), span(2)]);
    stat(&registry, |stats| stats.failed.value(), 2).await;
    assert_eq!(*said.lock().unwrap(), ["cannot send: gRPC status 3; records are lost meanwhile"]);
}

#[tokio::test]
async fn what_a_collector_refuses_in_part_is_counted() {
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "no".into() };
    let answer = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let (address, _seen) = collector(true, &[0], answer).await;
    let (registry, resource) = (registry(), resource());
    let with =
        Exporting { name: "x", registry: &registry, batching: QUICK, resource: &resource, tell: Arc::new(|_| {}) };
    let exporter = Exporter::otlp(&with, to(address, ""), OtlpTransport::Grpc, None);
    exporter.spans.as_ref().unwrap().export(&[span(1), span(2)]);
    stat(&registry, |stats| stats.rejected.value(), 1).await;
    stat(&registry, |stats| stats.sent.value(), 1).await;
}

#[tokio::test]
async fn a_collector_that_is_away_costs_the_oldest_and_nothing_else() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (registry, resource) = (registry(), resource());
    let batching = Batching { queue_bytes: 2_000, ..QUICK };
    let with = Exporting { name: "x", registry: &registry, batching, resource: &resource, tell: Arc::new(|_| {}) };
    let exporter = Exporter::otlp(&with, to(gone, ""), OtlpTransport::Grpc, None);
    (1..=1000).for_each(|id| exporter.spans.as_ref().unwrap().export(&[span(id)]));
    let dropped = registry.exporter("x").blocks().map(|stats| stats.dropped.value()).sum::<u64>();
    assert!((900..1000).contains(&dropped), "{dropped}");
    tokio::time::timeout(Duration::from_secs(1), exporter.flush(Duration::from_millis(50))).await.unwrap();
}

#[tokio::test]
async fn a_flush_does_not_wait_for_the_interval() {
    let (address, mut seen) = collector(false, &[200], Vec::new()).await;
    let (registry, resource) = (registry(), resource());
    let batching = Batching { interval: Duration::from_secs(3600), ..QUICK };
    let with = Exporting { name: "x", registry: &registry, batching, resource: &resource, tell: Arc::new(|_| {}) };
    let exporter = Exporter::zipkin(&with, to(address, "/api/v2/spans"));
    exporter.spans.as_ref().unwrap().export(&[span(1)]);
    exporter.flush(Duration::from_secs(5)).await;
    let (path, fields, message) = seen.try_recv().unwrap();
    assert_eq!(
        (path.as_str(), fields.get("content-type").unwrap().to_str().unwrap()),
        ("/api/v2/spans", "application/json")
    );
    let spans: serde_json::Value = serde_json::from_slice(&message).unwrap();
    assert_eq!(spans[0]["traceId"], "00000000000000000000000000000abc");
    assert_eq!((&spans[0]["parentId"], &spans[0]["duration"]), (&"0000000000000009".into(), &1_000_000.into()));
    assert_eq!(
        (&spans[0]["localEndpoint"]["serviceName"], &spans[0]["tags"]["error"]),
        (&"shop".into(), &"503".into())
    );
}

fn entry(http: bool) -> LogEntry<'static> {
    let mut record = StreamRecord::new(SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    if http {
        (record.method, record.protocol) = (Some("PUT"), Some(ringway_api::Version::Http2));
        (record.path, record.response_code) = (Some(&b"/x"[..]), Some(503));
        record.flags.insert(ringway_api::ResponseFlag::UpstreamOverflow);
    }
    record.duration = Duration::from_millis(12);
    LogEntry { record, body: None, attributes: vec![("tenant", "acme".to_owned())] }
}

#[tokio::test]
async fn streams_go_out_as_log_records() {
    let (address, mut seen) = collector(true, &[0], Vec::new()).await;
    let (registry, resource) = (registry(), resource());
    let with =
        Exporting { name: "x", registry: &registry, batching: QUICK, resource: &resource, tell: Arc::new(|_| {}) };
    let exporter = Exporter::otlp(&with, to(address, ""), OtlpTransport::Grpc, None);
    exporter.logs.as_ref().unwrap().export(&entry(true));
    let (path, _, message) = seen.recv().await.unwrap();
    assert!(path.ends_with("logs.v1.LogsService/Export"), "{path}");
    let request = ExportLogsServiceRequest::decode(message).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((record.severity_text.as_str(), record.time_unix_nano), ("ERROR", 5_000_000_000));
    assert!(record.attributes.iter().any(|attribute| attribute.key == "response_flags"));
    assert!(record.attributes.iter().any(|attribute| attribute.key == "tenant"));
}

#[tokio::test]
async fn an_access_log_service_gets_entries_of_both_kinds() {
    let (address, mut seen) = collector(true, &[0], Vec::new()).await;
    let (registry, resource) = (registry(), resource());
    let with =
        Exporting { name: "x", registry: &registry, batching: QUICK, resource: &resource, tell: Arc::new(|_| {}) };
    let exporter = Exporter::als(&with, to(address, ""), "edge");
    exporter.logs.as_ref().unwrap().export(&entry(true));
    exporter.logs.as_ref().unwrap().export(&entry(false));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let (path, _, message) = seen.recv().await.unwrap();
        assert_eq!(path, "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs");
        let message = als::StreamAccessLogs::decode(message).unwrap();
        kinds.push(format!("{message:?}"));
    }
    kinds.sort();
    let http = kinds.iter().find(|kind| kind.contains("request_method: 4")).unwrap();
    // `upstream_overflow` is field 8, a truth value.
    assert!(http.contains("response_flags: [64, 1]") && http.contains("\"edge\""), "{http}");
    assert!(http.contains(r#"custom_tags: {"tenant": "acme"}"#) && http.contains("tcp_logs: None"), "{http}");
    assert!(kinds.iter().any(|kind| kind.contains("http_logs: None")));
}

#[tokio::test]
async fn statistics_go_out_under_their_names() {
    let (address, mut seen) = collector(false, &[200], Vec::new()).await;
    let (registry, resource) = (registry(), resource());
    let http = registry.http("web");
    http.control().downstream_rq_total.add(7);
    http.control().downstream_rq_time.record(Duration::from_millis(3));
    let with =
        Exporting { name: "x", registry: &registry, batching: QUICK, resource: &resource, tell: Arc::new(|_| {}) };
    let _exporter = Exporter::otlp(&with, to(address, ""), OtlpTransport::Http, Some(Duration::from_millis(30)));
    let (path, _, message) = seen.recv().await.unwrap();
    assert_eq!(path, "/v1/metrics");
    let request = ExportMetricsServiceRequest::decode(message).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let find = |name: &str| metrics.iter().find(|metric| metric.name == name).and_then(|metric| metric.data.as_ref());
    let Some(Data::Sum(sum)) = find("envoy_http_downstream_rq_total") else { panic!("{metrics:?}") };
    assert_eq!(
        (sum.is_monotonic, sum.data_points[0].attributes[0].key.as_str()),
        (true, "envoy_http_conn_manager_prefix")
    );
    let Some(Data::Histogram(times)) = find("envoy_http_downstream_rq_time") else { panic!("{metrics:?}") };
    let point = &times.data_points[0];
    assert_eq!((point.count, point.bucket_counts.iter().sum::<u64>(), point.sum), (1, 1, Some(3.0)));
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
}

#[tokio::test]
async fn statsd_is_told_what_counters_grew_by() {
    for tags in [false, true] {
        let daemon = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Ip(daemon.local_addr().unwrap());
        let (registry, resource) = (registry(), resource());
        let cluster = registry.cluster("app|1");
        cluster.control().upstream_rq_total.add(2);
        cluster.control().upstream_rq_time.record(Duration::from_millis(4));
        let with =
            Exporting { name: "x", registry: &registry, batching: QUICK, resource: &resource, tell: Arc::new(|_| {}) };
        let _exporter = Exporter::statsd(&with, address, "ringway", Duration::from_millis(30), tags);
        let mut lines = String::new();
        let mut buffer = [0; 2048];
        let wanted = |lines: &str| lines.matches("upstream_rq_total").count();
        while wanted(&lines) < 2 {
            let len = daemon.recv(&mut buffer).await.unwrap();
            lines.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
            lines.push('\n');
            if wanted(&lines) == 1 {
                cluster.control().upstream_rq_total.add(5);
            }
        }
        let name = if tags { "ringway.cluster.upstream_rq_total" } else { "ringway.cluster.app_1.upstream_rq_total" };
        let tag = if tags { "|#envoy_cluster_name:app_1" } else { "" };
        assert!(lines.contains(&format!("{name}:2|c{tag}\n")), "{lines}");
        assert!(lines.contains("upstream_rq_time.p99:"), "{lines}");
    }
}
