//! Every operator and every attribute, by the tables that there are of them.

use std::num::{NonZeroU64, NonZeroU128};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderName;
use ringway_api::{Address, PeerCertificate, ResponseFlag, ResponseFlags, TlsInfo, Version};

use super::*;

const DOCUMENT: &str = include_str!("../../../../docs/access-log.md");

fn ip(text: &str) -> Address {
    Address::Ip(text.parse().unwrap())
}

fn tls(name: &str) -> TlsInfo {
    let peer = PeerCertificate {
        chain: vec![b"leaf".as_slice().into()],
        sha256: [0xab; 32],
        subject: format!("CN={name}").into(),
        issuer: "CN=ca".into(),
        serial: [0x71, 0x88].as_slice().into(),
        not_before: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(86_400),
        uri_sans: vec![format!("spiffe://{name}").into(), "spiffe://b".into()],
        dns_sans: vec!["a.example".into(), "b\"\n.example".into()],
    };
    TlsInfo {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        server_name: Some("shop.example".into()),
        alpn: None,
        resumed: false,
        peer: Some(Arc::new(peer)),
    }
}

/// A stream of which everything is known, told as a record and as a report.
fn told(format: &Format) -> [String; 2] {
    let (client, local, host) = (ip("1.2.3.4:5"), ip("[::1]:80"), ip("10.0.0.7:8080"));
    let (downstream, upstream) = (tls("client"), tls("host"));
    let attempt = |host: &str| Attempt {
        host: ip(host),
        began: Duration::from_millis(2),
        socket: None,
        secured: None,
        connected: Some(Duration::from_millis(3)),
        reused: false,
        answered: None,
        ended: None,
        failure: None,
        span: None,
    };
    let attempts = [attempt("10.0.0.6:8080"), attempt("10.0.0.7:8080")];
    let needs = format.needs();
    // Each header holds its own name.
    let captured = |names: &[HeaderName]| {
        let names = names.to_vec();
        Captured::capture(&names, |name| names.iter().find(|known| *known == name).map(|n| n.as_str().as_bytes()))
    };
    let (request, response) = (captured(&needs.request_headers), captured(&needs.response_headers));
    let trailers = captured(&needs.response_trailers);
    let at = |millis| Some(Duration::from_millis(millis));
    let record = StreamRecord {
        kind: LogType::DownstreamEnd,
        duration: Duration::from_millis(12),
        timings: Timings {
            request_end: at(1),
            connect_begin: at(2),
            connect_end: at(3),
            upstream_tx_begin: at(3),
            upstream_tx_end: at(4),
            upstream_rx_begin: at(5),
            upstream_rx_end: at(6),
            response_begin: at(7),
            response_end: at(8),
        },
        method: Some("POST"),
        path: Some(b"/pkg.Service/Method?q=1"),
        authority: Some(b"example.com"),
        scheme: Some("https"),
        protocol: Some(Version::Http2),
        response_code: Some(200),
        response_code_details: Some("via_upstream"),
        connection_termination_details: Some("idle_timeout"),
        flags: ResponseFlags::of(ResponseFlag::NoRoute).union(ResponseFlags::of(ResponseFlag::DropOverload)),
        bytes_received: 1,
        bytes_sent: 2,
        request_headers_bytes: 30,
        response_headers_bytes: 40,
        route_name: Some("route"),
        virtual_host: Some("shop"),
        filter_chain: Some("chain"),
        upstream_cluster: Some("app"),
        upstream_host: Some(&host),
        upstream_local: Some(&local),
        upstream_protocol: Some(Version::Http11),
        upstream_transport_failure: Some("tls_unknown_ca"),
        upstream_attempts: 2,
        upstream_connection_id: Some(8),
        upstream_tls: Some(&upstream),
        downstream_remote: Some(&client),
        downstream_direct_remote: Some(&client),
        downstream_local: Some(&local),
        connection_id: Some(9),
        tls: Some(&downstream),
        requested_server_name: Some("shop.example"),
        downstream_transport_failure: Some("tls_bad_certificate"),
        is_call: true,
        grpc_status: Some(5),
        local_reply_body: Some("no \"route\""),
        stream_id: Some(u128::MAX),
        unique_id: Some(0),
        attempts: &attempts,
        trace: Some(TraceIds {
            trace: NonZeroU128::new(0xabc).unwrap(),
            span: NonZeroU64::new(0xdef).unwrap(),
            parent: None,
            sampled: true,
        }),
        request_headers: &request,
        response_headers: &response,
        response_trailers: &trailers,
        ..StreamRecord::new(SystemTime::UNIX_EPOCH)
    };
    let line = |record: &StreamRecord<'_>| {
        let mut out = Vec::new();
        format.render(record, &mut out);
        String::from_utf8(out).unwrap().strip_suffix('\n').unwrap().to_owned()
    };
    [line(&record), line(&StreamReport::of(&record).record())]
}

fn empty(format: &Format) -> String {
    let mut out = Vec::new();
    format.render(&StreamRecord::new(SystemTime::UNIX_EPOCH), &mut out);
    String::from_utf8(out).unwrap().strip_suffix('\n').unwrap().to_owned()
}

/// An operator as it may be written.
fn written(name: &str) -> String {
    match name {
        "REQ" | "RESP" | "TRAILER" => format!("%{name}(x-some)%"),
        "REQ_WITHOUT_QUERY" => "%REQ_WITHOUT_QUERY(:PATH)%".to_owned(),
        "ATTRIBUTE" => "%ATTRIBUTE(request.path)%".to_owned(),
        "COMMON_DURATION" => "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%".to_owned(),
        "ENVIRONMENT" => "%ENVIRONMENT(PATH)%".to_owned(),
        name => format!("%{name}%"),
    }
}

#[test]
fn every_operator_shows_what_is_there_and_what_is_not() {
    let mut count = 0;
    for name in operators() {
        let text = Format::parse(&written(name)).unwrap();
        let [of_record, of_report] = told(&text);
        assert!(!matches!(of_record.as_str(), "" | "-"), "{name}: {of_record}");
        assert_eq!(of_record, of_report, "{name} says the same of a report");
        let json = Format::json(&[("v", written(name))]).unwrap();
        for line in told(&json).into_iter().chain([empty(&json)]) {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{name}: {line}"));
            assert!(value["v"].is_null() || value["v"].is_number() || value["v"].is_string(), "{name}");
        }
        let omitted = Format::object(&[("v".to_owned(), JsonValue::Text(written(name)))], true).unwrap();
        assert_eq!(told(&omitted)[0], told(&json)[0], "{name}: nothing to omit");
        if empty(&json).ends_with(":null}") {
            assert_eq!(empty(&omitted), "{}", "{name}");
        }
        assert!(DOCUMENT.contains(&format!("`{name}")), "{name} is not in docs/access-log.md");
        count += 1;
    }
    assert!(count > 80);
    for (name, why) in refused_operators() {
        let error = Format::parse(&format!("%{name}%")).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!operators().any(|known| known == name), "{name}");
        assert!(DOCUMENT.contains(&format!("`{name}`")), "{name} is not in docs/access-log.md");
    }
}

#[test]
fn every_attribute_has_a_value_and_asks_for_what_it_shows() {
    for (name, attribute, what) in ATTRIBUTES {
        let format = Format::parse(&format!("%ATTRIBUTE({name})%")).unwrap();
        let [of_record, of_report] = told(&format);
        assert!(!matches!(of_record.as_str(), "" | "-"), "{name}: {of_record}");
        assert_eq!(of_record, of_report, "{name}");
        let mut needs = Needs::default();
        assert_eq!(Attribute::parse(name, &mut needs).as_ref(), Ok(attribute));
        assert_ne!(format!("{needs:?}"), format!("{:?}", Needs::default()), "{name} asks for nothing");
        assert!(DOCUMENT.contains(&format!("| `{name}` | {what} |")), "{name} is not in docs/access-log.md");
    }
    for (name, shown) in [
        ("request.headers['x-a']", "x-a"),
        ("request.headers[\"x-a\"]", "x-a"),
        ("response.headers['x-a']", "x-a"),
        ("response.trailers['grpc-message']", "grpc-message"),
        ("request.id", "x-request-id"),
        ("request.useragent", "user-agent"),
        ("request.url_path", "/pkg.Service/Method"),
        ("request.query", "q=1"),
        ("request.total_size", "31"),
        ("response.total_size", "42"),
        ("response.backend_latency", "2"),
        ("rpc.service", "pkg.Service"),
        ("rpc.method", "Method"),
        ("connection.mtls", "true"),
        ("connection.uri_san_peer_certificate", "spiffe://client,spiffe://b"),
        ("upstream.subject_peer_certificate", "CN=host"),
        ("request.time", "1970-01-01T00:00:00.000Z"),
    ] {
        assert_eq!(told(&Format::parse(&format!("%ATTRIBUTE({name})%")).unwrap())[0], shown, "{name}");
    }
    for (name, says) in [
        ("request.pth", "did you mean `request.path`?"),
        ("request.headers[x]", "there is no attribute"),
        ("request.headers['a b']", "not a header's name"),
        ("", "wants an argument"),
    ] {
        let error = Format::parse(&format!("%ATTRIBUTE({name})%")).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn operators_in_detail() {
    for (text, line) in [
        (
            "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%",
            "NotFound NOT_FOUND 5 5",
        ),
        ("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", "NR,DO NoRouteFound,DropOverLoad"),
        ("%DOWNSTREAM_PEER_CERT_V_START% %UPSTREAM_PEER_CERT_V_END(%F)%", "1970-01-01T00:00:01.000Z 1970-01-02"),
        ("%DOWNSTREAM_PEER_SERIAL% %DOWNSTREAM_PEER_ISSUER%", "7188 CN=ca"),
        ("%DOWNSTREAM_PEER_DNS_SAN%", "a.example,b\\\"\\x0a.example"),
        ("%UPSTREAM_PEER_CERT%", "-----BEGIN%20CERTIFICATE-----%0AbGVhZg%3D%3D%0A-----END%20CERTIFICATE-----%0A"),
        ("%UPSTREAM_HOSTS_ATTEMPTED%", "10.0.0.6:8080,10.0.0.7:8080"),
        ("%TRACE_ID% %SPAN_ID%", "00000000000000000000000000000abc 0000000000000def"),
        ("%STREAM_ID% %UNIQUE_ID%", "ffffffff-ffff-4fff-bfff-ffffffffffff 00000000-0000-4000-8000-000000000000"),
        ("%EMIT_TIME% %EMIT_TIME(%3f)%", "1970-01-01T00:00:00.012Z 012"),
        ("%TRAILER(x-a?x-b):2% %ACCESS_LOG_TYPE%", "x- DownstreamEnd"),
        ("%UPSTREAM_CONNECTION_POOL_READY_DURATION% %LOCAL_REPLY_BODY%", "1 no \\\"route\\\""),
    ] {
        assert_eq!(told(&Format::parse(text).unwrap())[0], line, "{text}");
    }
    assert_eq!(told(&Format::parse("%ATTRIBUTE(request.path):4%").unwrap())[0], "/pkg");
    let error = Format::parse("%ATTRIBUTE(response.code):1%").unwrap_err().to_string();
    assert!(error.contains("only texts"), "{error}");
    let error = Format::parse("%GRPC_STATUS(LOUD)%").unwrap_err().to_string();
    assert!(error.contains("CAMEL_STRING SNAKE_STRING NUMBER"), "{error}");
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(empty(&Format::parse("%HOSTNAME%").unwrap()), hostname.trim_end());
}

#[test]
fn objects_hold_objects_and_leave_out_what_is_unset() {
    let text = |text: &str| JsonValue::Text(text.to_owned());
    let members = |all: &[(&str, JsonValue)]| all.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect::<Vec<_>>();
    let unset = text("%ROUTE_NAME%");
    let format = members(&[
        ("a", unset.clone()),
        ("n", JsonValue::Literal("5".to_owned())),
        ("o", JsonValue::Object(members(&[("x", unset.clone()), ("y", text("%PROTOCOL%-")), ("z", text("{"))]))),
        ("none", JsonValue::Object(members(&[("x", unset.clone())]))),
        ("l", JsonValue::Array(vec![unset.clone(), text("%BYTES_SENT%"), JsonValue::Literal("null".to_owned())])),
        ("f", text("%RESPONSE_FLAGS%")),
    ]);
    assert_eq!(
        empty(&Format::object(&format, false).unwrap()),
        r#"{"a":null,"n":5,"o":{"x":null,"y":"--","z":"{"},"none":{"x":null},"l":[null,0,null],"f":"-"}"#
    );
    assert_eq!(
        empty(&Format::object(&format, true).unwrap()),
        r#"{"n":5,"o":{"y":"-","z":"{"},"none":{},"l":[0,null]}"#
    );
    assert_eq!(empty(&Format::text("[%ROUTE_NAME%] %BYTES_SENT%", true).unwrap()), "[] 0");
    let wrong = members(&[("o", JsonValue::Array(vec![JsonValue::Object(members(&[("x", text("%NOPE%"))]))]))]);
    assert_eq!(Format::object(&wrong, true).unwrap_err().member.as_deref(), Some("o[0].x"));
}
