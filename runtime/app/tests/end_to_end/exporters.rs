//! Exporters in the binary.

use std::net::UdpSocket;
use std::time::Duration;

use crate::edge::config;
use crate::proxy::{Proxy, Upstream, free_port, status};

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
