//! Responses as JSON.

use prost::Message;
use prost_reflect::DynamicMessage;
use ringway_api::{Action, Body, Chunk, Response};
use ringway_filters::GrpcJson;
use serde_json::{Value, json};

use super::{GRPC, ask, options, pool, whole};
use crate::world::{Stream, answer, field, pieces, read};

const OK: &[(&str, &str)] = &[("content-type", "application/grpc"), ("grpc-status", "0")];

/// A frame with a message that this JSON says.
fn frame(kind: &str, json: Value) -> Vec<u8> {
    let kind = pool().get_message_by_name(kind).unwrap();
    let message = DynamicMessage::deserialize(kind, json).unwrap().encode_to_vec();
    [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
}

/// What comes of a response to a call.
fn answered(more: Value, path: &str, mut response: Response, trailers: &[(&str, &str)]) -> Response {
    let mut stream = Stream::of::<GrpcJson>(options(more));
    let method = if path.ends_with(":merge") { "POST" } else { "GET" };
    assert!(matches!(stream.request(&mut ask(method, path, "")), Action::Reroute));
    stream.trailers(trailers);
    stream.response(&mut response);
    assert!(response.head.headers.iter().all(|(name, _)| !name.starts_with(b"grpc-")));
    response
}

const BOOK: &str = "example.library.Book";

#[test]
fn messages_become_json() {
    let book = frame(BOOK, json!({"name": "n", "pages": 5, "kind": 1, "boundInLeather": true}));
    let content = || Body::Full(Chunk::copy_from(&book));
    for (more, expected) in [
        (json!({}), r#"{"name":"n","pages":"5","kind":"NOVEL","boundInLeather":true}"#),
        (
            json!({"print_enum_numbers": true, "print_proto_names": true}),
            r#"{"name":"n","pages":"5","kind":1,"bound_in_leather":true}"#,
        ),
    ] {
        let response = answered(more, "/v1/books/7", answer(200, GRPC, content()), &[("grpc-status", "0")]);
        assert_eq!(field(&response.head.headers, "content-type"), Some("application/json"));
        assert_eq!(whole(response), (200, expected.into()));
    }
    let whole_of = |response| serde_json::from_str::<Value>(&whole(response).1).unwrap();
    let full = whole_of(answered(json!({"print_defaults": true}), "/v1/books/7", answer(200, OK, content()), &[]));
    assert_eq!((&full["authors"], &full["cover"]), (&json!([]), &json!("")));

    let books = |list: Value| Body::Full(Chunk::from(frame("example.library.MergeReply", json!({"books": list}))));
    for list in [json!([{"name": "a", "kind": "ATLAS"}, {}]), json!([])] {
        let response = answered(json!({}), "/v1/shelves/a:merge", answer(200, OK, books(list.clone())), &[]);
        assert_eq!(whole_of(response), list);
    }
    let page = frame("google.api.HttpBody", json!({"contentType": "text/html", "data": "PGI+"}));
    let response = answered(json!({}), "/pages/x", answer(200, OK, Body::Full(Chunk::from(page))), &[]);
    assert_eq!(field(&response.head.headers, "content-type"), Some("text/html"));
    assert_eq!(whole(response), (200, "<b>".into()));
}

#[test]
fn statuses_become_errors() {
    for (code, status) in [
        ("1", 499),
        ("2", 500),
        ("3", 400),
        ("4", 504),
        ("5", 404),
        ("6", 409),
        ("7", 403),
        ("8", 429),
        ("9", 400),
        ("10", 409),
        ("11", 400),
        ("12", 501),
        ("13", 500),
        ("14", 503),
        ("15", 500),
        ("16", 401),
        ("77", 500),
    ] {
        for path in ["/v1/books/7", "/v1/shelves/a/books"] {
            let fields = [GRPC[0], ("grpc-status", code), ("grpc-message", "no%20b\u{fc}ch%zz")];
            let (answered, content) = whole(answered(json!({}), path, answer(200, &fields, Body::Empty), &[]));
            assert_eq!(answered, status, "{code} {content}");
            let code: u32 = code.parse().unwrap();
            let expected = json!({"code": code, "message": "no b\u{fc}ch%zz", "details": []});
            assert_eq!(serde_json::from_str::<Value>(&content).unwrap(), expected);
        }
    }
    // A status with two details, of which one is of a type in the set.
    let book = DynamicMessage::deserialize(pool().get_message_by_name(BOOK).unwrap(), json!({"name": "n"})).unwrap();
    let any = |name: &str, value: &[u8]| {
        let url = format!("type.googleapis.com/{name}");
        let any = [&[10, url.len() as u8][..], url.as_bytes(), &[18, value.len() as u8], value].concat();
        [&[26, any.len() as u8][..], &any].concat()
    };
    let status = [any(BOOK, &book.encode_to_vec()), any("x.Y", b"\x01")].concat();
    use base64::Engine;
    let details = base64::engine::general_purpose::STANDARD_NO_PAD.encode(status);
    let trailers = [("grpc-status", "3"), ("grpc-status-details-bin", details.as_str())];
    let (status, content) = whole(answered(json!({}), "/v1/books/7", answer(200, GRPC, Body::Empty), &trailers));
    let expected = json!({"code": 3, "message": "", "details": [
        {"@type": "type.googleapis.com/example.library.Book", "name": "n"},
        {"@type": "type.googleapis.com/x.Y", "value": "AQ=="},
    ]});
    assert_eq!((status, serde_json::from_str(&content).unwrap()), (400, expected));
}

#[test]
fn responses_that_cannot_be_read_are_the_hosts_fault() {
    let full = |bytes: &[u8]| Body::Full(Chunk::copy_from(bytes));
    for (status, fields, body, says) in [
        (200, GRPC, full(&frame(BOOK, json!({}))), "ended without a status"),
        (200, OK, Body::Empty, "no whole message"),
        (200, OK, full(b"\0\0\0\0\x05abc"), "no whole message"),
        (200, OK, full(b"\0\0\0\0\0\0\0\0\0\0"), "more than one message"),
        (200, OK, full(b"\x01\0\0\0\0"), "compressed"),
        (200, OK, full(b"\0\0\0\0\x01\xff"), "no message of its type"),
        (500, GRPC, Body::Empty, "what gRPC does not"),
    ] {
        let (status, content) = whole(answered(json!({}), "/v1/books/7", answer(status, fields, body), &[]));
        assert!(status == 502 && content.contains(says), "{status} {content}");
    }
    let plain = answer(404, &[("content-type", "text/plain")], full(b"no \"route\""));
    let (status, content) = whole(answered(json!({}), "/v1/books/7", plain, &[]));
    assert_eq!((status, content.as_str()), (404, r#"{"code":5,"details":[],"message":"no \"route\""}"#));
    let page = answer(502, &[("content-type", "text/html")], full(b"<html>"));
    assert_eq!(whole(answered(json!({}), "/v1/books/7", page, &[])), (502, "<html>".into()));
}

#[test]
fn streams_pass_message_by_message() {
    let frames: Vec<u8> = (0..3).flat_map(|at| frame(BOOK, json!({"pages": at}))).collect();
    for cut in [1, 2, 5, 7, 100] {
        for (more, kind, expected) in [
            (json!({}), "application/json", "[{},{\"pages\":\"1\"},{\"pages\":\"2\"}]"),
            (json!({"streams": "lines"}), "application/x-ndjson", "{}\n{\"pages\":\"1\"}\n{\"pages\":\"2\"}\n"),
        ] {
            for trailer in ["0", "5"] {
                let parts: Vec<&[u8]> = frames.chunks(cut).collect();
                let body = pieces(&parts, &[("grpc-status", trailer)]);
                let response = answered(more.clone(), "/v1/shelves/a/books", answer(200, GRPC, body), &[]);
                assert_eq!(field(&response.head.headers, "content-type"), Some(kind));
                let content = read(response.body);
                let said = String::from_utf8(content.data).unwrap();
                if trailer == "0" {
                    assert_eq!((said.as_str(), content.error), (expected, None));
                } else {
                    assert_eq!(said, expected.trim_end_matches(']'));
                    assert_eq!(content.error.unwrap().details, "grpc_json_call_failed");
                }
            }
        }
    }
    let none = answered(json!({}), "/v1/shelves/a/books", answer(200, OK, Body::Empty), &[]);
    assert_eq!(whole(none), (200, "[]".into()));
    for (bytes, details) in [
        (&b"\0\0\0\0\x01"[..], "grpc_json_malformed_response"),
        (b"\x01\0\0\0\0", "grpc_json_malformed_response"),
        (b"\0\xff\0\0\0", "grpc_json_malformed_response"),
    ] {
        let body = pieces(&[bytes], &[("grpc-status", "0")]);
        let response = answered(json!({}), "/v1/shelves/a/books", answer(200, GRPC, body), &[]);
        assert_eq!(read(response.body).error.unwrap().details, details);
    }
}
