use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use http::HeaderName;
use proptest::prelude::*;
use ringway_api::{Address, ResponseFlag, ResponseFlags, Version};

use super::*;

struct Stream {
    upstream: Address,
    local: Address,
    peer: Address,
    headers: Vec<(&'static str, &'static str)>,
}

impl Stream {
    fn new() -> Self {
        let ip = |text: &str| Address::Ip(text.parse().unwrap());
        Self {
            upstream: ip("10.0.0.7:8080"),
            local: Address::Unix(PathBuf::from("/run/a\"b")),
            peer: ip("[::1]:5000"),
            headers: vec![("user-agent", "curl/8"), ("x-forwarded-for", "1.2.3.4"), ("x-request-id", "r-1")],
        }
    }

    fn captured(&self, names: &[HeaderName]) -> Captured {
        Captured::capture(names, |name| self.headers.iter().find(|(known, _)| name == known).map(|(_, v)| v.as_bytes()))
    }

    fn line(&self, format: &Format) -> String {
        let request_headers = self.captured(&format.needs().request_headers);
        let names = &format.needs().response_headers;
        let response_headers =
            Captured::capture(names, |name| (name == "content-type").then_some(&b"text/html; charset=utf-8"[..]));
        let mut timings = Timings { upstream_rx_begin: Some(Duration::from_micros(7_900)), ..Timings::default() };
        timings.response_end = Some(Duration::from_micros(12_000));
        timings.connect_begin = Some(Duration::from_micros(100));
        let record = StreamRecord {
            duration: Duration::from_micros(12_345),
            timings,
            method: Some("GET"),
            path: Some(b"/a\"\r\n\xc3\xa9?q=1"),
            authority: Some(b"example.com"),
            protocol: Some(Version::Http11),
            response_code: Some(503),
            response_code_details: Some("no_healthy_upstream"),
            flags: ResponseFlags::of(ResponseFlag::NoHealthyUpstream)
                .union(ResponseFlags::of(ResponseFlag::UpstreamRetryLimitExceeded)),
            bytes_received: 12,
            bytes_sent: 3456,
            upstream_cluster: Some("app"),
            upstream_host: Some(&self.upstream),
            downstream_local: Some(&self.local),
            downstream_remote: Some(&self.peer),
            connection_id: Some(9),
            upstream_attempts: 2,
            request_headers: &request_headers,
            response_headers: &response_headers,
            ..StreamRecord::new(SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_599_042))
        };
        let mut out = b"before".to_vec();
        format.render(&record, &mut out);
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    fn text(&self, format: &str) -> String {
        self.line(&Format::parse(format).unwrap()).strip_suffix('\n').unwrap().to_owned()
    }
}

#[test]
fn the_default_text_format_is_envoys() {
    assert_eq!(
        Stream::new().line(&Format::default_text()),
        "[2025-12-31T23:59:59.042Z] \"GET /a\\\"\\x0d\\x0a\\xc3\\xa9?q=1 HTTP/1.1\" 503 UH,URX 12 3456 12 - \"1.2.3.4\" \
         \"curl/8\" \"r-1\" \"example.com\" \"10.0.0.7:8080\"\n"
    );
}

#[test]
fn the_default_json_format_is_typed_and_complete() {
    let line = Stream::new().line(&Format::default_json());
    let json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
    assert_eq!(json.len(), DEFAULT_JSON.len());
    assert_eq!(json["response_code"], 503);
    assert_eq!(json["duration"], 12);
    assert_eq!(json["connection_id"], 9);
    assert_eq!(json["upstream_request_attempt_count"], 2);
    assert_eq!(json["path"], "/a\"\r\né?q=1");
    assert_eq!(json["downstream_local_address"], "unix:/run/a\"b");
    assert_eq!(json["start_time"], "2025-12-31T23:59:59.042Z");
    assert_eq!(json["response_flags"], "UH,URX");
    assert!(json["route_name"].is_null());
    assert_eq!(line.lines().count(), 1);
    let written: Vec<usize> =
        DEFAULT_JSON.iter().map(|(name, _)| line.find(&format!("\"{name}\":")).unwrap()).collect();
    assert!(written.is_sorted(), "members keep their order");
}

#[test]
fn operators() {
    let stream = Stream::new();
    for (format, line) in [
        ("", ""),
        ("100%% %PROTOCOL%%%\n", "100% HTTP/1.1%"),
        ("%START_TIME(%s.%3f)%", "1767225599.042"),
        ("%START_TIME()%", "2025-12-31T23:59:59.042Z"),
        ("%REQ(X-MISSING?USER-AGENT):4%|%REQ(X-MISSING?X-ABSENT)%|%REQ(host)%", "curl|-|example.com"),
        ("%REQ(:PATH):9%", "/a\\\"\\x0d\\x0a\\xc3\\xa9?q"),
        ("%REQ(:PATH):6%", "/a\\\"\\x0d\\x0a"),
        ("%REQ_WITHOUT_QUERY(:PATH)%", "/a\\\"\\x0d\\x0a\\xc3\\xa9"),
        ("%RESP(Content-Type):9% %RESP(X)%", "text/html -"),
        ("%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "- 7 4"),
        ("%COMMON_DURATION(DS_RX_BEG:US_CX_BEG:us)% %COMMON_DURATION(US_CX_BEG:US_CX_END:ms)%", "100 -"),
        ("%COMMON_DURATION(DS_TX_END:DS_RX_BEG:ns)%", "0"),
        ("%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT%", "10.0.0.7 8080"),
        ("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "[::1]:5000 ::1"),
        ("%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_PORT%", "unix:/run/a\\\"b -"),
        ("%UPSTREAM_LOCAL_ADDRESS% %ROUTE_NAME%", "- -"),
        ("%ENVIRONMENT(RINGWAY_TEST_SURELY_UNSET)%", "-"),
        ("é %BYTES_SENT%", "é 3456"),
    ] {
        assert_eq!(stream.text(format), line, "{format}");
    }
}

#[test]
fn json_members() {
    let line = |members: &[(&str, &str)]| Stream::new().line(&Format::json(members).unwrap());
    assert_eq!(line(&[]), "{}\n");
    assert_eq!(
        line(&[
            ("b", "%BYTES_SENT%"),
            ("a\"\n", "x \"%BYTES_SENT%\" %ROUTE_NAME%%%"),
            ("n", "%ROUTE_NAME%"),
            ("t", "%START_TIME(%Y \"%m\")%"),
            ("p", "%DOWNSTREAM_REMOTE_PORT%"),
            ("e", ""),
        ]),
        "{\"b\":3456,\"a\\\"\\n\":\"x \\\"3456\\\" -%\",\"n\":null,\"t\":\"2025 \\\"12\\\"\",\"p\":5000,\"e\":\"\"}\n"
    );
}

#[test]
fn errors_say_where_and_what_instead() {
    for (format, position, says) in [
        ("%RESPONSE_COD%", 0, "did you mean `%RESPONSE_CODE%`?"),
        ("ab %RSP(X)%", 3, "`%RESP%`"),
        ("%GRPC_STATUS_OF_SOMETHING_ELSE%", 0, "there are START_TIME EMIT_TIME"),
        ("x%", 1, "write `%%`"),
        ("x% y", 1, "write `%%`"),
        ("%DURATION", 0, "no closing `%`"),
        ("%REQ(X%", 0, "no closing `)`"),
        ("%REQ%", 0, "wants an argument"),
        ("%REQ()%", 0, "wants an argument"),
        ("%REQ(A B)%", 0, "`A B` is not a header's name"),
        ("%REQ(A?)%", 0, "`` is not a header's name"),
        ("%REQ(A):x%", 0, "wants a length"),
        ("%REQ(A):99999999999999999999999%", 0, "wants a length"),
        ("%DURATION:3%", 0, "takes no length"),
        ("%DURATION(X)%", 0, "takes no argument"),
        ("a%START_TIME(%Y%Q)%", 15, "`%Q` is not of the time format"),
        ("%COMMON_DURATION(DS_RX_BEG:X:ms)%", 0, "`X` is not a point of time"),
        ("%COMMON_DURATION(DS_RX_BEG:DS_RX_END:s)%", 0, "there are ms us ns"),
        ("%COMMON_DURATION(DS_RX_BEG)%", 0, "not START:END:UNIT"),
        ("%ENVIRONMENT%", 0, "name of a variable"),
    ] {
        let error = Format::parse(format).unwrap_err();
        assert_eq!((error.position, error.member.as_deref()), (position, None), "{format}: {error}");
        assert!(error.to_string().contains(says), "{format}: {error}");
    }
    let error = Format::json(&[("ok", "%PROTOCOL%"), ("code", "  %RESPONSE_COD%")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "in member `code`, at byte 2: there is no operator `%RESPONSE_COD%`; did you mean `%RESPONSE_CODE%`?"
    );
    assert!(Format::json(&[("a", ""), ("a", "")]).unwrap_err().to_string().contains("twice"));
}

#[test]
fn a_format_says_what_it_needs_and_no_more() {
    let format =
        Format::parse("%REQ(User-Agent)% %REQ(:PATH)% %REQ(user-agent?x-a)% %RESP(server)% %DURATION%").unwrap();
    let needs = format.needs();
    assert_eq!(needs.request_headers, ["user-agent", "x-a"]);
    assert_eq!(needs.response_headers, ["server"]);
    for field in [Field::Path, Field::Duration] {
        assert!(needs.has(field));
    }
    for field in [Field::Method, Field::Authority, Field::Start, Field::Timings, Field::UpstreamLocal] {
        assert!(!needs.has(field), "{field:?}");
    }
    assert!(Format::parse("%REQUEST_DURATION%").unwrap().needs().has(Field::Timings));
    assert!(Format::default_text().needs().has(Field::Start));
    assert!((Field::Kind as u32) < u64::BITS, "the last one");
}

#[test]
fn formats_share_one_capture() {
    let mut shared = Needs::default();
    let mut one = Format::parse("%REQ(x-request-id)% %REQ(user-agent)% %PROTOCOL%").unwrap();
    let mut two = Format::json(&[("via", "%REQ(x-missing?x-forwarded-for)%"), ("ua", "%REQ(user-agent)%")]).unwrap();
    one.share(&mut shared);
    two.share(&mut shared);
    assert_eq!(shared.request_headers, ["x-request-id", "user-agent", "x-missing", "x-forwarded-for"]);
    assert!(shared.has(Field::Protocol));
    let captured = Stream::new().captured(&shared.request_headers);
    let record = StreamRecord { request_headers: &captured, ..StreamRecord::new(SystemTime::UNIX_EPOCH) };
    let mut out = Vec::new();
    one.render(&record, &mut out);
    two.render(&record, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "r-1 curl/8 -\n{\"via\":\"1.2.3.4\",\"ua\":\"curl/8\"}\n");
}

#[test]
fn capturing_is_bounded() {
    let long = vec![b'x'; 100_000];
    let names = [HeaderName::from_static("a"), HeaderName::from_static("b")];
    let captured = Captured::capture(&names, |name| (name == "b").then_some(&long[..]));
    assert_eq!(captured.value(0), None);
    assert_eq!(captured.value(1).map(<[u8]>::len), Some(65_535));
    assert_eq!(captured.value(2), None);
}

proptest! {
    #[test]
    fn nothing_from_outside_makes_a_line(path in prop::collection::vec(any::<u8>(), 0..60), ua in ".{0,40}") {
        let names = [HeaderName::from_static("user-agent")];
        let captured = Captured::capture(&names, |_| Some(ua.as_bytes()));
        let record = StreamRecord {
            path: Some(&path),
            route_name: Some(&ua),
            request_headers: &captured,
            ..StreamRecord::new(SystemTime::UNIX_EPOCH)
        };
        let parts = "\"%REQ(:PATH)%\" \"%REQ(USER-AGENT):7%\" \"%ROUTE_NAME%\"";
        let mut out = Vec::new();
        Format::parse(parts).unwrap().render(&record, &mut out);
        let line = String::from_utf8(out).unwrap();
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        prop_assert_eq!(line.replace("\\\\", "").replace("\\\"", "").matches('"').count(), 6);

        let mut out = Vec::new();
        Format::json(&[("p", "%REQ(:PATH)%"), ("all", parts)]).unwrap().render(&record, &mut out);
        prop_assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(json["p"].as_str(), Some(&*String::from_utf8_lossy(&path)));
    }

    #[test]
    fn any_format_parses_or_says_why(text in "(%|[A-Z_]{1,8}|REQ|START_TIME|\\(|\\)|:[0-9]|é|\\?| ){0,12}") {
        match Format::parse(&text) {
            Ok(format) => { Stream::new().line(&format); }
            Err(error) => prop_assert!(error.position <= text.len() && !error.reason.is_empty()),
        }
    }
}
