//! `grpc_json` on `examples/shelf.proto`.

mod responses;

use http::Method;
use prost_reflect::{DescriptorPool, DynamicMessage};
use ringway_api::{Action, Body, Chunk, Request, Response};
use ringway_filters::GrpcJson;
use ringway_testkit::Sim;
use serde_json::{Value, json};

use crate::world::{Stream, answer, field, options_error, pieces, post, read};

const SET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/shelf.pb");
const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];

fn pool() -> DescriptorPool {
    DescriptorPool::decode(std::fs::read(SET).unwrap().as_slice()).unwrap()
}

fn options(more: Value) -> Value {
    let mut options = json!({ "descriptor_set": SET });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

fn ask(method: &str, path: &str, content: &str) -> Request {
    let body = if content.is_empty() { Body::Empty } else { Body::Full(Chunk::copy_from(content.as_bytes())) };
    let mut request = post(path, &[("content-type", "application/json"), ("content-length", "9")], body);
    request.head.method = Method::from_bytes(method.as_bytes()).unwrap();
    request
}

fn whole(response: Response) -> (u16, String) {
    (response.head.status.as_u16(), String::from_utf8(read(response.body).data).unwrap())
}

/// The message in a frame, of the type that goes to this path, as JSON.
fn message(path: &str, frame: &[u8]) -> Value {
    let (service, method) = path.strip_prefix('/').unwrap().split_once('/').unwrap();
    let service = pool().get_service_by_name(service).unwrap();
    let method = service.methods().find(|it| it.name() == method).unwrap();
    let (prefix, message) = frame.split_at(5);
    assert_eq!(prefix, [&[0][..], &(message.len() as u32).to_be_bytes()].concat());
    serde_json::to_value(DynamicMessage::decode(method.input(), message).unwrap()).unwrap()
}

/// The path and the message of a request that becomes a call, or the status and the content of the refusal.
fn outcome(stream: &mut Stream, mut request: Request) -> Result<(String, Value), (u16, String)> {
    match stream.request(&mut request) {
        Action::Reroute => {
            let head = &request.head;
            assert_eq!(head.method, Method::POST);
            assert_eq!(field(&head.headers, "content-type"), Some("application/grpc"));
            assert_eq!(field(&head.headers, "te"), Some("trailers"));
            assert_eq!(field(&head.headers, "content-length"), None);
            let path = str::from_utf8(head.path_and_query()).unwrap().to_owned();
            let message = message(&path, &read(request.body).data);
            Ok((path, message))
        }
        Action::Respond(response) => Err(whole(*response)),
        other => panic!("{other:?}"),
    }
}

fn call(more: Value, request: Request) -> Result<(String, Value), (u16, String)> {
    outcome(&mut Stream::of::<GrpcJson>(options(more)), request)
}

#[test]
fn requests_become_calls() {
    for (method, path, content, target, expected) in [
        ("GET", "/v1/shelves/a/books/b", "", "GetBook", json!({"name": "shelves/a/books/b"})),
        ("GET", "/v1/shelves/a%20b/books/c%2Fd", "", "GetBook", json!({"name": "shelves/a b/books/c%2Fd"})),
        ("GET", "/v1/books/7?mask=name,pages", "", "GetBook", json!({"id": "7", "mask": "name,pages"})),
        ("DELETE", "/v1/shelves/a/books/b?id=-3", "", "DeleteBook", json!({"name": "shelves/a/books/b", "id": "-3"})),
        (
            "POST",
            "/v1/shelves/a/books?request_id=x+y%2B&dryRun=true",
            r#"{"pages": 3, "kind": "NOVEL", "authors": ["p", "q"], "printed": "2020-01-02T03:04:05Z",
                "stock": {"x": 1}, "cover": "AAE=", "notes": {"a": [null, true]}, "barter": "a hen", "edition": 2}"#,
            "CreateBook",
            json!({"parent": "shelves/a", "requestId": "x y+", "dryRun": true, "book": {
                "pages": "3", "kind": "NOVEL", "authors": ["p", "q"], "printed": "2020-01-02T03:04:05Z",
                "stock": {"x": 1}, "cover": "AAE=", "notes": {"a": [null, true]}, "barter": "a hen", "edition": 2}}),
        ),
        // The path counts more than the content.
        (
            "PATCH",
            "/v1/shelves/a/books/b?update_mask=pages",
            r#"{"name": "other", "pages": "4"}"#,
            "UpdateBook",
            json!({"book": {"name": "shelves/a/books/b", "pages": "4"}, "updateMask": "pages"}),
        ),
        (
            "POST",
            "/v1/shelves/a:merge",
            r#"{"others": ["x"]}"#,
            "MergeShelves",
            json!({"name": "shelves/a", "others": ["x"]}),
        ),
        ("MERGE", "/v1/shelves/a", r#"["x", "y"]"#, "MergeShelves", json!({"name": "shelves/a", "others": ["x", "y"]})),
        ("POST", "/v1/shelves/a:merge", "", "MergeShelves", json!({"name": "shelves/a"})),
        (
            "GET",
            "/v1/shelves/a/books?filter.kinds=NOVEL&filter.kinds=2&filter.size.margins=1&filter.size.margins=2\
             &filter.size.width=1.5&filter.leather=false&filter.age=1.5s&filter.cover=_w&filter.author=x\
             &since=2020-01-02T03:04:05Z",
            "",
            "ListBooks",
            json!({"parent": "shelves/a", "since": "2020-01-02T03:04:05Z", "filter": {
                "kinds": ["NOVEL", "ATLAS"], "size": {"margins": [1, 2], "width": 1.5}, "leather": false,
                "age": "1.500s", "cover": "/w==", "author": "x"}}),
        ),
        ("GET", "/pages/a/b", "", "Page", json!({"name": "a/b"})),
        (
            "POST",
            "/example.library.Library/Echo",
            r#"{"name": "x", "kind": 2}"#,
            "Echo",
            json!({"name": "x", "kind": "ATLAS"}),
        ),
    ] {
        let outcome = call(json!({"auto_mapping": true}), ask(method, path, content));
        assert_eq!(outcome, Ok((format!("/example.library.Library/{target}"), expected)), "{method} {path}");
    }
}

#[test]
fn what_a_call_cannot_say_is_refused() {
    for (method, path, content, status, says) in [
        ("GET", "/v1/books/x", "", 400, "id: no integer of 64 bits"),
        ("GET", "/v1/books/%zz", "", 400, "id: malformed percent-encoding in the path"),
        ("GET", "/v1/books/7?mask=%f", "", 400, "malformed percent-encoding in the query"),
        ("GET", "/v1/books/7?nothing=1", "", 400, "the query has \\\"nothing\\\", which is no field"),
        ("GET", "/v1/books/7?id=1", "", 400, "\\\"id\\\" is there more than once"),
        ("GET", "/v1/books/7?name=1&name=2", "", 400, "\\\"name\\\" is there more than once"),
        ("GET", "/v1/books/7", "{}", 400, "content, where the method has none"),
        ("GET", "/v1/shelves/a/books?filter=1", "", 400, "filter: a message (example.library.Filter)"),
        ("GET", "/v1/shelves/a/books?filter.kinds=POEM", "", 400, "filter.kinds: no value of example.library.Kind"),
        ("GET", "/v1/shelves/a/books?filter.leather=1", "", 400, "filter.leather: neither true nor false"),
        ("GET", "/v1/shelves/a/books?filter.age=1", "", 400, "filter.age: no google.protobuf.Duration"),
        ("GET", "/v1/shelves/a/books?filter.author=a&filter.title=b", "", 400, "more than one field of the oneof by"),
        ("GET", "/v1/shelves/a/books?filter.size.width=1e99", "", 400, "filter.size.width: a number too large"),
        ("GET", "/v1/shelves/a/books?filter.size.height=2147483648", "", 400, "no integer of 32 bits"),
        ("POST", "/v1/shelves/a/books", "{", 400, "no JSON"),
        ("POST", "/v1/shelves/a/books", "{}}", 400, "no JSON"),
        ("POST", "/v1/shelves/a/books", r#"{}, "parent": "x""#, 400, "no JSON"),
        ("POST", "/v1/shelves/a/books", r#"{"pages": "many"}"#, 400, "book.pages: invalid digit"),
        ("POST", "/v1/shelves/a/books", r#"{"size": {"margins": [1, -1]}}"#, 400, "book.size.margins[1]: "),
        ("POST", "/v1/shelves/a/books", r#"{"title": 1}"#, 400, "book: unrecognized field name 'title'"),
        ("POST", "/v1/shelves/a/books", r#"{"kind": "POEM"}"#, 400, "book.kind: unrecognized enum value 'POEM'"),
        ("POST", "/v1/shelves/a/books", r#"{"barter": "x", "euros": 1}"#, 400, "multiple fields provided for oneof"),
        ("POST", "/v1/shelves/a/books", r#"{"size": {"height": 1, "height": 1}}"#, 400, "comes twice in one object"),
        ("POST", "/v1/shelves/a/books", "[]", 400, "book: invalid type: sequence"),
        ("POST", "/v1/shelves/a/books?book.name=x", "{}", 400, "which is no field that it can say"),
        ("POST", "/v1/shelves/a:merge?others=x", "{}", 400, "which is no field that it can say"),
        ("PUT", "/v1/upload", "{}", 501, "the method takes a stream of messages"),
        ("GET", "/elsewhere", "", 404, "nothing is served at this path"),
        ("POST", "/v1/books/7", "", 405, "not served by this method"),
        ("POST", "/example.library.Library/Echo", "{}", 404, "nothing is served at this path"),
    ] {
        let (refused, content) = call(json!({"reject_unknown": true}), ask(method, path, content)).unwrap_err();
        assert!(refused == status && content.contains(says), "{method} {path}: {refused} {content}");
        let document: Value = serde_json::from_str(&content).unwrap();
        assert!(document["code"].is_u64() && document["details"] == json!([]), "{content}");
    }
    let mut xml = ask("POST", "/v1/shelves/a:merge", "<a/>");
    xml.head.headers.set("content-type", b"text/xml").unwrap();
    assert_eq!(call(json!({}), xml).unwrap_err().0, 415);
    let deep = format!("{{\"notes\": {}}}", "{\"a\":".repeat(5000));
    assert_eq!(call(json!({}), ask("POST", "/v1/shelves/a/books", &deep)).unwrap_err().0, 400);
}

#[test]
fn depth_and_number_are_bounded() {
    let path = |depth: usize| format!("/v1/shelves/a/books?filter{}.author=x", ".not".repeat(depth));
    assert!(call(json!({}), ask("GET", &path(30), "")).is_ok());
    for path in [path(31), path(20_000)] {
        assert_eq!(call(json!({}), ask("GET", &path, "")).unwrap_err().0, 400);
    }
    let path = |count: usize| format!("/v1/shelves/a/books?{}", "filter.kinds=1&".repeat(count));
    assert!(call(json!({}), ask("GET", &path(1000), "")).is_ok());
    assert_eq!(call(json!({}), ask("GET", &path(1001), "")).unwrap_err().0, 400);
    // As deep as JSON and protobuf are read.
    for depth in [20, 40, 60, 90, 120, 130] {
        let notes = format!("{{\"notes\": {{\"a\": {}{}}}}}", "[".repeat(depth), "]".repeat(depth));
        let called = call(json!({}), ask("POST", "/v1/shelves/a/books", &notes));
        assert_eq!(called.is_ok(), depth <= 40, "{depth} {called:?}");
    }
}

#[test]
fn unknown_fields_are_left_out_where_wanted() {
    let path = "/v1/shelves/a/books?x=1&book.name=y";
    let called = call(json!({"ignore_unknown_fields": true}), ask("POST", path, r#"{"pages": 1, "title": [{}]}"#));
    assert_eq!(called.unwrap().1, json!({"parent": "shelves/a", "book": {"pages": "1"}}));
}

#[test]
fn content_that_arrives_is_read_first() {
    let content = br#"{"others": ["x", "y"]}"#;
    for (limit, cuts) in [(1024, 1), (1024, 7), (22, 5), (21, 7), (3, 22)] {
        let parts: Vec<&[u8]> = content.chunks(cuts).collect();
        let mut stream = Stream::of::<GrpcJson>(options(json!({"max_body": limit})));
        let mut request = ask("POST", "/v1/shelves/a:merge", "");
        request.body = pieces(&parts, &[("x", "y")]);
        let Action::Wait(wait) = stream.request(&mut request) else { panic!("it does not wait") };
        match Sim::new(1).block_on(wait)(&mut request) {
            Action::Reroute if limit > 21 => {
                let expected = json!({"name": "shelves/a", "others": ["x", "y"]});
                assert_eq!(message("/example.library.Library/MergeShelves", &read(request.body).data), expected);
            }
            Action::Respond(response) if limit <= 21 => assert_eq!(whole(*response).0, 413),
            other => panic!("{limit} {other:?}"),
        }
    }
    let long = call(json!({"max_body": 3}), ask("POST", "/v1/shelves/a:merge", "{  }"));
    assert_eq!(long.unwrap_err().0, 413);
}

#[test]
fn other_requests_pass() {
    let mut grpc = ask("POST", "/example.library.Library/Echo", "x");
    grpc.head.headers.set("content-type", b"application/grpc+proto").unwrap();
    for mut request in [grpc, ask("GET", "/x", ""), ask("PUT", "/v1/books/7", "{")] {
        let mut stream = Stream::of::<GrpcJson>(options(json!({"auto_mapping": true})));
        assert!(matches!(stream.request(&mut request), Action::Continue));
        let mut response = answer(503, GRPC, Body::Empty);
        stream.response(&mut response);
        assert_eq!(field(&response.head.headers, "content-type"), Some("application/grpc"));
    }
}

#[test]
fn wrong_options_are_named() {
    for (options, says) in [
        (json!({"descriptor_set": "/none"}), "descriptor_set: /none: "),
        (json!({"descriptor_set": concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")}), "descriptor_set: "),
        (json!({"descriptor_set": SET, "services": ["x.Y"]}), "services[0]: the descriptor set has no service \"x.Y\""),
        (json!({"descriptor_set": SET, "more": 1}), "unknown field `more`"),
    ] {
        let error = options_error::<GrpcJson>(options).unwrap();
        assert!(error.contains(says), "{error}");
    }
}
