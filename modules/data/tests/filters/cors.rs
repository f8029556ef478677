use http::Method;
use ringway_api::{Action, Body};
use ringway_filters::Cors;
use serde_json::{Value, json};

use crate::world::{Stream, answer, field, options_error, request};

fn options(more: Value) -> Value {
    let mut options = json!({
        "allow_origins": [{ "exact": "https://a.example" }, { "suffix": ".b.example" }, { "regex": "http://c[0-9]+" }],
        "allow_methods": ["GET", "PUT"],
        "allow_headers": ["x-a"],
        "expose_headers": ["x-b", "x-c"],
        "max_age": "10m",
    });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

fn preflight(origin: &str) -> [(&str, &str); 2] {
    [("origin", origin), ("access-control-request-method", "PUT")]
}

#[test]
fn preflights_are_answered_here() {
    for (more, status, credentials) in
        [(json!({}), 200, None), (json!({ "preflight_status": 204, "allow_credentials": true }), 204, Some("true"))]
    {
        let mut stream = Stream::of::<Cors>(options(more));
        let action = stream.request(&mut request(Method::OPTIONS, "/", &preflight("https://x.b.example")));
        let Action::Respond(mut response) = action else { panic!("{action:?}") };
        stream.response(&mut response);
        let headers = &response.head.headers;
        assert_eq!(response.head.status, status);
        assert_eq!(field(headers, "access-control-allow-origin"), Some("https://x.b.example"));
        assert_eq!(field(headers, "access-control-allow-methods"), Some("GET,PUT"));
        assert_eq!(field(headers, "access-control-allow-headers"), Some("x-a"));
        assert_eq!(field(headers, "access-control-max-age"), Some("600"));
        assert_eq!(field(headers, "access-control-allow-credentials"), credentials);
        assert_eq!(field(headers, "access-control-expose-headers"), None, "nothing is exposed by a preflight");
        assert_eq!(field(headers, "vary"), Some("origin"));
        assert_eq!((stream.stat("origin_valid"), stream.stat("origin_invalid")), (1, 0));
    }
}

#[test]
fn a_preflight_of_another_origin_goes_on_unless_the_options_say_otherwise() {
    let mut stream = Stream::of::<Cors>(options(json!({})));
    let mut asked = request(Method::OPTIONS, "/", &preflight("https://evil.example"));
    assert!(matches!(stream.request(&mut asked), Action::Continue));
    assert_eq!(stream.stat("origin_invalid"), 1);

    let mut stream = Stream::of::<Cors>(options(json!({ "forward_not_matching_preflights": false })));
    let Action::Respond(response) = stream.request(&mut asked) else { panic!("it is answered") };
    assert_eq!(response.head.status, 200);
    assert!(response.head.headers.is_empty(), "without permission");
}

#[test]
fn responses_say_which_origin_may_see_them() {
    for (origin, allowed) in [
        ("https://a.example", true),
        ("https://A.example", false),
        ("https://a.example.evil", false),
        ("https://b.example", false),
        ("http://c12", true),
        ("http://c12x", false),
        ("null", false),
    ] {
        let mut stream = Stream::of::<Cors>(options(json!({})));
        let mut asked = request(Method::GET, "/", &[("origin", origin)]);
        assert!(matches!(stream.request(&mut asked), Action::Continue));
        let mut response = answer(200, &[("access-control-allow-origin", "*"), ("vary", "accept")], Body::Empty);
        stream.response(&mut response);
        let headers = &response.head.headers;
        let expected = if allowed { origin } else { "*" };
        assert_eq!(field(headers, "access-control-allow-origin"), Some(expected), "{origin}");
        assert_eq!(field(headers, "access-control-expose-headers"), allowed.then_some("x-b,x-c"));
        assert_eq!(headers.all("vary").count(), if allowed { 2 } else { 1 });
    }
}

#[test]
fn what_is_no_cross_origin_request_passes() {
    let mut stream = Stream::of::<Cors>(options(json!({})));
    assert!(matches!(stream.request(&mut request(Method::GET, "/", &[])), Action::Continue));
    let mut response = answer(200, &[], Body::Empty);
    stream.response(&mut response);
    assert!(response.head.headers.is_empty());
    // OPTIONS of its own, not a preflight.
    let mut stream = Stream::of::<Cors>(options(json!({})));
    let mut asked = request(Method::OPTIONS, "/", &[("origin", "https://a.example")]);
    assert!(matches!(stream.request(&mut asked), Action::Continue));
}

#[test]
fn in_the_shadow_origins_are_counted_and_nothing_else() {
    let mut stream = Stream::of::<Cors>(options(json!({ "enabled": 0, "shadow": true })));
    let mut asked = request(Method::OPTIONS, "/", &preflight("https://a.example"));
    assert!(matches!(stream.request(&mut asked), Action::Continue));
    let mut response = answer(200, &[], Body::Empty);
    stream.response(&mut response);
    assert!(response.head.headers.is_empty());
    assert_eq!(stream.stat("origin_valid"), 1);
    let mut stream = Stream::of::<Cors>(options(json!({ "enabled": 0 })));
    stream.request(&mut asked);
    assert_eq!(stream.stat("origin_valid"), 0);
}

#[test]
fn wrong_options_are_told() {
    for (options, says) in [
        (json!({}), "allow_origins"),
        (json!({ "allow_origins": [] }), "at least one"),
        (json!({ "allow_origins": [{ "regex": "(" }] }), "allow_origins[0]: regex"),
        (json!({ "allow_origins": [{ "exact": "*" }], "allow_methods": ["a b"] }), "allow_methods: \"a b\""),
        (json!({ "allow_origins": [{ "exact": "*" }], "preflight_status": 302 }), "neither 200 nor 204"),
        (json!({ "allow_origins": [{ "exact": "*" }], "enabled": 101 }), "from 0 to 100"),
        (json!({ "allow_origins": [{ "wildcard": "*" }] }), "unknown variant `wildcard`"),
        (json!({ "allow_origin": [] }), "unknown field"),
    ] {
        let error = options_error::<Cors>(options).unwrap();
        assert!(error.contains(says), "{error}");
    }
}
