//! Access logs from outside: what lines say, which are written, and what becomes of the files.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use serde_json::Value;

use crate::edge::{config, routes};
use crate::http2::{self, call, grpc_upstream, run};
use crate::proxy::{BINARY, Client, Proxy, Upstream, eventually, free_port, status};
use crate::secrets::{Authority, TlsClient};

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The lines of a log once there are so many; they are written within a second.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let mut text = String::new();
    eventually("the lines are written", || {
        text = read(path);
        text.lines().count() >= count
    });
    assert_eq!(text.lines().count(), count, "{text}");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn several_logs_each_with_its_filter_and_format() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start_with(|dir, web, tcp, admin| {
        let at = dir.display();
        let extra = format!(
            "access_log:
      - path: '{at}/all.log'
        omit_empty_values: true
        format: {{ n: 1, request: {{ path: '%REQ(:PATH)%', tenant: '%REQ(x-tenant)%' }}, code: '%RESPONSE_CODE%',
                   times: ['%REQUEST_DURATION%', '%RESPONSE_DURATION%', '%RESPONSE_TX_DURATION%'],
                   host: '%UPSTREAM_HOST%', spoken: '%UPSTREAM_PROTOCOL%', kind: '%ACCESS_LOG_TYPE%' }}
      - path: '{at}/errors.log'
        format: '%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS_LONG% %LOCAL_REPLY_BODY%'
        filter: {{ status_code: {{ op: ge, value: 400 }} }}
      - path: '{at}/tenants.log'
        format: '%ATTRIBUTE(request.url_path)%'
        filter: {{ and: [ {{ header: {{ name: x-tenant, prefix: a }} }}, {{ not: {{ response_flag: [] }} }} ] }}
      - {{ path: '{at}/none.log', filter: {{ fraction: {{ percent: 0 }} }} }}"
        );
        crate::proxy::config(web, tcp, admin, upstream.address, &extra)
    });
    let mut client = Client::connect(proxy.web);
    client.send(b"GET /a?q HTTP/1.1\r\nHost: h\r\nx-tenant: acme\r\n\r\n");
    client.response().unwrap();
    client.send(b"GET /b HTTP/1.1\r\nHost: h\r\nx-tenant: b\r\n\r\n");
    client.response().unwrap();
    client.send(b"BAD\r\n\r\n");
    client.rest();
    let all = lines(&proxy.dir.join("all.log"), 3);
    let json: Vec<Value> = all.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json[0]["request"]["tenant"], "acme");
    assert_eq!((&json[0]["n"], &json[0]["code"], &json[0]["spoken"]), (&1.into(), &200.into(), &"HTTP/1.1".into()));
    assert_eq!(json[0]["host"], upstream.address.to_string());
    assert_eq!(json[0]["kind"], "DownstreamEnd");
    assert!(
        json[0]["times"].as_array().unwrap().iter().all(Value::is_number)
            && json[0]["times"].as_array().unwrap().len() == 3
    );
    assert_eq!(json[2]["request"], serde_json::json!({}), "what is unset is left out");
    assert!(json[2].get("host").is_none());
    let errors = lines(&proxy.dir.join("errors.log"), 1);
    assert!(errors[0].starts_with("- 400 ") && errors[0].contains("DownstreamProtocolError"), "{errors:?}");
    assert_eq!(lines(&proxy.dir.join("tenants.log"), 1), ["/a"]);
    assert_eq!(read(&proxy.dir.join("none.log")), "");
    assert_eq!(proxy.stat("access_logs.logs_filtered"), 2 + 2 + 3);
    assert_eq!(proxy.stat("access_logs.logs_written"), 5);
}

#[test]
fn failures_are_told_in_envoys_words() {
    let dead = ([127, 0, 0, 1], free_port()).into();
    let proxy = Proxy::start_with(|dir, web, tcp, admin| {
        let format = "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \
                      %UPSTREAM_TRANSPORT_FAILURE_REASON% %LOCAL_REPLY_BODY%";
        let extra = format!("access_log: {{ path: '{}/log', format: '{format}' }}", dir.display());
        crate::proxy::config(web, tcp, admin, dead, &extra)
    });
    assert_eq!(status(proxy.web), 503);
    assert_eq!(
        lines(&proxy.dir.join("log"), 1),
        ["/ 503 UF upstream_reset_before_response_started{remote_connection_failure} remote_connection_failure \
          upstream connection failure"]
    );
    let hang = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.configure(
        hang.local_addr().unwrap(),
        &format!(
            "access_log: {{ path: '{}/late', format: '%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%' }}",
            proxy.dir.display()
        ),
    );
    eventually("the new configuration is in force", || proxy.generation() == 2);
    let mut client = Client::connect(proxy.web);
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let taken = hang.accept().unwrap();
    assert!(client.response().unwrap().0.starts_with("HTTP/1.1 504"));
    assert_eq!(lines(&proxy.dir.join("late"), 1), ["504 UT response_timeout"]);
    drop(taken);
}

#[test]
fn a_client_is_known_by_its_certificate_and_a_handshake_that_fails_has_a_line() {
    let upstream = Upstream::saying("secret");
    let authority = Authority::new();
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        authority.save(dir, "ca.pem");
        authority.issue("www.example.com").save(dir, "www");
        let at = dir.display();
        let tls = format!(
            "tls: {{ certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}], client_ca: '{at}/ca.pem', \
             require_client_certificate: true }}"
        );
        let log = format!(
            "access_log: [{{ path: '{at}/log', refused_connections: true, format: {{ sni: '%REQUESTED_SERVER_NAME%', \
             version: '%DOWNSTREAM_TLS_VERSION%', san: '%DOWNSTREAM_PEER_URI_SAN%', until: \
             '%DOWNSTREAM_PEER_CERT_V_END(%s)%', why: '%DOWNSTREAM_TRANSPORT_FAILURE_REASON%', mtls: \
             '%ATTRIBUTE(connection.mtls)%', kind: '%ACCESS_LOG_TYPE%', print: '%DOWNSTREAM_PEER_FINGERPRINT_256%' }} }},
             {{ path: '{at}/requests', format: '%RESPONSE_CODE%' }}]"
        );
        let listener = format!("name: web, address: '{web}', {tls}, {log}, routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    let identity = authority.issue("spiffe://mesh/web");
    let ask = |identity| {
        let client = TlsClient::connect(proxy.web, "www.example.com", &authority, identity, &["http/1.1"]);
        client.and_then(|mut client| client.get("/"))
    };
    ask(Some(&identity)).unwrap();
    ask(None).unwrap_err();
    let json: Vec<Value> =
        lines(&proxy.dir.join("log"), 2).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json[0]["san"], "spiffe://mesh/web");
    assert_eq!(json[0]["sni"], "www.example.com");
    assert_eq!(json[0]["version"], "TLSv1.3");
    assert_eq!(json[0]["mtls"], true);
    assert_eq!(json[0]["print"].as_str().unwrap().len(), 64);
    assert!(json[0]["until"].as_str().unwrap().parse::<u64>().unwrap() > 1_700_000_000);
    assert!(json[0]["why"].is_null() && json[0]["kind"] == "DownstreamEnd");
    assert_eq!(json[1]["why"], "tls_certificate_required", "{}", json[1]);
    assert_eq!(json[1]["kind"], "NotSet");
    assert_eq!(json[1]["mtls"], false);
    assert_eq!(lines(&proxy.dir.join("requests"), 1), ["200"], "connections only where they are wanted");
}

#[test]
fn connections_of_bytes_have_lines_while_they_last() {
    let upstream = Upstream::start(|_, _| true);
    let proxy = Proxy::start_with(|dir, web, tcp, admin| {
        let format = "%ACCESS_LOG_TYPE% %STREAM_ID% %UNIQUE_ID% %BYTES_RECEIVED% %UPSTREAM_HOST%";
        let listener = format!(
            "name: raw, address: '{tcp}', protocol: tcp, cluster: bytes, access_log: {{ path: '{}/log', format: '{format}' \
             }}, access_log_options: {{ flush_on_connected: true, flush_interval: 100ms }}",
            dir.display()
        );
        let web = format!("name: web, address: '{web}', routes: {}", routes("app"));
        let app = "name: app, endpoints: ['127.0.0.1:1']".to_owned();
        config(
            admin,
            &[listener, web],
            &[format!("name: bytes, protocol: tcp, endpoints: ['{}']", upstream.address), app],
        )
    });
    let mut client = Client::connect(proxy.tcp);
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    let log = proxy.dir.join("log");
    eventually("periodic lines", || read(&log).matches("TcpPeriodic").count() >= 2);
    drop(client);
    eventually("the last line", || read(&log).contains("TcpConnectionEnd"));
    let text = read(&log);
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(words.first().unwrap()[0], "TcpUpstreamConnected", "{text}");
    assert_eq!(words.last().unwrap()[0], "TcpConnectionEnd", "{text}");
    assert!(words.iter().all(|line| line[1] == words[0][1] && line[4] == upstream.address.to_string()), "{text}");
    assert_eq!(words.last().unwrap()[3], "18");
    assert_eq!(words[0][1].len(), 36);
    let mut unique: Vec<_> = words.iter().map(|line| line[2]).collect();
    unique.dedup();
    assert_eq!(unique.len(), words.len(), "each line has an id of its own");
}

#[test]
fn what_is_passed_through_or_turned_away_is_known_by_name() {
    let (authority, closing) = (Authority::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let bytes = closing.local_addr().unwrap();
    std::thread::spawn(move || closing.incoming().for_each(drop));
    let proxy = Proxy::start_with(|dir, web, tcp, admin| {
        let format = "%ACCESS_LOG_TYPE% %REQUESTED_SERVER_NAME% %FILTER_CHAIN_NAME% %RESPONSE_FLAGS% \
                      %CONNECTION_TERMINATION_DETAILS%";
        let log = |name| {
            format!("access_log: {{ path: '{}/{name}', refused_connections: true, format: '{format}' }}", dir.display())
        };
        let passing = format!(
            "name: passing, address: '{tcp}', {}, filter_chains: [{{ name: shop, match: {{ server_names: \
             ['*.example.com'] }}, protocol: tcp, cluster: bytes }}]",
            log("passing")
        );
        let web = format!("name: web, address: '{web}', protocol: auto, {}, routes: {}", log("web"), routes("app"));
        let clusters = [
            format!("name: bytes, protocol: tcp, endpoints: ['{bytes}']"),
            format!("name: app, endpoints: ['{bytes}']"),
        ];
        config(admin, &[passing, web], &clusters)
    });
    assert!(TlsClient::connect(proxy.tcp, "shop.example.com", &authority, None, &[]).is_err());
    let line = lines(&proxy.dir.join("passing"), 1);
    assert!(line[0].starts_with("TcpConnectionEnd shop.example.com shop "), "{line:?}");
    let mut client = Client::connect(proxy.web);
    client.send(b"\x00\x01\x02\x03 nothing that anybody speaks\r\n\r\n");
    client.rest();
    assert_eq!(lines(&proxy.dir.join("web"), 1), ["NotSet - - DPE no_protocol"]);
}

#[test]
fn calls_are_known_by_service_method_and_status() {
    let upstream = grpc_upstream();
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        let at = dir.display();
        let format = "%ATTRIBUTE(rpc.service)% %ATTRIBUTE(rpc.method)% %GRPC_STATUS% %GRPC_STATUS_NUMBER% \
                      %TRAILER(grpc-status)% %UPSTREAM_PROTOCOL%";
        let listener = format!(
            "name: web, address: '{web}', protocol: http2, routes: {}, access_log: [{{ path: '{at}/all', format: \
             '{format}' }}, {{ path: '{at}/sick', format: '%REQ(:PATH)%', filter: {{ grpc_status: {{ statuses: \
             [UNAVAILABLE] }} }} }}]",
            routes("grpc")
        );
        config(admin, &[listener], &[format!("name: grpc, protocol: http2, endpoints: ['{upstream}']")])
    });
    run(async {
        let mut client = http2::connect(proxy.web).await;
        for path in ["/shop.Cart/Add", "/sick", "/shop.Cart/Sick"] {
            let (response, mut stream) = client.send_request(call(path).body(()).unwrap(), false).unwrap();
            http2::send(&mut stream, Bytes::from_static(b"hello"), true).await;
            http2::read(response.await.unwrap().into_body()).await;
        }
    });
    let mut all = lines(&proxy.dir.join("all"), 3);
    all.sort();
    assert_eq!(all, ["- - Unavailable 14 14 HTTP/2", "shop.Cart Add OK 0 0 HTTP/2", "shop.Cart Sick OK 0 0 HTTP/2"]);
    assert_eq!(lines(&proxy.dir.join("sick"), 1), ["/sick"]);
}

#[test]
fn files_are_reopened_rotated_and_may_be_full() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start_with(|dir, web, tcp, admin| {
        let at = dir.display();
        let extra = format!(
            "access_log: [{{ path: '{at}/log', format: '%REQ(:PATH)%' }}, {{ path: /dev/full }}, {{ path: '{at}/turned', \
             format: '%REQ(:PATH)%', mode: '600', rotate: {{ max_size: 4KiB, keep: 3 }} }}]"
        );
        crate::proxy::config(web, tcp, admin, upstream.address, &extra)
    });
    let get = |path: &str| assert_eq!(Client::connect(proxy.web).get(path).unwrap().1, b"hello");
    get("/1");
    let (log, old) = (proxy.dir.join("log"), proxy.dir.join("log.old"));
    lines(&log, 1);
    std::fs::rename(&log, &old).unwrap();
    proxy.signal("USR1");
    eventually("the file is made again", || log.exists());
    get("/2");
    assert_eq!(lines(&log, 1), ["/2"]);
    assert_eq!(lines(&old, 1), ["/1"]);

    let mut client = Client::connect(proxy.web);
    // Four files and a bit of 4 KiB each.
    let long = "x".repeat(990);
    let sent = 18;
    (0..sent).for_each(|number| drop(client.get(&format!("/{number:02}/{long}")).unwrap()));
    let names: Vec<PathBuf> =
        ["turned.3", "turned.2", "turned.1", "turned"].iter().map(|n| proxy.dir.join(n)).collect();
    let all = || names.iter().map(|name| read(name)).collect::<String>();
    eventually("everything is written", || all().contains(&format!("/{:02}/", sent - 1)));
    let text = all();
    let numbers: Vec<usize> = text.lines().filter_map(|line| line.get(1..3)?.parse().ok()).collect();
    assert!(numbers.is_sorted() && numbers.last() == Some(&(sent - 1)), "{numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "no line is lost between files: {numbers:?}");
    assert!(names.iter().all(|name| std::fs::metadata(name).unwrap().len() <= 4096));
    assert!(!proxy.dir.join("turned.4").exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&names[3]).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(proxy.stat("access_logs.rotate_failed"), 0);
    assert!(proxy.stat("access_logs.rotations") >= 4);
    // The full one costs its lines and nothing else.
    eventually("lost lines are counted", || proxy.stat("access_logs.logs_dropped") == sent as u64 + 2);
    assert!(proxy.stat("access_logs.write_failed") >= 1);
    assert_eq!(proxy.stat("access_logs.logs_written"), 3 * (sent as u64 + 2));
}

#[test]
fn what_is_wrong_with_a_log_is_told_with_its_place() {
    let path = std::env::temp_dir().join(format!("ringway-logs-{}.yaml", std::process::id()));
    for (log, says) in [
        ("{ path: a, colour: red }", "unknown field `colour`"),
        ("[{ path: a }, { path: b, format: '%NOPE%' }]", "access_log[1].format"),
        ("{ path: '' }", "access_log.path"),
        ("{ path: a, format: { x: { y: '%NOPE%' } } }", "member `x.y`"),
        ("{ path: a, format: '%CEL(request.path)%' }", "%ATTRIBUTE(request.path)%"),
        ("{ path: a, format: '%ATTRIBUTE(request.pth)%' }", "did you mean `request.path`?"),
        ("{ path: a, mode: rw }", "access_log.mode"),
        ("{ path: /dev/stdout, rotate: { max_size: 1MiB } }", "access_log.rotate"),
        ("{ path: a, rotate: { max_size: 1KiB } }", "access_log.rotate.max_size"),
        ("{ path: a, rotate: { max_size: 1MiB, keep: 0 } }", "access_log.rotate.keep"),
        ("[{ path: a }, { path: a, mode: '600' }]", "access_log[1].path"),
        ("{ path: a, filter: { status: 1 } }", "unknown variant `status`"),
        ("{ path: a, filter: { status_code: { op: over, value: 1 } } }", "unknown variant `over`"),
        ("{ path: a, filter: { fraction: { percent: 101 } } }", "access_log.filter.fraction.percent"),
        ("{ path: a, filter: { and: [] } }", "access_log.filter.and"),
        ("{ path: a, filter: { or: [ { response_flag: [XX] } ] } }", "access_log.filter.or[0].response_flag[0]"),
        ("{ path: a, filter: { not: { grpc_status: { statuses: [FINE] } } } }", "filter.not.grpc_status.statuses[0]"),
        ("{ path: a, filter: { header: { name: x, safe_regex: '(' } } }", "access_log.filter.header.safe_regex"),
        ("{ path: a, filter: { log_type: [End] } }", "there is no type `End`"),
        ("{ path: a }, access_log_options: { flush_interval: 1s }", "is for `protocol: tcp`"),
    ] {
        let text = format!(
            "listeners:\n  - {{ name: web, address: '127.0.0.1:1', protocol: http1, access_log: {log}, routes: {} }}\n\
             clusters:\n  - {{ name: app, endpoints: ['127.0.0.1:2'] }}\n",
            routes("app")
        );
        std::fs::write(&path, text).unwrap();
        let output = Command::new(BINARY).args(["check", "-c"]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{log}: {said}");
    }
    std::fs::remove_file(path).unwrap();
}
