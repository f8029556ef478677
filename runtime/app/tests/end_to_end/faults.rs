//! Filters that inject faults and refuse requests, on listeners and routes, seen from outside.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Request;

use crate::edge::config;
use crate::http2;
use crate::proxy::{Client, Proxy, Upstream, eventually};
use crate::rpc;

/// A proxy whose listener has these filters and routes, the latter in front of one for everything.
fn start(upstream: SocketAddr, protocol: &str, filters: &str, routes: &[&str]) -> Proxy {
    Proxy::start_with(|dir, web, _, admin| {
        let log = format!("access_log: {{ path: '{}/access.log', format: json }}", dir.display());
        let last = "{ match: { prefix: / }, route: { cluster: app } }";
        let all = [routes, &[last]].concat().join(", ");
        let routes = format!("{{ virtual_hosts: [{{ domains: ['*'], routes: [{all}] }}] }}");
        let listener =
            format!("name: web, address: '{web}', protocol: {protocol}, {log}, filters: [{filters}], routes: {routes}");
        config(admin, &[listener], &[format!("name: app, endpoints: ['{upstream}']")])
    })
}

fn get(proxy: &Proxy, path: &str) -> (String, Vec<u8>) {
    Client::connect(proxy.web).get(path).unwrap()
}

/// The access log's line of a path.
fn logged(proxy: &Proxy, path: &str) -> String {
    let mut line = None;
    eventually("the request is logged", || {
        let log = std::fs::read_to_string(proxy.dir.join("access.log")).unwrap_or_default();
        line = log.lines().find(|line| line.contains(&format!("\"{path}\""))).map(str::to_owned);
        line.is_some()
    });
    line.unwrap()
}

#[test]
fn delays_and_aborts_are_injected_logged_and_counted() {
    let upstream = Upstream::saying("hello");
    let fault = "{ fault: { delay: { fixed: 120ms } } }";
    let proxy = start(
        upstream.address,
        "http1",
        fault,
        &[
            "{ match: { path: /gone }, route: { cluster: app }, filters: [{ fault: { abort: { http_status: 410 } } }] }",
            "{ match: { path: /fast }, route: { cluster: app }, disable_filters: [fault] }",
            "{ match: { path: /none }, route: { cluster: app }, filters: [{ fault: { abort: { http_status: 500, percentage: 0 } } }] }",
        ],
    );
    let began = Instant::now();
    let (head, content) = get(&proxy, "/slow");
    assert!(head.starts_with("HTTP/1.1 200") && content == b"hello", "{head}");
    assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
    // A route's options take the place of the listener's.
    let (head, content) = get(&proxy, "/gone");
    assert!(head.starts_with("HTTP/1.1 410") && content == b"fault filter abort", "{head}");
    for path in ["/fast", "/none"] {
        assert!(get(&proxy, path).0.starts_with("HTTP/1.1 200"));
    }

    for path in ["/none", "/fast", "/gone", "/slow"] {
        let line = logged(&proxy, path);
        assert_eq!(line.contains("\"DI\""), path == "/slow", "{line}");
        assert_eq!(line.contains("\"FI\""), path == "/gone", "{line}");
        assert_eq!(line.contains("fault_filter_abort"), path == "/gone", "{line}");
    }
    for (row, count) in [("delays_injected", 1), ("aborts_injected", 1), ("active_faults", 0)] {
        eventually(row, || proxy.stat(&format!("http.web.fault.{row}")) == count);
    }
    assert_eq!(upstream.heads.lock().unwrap().len(), 3);
}

/// Has a request under way that a fault holds up for ever, does something meanwhile, and goes.
fn meanwhile(proxy: &Proxy, path: &str, then: impl FnOnce()) {
    let active = || proxy.stat("http.web.fault.active_faults");
    http2::run(async {
        let mut client = http2::connect(proxy.web).await.ready().await.unwrap();
        let request = Request::get(format!("http://a.example{path}")).body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        while active() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        then();
        drop(response);
    });
    eventually("it has gone", || active() == 0);
}

#[test]
fn a_delayed_client_that_goes_is_forgotten() {
    let upstream = Upstream::saying("hello");
    let proxy = start(upstream.address, "auto", "{ fault: { delay: { fixed: 1h } } }", &[]);
    meanwhile(&proxy, "/left", || {});
    let line = logged(&proxy, "/left");
    assert!(line.contains("DI,DR") || line.contains("DC,DI"), "{line}");
    assert!(upstream.heads.lock().unwrap().is_empty());
}

#[test]
fn a_reset_is_silence_and_an_end() {
    let upstream = Upstream::saying("hello");
    let reset = "{ match: { path: /reset }, route: { cluster: app }, filters: [{ fault: { reset: {} } }] }";
    let proxy = start(upstream.address, "auto", "", &[reset]);
    // HTTP/1.1: the connection closes, without a byte.
    let mut client = Client::connect(proxy.web);
    assert!(client.get("/").is_some());
    client.send(b"GET /reset HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.rest(), b"");
    let line = logged(&proxy, "/reset");
    assert!(line.contains("LR") && line.contains("FI"), "{line}");
    // HTTP/2: the stream alone.
    http2::run(async {
        let mut client = http2::connect(proxy.web).await.ready().await.unwrap();
        let request = |path: &str| Request::get(format!("http://a.example{path}")).body(()).unwrap();
        let (response, _) = client.send_request(request("/reset"), true).unwrap();
        assert!(response.await.unwrap_err().is_reset());
        let (response, _) = client.send_request(request("/"), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
    });
    eventually("both are counted", || proxy.stat("http.web.fault.resets_injected") == 2);
}

#[test]
fn slow_responses_are_whole() {
    let upstream = Upstream::start(|_, stream| {
        let body = vec![b'x'; 200_000];
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n").is_ok()
            && stream.write_all(&body).is_ok()
    });
    let fault = "{ fault: { response_rate_limit: { bytes_per_second: 400kB } } }";
    let limit = "{ match: { path: /limit }, route: { cluster: app }, disable_filters: [fault], \
                 filters: [{ bandwidth_limit: { responses: { bytes_per_second: 400kB } } }] }";
    let proxy = start(upstream.address, "http1", fault, &[limit]);
    for path in ["/fault", "/limit"] {
        let began = Instant::now();
        let (_, content) = get(&proxy, path);
        assert!(content.len() == 200_000 && content.iter().all(|byte| *byte == b'x'));
        assert!(began.elapsed() >= Duration::from_millis(400), "{path}: {:?}", began.elapsed());
    }
    assert!(proxy.stat("http.web.bandwidth_limit.response_enforced") > 0);
}

#[test]
fn a_route_has_a_rate_of_its_own() {
    let upstream = Upstream::saying("hello");
    let limit = "local_rate_limit: { token_bucket: { max_tokens: 3, fill_interval: 1h }, x_ratelimit_headers: true }";
    let route = format!("{{ match: {{ path: /limited }}, route: {{ cluster: app }}, filters: [{{ {limit} }}] }}");
    let proxy = start(upstream.address, "http1", "", &[&route]);
    let statuses: Vec<String> = (0..5).map(|_| get(&proxy, "/limited").0[9..12].to_owned()).collect();
    assert_eq!(statuses, ["200", "200", "200", "429", "429"]);
    let head = get(&proxy, "/limited").0.to_lowercase();
    assert!(head.contains("x-ratelimit-limit: 3\r\n") && head.contains("x-ratelimit-remaining: 0\r\n"), "{head}");
    let (head, _) = get(&proxy, "/free");
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("x-ratelimit"), "{head}");
    assert_eq!(proxy.stat("http.web.local_rate_limit.enforced"), 3);
    eventually("it is flagged", || {
        std::fs::read_to_string(proxy.dir.join("access.log")).is_ok_and(|log| log.contains("\"RL\""))
    });
    // A new configuration of something else does not fill the bucket.
    let text = std::fs::read_to_string(proxy.config_path()).unwrap();
    let next = text
        .replace("path: /limited }, route: { cluster: app }", "path: /limited }, route: { cluster: app, timeout: 3s }");
    assert_ne!(text, next);
    std::fs::write(proxy.config_path(), next).unwrap();
    eventually("the new one is in force", || proxy.generation() >= 2);
    assert!(get(&proxy, "/limited").0.starts_with("HTTP/1.1 429"));
}

#[test]
fn clients_and_crowds_are_refused() {
    let upstream = Upstream::saying("hello");
    let routes = [
        "{ match: { path: /inside }, route: { cluster: app }, filters: [{ ip_access: { allow: [10.0.0.0/8] } }] }",
        "{ match: { path: /outside }, route: { cluster: app }, filters: [{ ip_access: { deny: [10.0.0.0/8] } }] }",
        "{ match: { path: /one }, route: { cluster: app }, \
         filters: [{ concurrency_limit: { max_requests: 1 } }, { fault: { delay: { fixed: 1h } } }] }",
        "{ match: { path: /found }, route: { cluster: app }, filters: [{ adaptive_concurrency: {} }] }",
        "{ match: { path: /shed }, route: { cluster: app }, \
         filters: [{ load_shed: { max_active_requests: 1 } }, { fault: { delay: { fixed: 1h } } }] }",
    ];
    let proxy = start(upstream.address, "auto", "", &routes);
    assert!(get(&proxy, "/inside").0.starts_with("HTTP/1.1 403"));
    assert!(get(&proxy, "/outside").0.starts_with("HTTP/1.1 200"));
    assert_eq!((proxy.stat("http.web.ip_access.denied"), proxy.stat("http.web.ip_access.allowed")), (1, 1));
    for (path, row) in [("/one", "concurrency_limit.rq_blocked"), ("/shed", "load_shed.normal_shed")] {
        meanwhile(&proxy, path, || {
            let (head, _) = get(&proxy, path);
            let overloaded = head.to_lowercase().contains("x-envoy-overloaded: true");
            assert!(head.starts_with("HTTP/1.1 503") && overloaded, "{head}");
            assert_eq!(proxy.stat(&format!("http.web.{row}")), 1);
        });
    }
    let mut client = Client::connect(proxy.web);
    (0..100).for_each(|_| assert!(client.get("/found").unwrap().0.starts_with("HTTP/1.1 200")));
    eventually("the minRTT is known", || proxy.stat("http.web.adaptive_concurrency.min_rtt_calculation_active") == 0);
    assert!(proxy.stat("http.web.adaptive_concurrency.concurrency_limit") >= 3);
}

#[test]
fn calls_fail_in_their_own_words() {
    let upstream = rpc::provider("result");
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let route = |service: &str, filter: &str| {
            format!("{{ match: {{ service: {service} }}, route: {{ cluster: app }}, filters: [{filter}] }}")
        };
        let routes = [
            route("com.x.Broken", "{ fault: { abort: { http_status: 404 } } }"),
            route("com.x.Late", "{ fault: { abort: { grpc_status: 4 } } }"),
            route("com.x.Busy", "{ local_rate_limit: { token_bucket: { max_tokens: 1, fill_interval: 1h } } }"),
            route("com.x.Reset", "{ fault: { reset: {} } }"),
            route("'*'", ""),
        ];
        let routes = format!("{{ virtual_hosts: [{{ domains: ['*'], routes: [{}] }}] }}", routes.join(", "));
        let listener = format!("name: web, address: '{web}', protocol: dubbo, routes: {routes}");
        config(admin, &[listener], &[format!("name: app, protocol: dubbo, endpoints: ['{upstream}']")])
    });
    let mut client = std::net::TcpStream::connect(proxy.web).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for (id, (service, expected)) in [
        ("com.x.Broken", 60),
        ("com.x.Fine", 20),
        ("com.x.Late", 31),
        ("com.x.Busy", 20),
        ("com.x.Busy", 100),
        ("com.x.Fine", 20),
    ]
    .into_iter()
    .enumerate()
    {
        client.write_all(&rpc::call(id as u64, service, "1.0.0")).unwrap();
        let (status, answered, body) = rpc::read(&mut client).unwrap();
        assert_eq!((status, answered), (expected, id as u64), "{service}");
        let words = ["fault filter abort", "local_rate_limited", "result"];
        assert!(words.iter().any(|words| body.ends_with(words.as_bytes())), "{service}: {body:?}");
    }
    client.write_all(&rpc::call(9, "com.x.Reset", "1.0.0")).unwrap();
    rpc::read(&mut client).unwrap_err();
}

#[test]
fn grpc_calls_get_the_status_that_was_asked_for() {
    let upstream = Upstream::saying("hello");
    let route = |path: &str, filter: &str| {
        format!("{{ match: {{ path: {path} }}, route: {{ cluster: app }}, filters: [{{ {filter} }}] }}")
    };
    let routes = [
        route("/a.B/Data", "fault: { abort: { grpc_status: 15 } }"),
        route("/a.B/Http", "fault: { abort: { http_status: 403 } }"),
        route(
            "/a.B/Rate",
            "local_rate_limit: { token_bucket: { max_tokens: 1, fill_interval: 1h }, \
             descriptors: [{ entries: [{ path: /a.B/Rate }], token_bucket: { max_tokens: 1, fill_interval: 1h } }], \
             rate_limited_as_resource_exhausted: true }",
        ),
    ];
    let proxy = start(upstream.address, "http2", "", &routes.each_ref().map(String::as_str));
    http2::run(async {
        let client = http2::connect(proxy.web).await;
        let mut statuses = Vec::new();
        for path in ["/a.B/Data", "/a.B/Http", "/a.B/Rate", "/a.B/Rate"] {
            let mut client = client.clone().ready().await.unwrap();
            let (response, _) = client.send_request(http2::call(path).body(()).unwrap(), true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            let status = response.headers().get("grpc-status").map(|value| value.to_str().unwrap().to_owned());
            statuses.push(status.unwrap_or_default());
        }
        assert_eq!([&statuses[0], &statuses[1], &statuses[3]], ["15", "7", "8"]);
    });
}

#[test]
fn a_cluster_that_is_down_has_a_stand_in() {
    let spare = Upstream::saying("spare");
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let fallback = "fallback_cluster: { name: spare }";
        let routes = format!(
            "routes: {{ virtual_hosts: [{{ domains: ['*'], routes: [\
             {{ match: {{ prefix: /empty }}, route: {{ cluster: empty, {fallback} }} }}, \
             {{ match: {{ prefix: /named }}, route: {{ cluster_header: x-cluster, {fallback} }} }}] }}] }}"
        );
        let listener = format!("name: web, address: '{web}', protocol: http1, {routes}");
        let spare = format!("name: spare, endpoints: ['{}']", spare.address);
        config(admin, &[listener], &["name: empty, endpoints: []".to_owned(), spare])
    });
    for path in ["/empty", "/named"] {
        assert_eq!(Client::connect(proxy.web).get(path).unwrap().1, b"spare", "{path}");
    }
}

#[test]
fn requests_go_where_they_were_going_or_say() {
    let upstream = Upstream::saying("there");
    let port = upstream.address.port();
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let routes = "routes: { virtual_hosts: [{ domains: ['*'], routes: [\
             { match: { prefix: /named }, route: { cluster: named } }, \
             { match: { prefix: /ported }, route: { cluster: ported } }, \
             { match: { prefix: / }, route: { cluster: plain } }] }] }";
        let listener = format!("name: web, address: '{web}', protocol: http1, original_dst: true, {routes}");
        let clusters = [
            "name: named, original_dst: { header: x-to }".to_owned(),
            format!("name: ported, original_dst: {{ port: {port} }}"),
            "name: plain, original_dst: {}".to_owned(),
        ];
        config(admin, &[listener], &clusters)
    });
    let ask = |path: &str, field: &str| {
        let mut client = Client::connect(proxy.web);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{field}\r\n").as_bytes());
        let (head, body) = client.response().unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body)
    };
    let to = format!("x-to: {}\r\n", upstream.address);
    assert_eq!(ask("/named", &to).1, b"there");
    assert_eq!(ask("/ported", "").1, b"there");
    assert_eq!(ask("/plain", &to).0, "503", "nobody redirected it, and it does not go round in circles");
    assert_eq!(ask("/named", "x-to: nowhere\r\n").0, "503");
    let hosts = proxy.ask("GET", "/clusters").unwrap();
    assert!(hosts.contains(&format!("named::{}", upstream.address)), "{hosts}");
}
