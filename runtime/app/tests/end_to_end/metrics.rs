//! Istio's metrics through the binary, in both formats.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::edge::{config, routes};
use crate::proxy::{Client, Proxy, Upstream, eventually, status};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The metrics, for a client that accepts these formats.
fn scrape(proxy: &Proxy, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(proxy.admin).unwrap();
    let head = format!("GET /stats/prometheus HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

/// The value of the series that has all of these labels.
fn value(text: &str, name: &str, labels: &[&str]) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.split('{').next() == Some(name));
    let line = lines.find(|line| labels.iter().all(|label| line.contains(label)))?;
    line.split("} ").nth(1)?.split(' ').next()?.parse().ok()
}

#[test]
fn istios_metrics_are_shown_survive_reloads_and_have_examples() {
    let upstream = Upstream::saying("hello");
    let text = |web, tcp, admin, more: &str| {
        let listeners = [
            format!("name: front, address: '{web}', routes: {}", routes("back")),
            format!("name: raw, address: '{tcp}', protocol: tcp, cluster: bytes"),
        ];
        let clusters = [
            format!("name: back, endpoints: ['{}']", upstream.address),
            format!("name: bytes, protocol: tcp, endpoints: ['{}']", upstream.address),
        ];
        config(admin, &listeners, &clusters)
            + "tracing: { sampling: { random: 0% } }\n\
               metrics:\n  istio:\n    reporter: source\n    listeners: { raw: destination }\n    \
               workload: { name: web-v1, namespace: shop }\n    \
               services: { back: { host: back.shop.svc.cluster.local, name: back } }\n"
            + more
    };
    let proxy = Proxy::start_with(|_, web, tcp, admin| text(web, tcp, admin, ""));
    let mut client = Client::connect(proxy.web);
    client.send(format!("GET /a HTTP/1.1\r\nHost: h\r\ntraceparent: {CALLER}\r\n\r\n").as_bytes());
    client.response().unwrap();
    let mut raw = Client::connect(proxy.tcp);
    raw.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(!raw.rest().is_empty());
    drop(raw);
    let of_back =
        ["destination_service=\"back.shop.svc.cluster.local\"", "reporter=\"source\"", "response_code=\"200\""];
    let of_bytes = ["destination_service=\"bytes\"", "reporter=\"destination\"", "destination_workload=\"web-v1\""];
    eventually("the connection's end is counted", || {
        let (_, text) = scrape(&proxy, "*/*");
        value(&text, "istio_tcp_connections_closed_total", &of_bytes) == Some(1)
    });
    let (head, text_format) = scrape(&proxy, "*/*");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert_eq!(value(&text_format, "istio_requests_total", &of_back), Some(1));
    assert_eq!(value(&text_format, "istio_response_bytes_sum", &of_back), Some(5));
    assert_eq!(value(&text_format, "istio_tcp_connections_opened_total", &of_bytes), Some(1));
    assert!(value(&text_format, "istio_tcp_received_bytes_total", &of_bytes).is_some_and(|bytes| bytes > 40));
    assert!(!text_format.contains("trace_id"));

    // A configuration that says the same of metrics goes on counting.
    let next = proxy.dir.join("next.yaml");
    std::fs::write(&next, text(proxy.web, proxy.tcp, proxy.admin, "drain: { timeout: 1s }\n")).unwrap();
    std::fs::rename(next, proxy.config_path()).unwrap();
    eventually("the new configuration is in force", || proxy.generation() == 2);
    assert_eq!(status(proxy.web), 200);
    let (head, open) = scrape(&proxy, "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert_eq!(value(&open, "istio_requests_total", &of_back), Some(2));
    assert!(open.contains(" # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} "), "{open}");
    assert!(open.ends_with("\n# EOF\n"));
}

#[test]
fn series_beyond_the_limit_count_together() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let listener = format!("name: front, address: '{web}', routes: {}", routes("back"));
        config(admin, &[listener], &[format!("name: back, endpoints: ['{}']", upstream.address)])
            + "metrics: { istio: { host_header_fallback: true, max_series: 3 } }\n"
    });
    for at in 0..10 {
        let mut client = Client::connect(proxy.web);
        client.send(format!("GET / HTTP/1.1\r\nHost: h{at}:80\r\n\r\n").as_bytes());
        client.response().unwrap();
    }
    let (_, text) = scrape(&proxy, "text/plain");
    let series = text.lines().filter(|line| line.starts_with("istio_requests_total{")).count();
    assert_eq!(series, 4, "{text}");
    assert_eq!(value(&text, "istio_requests_total", &["reporter=\"overflow\"", "response_code=\"overflow\""]), Some(7));
    assert_eq!((proxy.stat("metrics.overflowed"), proxy.stat("metrics.label_sets")), (7, 3));
}
