//! What a response may look like (RFC 9113, section 8).

use crate::hpack::indexed_literal;
use crate::upstream::Came::{self, Broken, Cut, Nothing, Whole};
use crate::upstream::Said::{self, GoAway, Reset};
use crate::upstream::{OK, Upstream, came_of, check, get};
use crate::wire::{END_HEADERS, END_STREAM, HEADERS, NO_ERROR, PROTOCOL_ERROR, STREAM_CLOSED, data, frame, headers};

const MALFORMED: (Came, Said) = (Broken, Reset(PROTOCOL_ERROR));
/// A stream error as RFC 9113 has it; an endpoint may always end the connection (section 5.4.1).
const FATAL: (Came, Said) = (Broken, GoAway(PROTOCOL_ERROR));
const FINE: (Came, Said) = (Whole(200), Said::Nothing);

fn response(fields: &[(&str, &str)], (came, said): (Came, Said)) {
    // What is malformed is so before the stream ends.
    let flags = if came == Broken { 0 } else { END_STREAM };
    check(&format!("{fields:?}"), headers(1, flags, fields), came, said);
}

fn after_ok(what: &str, then: &[Vec<u8>], came: Came, said: Said) {
    check(what, [headers(1, 0, &OK), then.concat()].concat(), came, said);
}

#[test]
fn heads() {
    let status = OK[0];
    response(&OK, FINE);
    response(&[], MALFORMED);
    response(&[("x", "1")], MALFORMED);
    response(&[(":status", "")], FATAL);
    response(&[(":status", "20")], FATAL);
    response(&[(":status", "abc")], FATAL);
    response(&[(":status", "2000")], FATAL);
    response(&[(":status", "099")], FATAL);
    response(&[status, status], MALFORMED);
    response(&[("x", "1"), status], MALFORMED);
    response(&[status, (":unknown", "1")], FATAL);
    for pseudo in [(":path", "/"), (":method", "GET"), (":scheme", "http"), (":authority", "a")] {
        // Fields of requests are dropped; they reach nobody.
        response(&[status, pseudo], FINE);
    }
    response(&[status, ("X-Upper", "1")], FATAL);
    response(&[status, ("x", "a\r\nb: c")], FATAL);
    response(&[status, ("x", "a\0")], FATAL);
    response(&[status, ("x", " a")], MALFORMED);
    response(&[status, ("x", "a\t")], MALFORMED);
    response(&[status, ("connection", "close")], MALFORMED);
    response(&[status, ("transfer-encoding", "chunked")], MALFORMED);
    response(&[status, ("keep-alive", "1")], MALFORMED);
    response(&[status, ("upgrade", "h2c")], MALFORMED);
    response(&[status, ("proxy-connection", "1")], MALFORMED);
    response(&[(":status", "999")], (Whole(999), Said::Nothing));
}

#[test]
fn interim_responses() {
    let interim = |status| headers(1, 0, &[(":status", status), ("link", "</a>")]);
    let done = headers(1, END_STREAM, &OK);
    let mut upstream = Upstream::start();
    let exchange = upstream.open(get("/"));
    upstream.frames();
    upstream.round([interim("100"), interim("103"), interim("103"), done.clone()].concat());
    let answer = exchange.take().unwrap().unwrap();
    assert_eq!((answer.interims, answer.status), (vec![100, 103, 103], 200));

    check("33 of them", interim("103").repeat(33), Broken, Reset(PROTOCOL_ERROR));
    check("32 of them", [interim("103").repeat(32), done.clone()].concat(), Whole(200), Said::Nothing);
    check("alone", interim("103"), Nothing, Said::Nothing);
    check("that end the stream", headers(1, END_STREAM, &[(":status", "103")]), Broken, Said::Nothing);
    // RFC 9113, section 8.6: there is no 101 in HTTP/2.
    check("101", interim("101"), Broken, Reset(PROTOCOL_ERROR));
    check("101 that ends the stream", headers(1, END_STREAM, &[(":status", "101")]), Broken, Said::Nothing);
    check("content before the final one", [interim("103"), data(1, 0, "x")].concat(), Broken, GoAway(PROTOCOL_ERROR));
    // A second head after the final one does not end the stream, so it is no trailer either.
    check("after the final one", [headers(1, 0, &OK), interim("103")].concat(), Cut(200), Reset(PROTOCOL_ERROR));
}

#[test]
fn content_comes_after_its_head_and_is_as_long_as_it_says() {
    check("before the head", data(1, 0, "x"), Broken, GoAway(PROTOCOL_ERROR));
    check("before the head, and the end", data(1, END_STREAM, ""), Broken, GoAway(PROTOCOL_ERROR));
    after_ok("as it should", &[data(1, 0, "he"), data(1, END_STREAM, "llo")], Whole(200), Said::Nothing);
    let length = |length: &str| headers(1, 0, &[(":status", "200"), ("content-length", length)]);
    for (what, bytes, came, said) in [
        ("right", [length("5"), data(1, END_STREAM, "hello")].concat(), Whole(200), Said::Nothing),
        ("short", [length("5"), data(1, END_STREAM, "hell")].concat(), Cut(200), Reset(PROTOCOL_ERROR)),
        ("long", [length("5"), data(1, END_STREAM, "hello!")].concat(), Cut(200), Reset(PROTOCOL_ERROR)),
        ("no number", length("x"), Broken, Reset(PROTOCOL_ERROR)),
        (
            "two",
            headers(1, 0, &[OK[0], ("content-length", "1"), ("content-length", "2")]),
            Broken,
            Reset(PROTOCOL_ERROR),
        ),
        ("none", headers(1, END_STREAM, &[OK[0], ("content-length", "5")]), Broken, Said::Nothing),
        ("empty", length(""), Broken, Reset(PROTOCOL_ERROR)),
        (
            "two alike",
            headers(1, 0, &[OK[0], ("content-length", "1"), ("content-length", "1")]),
            Broken,
            Reset(PROTOCOL_ERROR),
        ),
        (
            "not modified",
            headers(1, END_STREAM, &[(":status", "304"), ("content-length", "5")]),
            Whole(304),
            Said::Nothing,
        ),
        (
            "then trailers",
            [length("5"), data(1, 0, "hell"), headers(1, END_STREAM, &[("x", "1")])].concat(),
            Cut(200),
            Said::Nothing,
        ),
    ] {
        check(what, bytes, came, said);
    }
}

#[test]
fn what_has_no_content_gets_none() {
    for (answer, came) in [
        (headers(1, END_STREAM, &[OK[0], ("content-length", "5")]), Whole(200)),
        ([headers(1, 0, &[OK[0], ("content-length", "5")]), data(1, END_STREAM, "")].concat(), Whole(200)),
        ([headers(1, 0, &[OK[0], ("content-length", "5")]), data(1, END_STREAM, "hello")].concat(), Cut(200)),
    ] {
        let mut upstream = Upstream::start();
        let mut request = get("/");
        request.head.method = http::Method::HEAD;
        let exchange = upstream.open(request);
        upstream.frames();
        upstream.round(answer);
        assert_eq!(came_of(&exchange), came, "{:?}", exchange.borrow());
        assert!(exchange.borrow().as_ref().is_some_and(|answer| answer.as_ref().is_ok_and(|a| a.body.is_empty())));
    }
}

#[test]
fn what_comes_after_the_end() {
    let whole = headers(1, END_STREAM, &OK);
    // The other stream goes on; that is what `check` looks at.
    check("HEADERS", [whole.clone(), headers(1, END_STREAM, &OK)].concat(), Whole(200), Reset(STREAM_CLOSED));
    check("DATA", [whole.clone(), data(1, 0, "x")].concat(), Whole(200), Reset(STREAM_CLOSED));
    check("RST_STREAM", [whole.clone(), crate::wire::reset(1, NO_ERROR)].concat(), Whole(200), Said::Nothing);
    check("WINDOW_UPDATE", [whole, crate::wire::window_update(1, 1)].concat(), Whole(200), Said::Nothing);
}

#[test]
fn trailers() {
    let trailers = |fields: &[(&str, &str)]| [data(1, 0, "x"), headers(1, END_STREAM, fields)].concat();
    after_ok("fields", &[trailers(&[("x", "1")])], Whole(200), Said::Nothing);
    after_ok("that do not end the stream", &[headers(1, 0, &[("x", "1")])], Cut(200), Reset(PROTOCOL_ERROR));
    after_ok("a connection's field", &[trailers(&[("connection", "x")])], Cut(200), Reset(PROTOCOL_ERROR));
    after_ok("an unknown pseudo field", &[trailers(&[(":x", "1")])], Cut(200), GoAway(PROTOCOL_ERROR));
    // RFC 9113, section 8.1 has these as malformed; here they are dropped, and never reach anybody.
    let mut upstream = Upstream::start();
    let exchange = upstream.open(get("/"));
    upstream.frames();
    upstream.round([headers(1, 0, &OK), trailers(&[(":status", "500"), ("grpc-status", "0")])].concat());
    let answer = exchange.take().unwrap().unwrap();
    assert_eq!((answer.status, answer.error), (200, None));
    assert_eq!(answer.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
}

#[test]
fn heads_that_are_too_large() {
    let value = "y".repeat(10_000);
    let fields: Vec<_> = std::iter::once(OK[0]).chain(std::iter::repeat_n(("x", value.as_str()), 7)).collect();
    let block = crate::hpack::block(&fields);
    let mut bytes = frame(HEADERS, END_STREAM, 1, &block[..16_000]);
    for part in block[16_000..].chunks(16_000) {
        bytes.extend(frame(crate::wire::CONTINUATION, 0, 1, part));
    }
    bytes.extend(frame(crate::wire::CONTINUATION, END_HEADERS, 1, []));
    check("70,000 bytes", bytes, Broken, Said::Nothing);
    let many: Vec<_> = std::iter::once(OK[0]).chain(std::iter::repeat_n(("x", "y"), 101)).collect();
    check("101 fields", headers(1, 0, &many), Broken, Reset(PROTOCOL_ERROR));
    let seed = indexed_literal(b"x", &[b'v'; 4000]);
    let bomb = [crate::hpack::block(&OK), seed, vec![0x80 | 62; 10_000]].concat();
    check("40 MB of 14 KB", frame(HEADERS, END_HEADERS, 1, bomb), Broken, GoAway(crate::wire::ENHANCE_YOUR_CALM));
}

#[test]
fn a_request_says_what_it_must_and_no_more() {
    let mut upstream = Upstream::start();
    let mut request = get("/x?y");
    for (name, value) in [("connection", "x"), ("te", "gzip"), ("host", "other"), ("X-Kept", "1"), ("keep-alive", "5")]
    {
        request.head.headers.append(name, value.as_bytes()).unwrap();
    }
    let exchange = upstream.open(request);
    let frames = upstream.frames();
    assert!(frames[0].is(HEADERS, 1) && frames[0].ends_stream());
    let mut fields = upstream.fields(&frames[0]);
    fields.sort();
    let expected =
        [(":authority", "a.example"), (":method", "GET"), (":path", "/x?y"), (":scheme", "http"), ("x-kept", "1")];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(came_of(&exchange), Nothing);
}
