//! What a request may look like (RFC 9113, section 8).

use crate::hpack::{block, literal};
use crate::server::Outcome::{self, Answered, GoAway, Reset};
use crate::server::{GET, HELD, HOLD, POST, Server, check, with};
use crate::wire::{DATA, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, data, frame, headers};

const MALFORMED: Outcome = Reset(3, PROTOCOL_ERROR);
/// RFC 9113 has malformed requests as stream errors; an endpoint may always end the connection (section 5.4.1).
const FATAL: Outcome = GoAway(PROTOCOL_ERROR);
const BAD_REQUEST: Outcome = Answered(3, 400);

/// A request of these fields and no content.
fn request(what: &str, fields: &[(&str, &str)], expected: Outcome) {
    check(what, headers(3, END_STREAM, fields), expected);
}

#[test]
fn field_names_and_values() {
    for (name, value, expected) in [
        ("X-Upper", "1", FATAL),
        ("x-uppeR", "1", FATAL),
        ("", "1", FATAL),
        ("a b", "1", FATAL),
        ("a:b", "1", FATAL),
        ("a\u{7f}", "1", FATAL),
        ("a\0", "1", FATAL),
        ("x-\u{e9}", "1", FATAL),
        ("x", "a\rb", FATAL),
        ("x", "a\nb", FATAL),
        ("x", "a\0b", FATAL),
        ("x", "\u{1}", FATAL),
        ("x", " a", BAD_REQUEST),
        ("x", "a ", BAD_REQUEST),
        ("x", "\ta", BAD_REQUEST),
        ("x", "a\t", BAD_REQUEST),
        ("x", " ", BAD_REQUEST),
        ("x", "", Answered(3, 200)),
        ("x", "a \t b", Answered(3, 200)),
        ("x", "\u{e9}", Answered(3, 200)),
        ("x!#$%&'*+-.^_`|~1", "1", Answered(3, 200)),
    ] {
        request(&format!("{name:?}: {value:?}"), &with(&GET, &[(name, value)]), expected);
    }
}

#[test]
fn fields_that_are_a_connections_own() {
    for (name, value, expected) in [
        ("connection", "close", MALFORMED),
        ("connection", "x-other", MALFORMED),
        ("keep-alive", "timeout=5", MALFORMED),
        ("proxy-connection", "keep-alive", MALFORMED),
        ("transfer-encoding", "chunked", MALFORMED),
        ("upgrade", "websocket", MALFORMED),
        ("te", "gzip", MALFORMED),
        ("te", "trailers, gzip", MALFORMED),
        ("te", "trailers", Answered(3, 200)),
    ] {
        request(&format!("{name}: {value}"), &with(&GET, &[(name, value)]), expected);
    }
}

#[test]
fn pseudo_header_fields() {
    let [method, scheme, path, authority] = GET;
    let regular = ("x", "1");
    request("no method", &[scheme, path, authority], MALFORMED);
    request("no scheme", &[method, path, authority], MALFORMED);
    request("no path", &[method, scheme, authority], MALFORMED);
    request("none", &[regular], MALFORMED);
    request("an empty path", &[method, scheme, (":path", ""), authority], MALFORMED);
    request("an empty method", &[(":method", ""), scheme, path, authority], FATAL);
    request("a method with a blank", &[(":method", "G T"), scheme, path, authority], FATAL);
    request("an empty scheme", &[method, (":scheme", ""), path, authority], BAD_REQUEST);
    for twice in GET {
        request(&format!("{} twice", twice.0), &with(&GET, &[twice]), MALFORMED);
    }
    for (at, late) in GET.into_iter().enumerate() {
        let mut fields = GET.to_vec();
        fields.remove(at);
        request(&format!("{} last", late.0), &with(&fields, &[regular, late]), MALFORMED);
    }
    request("an unknown one", &with(&GET, &[(":unknown", "1")]), FATAL);
    request("of a response", &with(&GET, &[(":status", "200")]), MALFORMED);
    request("a protocol without CONNECT", &with(&GET, &[(":protocol", "websocket")]), MALFORMED);
    request("another order", &[authority, path, scheme, method], Answered(3, 200));
}

#[test]
fn targets_and_authorities() {
    let [method, scheme, path, authority] = GET;
    for (target, expected) in [
        ("/", Answered(3, 200)),
        ("/a/../b?c=/#", Answered(3, 200)),
        ("*", BAD_REQUEST),
        ("a", MALFORMED),
        ("?a", BAD_REQUEST),
        ("http://b.example/", MALFORMED),
        ("/a b", MALFORMED),
    ] {
        request(target, &[method, scheme, (":path", target), authority], expected);
    }
    let options = [(":method", "OPTIONS"), scheme, (":path", "*"), authority];
    request("OPTIONS *", &options, Answered(3, 200));
    request("no authority", &[method, scheme, path], BAD_REQUEST);
    request("host alone", &[method, scheme, path, ("host", "a.example")], Answered(3, 200));
    request("host as well", &with(&GET, &[("host", "a.example")]), Answered(3, 200));
    request("another host", &with(&GET, &[("host", "b.example")]), BAD_REQUEST);
    request("two hosts", &with(&GET, &[("host", "a.example"), ("host", "a.example")]), BAD_REQUEST);
    for bad in ["user@a.example", "user:secret@a.example", "a.example:x", "a.example:80:80"] {
        let mut server = Server::start();
        let frames = server.round(headers(3, END_STREAM, &[method, scheme, path, (":authority", bad)]));
        let outcome = server.outcome_of(&frames);
        assert!([MALFORMED, BAD_REQUEST].contains(&outcome), "{bad:?}: {outcome:?}");
    }
    for bad in ["", "a b", "a/b", "user@a.example", "a.example:x", "a,b", "a?b", "[::1"] {
        request(&format!("host {bad:?}"), &[method, scheme, path, ("host", bad)], BAD_REQUEST);
    }
    for bad in ["", "a b", "a/b", "[::1"] {
        let mut server = Server::start();
        let frames = server.round(headers(3, END_STREAM, &[method, scheme, path, (":authority", bad)]));
        let outcome = server.outcome_of(&frames);
        assert!([MALFORMED, BAD_REQUEST].contains(&outcome), "{bad:?}: {outcome:?}");
    }
}

#[test]
fn connect() {
    let (connect, scheme, path, authority) =
        ((":method", "CONNECT"), (":scheme", "https"), (":path", "/"), (":authority", "a.example:443"));
    request("plain", &[connect, authority], Answered(3, 200));
    request("with a scheme", &[connect, scheme, authority], MALFORMED);
    request("with a path", &[connect, path, authority], MALFORMED);
    request("without authority", &[connect], BAD_REQUEST);
    request("without a port", &[connect, (":authority", "a.example")], BAD_REQUEST);
    request("with a host instead", &[connect, ("host", "a.example:443")], BAD_REQUEST);
    let websocket = (":protocol", "websocket");
    request("extended", &[connect, websocket, scheme, path, authority], Answered(3, 200));
    request("extended, without a scheme", &[connect, websocket, path, authority], MALFORMED);
    request("extended, without a path", &[connect, websocket, scheme, authority], MALFORMED);
    request("extended, without authority", &[connect, websocket, scheme, path], BAD_REQUEST);
}

#[test]
fn content_is_as_long_as_it_says() {
    let post = |length: &str| headers(3, 0, &with(&POST, &[("content-length", length)]));
    let sends = |what: &str, length: &str, content: &[Vec<u8>], expected| {
        check(what, [post(length), content.concat()].concat(), expected);
    };
    sends("right", "5", &[data(3, 0, "he"), data(3, END_STREAM, "llo")], Answered(3, 200));
    sends("short", "5", &[data(3, END_STREAM, "hell")], MALFORMED);
    sends("long", "5", &[data(3, 0, "hello!")], MALFORMED);
    sends("long, at the end", "5", &[data(3, 0, "hello"), data(3, END_STREAM, "!")], MALFORMED);
    sends("short, then trailers", "5", &[data(3, 0, "hell"), headers(3, END_STREAM, &[("x", "1")])], MALFORMED);
    sends("right, then trailers", "5", &[data(3, 0, "hello"), headers(3, END_STREAM, &[("x", "1")])], Answered(3, 200));
    sends("no number", "5x", &[], MALFORMED);
    sends("negative", "-1", &[], MALFORMED);
    sends("with a sign", "+5", &[], MALFORMED);
    sends("empty", "", &[], BAD_REQUEST);
    sends("a list", "5, 5", &[], MALFORMED);
    sends("beyond all numbers", "18446744073709551616", &[], MALFORMED);
    request("none at all", &with(&GET, &[("content-length", "5")]), MALFORMED);
    request("nothing", &with(&GET, &[("content-length", "0")]), Answered(3, 200));
    let two = with(&POST, &[("content-length", "5"), ("content-length", "6")]);
    check("two that differ", headers(3, 0, &two), MALFORMED);
    let alike = with(&POST, &[("content-length", "5"), ("content-length", "5")]);
    check("two that are alike", headers(3, 0, &alike), BAD_REQUEST);
}

#[test]
fn trailers() {
    let after = |trailers: Vec<u8>| [headers(3, 0, &POST), data(3, 0, "x"), trailers].concat();
    let fields = |fields: &[(&str, &str)]| after(headers(3, END_STREAM, fields));
    check("fields", fields(&[("x-sum", "1")]), Answered(3, 200));
    check("none", fields(&[]), Answered(3, 200));
    check("that do not end the stream", after(headers(3, 0, &[("x", "1")])), MALFORMED);
    check("with a connection's field", fields(&[("connection", "close")]), MALFORMED);
    check("in capitals", fields(&[("X", "1")]), FATAL);
    check("with an unknown pseudo field", fields(&[(":x", "1")]), FATAL);
    // RFC 9113, section 8.1 has these as malformed; here they are dropped, and never reach anybody.
    for pseudo in [(":path", "/other"), (":status", "200"), (":method", "GET")] {
        let mut server = Server::start();
        let frames = server.round(fields(&[pseudo, ("x", "1")]));
        assert_eq!(server.outcome_of(&frames), Answered(3, 200));
        let log = server.log.borrow();
        assert_eq!(log.requests[0].trailers, [("x".to_owned(), "1".to_owned())]);
        assert_eq!(log.requests[0].target, "/");
    }
}

#[test]
fn a_malformed_request_reaches_nobody() {
    let mut server = Server::start();
    server.round(headers(HELD, 0, &HOLD));
    for (at, bad) in [("te", "gzip"), ("x", "a "), ("content-length", "x"), ("host", "b.example")].iter().enumerate() {
        server.send(headers(3 + 2 * at as u32, END_STREAM, &with(&GET, &[*bad])));
        assert_ne!(server.outcome(), Answered(3 + 2 * at as u32, 200), "{bad:?}");
    }
    assert!(server.log.borrow().requests.is_empty());
    server.assert_alive("malformed");
}

#[test]
fn a_malformed_block_is_read_to_its_end() {
    // What it puts into the table is there for the next one.
    let bad = [block(&GET), literal(b"te", b"gzip"), crate::hpack::indexed_literal(b"x-kept", b"1")].concat();
    let next = [block(&GET), vec![0x80 | 62]].concat();
    let mut server = Server::start();
    let frames = server.round(frame(HEADERS, END_HEADERS | END_STREAM, 3, bad));
    assert_eq!(server.outcome_of(&frames), MALFORMED);
    let frames = server.round(frame(HEADERS, END_HEADERS | END_STREAM, 5, next));
    assert_eq!(server.outcome_of(&frames), Answered(5, 200));
    assert_eq!(server.log.borrow().requests[0].header("x-kept"), Some("1"));
}

#[test]
fn cookies_that_were_split_are_joined() {
    let mut server = Server::start();
    server.round(headers(3, END_STREAM, &with(&GET, &[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2")])));
    assert_eq!(server.log.borrow().requests[0].header("cookie"), Some("a=1; b=2"));
}

#[test]
fn responses_carry_content_only_where_they_may() {
    let mut server = Server::start();
    let head = [(":method", "HEAD"), GET[1], GET[2], GET[3]];
    let frames = server.round(headers(3, END_STREAM, &head));
    assert!(frames.iter().all(|frame| frame.kind != DATA), "{frames:?}");
    let fields = server.fields(&frames[0]);
    assert!(frames[0].ends_stream() && fields.contains(&("content-length".to_owned(), "5".to_owned())), "{fields:?}");
}

#[test]
fn responses_have_no_fields_of_a_connection() {
    let mut server = Server::start();
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/fields"), (":authority", "a.example")];
    let frames = server.round(headers(3, END_STREAM, &fields));
    let kinds: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.ends_stream())).collect();
    assert_eq!(kinds, [(HEADERS, false), (DATA, false), (HEADERS, true)]);
    let head = server.fields(&frames[0]);
    let names: Vec<_> = head.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [":status", "x-kept", "date"]);
    let trailers = server.fields(&frames[2]);
    assert_eq!(trailers, [("x-sum".to_owned(), "1".to_owned())]);
}

#[test]
fn responses_say_when_they_were_made() {
    let date = ("date".to_owned(), "Thu, 01 Jan 2026 00:00:00 GMT".to_owned());
    let mut server = Server::start();
    for (id, fields) in [(3, GET.to_vec()), (5, GET[..3].to_vec())] {
        let frames = server.round(headers(id, END_STREAM, &fields));
        let answer = server.fields(&frames[0]);
        assert_eq!(answer.iter().filter(|field| **field == date).count(), 1, "{answer:?}");
    }
}
