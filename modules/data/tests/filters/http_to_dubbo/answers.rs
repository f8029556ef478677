//! What results become.

use http::Method;
use ringway_api::{Action, Body, Response};
use ringway_filters::HttpToDubbo;
use ringway_hessian2::{Class, Value, Writer};
use serde_json::{Value as Json, json};

use super::{document, full, options, request};
use crate::world::{Stream, answer, field, read};

/// What the client gets when this is the response to its call.
fn answered(mut response: Response) -> Response {
    let mut stream = Stream::of::<HttpToDubbo>(options(&json!([])));
    assert!(matches!(stream.request(&mut request(Method::POST, "/call", Body::Empty)), Action::Reroute));
    stream.response(&mut response);
    response
}

/// A response of Dubbo's status 20 with this content.
fn dubbo(content: Vec<u8>) -> (u16, Json) {
    let fields = [("rpc-status", "20"), ("x-more", "1")];
    let response = answered(answer(200, &fields, Body::Full(content.into())));
    assert_eq!(field(&response.head.headers, "x-more"), Some("1"));
    document(response)
}

fn written(kind: i32, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.int(kind);
    writer.value(value);
    out
}

fn object(name: &str, fields: &[(&str, Value)]) -> Value {
    let class = Class { name: name.into(), fields: fields.iter().map(|(name, _)| (*name).into()).collect() };
    Value::Object { class: class.into(), fields: fields.iter().map(|(_, value)| value.clone()).collect() }
}

#[test]
fn values_become_json() {
    for (value, expected) in [
        (Value::Null, json!(null)),
        (Value::Bool(true), json!(true)),
        (Value::Bool(false), json!(false)),
        (Value::Int(-1), json!(-1)),
        (Value::Long(i64::MAX), json!(i64::MAX)),
        (Value::Double(0.1), json!(0.1)),
        (Value::Double(1.0), json!(1.0)),
        (Value::Date(1), json!("1970-01-01T00:00:00.001Z")),
        (Value::Binary(vec![1, 2]), json!("AQI=")),
        ("a\"\n\u{1f600}".into(), json!("a\"\n\u{1f600}")),
        (Value::list(vec![]), json!([])),
        (Value::list(vec![Value::Int(1), "a".into()]), json!([1, "a"])),
        (
            Value::map(vec![
                ("a".into(), Value::Int(1)),
                (Value::Int(2), Value::Null),
                (Value::Long(3), Value::map(vec![])),
                (Value::Bool(true), Value::Int(4)),
            ]),
            json!({ "a": 1, "2": null, "3": {}, "true": 4 }),
        ),
        (object("com.x.User", &[("id", Value::Int(1)), ("name", "x".into())]), json!({ "id": 1, "name": "x" })),
    ] {
        for kind in [1, 4] {
            let mut content = written(kind, &value);
            if kind == 4 {
                content.extend(b"H\x05dubbo\x052.0.2Z");
            }
            assert_eq!(dubbo(content), (200, expected.clone()), "{value:?}");
        }
    }
    assert_eq!(dubbo(vec![0x92]), (200, json!(null)));
    assert_eq!(dubbo(b"\x95HZ".to_vec()), (200, json!(null)));
}

#[test]
fn what_json_cannot_say_is_a_bad_gateway() {
    for (content, says) in [
        (written(1, &Value::Double(f64::NAN)), "a number that is not finite"),
        (written(1, &Value::Double(f64::INFINITY)), "a number that is not finite"),
        (written(1, &Value::Date(i64::MAX)), "a time beyond the years 0 to 9999"),
        (written(1, &Value::map(vec![(Value::Null, Value::Null)])), "a map whose keys are no texts"),
        (b"\x91\x79Q\x90".to_vec(), "hessian_cyclic_reference"),
        (b"\x91".to_vec(), "hessian_truncated"),
        (b"".to_vec(), "hessian_truncated"),
        (b"\x91@".to_vec(), "hessian_unknown_tag"),
        (b"\x96N".to_vec(), "no kind that Dubbo has"),
        (b"\x01a".to_vec(), "no kind that Dubbo has"),
        ([&b"\x91"[..], &[0x79; 100], b"N"].concat(), "hessian_too_deep"),
    ] {
        let (status, document) = dubbo(content);
        let error = document["error"].as_str().unwrap();
        assert!(status == 502 && error.contains(says), "{error}");
    }
}

#[test]
fn exceptions_are_named_with_their_message() {
    // As Java writes them: the cause of an exception that has none is itself.
    let java = b"\x90C\x14java.lang.Illegality\x93\x05cause\x0ddetailMessage\x0astackTrace\x60Q\x90\x04oops\x79Q\x90";
    assert_eq!(dubbo(java.to_vec()), (500, json!({ "exception": "java.lang.Illegality", "message": "oops" })));
    let generic = object(
        "com.alibaba.dubbo.rpc.service.GenericException",
        &[("exceptionClass", "com.x.Broken".into()), ("exceptionMessage", "it broke".into())],
    );
    let map = Value::Map {
        type_name: Some("com.x.Broken".into()),
        entries: vec![("message".into(), "it broke".into()), (Value::Int(1), Value::Null)],
    };
    for value in [&generic, &map] {
        for kind in [0, 3] {
            let expected = json!({ "exception": "com.x.Broken", "message": "it broke" });
            assert_eq!(dubbo(written(kind, value)), (500, expected));
        }
    }
    let silent = object("com.x.Silent", &[("detailMessage", Value::Null)]);
    assert_eq!(dubbo(written(0, &silent)), (500, json!({ "exception": "com.x.Silent", "message": null })));
    assert_eq!(dubbo(written(0, &"text".into())), (500, json!({ "exception": null, "message": "text" })));
    assert_eq!(dubbo(written(0, &Value::Int(1))), (500, json!({ "exception": null, "message": null })));
    assert_eq!(dubbo(b"\x90\x60".to_vec()).0, 502);
}

#[test]
fn errors_of_dubbo_keep_their_status() {
    let error = |status: u16, code, content: &'static [u8]| {
        let body = if content.is_empty() { Body::Empty } else { Body::Full(content.to_vec().into()) };
        document(answered(answer(status, &[("rpc-status", code)], body)))
    };
    let expected = json!({ "error": "no such service", "dubbo_status": 60 });
    assert_eq!(error(404, "60", b"\x0fno such service"), (404, expected));
    let expected = json!({ "error": "the host says no more than its status", "dubbo_status": 100 });
    assert_eq!(error(503, "100", b""), (503, expected.clone()));
    assert_eq!(error(503, "100", b"\x91"), (503, expected));
}

#[test]
fn replies_of_the_proxy_become_json_and_responses_of_others_pass() {
    let plain = [("content-type", "text/plain")];
    let reply = answered(answer(503, &plain, full("no healthy upstream")));
    assert_eq!(document(reply), (503, json!({ "error": "no healthy upstream" })));
    assert_eq!(document(answered(answer(404, &[], Body::Empty))), (404, json!({ "error": "Not Found" })));
    let html = [("content-type", "text/html")];
    for (status, fields, text) in [(502, html, "<p>"), (200, plain, "fine"), (302, plain, "there")] {
        let response = answered(answer(status, &fields, full(text)));
        assert_eq!(response.head.status, status);
        assert_eq!(field(&response.head.headers, "content-type"), Some(fields[0].1));
        assert_eq!(read(response.body).data, text.as_bytes());
    }
    // A response to a request that was no call.
    let mut stream = Stream::of::<HttpToDubbo>(options(&json!([])));
    stream.request(&mut request(Method::GET, "/other", Body::Empty));
    let mut response = answer(503, &plain, full("no healthy upstream"));
    stream.response(&mut response);
    assert_eq!(field(&response.head.headers, "content-type"), Some("text/plain"));
}
