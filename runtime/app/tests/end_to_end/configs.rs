//! Good and bad configurations.

use std::path::Path;
use std::process::Command;

use crate::proxy::{BINARY, repository};
use crate::secrets::Authority;

fn check(path: &Path) -> (bool, String) {
    check_in(path, &std::env::temp_dir())
}

/// Checks a configuration whose files are found from a folder.
fn check_in(path: &Path, folder: &Path) -> (bool, String) {
    let output = Command::new(BINARY).args(["check", "-c"]).arg(path).current_dir(folder).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn every_example_is_accepted() {
    let mut seen = 0;
    let home = std::env::temp_dir().join(format!("ringway-examples-{}", std::process::id()));
    let certs = home.join("certs");
    std::fs::create_dir_all(&certs).unwrap();
    let authority = Authority::new();
    authority.save(&certs, "ca.pem");
    authority.issue("shop.example.com").save(&certs, "server");
    authority.issue("spiffe://cluster.local/ns/shop/sa/edge").save(&certs, "client");
    std::fs::copy(repository().join("examples/shelf.pb"), home.join("shelf.pb")).unwrap();
    for folder in ["examples", "deploy"] {
        let Ok(entries) = std::fs::read_dir(repository().join(folder)) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let is_config = path.extension().is_some_and(|ext| ext == "yaml")
                && std::fs::read_to_string(&path).unwrap().contains("\nlisteners:");
            if is_config {
                let (ok, text) = check_in(&path, &home);
                assert!(ok, "{text}");
                seen += 1;
            }
        }
    }
    std::fs::remove_dir_all(&home).unwrap();
    assert!(seen >= 4);
}

/// YAML 1.2 has two truth values; the others of YAML 1.1 are words.
#[test]
fn on_and_no_are_texts() {
    let path = std::env::temp_dir().join(format!("ringway-words-{}.yaml", std::process::id()));
    let text = r#"
listeners:
  - name: web
    address: "127.0.0.1:1"
    protocol: http1
    filters: [{ header_mutation: { request: [{ set: { x-mesh: on, x-country: no } }] } }]
    routes: { virtual_hosts: [{ domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: app } }] }] }
clusters:
  - { name: app, endpoints: ["127.0.0.1:2"] }
"#;
    std::fs::write(&path, text).unwrap();
    let (ok, said) = check(&path);
    assert!(ok, "{said}");
    std::fs::write(&path, text.replace("protocol: http1", "protocol: http1\n    path: { normalize: off }")).unwrap();
    let (ok, said) = check(&path);
    assert!(!ok && said.contains("path.normalize"), "{said}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn errors_show_the_place_and_a_suggestion() {
    let base = r#"
listeners:
  - name: web
    address: "127.0.0.1:1"
    protocol: http1
    routes: { virtual_hosts: [{ domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: app } }] }] }
clusters:
  - { name: app, endpoints: ["127.0.0.1:2"] }
"#;
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "cluster: app",
            "cluster: apq",
            &[":6:", "routes[0].route.cluster", "no cluster named `apq`", "did you mean `app`?"],
        ),
        (
            "clusters:",
            "tracing: { sampling: { random: 101% } }\nclusters:",
            &["tracing.sampling.random", "no share of requests"],
        ),
        ("clusters:", "tracing: { sampling: { rate: 100 } }\nclusters:", &["100"]),
        ("clusters:", "tracing: { sampling: { rate: 100/d } }\nclusters:", &["tracing.sampling.rate", "no rate"]),
        (
            "clusters:",
            "tracing: { sampling: { headers: [{ name: \"a b\" }] } }\nclusters:",
            &["tracing.sampling.headers[0].name"],
        ),
        (
            "clusters:",
            "metrics: { istio: { listeners: { wab: source } } }\nclusters:",
            &["metrics.istio.listeners.wab", "no listener named `wab`"],
        ),
        (
            "clusters:",
            "metrics: { istio: { services: { nope: { host: h } } } }\nclusters:",
            &["metrics.istio.services.nope", "no cluster named `nope`"],
        ),
        (
            "clusters:",
            "metrics: { istio: { services: { app: {} } } }\nclusters:",
            &["metrics.istio.services.app.host", "must not be empty"],
        ),
        (
            "clusters:",
            "metrics: { istio: { max_series: 0 } }\nclusters:",
            &["metrics.istio.max_series", "must be 1 to 100000"],
        ),
        ("clusters:", "metrics: { istio: { serie: 0 } }\nclusters:", &["serie"]),
        ("clusters:", "tracing: { tail: {} }\nclusters:", &["tracing.tail", "at least one of"]),
        ("clusters:", "tracing: { tail: { flags: [XX] } }\nclusters:", &["tracing.tail.flags[0]", "no response flag"]),
        ("clusters:", "tracing: { tags: { a: \"%NOPE%\" } }\nclusters:", &["tracing.tags.a", "NOPE"]),
        ("clusters:", "tracing: { propagation: [w3c, w3c] }\nclusters:", &["tracing.propagation[1]", "comes twice"]),
        ("clusters:", "tracing: { propagation: [jaeger] }\nclusters:", &["jaeger"]),
        (
            "clusters:",
            "tracing: { exporters: [collector] }\nclusters:",
            &["tracing.exporters[0]", "no exporter `collector`"],
        ),
        (
            "protocol: http1",
            "protocol: http1\n    tracing: { sampling: {} }",
            &["listeners[0].tracing", "no `tracing`"],
        ),
        ("protocol: http1", "protocol: http1\n    tracing: maybe", &["expected `off` or"]),
        ("listeners", "listners", &[":2:1", "unknown field `listners`", "did you mean `listeners`?"]),
        ("protocol: http1", "protocol: htp1", &[":5:", "no protocol `htp1`", "did you mean `http1`?"]),
        ("prefix: /", "prefix: api", &["match.prefix", "must begin with `/`"]),
        ("prefix: /", "safe_regex: '('", &["match.safe_regex", "unclosed group"]),
        ("prefix: /", "prefix: /, path: /", &["exactly one of"]),
        ("\"127.0.0.1:2\"", "\"127.0.0.1:0\"", &["clusters[0].endpoints[0]", "port 0"]),
        ("\"127.0.0.1:2\"", "\"nonsense\"", &["`nonsense` is no endpoint"]),
        ("\"127.0.0.1:1\"", "\"localhost\"", &["listeners[0].address", "is no address"]),
        ("name: app", "name: app, connect_timeout: 5", &["`5` is not a duration"]),
        ("name: app", "name: app, lb: least_requests", &["did you mean `least_request`?"]),
        ("name: app", "name: app, outlier_detection: { intervall: 1s }", &["did you mean `interval`?"]),
        ("name: app", "name: app, outlier_detection: { interval: 0 }", &["outlier_detection.interval", "more than 0"]),
        (
            "name: app",
            "name: app, outlier_detection: { max_ejection_percent: 101 }",
            &["clusters[0].outlier_detection.max_ejection_percent", "0 to 100"],
        ),
        ("name: app", "name: app, health_checks: [{}]", &["clusters[0].health_checks[0]", "exactly one of"]),
        ("name: app", "name: app, health_checks: [{ tcp: {} }, { tcp: {} }]", &["one health check at most"]),
        (
            "name: app",
            "name: app, health_checks: [{ tcp: {}, timeout: 0 }]",
            &["health_checks[0].timeout", "more than 0"],
        ),
        ("name: app", "name: app, health_checks: [{ tcp: {}, port: 0 }]", &["health_checks[0].port", "more than 0"]),
        ("name: app", "name: app, health_checks: [{ tcp: { send: 0x0 } }]", &["tcp.send"]),
        ("name: app", "name: app, health_checks: [{ http: { path: x } }]", &["http.path", "must begin with `/`"]),
        (
            "name: app",
            "name: app, health_checks: [{ http: { path: /, expected_statuses: [2xx] } }]",
            &["expected_statuses[0]", "`2xx` is neither"],
        ),
        (
            "name: app",
            "name: app, health_checks: [{ http: { path: /, request_headers: { Host: x } } }]",
            &["request_headers.host", "use `host`"],
        ),
        ("name: app", "name: app, health_checks: [{ rpc: {} }]", &["no heartbeat of `http1`", "dubbo, bolt, boltv2"]),
        ("name: app", "name: app, health_checks: [{ rpc: { protocol: bold } }]", &["did you mean `bolt`?"]),
        (
            "protocol: http1",
            "protocol: http1\n    options: { header_cas: lower }",
            &["listeners[0].options", "header_cas"],
        ),
        (
            ", endpoints: [\"127.0.0.1:2\"]",
            "",
            &["clusters[0]", "exactly one of `endpoints`, `endpoints_file` and `original_dst`"],
        ),
        (
            "endpoints: [\"127.0.0.1:2\"]",
            "original_dst: {}, lb: maglev",
            &["clusters[0].lb", "the destination is the host"],
        ),
        (
            "endpoints: [\"127.0.0.1:2\"]",
            "original_dst: { header: 'a b' }",
            &["clusters[0].original_dst.header", "no header's name"],
        ),
        (
            "protocol: http1",
            "protocol: http1\n    access_log: { exporter: x }",
            &["listeners[0].access_log.exporter", "there is no exporter `x`"],
        ),
        (
            "protocol: http1",
            "protocol: http1\n    access_log: { path: a.log, attributes: { a: b } }",
            &["listeners[0].access_log.attributes", "are for exporters"],
        ),
        (
            "endpoints: [\"127.0.0.1:2\"]",
            "endpoints_file: /nowhere/hosts.yaml",
            &["cluster app: endpoints_file", "cannot read /nowhere/hosts.yaml"],
        ),
        (
            "route: { cluster: app }",
            "route: { cluster: app, fallback_cluster: { name: app } }",
            &["route.fallback_cluster.name", "another cluster"],
        ),
        ("name: app", "name: app, zone_aware: {}", &["clusters[0].zone_aware", "needs `node.locality`"]),
        ("clusters:", "node: { local_cluster: x }\nclusters:", &["node.local_cluster", "no cluster named `x`"]),
        ("clusters:", "exporters: [{ name: x }]\nclusters:", &["exporters[0]", "exactly one of `otlp`"]),
        (
            "clusters:",
            "exporters: [{ name: x, zipkin: { endpoint: collector:9411 } }]\nclusters:",
            &["exporters[0].zipkin.endpoint", "is no URL"],
        ),
        (
            "clusters:",
            "exporters: [{ name: x, otlp: { endpoint: 'http://c', headers: { k: '%ENVIRONMENT(NOT_THERE)%' } } }]\nclusters:",
            &["exporters[0].otlp.headers.k", "no environment variable `NOT_THERE`"],
        ),
        (
            "protocol: http1",
            "protocol: http1\n    access_log: { path: a, format: '%NOPE%' }",
            &["access_log.format", "NOPE"],
        ),
        (
            "protocol: http1",
            "protocol: http1\n    filters: [{ grpc_wep: {} }]",
            &["filters[0]", "no filter `grpc_wep`", "did you mean `grpc_web`?"],
        ),
        (
            "protocol: http1",
            "protocol: http1\n    filters: [{ grpc_web: { on: 1 } }]",
            &["filters[0].grpc_web", "unknown field `on`"],
        ),
        (
            "protocol: http1",
            "protocol: http1\n    tls: { certificates: [] }",
            &["tls.certificates", "at least one certificate"],
        ),
        (
            "protocol: http1",
            "protocol: http1\n    tls: { certificates: [{ cert: no.pem, key: no.key }] }",
            &["listener web", "cannot read no.pem"],
        ),
        (
            "protocol: http1",
            "protocol: http1\n    tls: { certificates: [{ cert: a, key: b }], require_client_certificate: true }",
            &["require_client_certificate", "needs a `client_ca`"],
        ),
        (
            "protocol: http1",
            "protocol: http1\n    filter_chains: [{ name: a, match: { server_names: ['a..b'] }, cluster: app }]",
            &["listeners[0].routes", "belongs into each of them"],
        ),
        (
            "protocol: http1",
            "protocol: auto\n    options: { http3: {} }",
            &["options.http3", "`http3` is not spoken here"],
        ),
        ("protocol: http1", "protocol: [http1, dubo]", &["protocol[1]", "no protocol `dubo`", "did you mean `dubbo`"]),
        ("protocol: http1", "protocol: [bolt, bolt]", &["protocol[1]", "is there already"]),
        (
            "protocol: http1",
            "protocol: [http1, dubbo]\n    options: { bolt: {} }",
            &["options.bolt", "not spoken here"],
        ),
        (
            "match: { prefix: / }",
            "match: { prefix: /, service: a.B }",
            &["routes[0].match", "exclude the path matches"],
        ),
        ("match: { prefix: / }", "match: { service: 'a.*.B' }", &["match.service", "may stand for its end"]),
        (
            "endpoints: [\"127.0.0.1:2\"]",
            "endpoints: [\"127.0.0.1:2\"], protocol: auto",
            &["clusters[0].protocol", "`auto` needs `tls`"],
        ),
        (
            "endpoints: [\"127.0.0.1:2\"]",
            "endpoints: [\"127.0.0.1:2\"], proxy_protocol: 2",
            &["proxy_protocol", "only for `tcp`"],
        ),
        (
            "match: { prefix: / }",
            "match: { prefix: /, connect: true }",
            &["routes[0].match", "`connect` excludes the path matches"],
        ),
        ("domains: [\"*\"]", "domains: [\"*\", \"*\"]", &["domains[1]", "twice"]),
        ("listeners:", "listeners: [", &[":"]),
    ];
    let dir = std::env::temp_dir().join(format!("ringway-errors-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("bad.yaml");
    for (from, to, expected) in cases {
        std::fs::write(&path, base.replacen(from, to, 1)).unwrap();
        let (ok, text) = check(&path);
        assert!(!ok, "{to}: accepted");
        for part in *expected {
            assert!(text.contains(part), "{to}: `{part}` is missing in\n{text}");
        }
    }
    std::fs::write(&path, base).unwrap();
    assert!(check(&path).0);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_schema_names_every_protocols_options() {
    let output = Command::new(BINARY).arg("schema").output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["x-protocol-options"]["http1"].is_object());
    assert!(schema["$defs"]["Listener"]["properties"]["address"].is_object());
}
