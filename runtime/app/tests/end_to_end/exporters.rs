//! Exporters in the binary.

use std::net::UdpSocket;
use std::time::Duration;

use crate::edge::config;
use crate::proxy::{Client, Proxy, Upstream, eventually, free_port, status};

const ROUTES: &str =
    "routes: { virtual_hosts: [{ domains: ['*'], routes: [{ match: { prefix: / }, route: { cluster: app } }] }] }";

#[test]
fn statistics_reach_a_daemon_and_secrets_do_not_reach_dumps() {
    let upstream = Upstream::saying("x");
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let address = daemon.local_addr().unwrap();
    let nobody = free_port();
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let listener = format!("name: web, address: '{web}', protocol: http1, {ROUTES}");
        let cluster = format!("name: app, endpoints: ['{}']", upstream.address);
        config(admin, &[listener], &[cluster])
            + &format!(
                "exporters:\n  - {{ name: stats, statsd: {{ address: '{address}', prefix: edge, interval: 100ms }} }}\n  \
                 - {{ name: away, otlp: {{ endpoint: 'http://127.0.0.1:{nobody}', metrics_interval: 50ms, timeout: 100ms, \
                 headers: {{ api-key: hunter2 }} }} }}\n"
            )
    });
    assert_eq!(status(proxy.web), 200);
    let mut told = String::new();
    let mut buffer = [0; 2048];
    while !told.contains("edge.http.web.downstream_rq_2xx:1|c") {
        let len = daemon.recv(&mut buffer).unwrap();
        told.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
        told.push('\n');
    }
    let dump = proxy.ask("GET", "/config_dump").unwrap();
    assert!(dump.contains("[redacted]") && !dump.contains("hunter2"), "{dump}");
    assert!(proxy.ask("GET", "/stats").unwrap().contains("exporter.away.requests: "));
}

#[test]
fn access_logs_reach_a_collector() {
    let (upstream, collector) = (Upstream::saying("hello"), Upstream::saying(""));
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let log = "access_log: { exporter: collector, format: 'line of %REQ(:PATH)%', \
                   attributes: { tenant: '%REQ(x-tenant)%', zone: eu }, filter: { not: { header: { name: x-quiet } } } }";
        let listener = format!("name: web, address: '{web}', protocol: http1, {log}, {ROUTES}");
        let cluster = format!("name: app, endpoints: ['{}']", upstream.address);
        config(admin, &[listener], &[cluster])
            + &format!(
                "exporters:\n  - {{ name: collector, batch: {{ interval: 50ms }}, \
                 otlp: {{ endpoint: 'http://{}', protocol: http }} }}\n",
                collector.address
            )
    });
    let mut client = Client::connect(proxy.web);
    for (path, field) in [("/quiet", "x-quiet: yes"), ("/loud", "x-tenant: acme")] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n").as_bytes());
        client.response().unwrap();
    }
    let has = |messages: &[Vec<u8>], what: &str| {
        messages.iter().any(|message| message.windows(what.len()).any(|part| part == what.as_bytes()))
    };
    eventually("the record is there", || {
        let messages = collector.contents.lock().unwrap();
        ["line of /loud", "acme", "zone", "upstream_cluster"].iter().all(|what| has(&messages, what))
    });
    assert!(collector.heads.lock().unwrap()[0].starts_with("POST /v1/logs "));
    assert!(!has(&collector.contents.lock().unwrap(), "/quiet"));
    let stats = proxy.ask("GET", "/stats").unwrap();
    assert!(stats.contains("access_logs.logs_exported: 1\n") && stats.contains("access_logs.logs_filtered: 1\n"));
}
