use http::Method;
use ringway_api::{Action, Blame, Body, BodyError, Chunk, Frame, Response};
use ringway_filters::GrpcHealthCheck;
use serde_json::{Value, json};

use crate::world::{Content, Stream, field, frames, message, options_error, pieces, post, read};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];

fn services() -> Value {
    json!({ "services": { "": "serving", "my.Service": "not_serving" } })
}

/// `HealthCheckRequest { service }`, in its prefix.
fn asking(service: &str) -> Vec<u8> {
    let field = [&[0x0a, service.len() as u8][..], service.as_bytes()].concat();
    message(0, if service.is_empty() { &[] } else { &field })
}

fn respond(options: Value, path: &str, body: Body) -> Response {
    let mut stream = Stream::of::<GrpcHealthCheck>(options);
    match stream.request(&mut post(path, GRPC, body)) {
        Action::Respond(mut response) => {
            stream.response(&mut response);
            *response
        }
        other => panic!("{other:?}"),
    }
}

fn check(options: Value, body: Body) -> Content {
    let response = respond(options, CHECK, body);
    assert_eq!(response.head.status, 200);
    assert_eq!(field(&response.head.headers, "content-type"), Some("application/grpc"));
    assert_eq!(field(&response.head.headers, "grpc-status"), None);
    read(response.body)
}

fn status(content: &Content) -> &str {
    let (name, code) = &content.trailers.as_ref().unwrap()[0];
    assert_eq!(name, "grpc-status");
    code
}

/// `HealthCheckResponse { status }`, in its prefix.
fn reply(status: u8) -> Vec<u8> {
    message(0, &[0x08, status])
}

#[test]
fn services_are_as_configured() {
    let ask = |options, service| check(options, pieces(&[&asking(service)], &[]));
    for (options, service, health) in
        [(services(), "", 1), (services(), "my.Service", 2), (json!({}), "", 1), (Value::Null, "", 1)]
    {
        let content = ask(options, service);
        assert_eq!((content.data.clone(), status(&content)), (reply(health), "0"), "{service:?}");
    }
    for (options, service) in
        [(services(), "other.Service"), (json!({}), "my.Service"), (json!({ "services": { "a.B": "serving" } }), "")]
    {
        let content = ask(options, service);
        assert_eq!((content.data.len(), status(&content)), (0, "5"), "{service:?}");
    }
}

#[test]
fn the_request_may_come_in_any_pieces_and_all_at_once() {
    let whole = asking("my.Service");
    for at in 0..=whole.len() {
        let (first, second) = whole.split_at(at);
        let content = check(services(), pieces(&[first, second], &[]));
        assert_eq!((content.data.clone(), status(&content)), (reply(2), "0"), "split at {at}");
    }
    let single: Vec<&[u8]> = whole.chunks(1).collect();
    assert_eq!(check(services(), pieces(&single, &[("x", "y")])).data, reply(2));
    assert_eq!(check(services(), Body::Full(Chunk::from(whole))).data, reply(2));
}

#[test]
fn what_is_no_check_is_refused() {
    let long = vec![0; 1 << 20];
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("no message", vec![], "13"),
        ("half a prefix", vec![0, 0], "13"),
        ("half a message", asking("my.Service")[..9].to_vec(), "13"),
        ("two messages", [asking(""), asking("")].concat(), "13"),
        ("a compressed message", message(1, b"x"), "12"),
        ("a long message", [&[0, 0, 16, 0, 1][..], &long].concat(), "8"),
        ("no protobuf", message(0, &[0xff, 0xff]), "3"),
        ("a service that is no UTF-8", message(0, &[0x0a, 1, 0xff]), "3"),
        ("bytes without end", [asking("my.Service"), long.clone()].concat(), "13"),
    ];
    for (what, body, code) in cases {
        for piece in [7, 4096, body.len().max(1)] {
            let split: Vec<&[u8]> = body.chunks(piece).collect();
            let content = check(services(), pieces(&split, &[]));
            assert_eq!((content.data.len(), status(&content)), (0, code), "{what} in pieces of {piece}");
        }
    }
    let named = "n".repeat(120);
    let exact = message(0, &[0; 4096]);
    assert_eq!(status(&check(json!({ "services": { &named: "serving" } }), pieces(&[&exact], &[]))), "3");
    assert_eq!(check(json!({ "services": { &named: "serving" } }), pieces(&[&asking(&named)], &[])).data, reply(1));
}

#[test]
fn garbage_always_gets_an_answer() {
    let mut rng = ringway_testkit::Rng::new(7);
    for _ in 0..2000 {
        let mut body: Vec<u8> = (0..rng.below(40)).map(|_| rng.bits() as u8).collect();
        if !rng.one_in(3) {
            body = message(0, &body);
        }
        let content = check(services(), pieces(&[&body], &[]));
        assert!(content.trailers.is_some() && content.error.is_none(), "{body:?}");
    }
}

#[test]
fn a_request_that_breaks_off_breaks_the_response_off() {
    let error = BodyError::new(Blame::Downstream, "reset");
    let body = frames(vec![Ok(Frame::Data(Chunk::copy_from(&asking("")[..3]))), Err(error.clone())]);
    let content = check(services(), body);
    assert_eq!((content.data.len(), content.trailers, content.error), (0, None, Some(error)));
}

#[test]
fn other_methods_of_the_service_are_unimplemented() {
    for method in ["Watch", "List", "", "Check/"] {
        let response = respond(services(), &format!("/grpc.health.v1.Health/{method}"), Body::Empty);
        assert_eq!(field(&response.head.headers, "grpc-status"), Some("12"), "{method}");
        assert!(response.body.is_empty() && response.head.status == 200);
    }
}

#[test]
fn other_requests_pass() {
    for (path, method, kind) in [
        ("/grpc.health.v1.Health/Check", Method::GET, "application/grpc"),
        ("/grpc.health.v1.Health/Check", Method::POST, "application/json"),
        ("/grpc.health.v1.Health/Check", Method::POST, "application/grpc+json"),
        ("/grpc.health.v1.Health/Check", Method::POST, "application/grpc-web"),
        ("/grpc.health.v1.Healthy/Check", Method::POST, "application/grpc"),
        ("/my.Service/Check", Method::POST, "application/grpc"),
    ] {
        let mut request = post(path, &[("content-type", kind)], pieces(&[&asking("")], &[]));
        request.head.method = method;
        let action = Stream::of::<GrpcHealthCheck>(services()).request(&mut request);
        assert!(matches!(action, Action::Continue), "{path} {kind}: {action:?}");
        assert_eq!(read(request.body).data, asking(""));
    }
}

#[test]
fn options_are_checked() {
    for (options, says) in [
        (json!({ "service": {} }), "unknown field `service`"),
        (json!({ "services": { "": "up" } }), "unknown variant `up`"),
        (json!({ "services": {} }), "`services` is empty"),
        (json!({ "services": { "/my.Service": "serving" } }), "write its full name"),
    ] {
        let error = options_error::<GrpcHealthCheck>(options).unwrap();
        assert!(error.contains(says), "{error}");
    }
}
