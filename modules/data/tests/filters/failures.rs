//! Replies of the proxy: mapped, or replaced.

use http::{Method, StatusCode};
use ringway_api::{Body, LocalReply, LocalSource, Response, ResponseFlag, ResponseFlags};
use ringway_filters::{Fallback, MapLocalReplies};
use serde_json::{Value, json};

use crate::world::{Stream, answer, field, options_error, post, read, request};

fn no_host() -> LocalReply {
    LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream", "no_healthy_upstream")
        .flag(ResponseFlag::NoHealthyUpstream)
}

fn mapped(mappings: &Value, mut response: Response) -> Response {
    let mut stream = Stream::of::<MapLocalReplies>(json!({ "mappings": mappings }));
    stream.request(&mut request(Method::GET, "/p?<b>", &[("x-user", "a\"<b>")]));
    stream.response(&mut response);
    response
}

#[test]
fn the_first_mapping_that_fits_counts() {
    let mappings = json!([
        { "match": { "flags": ["UO"] }, "status": 429 },
        { "match": { "status": [404, "500-502"] }, "status": 204 },
        { "match": { "details": [{ "prefix": "no_healthy" }], "flags": ["UH", "UF"], "status": ["503"] },
          "status": 502, "body": { "text": "sorry: %LOCAL_REPLY_BODY% (%RESPONSE_CODE%)" }, "headers": { "x-why": "%RESPONSE_FLAGS%" } },
        { "status": 500 },
    ]);
    let response = mapped(&mappings, no_host().response());
    assert_eq!(response.head.status, 502);
    assert_eq!(field(&response.head.headers, "x-why"), Some("UH"));
    assert_eq!(field(&response.head.headers, "content-type"), Some("text/plain"));
    assert_eq!(read(response.body).data, b"sorry: no healthy upstream (502)");
    let reply = LocalReply::new(StatusCode::NOT_FOUND, "", "route_not_found");
    assert_eq!(mapped(&mappings, reply.response()).head.status, 204);
    let reply = LocalReply::new(StatusCode::FORBIDDEN, "", "csrf_origin_mismatch");
    assert_eq!(mapped(&mappings, reply.response()).head.status, 500);
    let by = |source| {
        let mut response = answer(503, &[], Body::Empty);
        response.head.set_local(source, ResponseFlags::NONE, "direct_response");
        response
    };
    assert_eq!(mapped(&mappings, by(LocalSource::Route)).head.status, 500);
    assert_eq!(mapped(&mappings, by(LocalSource::Filter)).head.status, 503);
    for source in [LocalSource::Route, LocalSource::Filter] {
        assert_eq!(stood_in(json!({ "on": ["gateway_error", "5xx"] }), by(source)).1, 0, "no failure of the upstream");
    }
    // What a host says is its own affair.
    assert_eq!(mapped(&mappings, answer(503, &[], Body::Empty)).head.status, 503);
}

#[test]
fn content_may_be_json_or_html() {
    let json = json!([{ "body": { "json": {
        "code": "%RESPONSE_CODE%",
        "error": ["%RESPONSE_CODE_DETAILS%", "user %REQ(x-user)%", "%REQ(none)%", 7, null],
    } } }]);
    let response = mapped(&json, no_host().response());
    assert_eq!(field(&response.head.headers, "content-type"), Some("application/json"));
    let document: Value = serde_json::from_slice(&read(response.body).data).unwrap();
    let expected = json!({ "code": 503, "error": ["no_healthy_upstream", "user a\"<b>", null, 7, null] });
    assert_eq!(document, expected);

    let html = json!([{ "body": { "text": "<p>%REQ(x-user)%%REQ(none)%</p>", "content_type": "text/html" } }]);
    let response = mapped(&html, no_host().response());
    assert_eq!(field(&response.head.headers, "content-type"), Some("text/html"));
    assert_eq!(read(response.body).data, b"<p>a&quot;&lt;b&gt;-</p>");
}

#[test]
fn calls_get_the_replies_of_their_protocol() {
    let mut stream = Stream::of::<MapLocalReplies>(json!({ "mappings": [{ "status": 500 }] }));
    stream.request(&mut post("/s/m", &[("content-type", "application/grpc")], Body::Empty));
    let mut response = no_host().grpc_response();
    assert_eq!(response.head.local.as_ref().unwrap().status, 503);
    stream.response(&mut response);
    assert_eq!(response.head.status, 200);
    let mut stream = Stream::of::<Fallback>(json!({}));
    stream.request(&mut post("/s/m", &[("content-type", "application/grpc")], Body::Empty));
    stream.response(&mut response);
    assert_eq!(field(&response.head.headers, "grpc-status"), Some("14"));
}

fn stood_in(options: Value, mut response: Response) -> (Response, i64) {
    let mut stream = Stream::of::<Fallback>(options);
    stream.request(&mut request(Method::GET, "/p", &[("x-user", "a")]));
    stream.response(&mut response);
    (response, stream.stat("served"))
}

#[test]
fn a_failure_is_answered_with_something_else() {
    let reply = |status, flag| LocalReply::new(status, "x", "y").flag(flag).response();
    let (gone, late) = (StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT);
    for (on, response, served) in [
        (Value::Null, no_host().response(), true),
        (Value::Null, reply(gone, ResponseFlag::UpstreamConnectionFailure), true),
        (Value::Null, reply(gone, ResponseFlag::UpstreamConnectionTermination), true),
        (Value::Null, reply(late, ResponseFlag::UpstreamRequestTimeout), true),
        (Value::Null, reply(gone, ResponseFlag::UpstreamOverflow), false),
        (Value::Null, reply(StatusCode::TOO_MANY_REQUESTS, ResponseFlag::RateLimited), false),
        (Value::Null, reply(StatusCode::NOT_FOUND, ResponseFlag::NoRoute), false),
        (Value::Null, answer(503, &[], Body::Empty), true),
        (Value::Null, answer(500, &[], Body::Empty), false),
        (Value::Null, answer(404, &[], Body::Empty), false),
        (json!(["5xx"]), answer(500, &[], Body::Empty), true),
        (json!(["5xx"]), no_host().response(), false),
        (json!(["overflow"]), reply(gone, ResponseFlag::UpstreamOverflow), true),
        (json!(["timeout"]), reply(gone, ResponseFlag::UpstreamConnectionFailure), false),
    ] {
        let mut options = json!({
            "status": 203, "body": { "json": { "items": [], "for": "%REQ(x-user)%" } },
            "headers": { "x-degraded": "%RESPONSE_CODE_DETAILS%" },
        });
        if !on.is_null() {
            options["on"] = on.clone();
        }
        let (was, local) = (response.head.status, response.head.local.is_some());
        let (response, counted) = stood_in(options, response);
        assert_eq!(counted, i64::from(served), "{on} {was}");
        if served {
            assert_eq!(response.head.status, 203);
            assert_eq!(response.head.local.as_ref().unwrap().source, LocalSource::Filter);
            assert_eq!(field(&response.head.headers, "x-degraded").is_some(), local, "a host gives no details");
            assert_eq!(read(response.body).data, br#"{"for":"a","items":[]}"#);
        } else {
            assert_eq!(response.head.status, was);
        }
    }
}

#[test]
fn wrong_options_are_told() {
    for (options, says) in [
        (json!({ "mappings": [] }), "there is none"),
        (json!({ "mappings": [{ "match": { "flags": ["XX"] } }] }), "mappings[0].match.flags: there is no flag \"XX\""),
        (json!({ "mappings": [{ "match": { "status": ["600"] } }] }), "match.status"),
        (json!({ "mappings": [{ "match": { "status": ["502-500"] } }] }), "match.status"),
        (json!({ "mappings": [{ "status": 100 }] }), "100 is no status"),
        (json!({ "mappings": [{ "body": { "text": "a", "json": 1 } }] }), "not both"),
        (json!({ "mappings": [{ "body": { "content_type": "a/b" } }] }), "neither"),
        (json!({ "mappings": [{ "body": { "text": "%NO%" } }] }), "%NO%"),
        (json!({ "mappings": [{ "headers": { "content-length": "1" } }] }), "headers"),
    ] {
        let error = options_error::<MapLocalReplies>(options).unwrap();
        assert!(error.contains(says), "{error}");
    }
    assert!(options_error::<Fallback>(json!({ "on": [] })).unwrap().contains("at least one"));
    assert!(options_error::<Fallback>(json!({ "on": ["no"] })).unwrap().contains("unknown variant"));
}
