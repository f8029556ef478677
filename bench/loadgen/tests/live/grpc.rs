//! gRPC's calls, unary and in streams, against the h2 crate.

use serde_json::json;

use crate::server::{STREAMED, start};
use crate::{bench, good};

fn url(method: &str) -> String {
    format!("grpc://{}/test/{method}", start(None))
}

#[test]
fn unary_calls() {
    let report = good(&url("Unary"), &["--body", "hello", "-m", "4", "--grpc-replies", "1"]);
    let messages = &report["messages"];
    assert!(messages["sent"].as_u64().unwrap() >= report["requests"].as_u64().unwrap(), "{messages}");
    assert!(messages["received_rate"].as_f64().unwrap() > 0.0, "{messages}");
}

#[test]
fn streams_of_the_server_are_counted() {
    let replies = STREAMED.to_string();
    let report = good(&url("Server"), &["--grpc-replies", &replies, "-r", "100", "-m", "2"]);
    assert_eq!(report["sent"], 40);
    let (requests, received) = (report["requests"].as_u64().unwrap(), report["messages"]["received"].as_u64().unwrap());
    // What came after the end is in neither.
    assert!((requests * STREAMED..=40 * STREAMED).contains(&received), "{requests} calls, {received} messages");
}

#[test]
fn streams_of_the_client_are_larger_than_its_windows() {
    let body = "x".repeat(3000);
    let report = good(&url("Client"), &["--body", &body, "--grpc-messages", "200", "--grpc-replies", "1", "-m", "3"]);
    let (requests, sent) = (report["requests"].as_u64().unwrap(), report["messages"]["sent"].as_u64().unwrap());
    assert!(sent >= requests * 200, "{sent} messages of {requests} calls");
}

#[test]
fn both_sides_stream_freely_and_in_turn() {
    for turn in [&["-m", "2"][..], &["--grpc-ping-pong"]] {
        let more = [&["--body", "abc", "--grpc-messages", "50", "--grpc-replies", "50"], turn].concat();
        let report = good(&url("Bidi"), &more);
        let messages = &report["messages"];
        assert!(messages["received"].as_u64().unwrap() >= report["requests"].as_u64().unwrap() * 50, "{messages}");
        let second = &report["timeline"][0]["messages"];
        assert_eq!(second["received"], messages["received"]);
    }
}

#[test]
fn what_is_not_as_it_was_asked_for_is_an_error() {
    let cases = [
        ("Server", &["--grpc-replies", "4"][..], "gRPC: another number of messages than --grpc-replies"),
        ("Short", &[], "gRPC: the last message is not whole"),
        ("Refuse", &["--grpc-messages", "30"], "status 8"),
        (
            "Impatient",
            &["--grpc-messages", "9", "--grpc-ping-pong"],
            "gRPC: the call ended before all its messages were sent",
        ),
    ];
    for (method, more, kind) in cases {
        let (code, report, complaint) = bench(&url(method), &[more, &["-r", "50", "--fail-if", "errors>=20"]].concat());
        assert_eq!(code, 2, "{method}: {complaint}");
        assert_eq!(report["errors"], json!({ kind: 20 }), "{method}");
    }
    for (url, more, word) in [
        ("http://127.0.0.1:1/", &["--grpc-messages", "2"][..], "grpc://"),
        ("grpc://127.0.0.1:1/a/b", &["--grpc-messages", "0"], "from 1"),
    ] {
        let (code, _, complaint) = bench(url, more);
        assert!(code == 1 && complaint.contains(word), "{complaint}");
    }
}
