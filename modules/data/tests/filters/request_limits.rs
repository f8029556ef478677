use ringway_api::{Action, Body, Chunk};
use ringway_filters::RequestLimits;
use serde_json::json;

use crate::world::{Worker, options_error, pieces, post, read};

#[test]
fn what_is_too_large_is_refused_at_once_or_where_it_is() {
    let limits = json!({ "max_body": 4, "max_path": 8, "max_headers": 20 });
    for (path, fields, body, refused) in [
        ("/1234567", &[("a", "b")][..], Body::Full(Chunk::from("1234")), None),
        ("/12345678", &[], Body::Empty, Some((414, "path_too_long"))),
        ("/", &[("abcd", "0123456789012")], Body::Empty, Some((431, "headers_too_large"))),
        ("/", &[], Body::Full(Chunk::from("12345")), Some((413, "body_too_large"))),
        ("/", &[], pieces(&[b"12", b"34"], &[("x", "y")]), None),
    ] {
        let worker = Worker::of::<RequestLimits>(limits.clone());
        let mut asked = post(path, fields, body);
        let action = worker.stream().request(&mut asked);
        match refused {
            None => {
                assert!(matches!(action, Action::Continue));
                assert_eq!(read(asked.body).data, b"1234");
            }
            Some((status, counted)) => {
                assert!(matches!(action, Action::Reply(reply) if reply.status.as_u16() == status));
                assert_eq!(worker.stat(counted), 1);
            }
        }
    }
    let worker = Worker::of::<RequestLimits>(limits);
    let mut asked = post("/", &[], pieces(&[b"12", b"345", b"6"], &[]));
    assert!(matches!(worker.stream().request(&mut asked), Action::Continue));
    let content = read(asked.body);
    assert_eq!((content.data, content.error.unwrap().status.unwrap().as_u16()), (b"12".to_vec(), 413));
    assert_eq!(worker.stat("body_too_large"), 1);
}

#[test]
fn in_the_shadow_nothing_is_refused() {
    let worker = Worker::of::<RequestLimits>(json!({ "max_body": 4, "shadow": true }));
    for body in [Body::Full(Chunk::from("123456")), pieces(&[b"12", b"345", b"6"], &[])] {
        let mut asked = post("/", &[], body);
        assert!(matches!(worker.stream().request(&mut asked), Action::Continue));
        assert_eq!(read(asked.body).data, b"123456");
    }
    assert_eq!(worker.stat("body_too_large"), 2);
    assert!(options_error::<RequestLimits>(json!({})).unwrap().contains("at least one of"));
}
