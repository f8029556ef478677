//! Hosts that are not well: ejected for what they answer, or found out by checks, and back again.

mod checks;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};

use crate::edge;
use crate::proxy::{Client, Proxy, Upstream, eventually, status};

/// A host whose status and further fields can be changed.
struct Host {
    upstream: Upstream,
    status: Arc<AtomicU16>,
    immediate: Arc<AtomicBool>,
}

impl Host {
    fn start() -> Self {
        let (status, immediate) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicBool::new(false)));
        let (told, fails) = (Arc::clone(&status), Arc::clone(&immediate));
        let upstream = Upstream::start(move |_, stream| {
            let field = if fails.load(Relaxed) { "x-envoy-immediate-health-check-fail: true\r\n" } else { "" };
            let head = format!("HTTP/1.1 {} X\r\n{field}Content-Length: 0\r\n\r\n", told.load(Relaxed));
            stream.write_all(head.as_bytes()).is_ok()
        });
        Self { upstream, status, immediate }
    }

    fn requests(&self) -> usize {
        self.upstream.heads.lock().unwrap().iter().filter(|head| head.starts_with("GET / ")).count()
    }

    fn address(&self) -> SocketAddr {
        self.upstream.address
    }
}

/// A proxy with one cluster, `app`, of these hosts.
fn proxy(hosts: &[SocketAddr], health: &str) -> Proxy {
    Proxy::start_with(|_, web, _, admin| config(web, admin, hosts, health))
}

fn config(web: SocketAddr, admin: SocketAddr, hosts: &[SocketAddr], health: &str) -> String {
    format!(
        r#"
workers: 2
admin: {{ address: "{admin}" }}
listeners:
  - name: web
    address: "{web}"
    protocol: http1
    routes: {{ virtual_hosts: [{{ domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: app }} }}] }}] }}
clusters:
  - name: app
    healthy_panic_threshold: 0
    endpoints: {hosts:?}
{health}
"#,
        hosts = hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
    )
}

/// Puts another configuration in force.
fn swap(proxy: &Proxy, hosts: &[SocketAddr], health: &str) {
    let generation = proxy.generation();
    std::fs::write(proxy.dir.join("next.yaml"), config(proxy.web, proxy.admin, hosts, health)).unwrap();
    std::fs::rename(proxy.dir.join("next.yaml"), proxy.config_path()).unwrap();
    eventually("the new configuration", || proxy.generation() > generation);
}

/// Why a host is not picked, as the admin API says.
fn flags(proxy: &Proxy, host: SocketAddr) -> String {
    let page = proxy.ask("GET", "/clusters").unwrap();
    let key = format!("app::{host}::health_flags::");
    page.lines().find_map(|line| line.strip_prefix(&key)).unwrap_or("").to_owned()
}

fn outlier(proxy: &Proxy, name: &str) -> u64 {
    proxy.stat(&format!("cluster.app.outlier_detection.{name}"))
}

#[test]
fn a_host_that_answers_500_is_ejected_and_comes_back() {
    let hosts = [Host::start(), Host::start(), Host::start()];
    let addresses = hosts.each_ref().map(Host::address);
    let health = "    outlier_detection: { interval: 100ms, base_ejection_time: 1h }";
    let proxy = proxy(&addresses, health);
    assert_eq!(flags(&proxy, addresses[1]), "healthy");
    let page = proxy.ask("GET", "/clusters").unwrap();
    assert!(page.contains(&format!("\napp::{}::success_rate::-1\n", addresses[1])), "{page}");
    hosts[1].status.store(500, Relaxed);
    let mut failed = 0;
    eventually("an ejection", || {
        failed += usize::from(status(proxy.web) == 500);
        outlier(&proxy, "ejections_active") == 1
    });
    // Five in a row, over both workers; a few more until the control plane gets to it.
    assert!((5..20).contains(&failed), "{failed} requests failed");
    eventually("both workers know", || proxy.stat("cluster.app.membership_healthy") == 2);
    assert_eq!(flags(&proxy, addresses[1]), "/failed_outlier_check");
    assert_eq!(outlier(&proxy, "ejections_enforced_consecutive_5xx"), 1);
    assert_eq!(outlier(&proxy, "ejections_enforced_total"), 1);
    eventually("no worker picks it", || (0..10).all(|_| status(proxy.web) == 200));
    let seen = hosts[1].requests();
    for _ in 0..30 {
        assert_eq!(status(proxy.web), 200);
    }
    assert_eq!(hosts[1].requests(), seen);

    // One host may be out; a second one that fails stays, and is told of.
    hosts[0].status.store(500, Relaxed);
    eventually("an overflow", || {
        status(proxy.web);
        outlier(&proxy, "ejections_overflow") > 0
    });
    assert_eq!(flags(&proxy, addresses[0]), "healthy");
    hosts.iter().for_each(|host| host.status.store(200, Relaxed));

    // The configuration is swapped: what is known of hosts stays known.
    swap(&proxy, &addresses, &format!("{health}\n    connect_timeout: 3s"));
    assert_eq!(flags(&proxy, addresses[1]), "/failed_outlier_check");

    swap(&proxy, &addresses, "    outlier_detection: { interval: 100ms, base_ejection_time: 200ms }");
    eventually("it is back", || flags(&proxy, addresses[1]) == "healthy");
    eventually("both workers know", || proxy.stat("cluster.app.membership_healthy") == 3);
    assert_eq!(outlier(&proxy, "ejections_active"), 0);
    eventually("it gets requests", || status(proxy.web) == 200 && hosts[1].requests() > seen);
    assert_eq!(outlier(&proxy, "ejections_enforced_total"), 1);
}

#[test]
fn a_host_that_cannot_be_reached_is_ejected() {
    let well = Host::start();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let health = "    outlier_detection: { consecutive_5xx: 3, base_ejection_time: 1h }";
    let proxy = proxy(&[well.address(), gone], health);
    let mut failed = 0;
    eventually("an ejection", || {
        failed += usize::from(status(proxy.web) == 503);
        outlier(&proxy, "ejections_active") == 1
    });
    assert!((3..20).contains(&failed), "{failed} requests failed");
    eventually("all requests go to the other", || (0..20).all(|_| status(proxy.web) == 200));
}

#[test]
fn a_host_that_does_not_answer_in_time_is_ejected() {
    let silent = Upstream::start(|_, _| true);
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let routes = edge::routes("app").replace("cluster: app", "cluster: app, timeout: 20ms");
        let health = "healthy_panic_threshold: 0, outlier_detection: { split_external_local_origin_errors: true, base_ejection_time: 1h }";
        let listener = format!("name: web, address: '{web}', routes: {routes}");
        edge::config(admin, &[listener], &[format!("name: app, endpoints: ['{}'], {health}", silent.address)])
    });
    for _ in 0..5 {
        assert_eq!(status(proxy.web), 504);
    }
    // That there are connections does not help: what is asked on them is not answered.
    eventually("an ejection", || outlier(&proxy, "ejections_enforced_consecutive_local_origin_failure") == 1);
    eventually("the worker knows", || status(proxy.web) == 503);
}

#[test]
fn a_host_of_bytes_that_refuses_connections_is_ejected() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start_with(|_, _, tcp, admin| {
        let listener = format!("name: raw, address: '{tcp}', protocol: tcp, cluster: app");
        let health = "outlier_detection: { base_ejection_time: 1h }";
        edge::config(admin, &[listener], &[format!("name: app, protocol: tcp, endpoints: ['{gone}'], {health}")])
    });
    for _ in 0..5 {
        Client::connect(proxy.tcp).rest();
    }
    eventually("an ejection", || outlier(&proxy, "ejections_enforced_consecutive_5xx") == 1);
}
