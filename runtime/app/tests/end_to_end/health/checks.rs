//! Checks of hosts through the binary.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::{Host, flags, outlier, proxy, swap};
use crate::edge;
use crate::proxy::{Client, Proxy, Upstream, eventually, status};
use crate::rpc::{frame, read};
use crate::secrets::Authority;

/// A host on an address of its own that can be stopped.
struct Stoppable {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Stoppable {
    fn start(at: SocketAddr) -> (SocketAddr, Self) {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Relaxed) {
                    return;
                }
                let mut stream: TcpStream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                thread::spawn(move || {
                    // One request, one answer, and closed.
                    let mut head = [0; 4096];
                    if stream.read(&mut head).is_ok_and(|read| read > 0) {
                        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                        stream.write_all(answer).ok();
                    }
                });
            }
        });
        (address, Self { stop, thread })
    }

    fn stop(self, address: SocketAddr) {
        self.stop.store(true, Relaxed);
        TcpStream::connect(address).ok();
        self.thread.join().unwrap();
    }
}

const CHECK: &str = "    health_checks:
      - { interval: 50ms, no_traffic_interval: 50ms, unhealthy_threshold: 2, healthy_threshold: 2, http: { path: /healthz } }";

#[test]
fn a_stopped_host_is_found_out_and_its_return_too() {
    let steady = Host::start();
    let (address, host) = Stoppable::start("127.0.0.1:0".parse().unwrap());
    let proxy = proxy(&[steady.address(), address], CHECK);
    // The first checks were waited for: no request of a new configuration finds nobody well.
    for _ in 0..10 {
        assert_eq!(status(proxy.web), 200);
    }
    assert_eq!(proxy.stat("cluster.app.health_check.healthy"), 2);
    host.stop(address);
    eventually("it is out", || flags(&proxy, address) == "/failed_active_hc");
    eventually("workers know", || proxy.stat("cluster.app.membership_healthy") == 1);
    assert_eq!(proxy.stat("cluster.app.health_check.healthy"), 1);
    assert!(proxy.stat("cluster.app.health_check.network_failure") >= 2);
    eventually("no worker picks it", || (0..10).all(|_| status(proxy.web) == 200));
    for _ in 0..20 {
        assert_eq!(status(proxy.web), 200);
    }
    let (_, host) = Stoppable::start(address);
    eventually("it is back", || flags(&proxy, address) == "healthy");
    eventually("workers know", || proxy.stat("cluster.app.membership_healthy") == 2);
    drop(proxy);
    host.stop(address);
}

#[test]
fn an_answer_that_is_not_expected_takes_a_host_out_at_once() {
    let (well, sick) = (Host::start(), Host::start());
    sick.status.store(503, Relaxed);
    let proxy = proxy(&[well.address(), sick.address()], CHECK);
    assert_eq!(flags(&proxy, sick.address()), "/failed_active_hc");
    assert_eq!(flags(&proxy, well.address()), "healthy");
    let head = well.upstream.heads.lock().unwrap().first().cloned().unwrap().to_lowercase();
    assert!(head.starts_with("get /healthz http/1.1\r\n") && head.contains("\r\nhost: app\r\n"), "{head}");
    for _ in 0..10 {
        assert_eq!(status(proxy.web), 200);
    }
    assert_eq!(sick.requests(), 0);
    sick.status.store(200, Relaxed);
    eventually("it is in", || flags(&proxy, sick.address()) == "healthy");
}

#[test]
fn a_response_may_take_its_host_out() {
    let (well, leaving) = (Host::start(), Host::start());
    // Rare checks, so that nothing but the response can be the reason.
    let check = "    health_checks: [{ interval: 1h, healthy_threshold: 1, http: { path: /healthz } }]";
    let proxy = proxy(&[well.address(), leaving.address()], check);
    leaving.immediate.store(true, Relaxed);
    eventually("it is out", || {
        assert_eq!(status(proxy.web), 200);
        flags(&proxy, leaving.address()) == "/failed_active_hc/excluded_via_immediate_hc_fail"
    });
    assert_eq!(proxy.stat("cluster.app.health_check.passive_failure"), 1);
    assert_eq!(flags(&proxy, well.address()), "healthy");
}

#[test]
fn without_a_well_host_requests_are_answered_at_once() {
    let sick = Host::start();
    sick.status.store(500, Relaxed);
    let proxy = proxy(&[sick.address()], CHECK);
    let (head, content) = Client::connect(proxy.web).get("/").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && content == b"no healthy upstream", "{head}");
    assert_eq!(sick.requests(), 0);
}

/// A provider that answers heartbeats, and calls with a status.
fn provider(status: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                while let Ok((_, id, body)) = read(&mut stream) {
                    let answer = match &*body {
                        b"N" => frame(0x22, 20, id, b"N"),
                        _ => frame(2, status, id, &[4, b'b', b'u', b's', b'y']),
                    };
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn providers_are_asked_by_heartbeats_and_ejected_by_their_statuses() {
    // 100: no thread is free, which HTTP calls 503.
    let busy = provider(100);
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let listener = format!("name: web, address: '{web}', protocol: dubbo, routes: {}", edge::routes("app"));
        let health = "health_checks: [{ interval: 1h, rpc: {} }], outlier_detection: { base_ejection_time: 1h }";
        edge::config(admin, &[listener], &[format!("name: app, protocol: dubbo, endpoints: ['{busy}'], {health}")])
    });
    assert_eq!(proxy.stat("cluster.app.health_check.success"), 1);
    assert_eq!(flags(&proxy, busy), "healthy");
    let mut client = TcpStream::connect(proxy.web).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for id in 0..5 {
        let body = b"\x052.0.2\x03a.B\x051.0.0\x03say\0HZ";
        client.write_all(&frame(0xc2, 0, id, body)).unwrap();
        assert_eq!(read(&mut client).unwrap().0, 100);
    }
    eventually("an ejection", || flags(&proxy, busy) == "/failed_outlier_check");
    assert_eq!(outlier(&proxy, "ejections_detected_consecutive_gateway_failure"), 1);
    assert_eq!(outlier(&proxy, "ejections_enforced_consecutive_gateway_failure"), 0);
}

#[test]
fn checks_are_secured_as_the_cluster_is() {
    let (upstream, authority, stranger) = (Upstream::saying("secret"), Authority::new(), Authority::new());
    let proxy = Proxy::start_with(|dir, web, secure, admin| {
        authority.issue("app.example.com").save(dir, "app");
        authority.save(dir, "ca.pem");
        stranger.save(dir, "other.pem");
        let at = dir.display();
        // The host is this proxy's own listener.
        let tls = format!("tls: {{ certificates: [{{ cert: '{at}/app.pem', key: '{at}/app.key' }}] }}");
        let listeners = [
            format!("name: secure, address: '{secure}', {tls}, routes: {}", edge::routes("plain")),
            format!("name: web, address: '{web}', routes: {}", edge::routes("app")),
        ];
        let check = |kind: &str| format!("health_checks: [{{ interval: 50ms, no_traffic_interval: 50ms, {kind} }}]");
        let cluster = |name: &str, ca: &str, kind: &str| {
            let tls = format!("tls: {{ ca: '{at}/{ca}.pem', sni: app.example.com }}");
            format!("name: {name}, endpoints: ['{secure}'], {tls}, {}", check(kind))
        };
        let clusters = [
            format!("name: plain, endpoints: ['{}']", upstream.address),
            cluster("app", "ca", "http: { path: /one }"),
            cluster("two", "ca", "http: { path: /two, http2: true }"),
            cluster("wrong", "other", "http: { path: /never }"),
        ];
        edge::config(admin, &listeners, &clusters)
    });
    for cluster in ["app", "two"] {
        eventually(cluster, || proxy.stat(&format!("cluster.{cluster}.health_check.healthy")) == 1);
    }
    eventually("workers know", || status(proxy.web) == 200);
    eventually("many tries", || proxy.stat("cluster.wrong.health_check.network_failure") > 5);
    assert_eq!(proxy.stat("cluster.wrong.health_check.success"), 0);
    let heads = upstream.heads.lock().unwrap();
    assert!(heads.iter().any(|head| head.starts_with("GET /one ")));
    assert!(heads.iter().any(|head| head.starts_with("GET /two ")));
    assert!(!heads.iter().any(|head| head.starts_with("GET /never ")));
}

#[test]
fn detection_and_checks_may_be_switched_on_and_off() {
    // Well as far as checks can see.
    let host = Upstream::start(|head, stream| {
        let status = if head.starts_with("GET /healthz ") { 200 } else { 500 };
        stream.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes()).is_ok()
    });
    let hosts = [host.address];
    let proxy = proxy(&hosts, CHECK);
    for _ in 0..10 {
        assert_eq!(status(proxy.web), 500);
    }
    assert_eq!(flags(&proxy, host.address), "healthy");
    let ejecting =
        "    outlier_detection: { base_ejection_time: 1h, successful_active_health_check_uneject_host: false }";
    swap(&proxy, &hosts, &format!("{CHECK}\n{ejecting}"));
    eventually("it is ejected", || {
        status(proxy.web);
        flags(&proxy, host.address) == "/failed_outlier_check"
    });
    eventually("workers know", || (0..5).all(|_| status(proxy.web) == 503));
    swap(&proxy, &hosts, CHECK);
    assert_eq!(flags(&proxy, host.address), "healthy");
    eventually("it is back", || (0..5).all(|_| status(proxy.web) == 500));

    // With checks that let hosts back, it does not stay out.
    swap(&proxy, &hosts, &format!("{CHECK}\n    outlier_detection: {{ base_ejection_time: 1h }}"));
    let ejections = || outlier(&proxy, "ejections_enforced_total");
    eventually("it is ejected again and again", || {
        status(proxy.web);
        ejections() >= 2
    });

    // A check that fails, and then none at all.
    swap(&proxy, &hosts, &CHECK.replace("/healthz", "/other"));
    eventually("it is out", || flags(&proxy, host.address) == "/failed_active_hc");
    swap(&proxy, &hosts, "");
    assert_eq!(flags(&proxy, host.address), "healthy");
    eventually("it is back", || (0..5).all(|_| status(proxy.web) == 500));
}
