use http::Method;
use ringway_api::{Action, Body, Headers};
use ringway_filters::HeaderMutation;
use serde_json::json;

use crate::world::{Stream, answer, options_error, request};

fn lines(headers: &Headers) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    headers.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
}

#[test]
fn edits_are_carried_out_in_order() {
    for (edits, expected) in [
        (json!([{ "append": { "x-a": "3" } }]), &["x-a: 1", "X-A: 2", "x-b: y", "x-a: 3"][..]),
        (json!([{ "set": { "x-a": "3" } }]), &["x-b: y", "x-a: 3"]),
        (json!([{ "set": { "x-c": "3" } }]), &["x-a: 1", "X-A: 2", "x-b: y", "x-c: 3"]),
        (json!([{ "overwrite": { "x-a": "3", "x-c": "4" } }]), &["x-b: y", "x-a: 3"]),
        (json!([{ "add_if_absent": { "x-a": "3", "x-c": "4" } }]), &["x-a: 1", "X-A: 2", "x-b: y", "x-c: 4"]),
        (json!([{ "remove": "X-a" }]), &["x-b: y"]),
        (json!([{ "remove_prefix": "X-" }]), &[]),
        (json!([{ "remove_prefix": "x-" }, { "set": { "x-c": "" } }]), &["x-c: "]),
        (json!([{ "set": { "x-c": "%REQ(x-b)%-%REQ(none?x-b):1%" } }, { "remove": "x-a" }]), &["x-b: y", "x-c: y-y"]),
        (json!([{ "set": { "x-b": "%REQ(none)%" } }, { "remove": "x-a" }]), &["x-b: y"]),
        (
            json!([{ "remove_prefix": "x-" }, { "set": { "x-b": "%REQ(:method)% %REQ(:authority)%%REQ(:path)% 5%%" } }]),
            &["x-b: GET example.com/p?q=1 5%"],
        ),
    ] {
        let mut stream = Stream::of::<HeaderMutation>(json!({ "request": edits }));
        let mut asked = request(Method::GET, "/p?q=1", &[("x-a", "1"), ("X-A", "2"), ("x-b", "y")]);
        assert!(matches!(stream.request(&mut asked), Action::Continue));
        assert_eq!(lines(&asked.head.headers), expected, "{edits}");
    }
}

#[test]
fn responses_may_say_what_was_asked() {
    let mut stream = Stream::of::<HeaderMutation>(json!({
        "request": [{ "remove": "x-id" }],
        "response": [
            { "set": { "x-about": "%REQ(x-id)% %RESPONSE_CODE% %RESP(x-own)%" } },
            { "set": { "x-protocol": "%PROTOCOL%" } },
            { "remove_prefix": "x-ow" },
        ],
    }));
    let mut asked = request(Method::GET, "/", &[("x-id", "7")]);
    stream.request(&mut asked);
    assert!(asked.head.headers.is_empty());
    let mut response = answer(404, &[("x-own", "z")], Body::Empty);
    stream.response(&mut response);
    assert_eq!(lines(&response.head.headers), ["x-about: 7 404 z", "x-protocol: HTTP/1.1"]);
}

#[test]
fn queries_keep_what_is_not_named() {
    for (edits, from, to) in [
        (json!([{ "set": { "a": "1 2&3" } }]), "/p?a=0&b=%20+&a", "/p?b=%20+&a=1%202%263"),
        (json!([{ "append": { "a": "1" } }]), "/p", "/p?a=1"),
        (json!([{ "add_if_absent": { "a": "1", "b": "2" } }]), "/p?a=0", "/p?a=0&b=2"),
        (json!([{ "overwrite": { "a": "1", "b": "2" } }]), "/p?b=0&c", "/p?c&b=2"),
        (json!([{ "remove": "a b" }]), "/p?a+b=1&a%20b=2&ab=3", "/p?ab=3"),
        (json!([{ "remove": "a" }]), "/p?a=1", "/p"),
        (json!([{ "remove": "x" }]), "/p?&a=1&&", "/p?&a=1&&"),
        (json!([{ "set": { "u": "%REQ(x-u)%" } }]), "/p", "/p?u=%2F%C3%A4"),
    ] {
        let mut stream = Stream::of::<HeaderMutation>(json!({ "query": edits }));
        let mut asked = request(Method::GET, from, &[("x-u", "/ä")]);
        stream.request(&mut asked);
        assert_eq!(String::from_utf8_lossy(asked.head.path_and_query()), to, "{edits}");
    }
}

#[test]
fn an_edited_request_is_routed_anew_if_that_is_wanted() {
    let mut stream = Stream::of::<HeaderMutation>(json!({ "reroute": true, "request": [{ "remove": "x" }] }));
    assert!(matches!(stream.request(&mut request(Method::GET, "/", &[])), Action::Reroute));
}

#[test]
fn wrong_options_are_told() {
    for (options, says) in [
        (json!({}), "nothing to edit"),
        (json!({ "request": [{ "set": { "content-length": "1" } }] }), "request[0]: \"content-length\""),
        (json!({ "request": [{ "remove": "Host" }] }), "\"Host\" is no field that can be edited"),
        (json!({ "request": [{ "set": { "a b": "1" } }] }), "\"a b\""),
        (json!({ "request": [{ "set": { "a": "x\n" } }] }), "no value of a field"),
        (json!({ "request": [{ "set": { "a": "%RESPONSE_CODE%" } }] }), "says something of the response"),
        (json!({ "response": [{ "remove": "a" }, { "set": { "a": "%X%" } }] }), "response[1]: a: %X%"),
        (json!({ "query": [{ "remove": "" }] }), "query[0]"),
        (json!({ "request": [{ "replace": {} }] }), "unknown variant"),
    ] {
        let error = options_error::<HeaderMutation>(options).unwrap();
        assert!(error.contains(says), "{error}");
    }
}
