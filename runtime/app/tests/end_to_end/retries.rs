//! Retries, as a client and hosts see them.

mod calls;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::proxy::{Client, Proxy, Upstream, eventually, free_port, status};

/// A proxy whose route to `hosts` has `route` besides its cluster, and whose cluster has `cluster`.
fn proxy(hosts: &[SocketAddr], route: &str, cluster: &str) -> Proxy {
    let hosts: Vec<_> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
    with_endpoints(&hosts.join(", "), route, cluster)
}

/// The same, with hosts as a configuration has them.
fn with_endpoints(hosts: &str, route: &str, cluster: &str) -> Proxy {
    Proxy::start_with(|dir, web, _, admin| {
        let log = dir.join("access.log");
        let log = log.display();
        format!(
            r#"
workers: 1
admin: {{ address: "{admin}" }}
listeners:
  - name: web
    address: "{web}"
    protocol: http1
    access_log: {{ path: {log}, format: "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%" }}
    routes: {{ virtual_hosts: [{{ domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: app, timeout: 10s, {route} }} }}] }}] }}
clusters:
  - {{ name: app, endpoints: [{hosts}], {cluster} }}
  - {{ name: dead, endpoints: ["127.0.0.1:1"] }}
"#
        )
    })
}

fn log(proxy: &Proxy) -> String {
    std::fs::read_to_string(proxy.dir.join("access.log")).unwrap_or_default()
}

fn answer(stream: &mut TcpStream, status: &str) -> bool {
    stream.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok").as_bytes()).is_ok()
}

/// A host that answers `first` to the first `n` requests, and 200 from then on.
fn failing(n: usize, first: &'static str) -> Upstream {
    let count = AtomicUsize::new(0);
    Upstream::start(move |_, stream| match count.fetch_add(1, Ordering::Relaxed) {
        at if at < n => stream.write_all(first.as_bytes()).is_ok(),
        _ => answer(stream, "200"),
    })
}

const UNAVAILABLE: &str = "HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\nno";

#[test]
fn a_503_is_retried_and_counted() {
    let upstream = failing(2, UNAVAILABLE);
    let route = "retry: { on: [5xx], attempts: 2, include_attempt_count: true, back_off: { base_interval: 5ms } }";
    let proxy = proxy(&[upstream.address], route, "");
    assert_eq!(status(proxy.web), 200);
    let heads = upstream.heads.lock().unwrap().clone();
    for (at, head) in heads.iter().enumerate() {
        let head = head.to_lowercase();
        assert!(head.contains(&format!("x-envoy-attempt-count: {}\r\n", at + 1)), "{head}");
        assert!(head.contains("x-envoy-expected-rq-timeout-ms: "), "{head}");
    }
    assert_eq!(heads.len(), 3);
    for (row, count) in [
        ("upstream_rq_retry", 2),
        ("upstream_rq_retry_success", 1),
        ("upstream_rq_retry_backoff_exponential", 2),
        ("upstream_rq_retry_limit_exceeded", 0),
        ("upstream_rq_2xx", 1),
        ("upstream_rq_5xx", 0),
    ] {
        let row = format!("cluster.app.{row}");
        eventually(&row, || proxy.stat(&row) == count);
    }
}

#[test]
fn when_all_tries_are_used_up_the_last_answer_is_the_clients() {
    let upstream = failing(100, UNAVAILABLE);
    let route = "retry: { on: [gateway-error], attempts: 1, back_off: { base_interval: 5ms } }";
    let proxy = proxy(&[upstream.address], route, "");
    let mut client = Client::connect(proxy.web);
    let (head, content) = client.get("/").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && content == b"no", "{head}");
    assert_eq!(upstream.heads.lock().unwrap().len(), 2);
    eventually("the log says so", || log(&proxy).contains("503 URX via_upstream"));
    assert_eq!(proxy.stat("cluster.app.upstream_rq_retry_limit_exceeded"), 1);
    assert_eq!(proxy.stat("cluster.app.upstream_rq_retry_success"), 0);
}

#[test]
fn a_retry_of_somebody_else_is_not_retried_nor_is_what_an_overloaded_proxy_refused() {
    let overloaded = "HTTP/1.1 503 X\r\nx-envoy-overloaded: true\r\nContent-Length: 2\r\n\r\nno";
    let upstream = failing(2, overloaded);
    let proxy = proxy(&[upstream.address], "retry: { on: [5xx], attempts: 5 }", "");
    let mut client = Client::connect(proxy.web);
    assert!(client.get("/").unwrap().0.starts_with("HTTP/1.1 503 "));
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nx-envoy-attempt-count: 2\r\n\r\n");
    assert!(client.response().unwrap().0.starts_with("HTTP/1.1 503 "));
    assert_eq!(upstream.heads.lock().unwrap().len(), 2);
    assert_eq!(proxy.stat("cluster.app.upstream_rq_retry"), 0);
}

#[test]
fn a_host_that_refuses_connections_gives_way_to_the_next() {
    let upstream = Upstream::saying("hello");
    let dead = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let route = "retry: { on: [connect-failure], attempts: 2, host_selection: [previous_hosts], \
                 host_selection_retry_max_attempts: 3, back_off: { base_interval: 1ms } }";
    let proxy = proxy(&[dead, upstream.address], route, "");
    for _ in 0..10 {
        assert_eq!(status(proxy.web), 200);
    }
    assert!(proxy.stat("cluster.app.upstream_cx_connect_fail") >= 1);
}

#[test]
fn a_retry_goes_to_a_priority_that_was_not_tried() {
    let first = failing(usize::MAX, UNAVAILABLE);
    let second = Upstream::saying("hello");
    let endpoints = format!("\"{}\", {{ address: \"{}\", priority: 1 }}", first.address, second.address);
    let retry = |more| format!("retry: {{ on: [5xx], attempts: 2, back_off: {{ base_interval: 1ms }} {more} }}");
    let proxy = with_endpoints(&endpoints, &retry(""), "");
    assert_eq!(status(proxy.web), 503, "the first priority is well, as far as anybody knows");
    assert_eq!(first.heads.lock().unwrap().len(), 3);
    let proxy = with_endpoints(&endpoints, &retry(", previous_priorities: { update_frequency: 1 }"), "");
    for turn in 1..=5 {
        assert_eq!(status(proxy.web), 200);
        assert_eq!(first.heads.lock().unwrap().len(), 3 + turn, "one try, then the next priority");
    }
}

#[test]
fn a_try_that_takes_too_long_is_repeated_and_the_last_one_is_504() {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::start(move |head, stream| {
        if head.starts_with("GET /never") || count.fetch_add(1, Ordering::Relaxed) == 0 {
            thread::sleep(Duration::from_secs(30));
            return false;
        }
        answer(stream, "200")
    });
    let route = "retry: { on: [reset], attempts: 1, per_try_timeout: 200ms, back_off: { base_interval: 1ms } }";
    let proxy = proxy(&[upstream.address], route, "");
    let mut client = Client::connect(proxy.web);
    assert!(client.get("/").unwrap().0.starts_with("HTTP/1.1 200 "));
    assert!(client.get("/never").unwrap().0.starts_with("HTTP/1.1 504 "));
    assert_eq!(proxy.stat("cluster.app.upstream_rq_per_try_timeout"), 3);
    eventually("the log says so", || log(&proxy).contains("504 UT,URX upstream_per_try_timeout"));
}

#[test]
fn without_a_place_in_the_budget_there_is_no_retry() {
    let upstream = failing(1, UNAVAILABLE);
    let budget = "retry_budget: { percent: 0, min_concurrency: 0 }";
    let proxy = proxy(&[upstream.address], "retry: { on: [5xx], attempts: 3 }", budget);
    assert_eq!(status(proxy.web), 503);
    assert_eq!(upstream.heads.lock().unwrap().len(), 1);
    assert_eq!(proxy.stat("cluster.app.upstream_rq_retry_overflow"), 1);
    eventually("the log says so", || log(&proxy).contains("503 UO via_upstream"));
}

#[test]
fn content_up_to_the_limit_is_sent_again_and_more_is_sent_once() {
    // The answer comes before the host has taken all of it or after: both must do.
    let upstream = failing(1, UNAVAILABLE);
    let route = "retry: { on: [5xx], attempts: 1, back_off: { base_interval: 1ms } }";
    let proxy = proxy(&[upstream.address], route, "");
    let body: Vec<u8> = (0..40 << 10).map(|at| (at % 251) as u8).collect();
    let mut client = Client::connect(proxy.web);
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    for piece in body.chunks(5000) {
        client.send(piece);
        thread::sleep(Duration::from_millis(2));
    }
    assert!(client.response().unwrap().0.starts_with("HTTP/1.1 200 "));
    let contents = upstream.contents.lock().unwrap().clone();
    assert!(contents.len() == 2 && contents.iter().all(|content| *content == body), "{} tries", contents.len());
    eventually("nothing is kept", || proxy.stat("cluster.app.upstream_rq_replay_bytes") == 0);

    let upstream = failing(1, UNAVAILABLE);
    let proxy = self::proxy(&[upstream.address], route, "");
    let large = vec![7; 100 << 10];
    let mut client = Client::connect(proxy.web);
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", large.len()).as_bytes());
    client.send(&large);
    assert!(client.response().unwrap().0.starts_with("HTTP/1.1 503 "));
    assert_eq!(upstream.contents.lock().unwrap().clone(), [large]);
    assert_eq!(proxy.stat("cluster.app.upstream_rq_replay_overflow"), 1);
    assert_eq!(proxy.stat("cluster.app.upstream_rq_replay_bytes"), 0);
}

#[test]
fn a_grpc_call_is_retried_by_its_status_in_fields_and_in_trailers() {
    let fields = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 14\r\nContent-Length: 0\r\n\r\n";
    let trailers = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n\
                    0\r\ngrpc-status: 14\r\n\r\n";
    for first in [fields, trailers] {
        let upstream = failing(1, first);
        let route = "retry: { on: [unavailable], attempts: 1, back_off: { base_interval: 1ms } }";
        let proxy = proxy(&[upstream.address], route, "");
        let mut client = Client::connect(proxy.web);
        let call = b"POST /s/m HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\n\
                     grpc-timeout: 5S\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0";
        client.send(call);
        let (head, content) = client.response().unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && content == b"ok", "{head}");
        assert_eq!(upstream.contents.lock().unwrap().len(), 2);
        let told = upstream.heads.lock().unwrap()[1].to_lowercase();
        let told = told.lines().find_map(|line| line.strip_prefix("grpc-timeout: ")).unwrap().to_owned();
        assert!(told.ends_with('u') && told != "5000000u", "the second try is told what is left: {told}");
    }
}

#[test]
fn a_mirror_whose_hosts_are_dead_harms_nobody() {
    let upstream = Upstream::saying("hello");
    let proxy = proxy(&[upstream.address], "mirror: [{ cluster: dead }]", "");
    let mut client = Client::connect(proxy.web);
    for _ in 0..50 {
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        let (head, content) = client.response().unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && content == b"hello", "{head}");
    }
    eventually("all copies have failed", || proxy.stat("cluster.dead.upstream_cx_connect_fail") == 50);
    assert_eq!(proxy.stat("cluster.dead.upstream_rq_mirrored"), 50);
    assert_eq!(proxy.stat("cluster.app.upstream_rq_2xx"), 50);
    eventually("nothing is kept", || proxy.stat("cluster.app.upstream_rq_replay_bytes") == 0);
}

#[test]
fn a_host_has_limits_of_its_own_and_waiting_has_an_end() {
    let upstream = Upstream::start(|head, stream| {
        if head.starts_with("GET /slow") {
            thread::sleep(Duration::from_millis(1500));
        }
        answer(stream, "200")
    });
    let waits = "limits: { per_host: { max_connections: 1 }, pending_timeout: 50ms }";
    for limits in ["limits: { per_host: { max_requests: 1 } }", waits] {
        let proxy = proxy(&[upstream.address], "retry: { on: [5xx, connect-failure], attempts: 3 }", limits);
        let mut slow = Client::connect(proxy.web);
        slow.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("it is under way", || proxy.stat("cluster.app.upstream_rq_active") == 1);
        let mut client = Client::connect(proxy.web);
        let (head, _) = client.get("/").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("x-envoy-overloaded: true"), "{limits}: {head}");
        assert!(slow.response().unwrap().0.starts_with("HTTP/1.1 200 "));
        assert!(client.get("/").unwrap().0.starts_with("HTTP/1.1 200 "), "there is room again");
        let line = "503 UO upstream_reset_before_response_started{overflow}";
        eventually("the log says so", || log(&proxy).contains(line));
        assert_eq!(proxy.stat("cluster.app.upstream_rq_retry"), 0);
    }
}
