//! Calls of Dubbo2 as calls of Triple, and results the other way.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use ringway_api::{Action, Body, Chunk, Headers, Request, Version};
use ringway_filters::DubboToTriple;
use ringway_hessian2::{Class, Reader, Value, Writer};
use ringway_testkit::Sim;
use serde_json::json;

use crate::world::{Stream, answer, field, options_error, pieces, post, read};

#[derive(Clone, PartialEq, Message)]
struct Wrapped {
    #[prost(string, tag = "1")]
    serialize_type: String,
    #[prost(bytes = "vec", repeated, tag = "2")]
    args: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "3")]
    arg_types: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Result {
    #[prost(string, tag = "1")]
    serialize_type: String,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
    #[prost(string, tag = "3")]
    kind: String,
}

fn body(protocol: &str, types: &str, arguments: &[u8], attachments: &[(&str, Value)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    for text in [protocol, "com.x.Echo", "1.2.0", "say", types] {
        writer.string(text);
    }
    out.extend_from_slice(arguments);
    let entries = attachments.iter().map(|(name, value)| (Value::String((*name).into()), value.clone())).collect();
    Writer::new(&mut out).value(&Value::Map { type_name: None, entries });
    out
}

/// A call as the codec makes it of a frame with this content.
fn call(content: Vec<u8>, fields: &[(&str, &str)]) -> Request {
    let mut request = post("/com.x.Echo/say", fields, Body::Full(Chunk::from(content)));
    request.head.version = Version::Rpc("dubbo");
    request
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn bytes(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    values.iter().for_each(|value| writer.value(value));
    out
}

fn unwrap(request: Request) -> Wrapped {
    let data = read(request.body).data;
    assert_eq!(data[..5], [&[0][..], &(data.len() as u32 - 5).to_be_bytes()].concat());
    Wrapped::decode(&data[5..]).unwrap()
}

/// What a refusal says.
fn refusal(action: Action) -> (u16, String) {
    let Action::Respond(response) = action else { panic!("{action:?}") };
    (response.head.status.as_u16(), String::from_utf8(read(response.body).data).unwrap())
}

#[test]
fn a_call_becomes_triple() {
    let attachments = [
        ("path", text("com.x.Echo")),
        ("interface", text("com.x.Echo")),
        ("timeout", text("1500")),
        ("group", text("blue")),
        ("remote.application", text("shop")),
        ("tag", text("gray")),
        ("count", Value::Int(7)),
        ("key", Value::Binary(vec![0, 255])),
    ];
    let fields = [
        ("version", "1.2.0"),
        ("path", "com.x.Echo"),
        ("interface", "com.x.Echo"),
        ("timeout", "1500"),
        ("group", "blue"),
        ("remote.application", "shop"),
        ("tag", "gray"),
    ];
    let arguments = bytes(&[text("hello"), Value::Long(5)]);
    let content = body("2.0.2", "Ljava/lang/String;J", &arguments, &attachments);
    let mut request = call(content, &fields);
    request.head.timeout = Some(Duration::from_millis(1500));
    let mut stream = Stream::of::<DubboToTriple>(json!({"app_name": "edge"}));
    assert!(matches!(stream.request(&mut request), Action::Reroute));
    let head = &request.head;
    assert_eq!((head.path_and_query(), head.authority()), (&b"/com.x.Echo/say"[..], &b"com.x.Echo"[..]));
    for (name, value) in [
        ("content-type", Some("application/grpc+proto")),
        ("te", Some("trailers")),
        ("tri-service-version", Some("1.2.0")),
        ("tri-service-group", Some("blue")),
        ("tri-consumer-appname", Some("shop")),
        ("grpc-timeout", Some("1500m")),
        ("tag", Some("gray")),
        ("count", Some("7")),
        ("key-bin", Some("AP8=")),
        ("version", None),
        ("group", None),
        ("path", None),
        ("interface", None),
        ("timeout", None),
    ] {
        assert_eq!(field(&head.headers, name), value, "{name}");
    }
    let wrapped = unwrap(request);
    assert_eq!(wrapped.serialize_type, "hessian4");
    assert_eq!(wrapped.arg_types, ["java.lang.String", "long"]);
    assert_eq!(wrapped.args, [bytes(&[text("hello")]), bytes(&[Value::Long(5)])]);
}

#[test]
fn arguments_stand_on_their_own() {
    let order = |id| {
        let class = Arc::new(Class { name: "com.x.Order".into(), fields: vec!["id".into(), "of".into()] });
        Value::Object { class, fields: vec![Value::Int(id), Value::list(vec![text("a")])] }
    };
    // The class of the second one is defined in the first.
    let values = [text("x"), order(1), order(2), Value::Null, Value::list(vec![order(3), Value::Bool(true)])];
    let types = "Ljava/lang/String;Lcom/x/Order;Lcom/x/Order;Ljava/lang/Object;[Ljava/lang/Object;";
    let mut request = call(body("2.0.2", types, &bytes(&values), &[]), &[]);
    let mut stream = Stream::of::<DubboToTriple>(json!({"serialize_type": "hessian2"}));
    assert!(matches!(stream.request(&mut request), Action::Reroute));
    let wrapped = unwrap(request);
    assert_eq!(wrapped.serialize_type, "hessian2");
    assert_eq!(wrapped.arg_types[4], "[Ljava.lang.Object;");
    for (arg, value) in wrapped.args.iter().zip(&values) {
        let mut reader = Reader::new(arg, 0);
        assert_eq!(reader.value().unwrap(), *value);
        assert_eq!(reader.position(), arg.len());
    }

    // The second one is the first one, and within the third.
    let shared = [&bytes(&[Value::list(vec![text("a")])])[..], b"\x51\x90", b"\x79\x51\x90"].concat();
    let mut request = call(body("2.0.2", "[I[I[I", &shared, &[]), &[]);
    assert!(matches!(stream.request(&mut request), Action::Reroute));
    let inner = Value::list(vec![text("a")]);
    for (arg, value) in unwrap(request).args.iter().zip([&inner, &inner, &Value::list(vec![inner.clone()])]) {
        assert_eq!(Reader::new(arg, 0).value().unwrap(), *value);
    }
}

#[test]
fn what_cannot_be_said_is_refused() {
    let map = Value::Map { type_name: None, entries: vec![] };
    for (content, says) in [
        (b"".to_vec(), "the call cannot be read"),
        (body("2.0.2", "Lx", b"N", &[]), "the call cannot be read"),
        (body("2.0.2", "I", b"\x43", &[]), "the call cannot be read"),
        // The second argument holds itself.
        (body("2.0.2", "[I[I", b"\x78\x79\x51\x91", &[]), "an argument refers to itself"),
        (body("2.0.2", "", b"", &[("a", map)]), "an attachment that is no text"),
        (body("2.0.2", "", b"", &[("a b", text("x"))]), "an attachment that no header field can be"),
        (body("2.0.2", "", b"", &[("a", text("x\ny"))]), "an attachment that no header field can be"),
        (body("2.0.2", "", b"\x91", &[]), "the attachments of the call cannot be read"),
    ] {
        let mut stream = Stream::of::<DubboToTriple>(json!({}));
        let (status, text) = refusal(stream.request(&mut call(content, &[])));
        assert!(status == 400 && text.contains(says), "{status} {text}");
        let mut response = answer(400, &[], Body::Full(Chunk::from("as it is")));
        stream.response(&mut response);
        assert_eq!(read(response.body).data, b"as it is");
    }
    let mut unread = call(b"{}".to_vec(), &[]);
    unread.head.set_path_and_query(b"/-/-").unwrap();
    let mut stream = Stream::of::<DubboToTriple>(json!({"max_body": 64}));
    assert_eq!(refusal(stream.request(&mut unread)).1, "the call is not in hessian2, which Triple's wrapper needs");
    let long = body("2.0.2", "Ljava/lang/String;", &bytes(&[text(&"x".repeat(99))]), &[]);
    assert_eq!(refusal(stream.request(&mut call(long, &[]))).0, 413);
}

#[test]
fn calls_that_arrive_in_pieces_are_read_first() {
    let attachments = [("timeout", text("2500")), ("tag", text("gray")), ("group", text("g"))];
    let content = body("2.0.2", "Ljava/lang/String;", &bytes(&[text(&"x".repeat(500))]), &attachments);
    for limit in [400, 4096] {
        let mut stream = Stream::of::<DubboToTriple>(json!({"max_body": limit}));
        let mut request = call(Vec::new(), &[("version", "1.2.0")]);
        let parts: Vec<&[u8]> = content.chunks(33).collect();
        request.body = pieces(&parts, &[]);
        let Action::Wait(wait) = stream.request(&mut request) else { panic!("it does not wait") };
        let action = Sim::new(1).block_on(wait)(&mut request);
        if limit == 400 {
            assert_eq!(refusal(action).0, 413);
            continue;
        }
        assert!(matches!(action, Action::Reroute));
        for (name, value) in
            [("tag", "gray"), ("grpc-timeout", "2500m"), ("tri-service-group", "g"), ("tri-service-version", "1.2.0")]
        {
            assert_eq!(field(&request.head.headers, name), Some(value), "{name}");
        }
        assert_eq!(unwrap(request).args[0].len(), 502);
    }
}

#[test]
fn other_requests_pass() {
    let content = body("2.0.2", "", b"", &[]);
    let mut http = call(content.clone(), &[]);
    http.head.version = Version::Http11;
    let mut bolt = call(content.clone(), &[]);
    bolt.head.version = Version::Rpc("bolt");
    let mut other = call(content.clone(), &[]);
    other.head.set_path_and_query(b"/com.y.Echo/say").unwrap();
    for mut request in [http, bolt, other] {
        let mut stream = Stream::of::<DubboToTriple>(json!({"services": ["com.x.*", "com.y.Ech"]}));
        assert!(matches!(stream.request(&mut request), Action::Continue));
        assert_eq!(read(request.body).data, content);
    }
    for services in [json!(["com.x.*"]), json!(["com.x.Echo"]), json!(["*"])] {
        let mut stream = Stream::of::<DubboToTriple>(json!({"services": services}));
        assert!(matches!(stream.request(&mut call(content.clone(), &[])), Action::Reroute));
    }
}

/// What a caller with this version of the protocol gets for a response: the fields and the content.
fn answered(
    protocol: &str,
    fields: &[(&str, &str)],
    content: &[u8],
    trailers: &[(&str, &str)],
) -> (u16, Headers, Vec<u8>) {
    let mut stream = Stream::of::<DubboToTriple>(json!({}));
    assert!(matches!(stream.request(&mut call(body(protocol, "", b"", &[]), &[])), Action::Reroute));
    stream.trailers(trailers);
    let mut response = answer(200, fields, Body::Full(Chunk::copy_from(content)));
    stream.response(&mut response);
    let kind = field(&response.head.headers, "content-type");
    assert_eq!(kind, Some("application/vnd.apache.dubbo.hessian2"));
    (response.head.status.as_u16(), response.head.headers, read(response.body).data)
}

fn wrapped(serialize_type: &str, data: &[u8]) -> Vec<u8> {
    let message = Result { serialize_type: serialize_type.into(), data: data.into(), kind: "x".into() };
    let message = message.encode_to_vec();
    [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
}

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc+proto"), ("server", "x"), ("trace", "t")];

#[test]
fn results_become_dubbos() {
    let value = bytes(&[Value::list(vec![text("a"), Value::Int(1)])]);
    let none: &[u8] = b"";
    let threw: Vec<_> = [GRPC, &[("tri-exception-code", "1")]].concat();
    for (fields, data, kind, rest, exception) in [
        (GRPC, value.as_slice(), 1, value.as_slice(), None),
        (GRPC, b"N", 2, none, None),
        (GRPC, none, 2, none, None),
        (&threw, value.as_slice(), 0, value.as_slice(), Some("true")),
    ] {
        let trailers = [("grpc-status", "0"), ("More", "m")];
        for protocol in ["2.0.0", "2.6.2", "2.0.2"] {
            let (status, headers, content) = answered(protocol, fields, &wrapped("hessian4", data), &trailers);
            assert_eq!((status, field(&headers, "rpc-status")), (200, Some("20")));
            assert_eq!(field(&headers, "rpc-exception"), exception);
            let attached = protocol == "2.0.2";
            assert_eq!(content[0], 0x90 + kind + if attached { 3 } else { 0 });
            let attachments = content[1..].strip_prefix(rest).unwrap();
            if attached {
                let entries = vec![(text("trace"), text("t")), (text("More"), text("m"))];
                assert_eq!(Reader::new(attachments, 0).value().unwrap(), Value::Map { type_name: None, entries });
            } else {
                assert_eq!(attachments, none);
            }
        }
    }
}

#[test]
fn statuses_become_dubbos() {
    for (code, dubbo, http) in [
        ("1", "80", 500),
        ("2", "80", 500),
        ("3", "40", 400),
        ("4", "31", 504),
        ("5", "60", 404),
        ("7", "70", 403),
        ("8", "100", 429),
        ("12", "60", 404),
        ("13", "80", 500),
        ("14", "80", 503),
        ("16", "70", 403),
        ("x", "80", 500),
    ] {
        let said = [("grpc-status", code), ("grpc-message", "no%0Asuch")];
        for (fields, trailers) in [(GRPC.to_vec(), &said[..]), ([GRPC, &said].concat(), &[])] {
            let (status, headers, content) = answered("2.0.2", &fields, b"", trailers);
            assert_eq!((status, field(&headers, "rpc-status")), (http, Some(dubbo)), "{code}");
            assert_eq!(Reader::new(&content, 0).value().unwrap(), text("no\nsuch"));
        }
    }
}

#[test]
fn results_that_cannot_be_read_are_the_hosts_fault() {
    let ok: &[(&str, &str)] = &[("grpc-status", "0")];
    let threw: Vec<_> = [GRPC, &[("tri-exception-code", "1")]].concat();
    for (fields, content, trailers, says) in [
        (GRPC, wrapped("hessian4", b"N"), &[][..], "ended without a status"),
        (GRPC, b"".to_vec(), ok, "no wrapper"),
        (GRPC, b"\x01\0\0\0\0".to_vec(), ok, "no wrapper"),
        (GRPC, b"\0\0\0\0\x05abc".to_vec(), ok, "no wrapper"),
        (GRPC, [wrapped("hessian4", b"N"), vec![0]].concat(), ok, "no wrapper"),
        (GRPC, wrapped("fastjson2", b"{}"), ok, "not in hessian2"),
        (GRPC, wrapped("hessian4", b"\x91\x91"), ok, "not one value"),
        (GRPC, wrapped("hessian4", b"\x05a"), ok, "not one value"),
        (&threw, wrapped("hessian4", b"N"), ok, "nothing says what"),
        (&[("content-type", "text/html")], b"<html>".to_vec(), ok, "what Triple does not"),
    ] {
        let (status, headers, content) = answered("2.0.2", fields, &content, trailers);
        assert_eq!((status, field(&headers, "rpc-status")), (502, Some("50")), "{says}");
        let Value::String(said) = Reader::new(&content, 0).value().unwrap() else { panic!("{content:?}") };
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn wrong_options_are_named() {
    for (options, says) in [
        (json!({"services": ["com.*.x"]}), "services[0]: \"com.*.x\""),
        (json!({"services": ["a", ""]}), "services[1]: "),
        (json!({"app_name": "a\nb"}), "app_name: "),
        (json!({"authority": "a b"}), "authority: \"a b\""),
        (json!({"serialize_type": "kryo"}), "unknown variant `kryo`"),
    ] {
        let error = options_error::<DubboToTriple>(options).unwrap();
        assert!(error.contains(says), "{error}");
    }
}
