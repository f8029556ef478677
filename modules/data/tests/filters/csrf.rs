use http::Method;
use ringway_api::Action;
use ringway_filters::Csrf;
use serde_json::json;

use crate::world::{Worker, request};

#[test]
fn only_the_site_itself_and_those_named_may_change_things() {
    let worker = Worker::of::<Csrf>(json!({ "additional_origins": [{ "suffix": ".friend.example" }] }));
    // The requests go to example.com.
    for (fields, outcome) in [
        (&[("origin", "https://example.com")][..], "request_valid"),
        (&[("origin", "https://EXAMPLE.com:443")], "request_valid"),
        (&[("origin", "http://example.com:80")], "request_valid"),
        (&[("origin", "https://example.com:8443")], "request_invalid"),
        (&[("origin", "https://example.com.evil")], "request_invalid"),
        (&[("origin", "https://shop.friend.example")], "request_valid"),
        (&[("origin", "null")], "request_invalid"),
        (&[("origin", "https://")], "request_invalid"),
        (&[("referer", "https://example.com/page?x=https://evil")], "request_valid"),
        (&[("referer", "https://evil/?https://example.com")], "request_invalid"),
        (&[("referer", "https://example.com@evil/")], "request_invalid"),
        (&[("origin", "https://evil"), ("referer", "https://example.com/")], "request_invalid"),
        (&[("origin", "https://example.com"), ("origin", "https://evil")], "missing_source_origin"),
        (&[("origin", "")], "missing_source_origin"),
        (&[], "missing_source_origin"),
    ] {
        let before = worker.stat(outcome);
        let action = worker.stream().request(&mut request(Method::POST, "/", fields));
        match action {
            Action::Continue => assert_eq!(outcome, "request_valid", "{fields:?}"),
            Action::Reply(reply) => {
                assert_ne!(outcome, "request_valid", "{fields:?}");
                assert_eq!((reply.status.as_u16(), reply.details), (403, "csrf_origin_mismatch"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(worker.stat(outcome), before + 1, "{fields:?}");
    }
    for (method, checked) in [
        (Method::PUT, true),
        (Method::PATCH, true),
        (Method::DELETE, true),
        (Method::GET, false),
        (Method::HEAD, false),
        (Method::OPTIONS, false),
    ] {
        let action = worker.stream().request(&mut request(method, "/", &[]));
        assert_eq!(matches!(action, Action::Reply(_)), checked);
    }
}

#[test]
fn in_the_shadow_nothing_is_refused() {
    let worker = Worker::of::<Csrf>(json!({ "enabled": 0, "shadow": true }));
    let action = worker.stream().request(&mut request(Method::POST, "/", &[("origin", "https://evil")]));
    assert!(matches!(action, Action::Continue));
    assert_eq!(worker.stat("request_invalid"), 1);
    let worker = Worker::of::<Csrf>(json!({ "enabled": 0 }));
    worker.stream().request(&mut request(Method::POST, "/", &[]));
    assert_eq!(worker.stat("missing_source_origin"), 0);
}
