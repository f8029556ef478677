use super::*;

fn parts(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> http::request::Parts {
    build(http::Request::builder().uri("https://a.example/x?y")).body(()).unwrap().into_parts().0
}

fn read(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Result<Received, &'static str> {
    request(&parts(build), &Http2Options::default()).map_err(|reply| reply.details)
}

#[test]
fn a_request_is_read_and_written_back() {
    let received = read(|request| {
        request.header("host", "a.example").header("x-a", "1").header("x-a", "2").header("te", "trailers")
    });
    let head = received.unwrap().head;
    assert_eq!((head.authority(), head.path_and_query()), (&b"a.example"[..], &b"/x?y"[..]));
    assert_eq!(head.headers.all("x-a").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!((head.headers.len(), head.scheme), (2, Scheme::Https));
    let again = outgoing_request(&head, Scheme::Http).unwrap();
    assert_eq!(again.uri().to_string(), "http://a.example/x?y");
    assert_eq!(again.headers().get_all("x-a").iter().count(), 2);
}

#[test]
fn cookies_are_one_field() {
    let head = read(|request| request.header("cookie", "a=1").header("cookie", "b=2")).unwrap().head;
    assert_eq!(head.headers.all("cookie").collect::<Vec<_>>(), [b"a=1; b=2"]);
}

#[test]
fn what_rfc_9110_forbids_is_refused() {
    let refused = |build: fn(http::request::Builder) -> http::request::Builder| read(build).unwrap_err();
    assert_eq!(refused(|request| request.header("host", "b.example")), "authority_and_host_differ");
    assert_eq!(refused(|request| request.header("host", "a.example").header("host", "a.example")), "invalid_host");
    assert_eq!(refused(|request| request.uri("/x")), "missing_authority");
    assert_eq!(refused(|request| request.uri("https://user@a.example/")), "userinfo_in_authority");
    assert_eq!(refused(|request| request.uri("/x").header("host", "a/b")), "invalid_host");
    assert_eq!(refused(|request| request.uri("https://a.example:x/")), "invalid_host");
    assert_eq!(refused(|request| request.uri("https://a.example/*").uri("*").header("host", "a")), "invalid_target");
    assert_eq!(refused(|request| request.header("x", " y")), "invalid_field_value");
    assert_eq!(refused(|request| request.header("content-length", "")), "invalid_content_length");
    let twice = refused(|request| request.header("content-length", "1").header("content-length", "1"));
    assert_eq!(twice, "invalid_content_length");
    assert_eq!(refused(|request| request.method("CONNECT").uri("a.example")), "invalid_target");
    assert_eq!(refused(|request| (0..101).fold(request, |request, _| request.header("x", "y"))), "too_many_headers");
    assert!(read(|request| request.uri("/x").header("host", "a.example")).is_ok());
}

#[test]
fn hop_by_hop_fields_are_not_sent() {
    let mut head = ResponseHead::new(StatusCode::OK);
    for name in ["connection", "keep-alive", "transfer-encoding", "upgrade", "x"] {
        head.headers.append(name, b"1").unwrap();
    }
    let response = outgoing_response(&head);
    assert_eq!(response.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x"]);
}

#[test]
fn tunnels_are_translated_both_ways() {
    let received = read(|request| request.method("CONNECT").extension(h2::ext::Protocol::from_static("websocket")));
    let head = received.unwrap().head;
    assert_eq!((&head.method, head.upgrade()), (&Method::GET, Some(&b"websocket"[..])));
    let again = outgoing_request(&head, Scheme::Https).unwrap();
    assert_eq!(again.method(), Method::CONNECT);
    assert_eq!(again.extensions().get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");

    let received = read(|request| request.method("CONNECT").uri("a.example:443"));
    let head = received.unwrap().head;
    assert_eq!(
        (head.tunnel, head.authority(), head.path_and_query()),
        (Some(Tunnel::Connect), &b"a.example:443"[..], &b""[..])
    );
    assert_eq!(outgoing_request(&head, Scheme::Https).unwrap().uri().to_string(), "a.example:443");
    assert_eq!(outgoing_response(&ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS)).status(), StatusCode::OK);
}
