//! The binary end to end, without a proxy: upstream, client, report.

use std::process::Command;

/// Those that need no process under test.
const SCENARIOS: &str = "h1-1k-c64,h1-64k-c64,h1-post16k-c64,tcp-1k-c64,h1-1k-c1,tls-h1-1k-c64,tls-handshake,h2-tls-to-h1,\
                         h2c-to-h2c,grpc-unary,unix-h1-1k-c64";

#[test]
fn direct_runs_and_reports() {
    let out = std::env::temp_dir().join(format!("ringway-bench-smoke-{}", std::process::id()));
    std::fs::create_dir_all(&out).unwrap();
    let (md, json) = (out.join("out.md"), out.join("out.json"));
    let cores = std::thread::available_parallelism().unwrap().get();
    let load_core = if cores > 1 { "1" } else { "0" };
    let run = Command::new(env!("CARGO_BIN_EXE_ringway-bench-peers"))
        .args(["--peers", "direct", "--scenario", SCENARIOS])
        .args(["--rounds", "1", "--seconds", "0.2", "--warm-up", "0.1", "--load-core", load_core])
        .arg("--md")
        .arg(&md)
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let markdown = std::fs::read_to_string(&md).unwrap();
    assert!(markdown.contains("| direct | - |"), "{markdown}");
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let scenarios = json["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), SCENARIOS.split(',').count());
    for scenario in scenarios {
        let median = |key: &str| scenario["rows"][0]["median"][key]["median"].as_f64().unwrap();
        assert!(median("requests_per_second") > 0.0, "{scenario}");
        assert_eq!(median("errors"), 0.0, "{scenario}");
    }
    std::fs::remove_dir_all(&out).unwrap();
}

#[test]
fn a_peer_that_is_not_there_is_skipped_not_an_error() {
    let run = Command::new(env!("CARGO_BIN_EXE_ringway-bench-peers"))
        .args(["--peers", "pump", "--pump", "/nonexistent/pump", "--scenario", "tcp-1k-c64", "--rounds", "1"])
        .args(["--load-core", "0"])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(text.contains("pump | skipped: /nonexistent/pump is not built"), "{text}");
}
