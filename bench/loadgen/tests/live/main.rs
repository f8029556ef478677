//! `ringway-bench` as it is run, against servers of other people's code over real sockets.

#![allow(clippy::disallowed_methods, reason = "servers and commands are of the test, not of a worker")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "helpers are of tests as well")]

mod bolt;
mod grpc;
mod many;
mod replay;
mod server;
mod tls;

use std::process::{Command, Output};

use serde_json::Value;

/// Runs the program for a short while; its exit code, its report and what it complained of.
fn bench(url: &str, more: &[&str]) -> (i32, Value, String) {
    let shared = ["--warmup", "0s", "--timeout", "5s", "-q", "-o", "json"];
    let few: &[&str] = if more.contains(&"-c") { &[] } else { &["-c", "4"] };
    let lasts: &[&str] = if more.contains(&"-d") { &[] } else { &["-d", "400ms"] };
    let output = program(&[&[url], &shared[..], few, lasts, more].concat());
    let complaint = String::from_utf8(output.stderr).unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), report, complaint)
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway-bench")).args(arguments).output().unwrap()
}

/// A run that went well.
fn good(url: &str, more: &[&str]) -> Value {
    let (code, report, complaint) = bench(url, more);
    assert_eq!(code, 0, "{url} {more:?}: {complaint}");
    assert_eq!(report["errors"], serde_json::json!({}), "{url} {more:?}");
    assert!(report["requests"].as_u64().unwrap() > 0, "{report}");
    report
}
