//! The live view's side of the admin API, and who may ask it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::proxy::{Client, Proxy, Upstream};

/// What the admin API answers to this head.
fn answer(proxy: &Proxy, head: &str) -> String {
    let mut stream = TcpStream::connect(proxy.admin).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn strangers_pages_are_refused() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start(upstream.address, "");
    for (head, status) in [
        ("POST /drain HTTP/1.1\r\nhost: 127.0.0.1\r\norigin: http://evil.example", 403),
        ("POST /snapshots/1/rollback HTTP/1.1\r\nhost: 127.0.0.1\r\nsec-fetch-site: cross-site", 403),
        ("GET /config_dump HTTP/1.1\r\nhost: evil.example:9901", 403),
        ("GET /ui/ HTTP/1.1\r\nhost: evil.example", 403),
        ("GET /stats/prometheus HTTP/1.1\r\nhost: ringway.monitoring.svc", 200),
        ("GET /config_dump HTTP/1.1\r\nhost: localhost:9901", 200),
        ("POST /snapshots/1/rollback HTTP/1.1\r\nhost: 127.0.0.1\r\norigin: http://127.0.0.1", 200),
    ] {
        let said = answer(&proxy, head);
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {said}");
    }
    assert!(answer(&proxy, "GET /stats HTTP/1.1\r\nhost: evil.example").contains("add it to `admin.hosts`"));
}

#[test]
fn the_page_is_there_and_may_load_nothing_from_elsewhere() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start(upstream.address, "");
    let page = proxy.ask("GET", "/ui/").unwrap();
    assert!(page.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{page}");
    assert!(page.contains("x-content-type-options: nosniff") && page.contains("<title>Ringway</title>"), "{page}");
    assert!(proxy.ask("GET", "/ui/main.js").unwrap().contains("content-type: text/javascript"));
    assert!(proxy.ask("GET", "/ui/..%2fCargo.toml").unwrap().starts_with("HTTP/1.1 404"));
    assert!(proxy.ask("GET", "/ui").unwrap().contains("location: /ui/"));
}

#[test]
fn figures_come_as_events_and_in_a_terminal() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start(upstream.address, "");
    Client::connect(proxy.web).get("/").unwrap();
    let mut events = TcpStream::connect(proxy.admin).unwrap();
    events.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    events.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut told = String::new();
    let mut buffer = [0; 4096];
    while !(told.contains("\"downstream_rq_total\":1") && told.contains("\n\n")) {
        let len = events.read(&mut buffer).unwrap();
        assert!(len > 0, "{told}");
        told.push_str(&String::from_utf8_lossy(&buffer[..len]));
    }
    assert!(told.contains("content-type: text/event-stream") && told.contains("data: {"), "{told}");
    let admin = proxy.admin.to_string();
    let top = Command::new(env!("CARGO_BIN_EXE_ringway")).args(["top", "--once", "--admin", &admin]).output().unwrap();
    let said = String::from_utf8(top.stdout).unwrap();
    assert!(top.status.success() && said.contains("LISTENER") && said.contains("app  "), "{said}");
    assert!(!said.contains('\x1b'), "{said}");
}

#[test]
fn who_has_changed_what_is_noted() {
    let upstream = Upstream::saying("hello");
    let log = std::env::temp_dir().join(format!("ringway-audit-{}.json", std::process::id()));
    let path = log.display().to_string();
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let listener = format!("name: web, address: '{web}', protocol: http1, routes: {{ virtual_hosts: [] }}");
        let config =
            crate::edge::config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)]);
        config.replace(&format!("address: '{admin}'"), &format!("address: '{admin}', audit_log: '{path}'"))
    });
    let bad = "clusters: [{ name: app }]";
    let head = format!("POST /config HTTP/1.1\r\nhost: localhost\r\nuser-agent: me\r\ncontent-length: {}", bad.len());
    let mut stream = TcpStream::connect(proxy.admin).unwrap();
    stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{bad}").as_bytes()).unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    proxy.ask("POST", "/snapshots/1/rollback").unwrap();
    crate::proxy::eventually("three lines are there", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == 3)
    });
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |line: usize, key: &str| lines[line][key].clone();
    assert_eq!((of(0, "action"), of(0, "by"), of(0, "result")), ("apply".into(), "the process".into(), "done".into()));
    assert_eq!(lines[0]["changed"]["clusters"]["added"][0], "app");
    assert_eq!((of(1, "result"), lines[1]["by"]["agent"].clone()), ("refused".into(), "me".into()));
    assert!(lines[1]["error"].as_str().unwrap().contains("exactly one of"), "{text}");
    assert!(lines[1]["by"]["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{text}");
    assert_eq!((of(2, "action"), of(2, "generation")), ("rollback".into(), 2.into()));
    assert!(proxy.ask("GET", "/audit").unwrap().contains("\"not_written\": 0"));
}

#[test]
fn requests_are_tapped_and_recorded_without_their_secrets() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start(upstream.address, "");
    let out = std::env::temp_dir().join(format!("ringway-record-{}.jsonl", std::process::id()));
    let (admin, path) = (proxy.admin.to_string(), out.display().to_string());
    let ringway = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command.args(args).args(["--admin", &admin]).stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let not = r#"{"not": {"header": {"name": "x-quiet"}}}"#;
    let tap = ringway(&["tap", "--limit", "2", "--filter", not]);
    let mut record = ringway(&["record", "--limit", "1", "--out", &path]);
    crate::proxy::eventually("both are open", || {
        proxy.ask("GET", "/audit").unwrap().matches("\"action\": \"tap\"").count() == 2
    });
    let mut client = Client::connect(proxy.web);
    for field in ["x-quiet: yes", "Authorization: Bearer hunter2", "cookie: hunter2"] {
        client.send(format!("GET /a?b HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n").as_bytes());
        client.response().unwrap();
    }
    let told = String::from_utf8(tap.wait_with_output().unwrap().stdout).unwrap();
    assert!(record.wait().unwrap().success());
    let recorded = std::fs::read_to_string(&out).unwrap();
    std::fs::remove_file(&out).unwrap();
    assert!(told.lines().count() == 2 && !told.contains("hunter2") && !told.contains("x-quiet"), "{told}");
    assert!(told.contains(r#"["Authorization","[redacted]"]"#) && told.contains(r#""code":200"#), "{told}");
    let line: serde_json::Value = serde_json::from_str(recorded.trim()).unwrap();
    assert_eq!((&line["method"], &line["path"], &line["authority"]), (&"GET".into(), &"/a?b".into(), &"h".into()));
    assert!(line.get("response").is_none(), "{recorded}");
    let mut bad = ringway(&["tap", "--limit", "0"]);
    assert!(!bad.wait().unwrap().success());
}
