//! What can be wrong with the options.

use ringway_filters::HttpToDubbo;
use serde_json::{Value as Json, json};

use crate::world::options_error;

/// The error of one mapping with these keys besides a proper path, service and method.
fn of_mapping(keys: Json) -> String {
    let mut mapping = json!({ "path": "/a/{id}", "service": "com.x.A", "method": "b" });
    for (key, value) in keys.as_object().unwrap() {
        mapping[key] = value.clone();
    }
    options_error::<HttpToDubbo>(json!({ "mappings": [mapping] })).unwrap_or_default()
}

#[test]
fn mappings_are_checked() {
    assert_eq!(of_mapping(json!({})), "");
    for (keys, says) in [
        (json!({ "path": "a" }), "mappings[0].path: \"a\" does not begin with `/`"),
        (json!({ "path": "/{}" }), "without a proper name"),
        (json!({ "path": "/a{b}" }), "a part of a segment only"),
        (json!({ "path": "/{a}/{a}" }), "has a name twice"),
        (json!({ "path": "/a?b" }), "leave out the query"),
        (json!({ "path": "/a b" }), "percent-encode it"),
        (json!({ "http_method": "get" }), "no method in capitals"),
        (json!({ "http_method": "G ET" }), "no method in capitals"),
        (json!({ "http_method": "CONNECT" }), "no method in capitals"),
        (json!({ "service": "" }), "mappings[0].service: \"\" is no name"),
        (json!({ "service": "com/x" }), "is no name"),
        (json!({ "method": ".." }), "mappings[0].method: \"..\" is no name"),
        (json!({ "version": "" }), "leave it out"),
        (json!({ "group": "a\nb" }), "is none"),
        (json!({ "timeout": "0" }), "timeout: 0 is no time"),
        (json!({ "timeouts": "1s" }), "unknown field `timeouts`"),
    ] {
        let error = of_mapping(keys);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn parameters_are_checked() {
    for (kind, from, says) in [
        ("String", "body", "parameters[0].type: \"String\" is no type: write it in full, such as java.lang.String"),
        ("", "body", "is no type"),
        ("void", "body", "is no type"),
        ("com..x", "body", "is no type"),
        ("com.1x", "body", "is no type"),
        ("int]", "body", "something behind its end"),
        ("int []x", "body", "something behind its end"),
        ("java.util.List<int>", "body", "int cannot stand in `<>`"),
        ("java.util.List<java.lang.Long", "body", "a `>` is missing"),
        ("java.util.Map<java.lang.String>", "body", "has 2 types in `<>`, not 1"),
        ("java.util.List<java.lang.Long, java.lang.Long>", "body", "has 1 types in `<>`, not 2"),
        ("java.lang.String<java.lang.Long>", "body", "has 0 types in `<>`, not 1"),
        ("java.util.Map<com.x.Key, java.lang.Long>", "body", "as the key of a map"),
        ("java.math.BigDecimal", "body", "there is no JSON for this type"),
        ("java.time.Instant", "body", "there is no JSON for this type"),
        ("int[][][][][][][][][]", "body", "more than 8 dimensions"),
        ("int", "header:x", "is not one of `body`, `body:MEMBER`, `path:NAME`, `query:NAME`"),
        ("int", "body:", "is not one of"),
        ("int", "path:other", "the path has no segment {other}"),
        ("java.util.Map", "query:a", "a java.util.Map cannot be made from text"),
        ("java.util.List", "path:id", "cannot be made from text"),
        ("int[][]", "query:a", "cannot be made from text"),
        ("com.x.User", "path:id", "cannot be made from text"),
    ] {
        let error = of_mapping(json!({ "parameters": [{ "type": kind, "from": from }] }));
        assert!(error.contains(says), "{kind} from {from}: {error}");
    }
    let deep = format!("{}java.lang.Long{}", "java.util.List<".repeat(1000), ">".repeat(1000));
    assert!(of_mapping(json!({ "parameters": [{ "type": deep, "from": "body" }] })).contains("more than 8 types"));
    for (keys, says) in [
        (
            json!({ "http_method": "GET", "parameters": [{ "type": "int", "from": "body" }] }),
            "the content of GET has no meaning",
        ),
        (
            json!({ "parameters": [{ "type": "int", "from": "body", "optional": true }] }),
            "a primitive type is never null",
        ),
        (
            json!({ "parameters": [{ "type": "java.lang.Long", "from": "path:id", "optional": true }] }),
            "a path always has its segments",
        ),
        (
            json!({ "parameters": [{ "type": "int", "from": "body" }, { "type": "int", "from": "body:a" }] }),
            "one takes the whole body",
        ),
        (
            json!({ "parameters": [{ "type": "int", "from": "body:a" }, { "type": "int", "from": "body:a" }] }),
            "mappings[0].parameters[1].from: another one takes that",
        ),
    ] {
        let error = of_mapping(keys);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn options_are_checked() {
    let mapping = |path: &str| json!({ "path": path, "service": "a.B", "method": "c" });
    for (options, says) in [
        (json!({}), "missing field `mappings`"),
        (json!({ "mappings": [] }), "`mappings` is empty"),
        (json!({ "mappings": [mapping("/a")], "max_body": "0" }), "max_body: 0"),
        (json!({ "mappings": [mapping("/a")], "headers": ["X-A"] }), "no name of a header field in lower case"),
        (json!({ "mappings": [mapping("/a")], "headers": ["a b"] }), "no name of a header field"),
        (json!({ "mappings": [mapping("/a")], "headers": ["version"] }), "an attachment that a mapping says"),
        (
            json!({ "mappings": [mapping("/a/{x}"), mapping("/b"), mapping("/a/{y}")] }),
            "mappings[2].path: every request for it is one for mappings[0]",
        ),
        (
            json!({ "mappings": [mapping("/a/{x}"), mapping("/a/b")] }),
            "mappings[1].path: every request for it is one for mappings[0]",
        ),
    ] {
        let error = options_error::<HttpToDubbo>(options).unwrap();
        assert!(error.contains(says), "{error}");
    }
}
