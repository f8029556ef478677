//! Requests with JSON as calls of Dubbo services, and their results.

mod answers;
mod arguments;
mod options;

use http::Method;
use ringway_api::{Action, Body, Chunk, Request, Response};
use ringway_filters::HttpToDubbo;
use ringway_hessian2::{Reader, Value};
use serde_json::{Value as Json, json};

use crate::world::{Stream, field, frames, pieces, post, read};

/// A call as a host reads it.
#[derive(Debug, PartialEq)]
struct Call {
    path: String,
    version: Value,
    method: String,
    types: String,
    arguments: Vec<Value>,
    attachments: Vec<(String, String)>,
}

fn string(reader: &mut Reader<'_>) -> String {
    match reader.value().unwrap() {
        Value::String(text) => text,
        other => panic!("{other:?}"),
    }
}

fn parse(content: &[u8]) -> Call {
    let mut reader = Reader::new(content, 0);
    assert_eq!(string(&mut reader), "2.0.2");
    let path = string(&mut reader);
    let version = reader.value().unwrap();
    let (method, types) = (string(&mut reader), string(&mut reader));
    let mut values = Vec::new();
    while reader.position() < content.len() {
        values.push(reader.value().unwrap());
    }
    let Some(Value::Map { type_name: None, entries }) = values.pop() else { panic!("{values:?}") };
    let text = |value| if let Value::String(text) = value { text } else { panic!("{value:?}") };
    let attachments = entries.into_iter().map(|(name, value)| (text(name), text(value))).collect();
    Call { path, version, method, types, arguments: values, attachments }
}

/// A mapping of `POST /call` with these parameters.
fn options(parameters: &Json) -> Json {
    json!({ "mappings": [{ "path": "/call", "service": "com.x.Echo", "method": "say", "parameters": parameters }] })
}

fn request(method: Method, path: &str, body: Body) -> Request {
    let mut request = post(path, &[("content-type", "application/json")], body);
    request.head.method = method;
    request
}

fn full(text: &str) -> Body {
    Body::Full(Chunk::copy_from(text.as_bytes()))
}

/// The call that a request becomes, or the status and document it is answered with.
fn call(options: &Json, mut request: Request) -> Result<Call, (u16, Json)> {
    let mut stream = Stream::of::<HttpToDubbo>(options.clone());
    match stream.request(&mut request) {
        Action::Reroute => {}
        Action::Respond(mut response) => {
            stream.response(&mut response);
            return Err(document(*response));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(field(&request.head.headers, "content-type"), Some("application/vnd.apache.dubbo.hessian2"));
    assert_eq!(request.head.method, Method::POST);
    let content = read(request.body);
    if let Some(error) = content.error {
        // As the proxy answers, which does not know what is wrong.
        let mut response = crate::world::answer(
            error.status.unwrap().as_u16(),
            &[("content-type", "text/plain")],
            full("request body error"),
        );
        stream.response(&mut response);
        return Err(document(response));
    }
    Ok(parse(&content.data))
}

fn document(response: Response) -> (u16, Json) {
    assert_eq!(field(&response.head.headers, "content-type"), Some("application/json"));
    assert_eq!(field(&response.head.headers, "rpc-status"), None);
    (response.head.status.as_u16(), serde_json::from_slice(&read(response.body).data).unwrap())
}

/// The sentence that a refusal says.
fn refused(options: &Json, request: Request) -> (u16, String) {
    let (status, document) = call(options, request).unwrap_err();
    assert_eq!(document.as_object().unwrap().len(), 1);
    (status, document["error"].as_str().unwrap().into())
}

#[test]
fn a_request_becomes_the_call_that_its_mapping_says() {
    let options = json!({
        "headers": ["traceparent", "x-absent"],
        "mappings": [{
            "path": "/users/{id}/orders/{name}", "http_method": "PUT", "service": "com.x.Users", "method": "order",
            "version": "1.0.0", "group": "blue", "timeout": "1500ms",
            "parameters": [
                { "type": "long", "from": "path:id" },
                { "type": "java.lang.String", "from": "query:note" },
                { "type": "java.util.Map", "from": "body" },
                { "type": "java.lang.String", "from": "path:name" },
            ],
        }],
    });
    let fields = [("content-type", "application/json; charset=utf-8"), ("traceparent", "00-1"), ("version", "evil")];
    let mut request = post("/users/42/orders/a%2Fb%20+?x=1&note=+%C3%A9%26", &fields, full(r#"{"a": 1}"#));
    request.head.method = Method::PUT;
    let mut stream = Stream::of::<HttpToDubbo>(options);
    assert!(matches!(stream.request(&mut request), Action::Reroute));
    assert_eq!(request.head.path_and_query(), b"/com.x.Users/order");
    let headers = &request.head.headers;
    assert_eq!((field(headers, "version"), field(headers, "group")), (Some("1.0.0"), Some("blue")));
    assert_eq!(headers.all("version").count(), 1);
    let call = parse(&read(request.body).data);
    let text = |text: &str| text.to_owned();
    let expected = Call {
        path: text("com.x.Users"),
        version: "1.0.0".into(),
        method: text("order"),
        types: text("JLjava/lang/String;Ljava/util/Map;Ljava/lang/String;"),
        arguments: vec![
            Value::Long(42),
            " \u{e9}&".into(),
            Value::map(vec![("a".into(), Value::Int(1))]),
            "a/b +".into(),
        ],
        attachments: [
            ("path", "com.x.Users"),
            ("interface", "com.x.Users"),
            ("version", "1.0.0"),
            ("group", "blue"),
            ("timeout", "1500"),
            ("traceparent", "00-1"),
        ]
        .map(|(name, value)| (text(name), text(value)))
        .into(),
    };
    assert_eq!(call, expected);
}

#[test]
fn a_generic_call_names_the_method_in_its_arguments() {
    let mut options = options(&json!([
        { "type": "int[]", "from": "body:a" },
        { "type": "com.x.User", "from": "body:b" },
    ]));
    options["mappings"][0]["generic"] = true.into();
    let call = call(&options, request(Method::POST, "/call", full(r#"{"b": {"id": 1}, "a": [1]}"#))).unwrap();
    assert_eq!((call.version, call.method.as_str()), (Value::Null, "$invoke"));
    assert_eq!(call.types, "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;");
    let list = |name: &str, items| Value::List { type_name: Some(name.into()), items };
    let expected = [
        "say".into(),
        list("[string", vec!["int[]".into(), "com.x.User".into()]),
        list("[object", vec![list("[int", vec![Value::Int(1)]), Value::map(vec![("id".into(), Value::Int(1))])]),
    ];
    assert_eq!(call.arguments, expected);
    assert!(call.attachments.contains(&("generic".into(), "true".into())));
}

#[test]
fn content_may_come_in_any_pieces() {
    let options = options(&json!([{ "type": "java.util.List", "from": "body" }]));
    let text = r#"["a", {"b": [1.5, null]}]"#;
    let whole = call(&options, request(Method::POST, "/call", full(text))).unwrap();
    for at in 0..=text.len() {
        let (first, second) = text.as_bytes().split_at(at);
        let body = pieces(&[first, second], &[("x", "y")]);
        assert_eq!(call(&options, request(Method::POST, "/call", body)).unwrap(), whole, "split at {at}");
    }
    // What is wrong with it is told as well when it comes in pieces.
    for body in [full("[1"), pieces(&[b"[", b"1"], &[])] {
        let (status, error) = refused(&options, request(Method::POST, "/call", body));
        assert_eq!((status, error.as_str()), (400, "the content, line 1, column 2: no JSON"));
    }
}

#[test]
fn content_is_bounded() {
    let mut options = options(&json!([{ "type": "java.lang.String", "from": "body" }]));
    options["max_body"] = "10".into();
    let fits = "\"12345678\"";
    for (text, fit) in [(fits, true), ("\"123456789\"", false)] {
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        for body in [full(text), pieces(&[text.as_bytes()], &[]), pieces(&single, &[])] {
            match call(&options, request(Method::POST, "/call", body)) {
                Ok(call) if fit => assert_eq!(call.arguments, ["12345678".into()]),
                Err((413, document)) if !fit => assert_eq!(document["error"], "the content is longer than 10 bytes"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_request_that_breaks_off_stays_the_clients_fault() {
    let error = ringway_api::BodyError::new(ringway_api::Blame::Downstream, "reset");
    let options = options(&json!([{ "type": "int", "from": "body" }]));
    let mut request = request(Method::POST, "/call", frames(vec![Err(error.clone())]));
    assert!(matches!(Stream::of::<HttpToDubbo>(options).request(&mut request), Action::Reroute));
    assert_eq!(read(request.body).error, Some(error));
}

#[test]
fn what_fits_no_mapping_passes_or_is_refused() {
    let mut options = json!({ "mappings": [
        { "path": "/a/{x}", "http_method": "GET", "service": "s.A", "method": "a" },
        { "path": "/a/b", "http_method": "DELETE", "service": "s.B", "method": "b" },
    ] });
    let ask = |options: &Json, method: Method, path: &str| {
        let mut request = request(method, path, Body::Empty);
        let action = Stream::of::<HttpToDubbo>(options.clone()).request(&mut request);
        (action, String::from_utf8(request.head.path_and_query().to_vec()).unwrap())
    };
    let strange =
        [(Method::GET, "/a"), (Method::GET, "/a/"), (Method::GET, "/a/b/"), (Method::GET, "/b/c"), (Method::GET, "*")];
    for (method, path) in strange.clone().into_iter().chain([(Method::POST, "/a/b?q")]) {
        let (action, after) = ask(&options, method, path);
        assert!(matches!(action, Action::Continue) && after == path, "{path}");
    }
    assert_eq!(ask(&options, Method::GET, "/a/b").1, "/s.A/a");
    assert_eq!(ask(&options, Method::DELETE, "/a/b?q").1, "/s.B/b");

    options["strict"] = true.into();
    for (method, path) in strange {
        let (action, _) = ask(&options, method, path);
        let Action::Respond(response) = action else { panic!("{path}") };
        assert_eq!(document(*response), (404, json!({ "error": "nothing is served at this path" })));
    }
    let (Action::Respond(response), _) = ask(&options, Method::POST, "/a/b") else { panic!("it passed") };
    assert_eq!(field(&response.head.headers, "allow"), Some("GET, DELETE"));
    assert_eq!(document(*response).0, 405);
}

#[test]
fn content_that_is_no_json_is_unsupported() {
    let options = options(&json!([{ "type": "int", "from": "body" }]));
    for (name, value, status) in [
        ("content-type", "text/plain", 415),
        ("content-type", "application/x-www-form-urlencoded", 415),
        ("content-encoding", "gzip", 415),
        ("content-encoding", "identity", 200),
        ("content-type", "Application/JSON;charset=utf-8", 200),
        ("content-type", "application/problem+json", 200),
        ("x-other", "text/plain", 200),
    ] {
        let outcome = call(&options, post("/call", &[(name, value)], full("1")));
        assert_eq!(outcome.map_or_else(|(status, _)| status, |_| 200), status, "{name}: {value}");
    }
    // A call without arguments from the content does not care.
    let options = self::options(&json!([]));
    let call = call(&options, post("/call", &[("content-type", "text/plain")], full("anything"))).unwrap();
    assert_eq!((call.types.as_str(), call.arguments.len()), ("", 0));
}
