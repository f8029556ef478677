//! The admin API and the access log.

use crate::proxy::{Client, Proxy, Upstream, eventually, status};

#[test]
fn pages_answer_and_mutations_are_post_only() {
    let upstream = Upstream::saying("x");
    let proxy = Proxy::start(upstream.address, "");
    assert_eq!(status(proxy.web), 200);
    let get = |path: &str| proxy.ask("GET", path).unwrap();
    for (path, expected) in [
        ("/", "Ringway admin"),
        ("/ready", "LIVE"),
        ("/server_info", "\"state\": \"LIVE\""),
        ("/stats", "http.web.downstream_rq_2xx: 1"),
        ("/stats?format=json", "downstream_rq_2xx"),
        ("/stats/prometheus", "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"app\"} 1"),
        ("/clusters", "app::127.0.0.1"),
        ("/clusters?format=json", "\"rq_total\": 1"),
        ("/listeners", "web::127.0.0.1"),
        ("/config_dump", "\"per_connection\": \"256KiB\""),
        ("/snapshots", "\"in_force\": true"),
        ("/snapshots/1", "listeners:"),
    ] {
        let answer = get(path);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(expected), "{path}: {answer}");
    }
    for path in ["/reload", "/drain", "/quitquitquit", "/snapshots/1/rollback", "/config"] {
        assert!(get(path).starts_with("HTTP/1.1 405"), "{path} must not do anything by GET");
    }
    assert!(proxy.ask("POST", "/snapshots/77/rollback").unwrap().starts_with("HTTP/1.1 404"));
}

#[test]
fn rollback_reload_and_diff() {
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let proxy = Proxy::start(a.address, "");
    proxy.configure(b.address, "");
    eventually("b answers", || Client::connect(proxy.web).get("/").is_some_and(|(_, body)| body == b"b"));
    let diff = proxy.ask("GET", "/snapshots/2/diff").unwrap();
    assert!(diff.contains(&format!("+  - {{ name: app, endpoints: [\"{}\"] }}", b.address)), "{diff}");
    assert!(proxy.ask("POST", "/snapshots/1/rollback").unwrap().contains("generation 3"));
    assert_eq!(Client::connect(proxy.web).get("/").unwrap().1, b"a");
    proxy.signal("HUP");
    eventually("the file is read again", || proxy.generation() == 4);
    assert_eq!(Client::connect(proxy.web).get("/").unwrap().1, b"b");
}

#[test]
fn quitquitquit_ends_in_order() {
    let upstream = Upstream::saying("x");
    let mut proxy = Proxy::start(upstream.address, "");
    assert!(proxy.ask("POST", "/quitquitquit").unwrap().starts_with("HTTP/1.1 200"));
    assert!(proxy.ended().success());
}

#[test]
fn the_access_log_tells_every_request_once() {
    let upstream = Upstream::saying("hello");
    let log = std::env::temp_dir().join(format!("ringway-access-{}.log", std::process::id()));
    let extra = format!("access_log: {{ path: \"{}\", format: json }}", log.display());
    let mut proxy = Proxy::start(upstream.address, &extra);
    let mut client = Client::connect(proxy.web);
    client.send(b"GET /a%22b HTTP/1.1\r\nHost: h\r\nUser-Agent: \"quoted\"\r\n\r\n");
    assert!(client.response().is_some());
    client.send(b"BAD\r\n\r\n");
    client.rest();
    proxy.signal("TERM");
    assert!(proxy.ended().success());
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["response_code"], 200, "{text}");
    assert_eq!(lines[0]["path"], "/a%22b", "{text}");
    assert_eq!(lines[0]["upstream_host"], upstream.address.to_string(), "{text}");
    assert_eq!(lines[1]["response_code"], 400, "{text}");
    assert_eq!(lines[1]["response_flags"], "DPE", "{text}");
    std::fs::remove_file(log).unwrap();
}
