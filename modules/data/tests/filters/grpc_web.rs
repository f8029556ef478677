use std::cell::Cell;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use ringway_api::{Action, Blame, Body, BodyError, Chunk, Frame, LocalReply, Request, Response};
use ringway_filters::GrpcWeb;
use ringway_testkit::Rng;
use serde_json::{Value, json};

use crate::world::{Content, Repeated, Stream, answer, field, frames, message, options_error, pieces, post, read};

const WEB: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text+proto";
const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc+proto")];

fn call(fields: &[(&str, &str)], body: Body) -> (Stream, Request) {
    let mut stream = Stream::of::<GrpcWeb>(Value::Null);
    let mut request = post("/my.Service/Call", fields, body);
    assert!(matches!(stream.request(&mut request), Action::Continue));
    (stream, request)
}

/// What the client gets when the upstream answers `response`.
fn answered(kind: &str, mut response: Response) -> Response {
    let (mut stream, _) = call(&[("content-type", kind)], Body::Empty);
    stream.response(&mut response);
    response
}

/// Base64 in which texts that end with padding follow each other.
fn decoded(text: &[u8]) -> Vec<u8> {
    text.chunks(4).flat_map(|group| STANDARD.decode(group).unwrap()).collect()
}

fn status_frame(lines: &str) -> Vec<u8> {
    message(0x80, lines.as_bytes())
}

#[test]
fn requests_become_grpc() {
    let declared = [("content-type", WEB), ("x-grpc-web", "1"), ("content-length", "8"), ("accept", "*/*")];
    let (_, request) = call(&declared, Body::Full(Chunk::from(message(0, b"abc"))));
    let headers = &request.head.headers;
    assert_eq!(field(headers, "content-type"), Some("application/grpc+proto"));
    assert_eq!(field(headers, "te"), Some("trailers"));
    assert_eq!(field(headers, "content-length"), Some("8"), "the content is the same");
    assert_eq!(field(headers, "accept"), Some("*/*"));
    assert_eq!(field(headers, "x-grpc-web"), None);
    assert!(matches!(request.body, Body::Full(_)), "nothing is in the way of content that stays as it is");

    let declared = [("Content-Type", "Application/gRPC-Web-Text; x=y"), ("content-length", "8"), ("accept", TEXT)];
    let (_, request) = call(&declared, Body::Full(Chunk::from("AAAAAAFh")));
    let headers = &request.head.headers;
    assert_eq!(field(headers, "content-type"), Some("application/grpc"));
    assert_eq!((field(headers, "content-length"), field(headers, "accept")), (None, None));
    assert_eq!(request.body.remaining(), None);
    assert_eq!(read(request.body).data, message(0, b"a"));
}

#[test]
fn text_requests_are_decoded_however_they_are_cut() {
    let parts: [&[u8]; 5] = [b"", b"a", b"bcdefg", b"hi", b"jkl"];
    let text: String = parts.iter().map(|part| STANDARD.encode(part)).collect();
    let expected = parts.concat();
    let decode = |split: &[&[u8]], trailers: &[(&str, &str)]| {
        read(call(&[("content-type", TEXT)], pieces(split, trailers)).1.body)
    };
    for first in 0..=text.len() {
        for second in first..=text.len() {
            let bytes = text.as_bytes();
            let content = decode(&[&bytes[..first], &bytes[first..second], &bytes[second..]], &[]);
            assert_eq!((content.data, content.error), (expected.clone(), None), "split at {first}, {second}");
        }
    }
    let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    let content = decode(&single, &[("x", "y")]);
    assert_eq!(content.data, expected);
    assert_eq!(content.trailers, Some(vec![("x".into(), "y".into())]));
}

#[test]
fn what_is_no_base64_is_the_clients_fault() {
    for text in ["AAA*", "AA=A", "A===", "====", "AAAA\nAAAA", "=AAA", "AAAA-_==", "AAB="] {
        for at in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(at);
            let content = read(call(&[("content-type", TEXT)], pieces(&[first, second], &[])).1.body);
            let error = content.error.unwrap();
            assert_eq!((error.blame, error.details), (Blame::Downstream, "grpc_web_bad_base64"), "{text} at {at}");
            assert_eq!(error.status.unwrap(), 400);
        }
    }
    for text in ["A", "AAAAA", "AAAAAA=", "AA==AA"] {
        let content = read(call(&[("content-type", TEXT)], Body::Full(Chunk::from(text))).1.body);
        assert_eq!(content.error.unwrap().details, "grpc_web_truncated_base64", "{text}");
    }
}

#[test]
fn other_requests_and_their_responses_pass() {
    for (kind, method) in [
        ("application/grpc", Method::POST),
        ("application/grpc+proto", Method::POST),
        ("application/json", Method::POST),
        ("application/grpc-web-foo", Method::POST),
        (WEB, Method::GET),
        (TEXT, Method::OPTIONS),
    ] {
        let mut stream = Stream::of::<GrpcWeb>(json!({}));
        let mut request = post("/x", &[("content-type", kind), ("x-grpc-web", "1")], Body::Full(Chunk::from("ABC=")));
        request.head.method = method;
        assert!(matches!(stream.request(&mut request), Action::Continue));
        assert_eq!(field(&request.head.headers, "content-type"), Some(kind));
        assert_eq!(field(&request.head.headers, "x-grpc-web"), Some("1"));
        assert_eq!(field(&request.head.headers, "te"), None);
        assert!(matches!(&request.body, Body::Full(chunk) if **chunk == *b"ABC="));

        let mut response = answer(200, GRPC, Body::Full(Chunk::from("x")));
        stream.response(&mut response);
        assert_eq!(field(&response.head.headers, "content-type"), Some("application/grpc+proto"));
        assert!(matches!(response.body, Body::Full(_)));
    }
}

#[test]
fn responses_that_are_not_grpc_pass() {
    for kind in ["text/html", "application/grpc-web+proto"] {
        let response = answer(503, &[("content-type", kind), ("content-length", "4")], Body::Full(Chunk::from("oops")));
        let response = answered(TEXT, response);
        assert_eq!(field(&response.head.headers, "content-type"), Some(kind));
        assert_eq!(field(&response.head.headers, "content-length"), Some("4"));
        assert!(matches!(response.body, Body::Full(_)));
    }
}

#[test]
fn trailers_become_the_last_frame() {
    let data = message(0, b"hello");
    let trailers = [("Grpc-Status", "0"), ("X-Custom", "a: b"), ("x-custom", "c")];
    let sent = [GRPC, &[("content-length", "10"), ("trailer", "grpc-status"), ("x-head", "1")]].concat();
    let response = answered(WEB, answer(200, &sent, pieces(&[&data], &trailers)));
    let headers = &response.head.headers;
    assert_eq!(field(headers, "content-type"), Some(WEB));
    assert_eq!((field(headers, "content-length"), field(headers, "trailer")), (None, None));
    assert_eq!(field(headers, "x-head"), Some("1"));
    assert_eq!(response.body.remaining(), None);
    let content = read(response.body);
    let frame = status_frame("grpc-status: 0\r\nx-custom: a: b\r\nx-custom: c\r\n");
    assert_eq!((content.data, content.trailers), ([data, frame].concat(), None));
}

#[test]
fn a_status_among_the_header_fields_becomes_the_last_frame() {
    let status = [("grpc-status", "5"), ("grpc-message", "not here"), ("grpc-status-details-bin", "CAU"), ("x-a", "b")];
    let expected = status_frame("grpc-status: 5\r\ngrpc-message: not here\r\ngrpc-status-details-bin: CAU\r\n");
    for kind in [WEB, TEXT] {
        let response = answered(kind, answer(200, &[GRPC, &status].concat(), Body::Empty));
        assert_eq!(field(&response.head.headers, "content-type"), Some(kind));
        assert_eq!(field(&response.head.headers, "grpc-status"), None);
        assert_eq!(field(&response.head.headers, "x-a"), Some("b"));
        let data = read(response.body).data;
        assert_eq!(if kind == TEXT { decoded(&data) } else { data }, expected);
    }
    // What the trailers say counts; what they leave out is said.
    for (trailers, lines) in [
        (&[("grpc-status", "0")], "grpc-status: 0\r\n"),
        (&[("x-b", "c")], "x-b: c\r\ngrpc-status: 5\r\ngrpc-message: not here\r\ngrpc-status-details-bin: CAU\r\n"),
    ] {
        let response = answered(WEB, answer(200, &[GRPC, &status].concat(), pieces(&[], trailers)));
        assert_eq!(read(response.body).data, status_frame(lines));
    }
}

#[test]
fn replies_of_the_proxy_are_understood() {
    let reply = LocalReply::new(http::StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream", "no_healthy_upstream");
    let response = answered(TEXT, reply.grpc_response());
    assert_eq!(field(&response.head.headers, "content-type"), Some(TEXT));
    let frame = status_frame("grpc-status: 14\r\ngrpc-message: no healthy upstream\r\n");
    assert_eq!(decoded(&read(response.body).data), frame);
}

#[test]
fn a_missing_status_is_unknown() {
    let lines = "grpc-status: 2\r\ngrpc-message: the response ended without a status\r\n";
    let data = message(0, b"hello");
    let response = answered(WEB, answer(200, GRPC, Body::Full(Chunk::from(data.clone()))));
    assert_eq!(read(response.body).data, [data, status_frame(lines)].concat());
    // Another status of HTTP says more than that.
    for kind in [WEB, TEXT] {
        let response = answered(kind, answer(503, GRPC, Body::Empty));
        assert_eq!(read(response.body), Content::default());
    }
}

#[test]
fn the_client_chooses_the_form_and_the_server_the_format() {
    for (request, accept, response, expected) in [
        (WEB, "", "application/grpc", WEB),
        (TEXT, "", "application/grpc", TEXT),
        ("application/grpc-web", "", "application/grpc", WEB),
        ("application/grpc-web", "", "application/grpc+json", "application/grpc-web+json"),
        ("application/grpc-web+json", "", "application/grpc", "application/grpc-web+json"),
        (TEXT, "*/*", "application/grpc", TEXT),
        (TEXT, "application/grpc-web+proto", "application/grpc", WEB),
        (WEB, "text/html, application/grpc-web-text;q=1", "application/grpc", TEXT),
    ] {
        let fields = [("content-type", request), ("accept", accept)];
        let fields = if accept.is_empty() { &fields[..1] } else { &fields };
        let (mut stream, _) = call(fields, Body::Empty);
        let mut got = answer(200, &[("content-type", response)], pieces(&[], &[("grpc-status", "0")]));
        stream.response(&mut got);
        assert_eq!(field(&got.head.headers, "content-type"), Some(expected), "{request} {accept} {response}");
        let text = expected.contains("-text");
        let data = read(got.body).data;
        assert_eq!(if text { decoded(&data) } else { data }, status_frame("grpc-status: 0\r\n"));
    }
}

#[test]
fn text_responses_are_encoded_however_they_are_cut() {
    let data = [message(0, b""), message(0, b"ab"), message(1, b"cde"), message(0, b"f")].concat();
    let expected = [data.clone(), status_frame("grpc-status: 0\r\n")].concat();
    for first in 0..=data.len() {
        for second in first..=data.len() {
            let split = [&data[..first], &data[first..second], &data[second..]];
            let response = answered(TEXT, answer(200, GRPC, pieces(&split, &[("grpc-status", "0")])));
            let content = read(response.body);
            assert_eq!(decoded(&content.data), expected, "split at {first}, {second}");
        }
    }
    let single: Vec<&[u8]> = data.chunks(1).collect();
    let response = answered(TEXT, answer(200, GRPC, pieces(&single, &[("grpc-status", "0")])));
    assert_eq!(decoded(&read(response.body).data), expected);
}

#[test]
fn a_text_response_holds_nothing_of_a_message_back_and_pads_at_its_end_alone() {
    let whole = message(0, b"abcde");
    let (first, second) = whole.split_at(4);
    let response = answered(TEXT, answer(200, GRPC, pieces(&[first, second, &whole], &[("grpc-status", "0")])));
    let mut body = response.body;
    let sim = ringway_testkit::Sim::new(1);
    let mut next = || match sim.block_on(std::future::poll_fn(|cx| body.poll_frame(cx))) {
        Some(Ok(Frame::Data(chunk))) => String::from_utf8(chunk.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    let text = STANDARD.encode(&whole);
    assert!(text.ends_with('='));
    assert_eq!(next(), text[..4]);
    assert_eq!(next(), text[4..]);
    assert_eq!(next(), text);
    assert_eq!(next(), STANDARD.encode(status_frame("grpc-status: 0\r\n")));
}

#[test]
fn an_error_stays_an_error() {
    let error = BodyError::new(Blame::Upstream, "reset");
    for kind in [WEB, TEXT] {
        let body = frames(vec![Ok(Frame::Data(Chunk::from(message(0, b"abcd")))), Err(error.clone())]);
        let content = read(answered(kind, answer(200, GRPC, body)).body);
        assert_eq!(content.error.as_ref(), Some(&error));
        let data = if kind == TEXT { decoded(&content.data) } else { content.data };
        assert_eq!(data, message(0, b"abcd"), "and no status");
    }
    let body = frames(vec![Ok(Frame::Data(Chunk::from("AAAA"))), Err(error.clone())]);
    assert_eq!(read(call(&[("content-type", TEXT)], body).1.body).error, Some(error));
}

#[test]
fn long_content_is_passed_on_piece_by_piece() {
    const PIECES: usize = 16;
    let taken = Rc::new(Cell::new(0));
    let source = |piece: Chunk| {
        taken.set(0);
        Body::Stream(Box::new(Repeated { piece, left: PIECES, taken: Rc::clone(&taken), ended: false }))
    };
    // A text response: never more of it taken than passed on, but for the piece in hand.
    let piece = Chunk::from(vec![7; 1 << 20]);
    let mut body = answered(TEXT, answer(200, GRPC, source(piece.clone()))).body;
    let sim = ringway_testkit::Sim::new(1);
    let mut passed = 0;
    while let Some(frame) = sim.block_on(std::future::poll_fn(|cx| body.poll_frame(cx))) {
        let Frame::Data(chunk) = frame.unwrap() else { panic!("trailers") };
        assert!(chunk.len() <= 16 * 1024 + 4, "{}", chunk.len());
        passed += chunk.len();
        assert!(taken.get() <= passed + piece.len());
    }
    assert_eq!(taken.get(), PIECES << 20);
    assert!(passed >= taken.get() / 3 * 4);

    // A binary one is not even copied.
    let response = answered(WEB, answer(200, GRPC, source(piece.clone())));
    let mut body = response.body;
    let first = sim.block_on(std::future::poll_fn(|cx| body.poll_frame(cx)));
    assert!(matches!(first, Some(Ok(Frame::Data(chunk))) if std::ptr::eq(chunk.as_slice(), piece.as_slice())));

    // A text request.
    let text = Chunk::from(vec![b'A'; 1 << 20]);
    let content = read(call(&[("content-type", TEXT)], source(text)).1.body);
    assert_eq!((content.data.len(), content.error), (PIECES * (1 << 20) / 4 * 3, None));
    assert!(content.largest <= 12 * 1024, "{}", content.largest);
}

#[test]
fn random_calls_survive_the_round_trip() {
    let mut rng = Rng::new(3);
    for round in 0..300 {
        let data: Vec<u8> =
            (0..rng.below(4)).flat_map(|_| message(0, &vec![rng.bits() as u8; rng.below(70)])).collect();
        let cut = |data: &[u8], rng: &mut Rng| {
            let mut rest = data;
            let mut list = Vec::new();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((1 + rng.below(20)).min(rest.len()));
                list.push(piece.to_vec());
                rest = after;
            }
            list
        };
        let text: String = cut(&data, &mut rng).iter().map(|part| STANDARD.encode(part)).collect();
        let sent = cut(text.as_bytes(), &mut rng);
        let sent: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
        let (mut stream, request) = call(&[("content-type", TEXT)], pieces(&sent, &[]));
        let received = read(request.body);
        assert_eq!((&received.data, received.error), (&data, None), "round {round}");

        let echoed = cut(&data, &mut rng);
        let echoed: Vec<&[u8]> = echoed.iter().map(Vec::as_slice).collect();
        let mut response = answer(200, GRPC, pieces(&echoed, &[("grpc-status", "0")]));
        stream.response(&mut response);
        let back = decoded(&read(response.body).data);
        assert_eq!(back, [data, status_frame("grpc-status: 0\r\n")].concat(), "round {round}");
    }
}

#[test]
fn garbage_ends_in_an_error_or_in_bytes() {
    let mut rng = Rng::new(11);
    for _ in 0..3000 {
        let garbage: Vec<u8> = (0..rng.below(24)).map(|_| *rng.pick(b"AAAAz9+/==*\n")).collect();
        let (first, second) = garbage.split_at(rng.below(garbage.len() + 1));
        let whole = read(call(&[("content-type", TEXT)], pieces(&[&garbage], &[])).1.body);
        let split = read(call(&[("content-type", TEXT)], pieces(&[first, second], &[])).1.body);
        assert_eq!(whole.error, split.error, "{garbage:?}");
        if whole.error.is_none() {
            assert_eq!(whole.data, decoded(&garbage));
            assert_eq!(whole.data, split.data);
        }
    }
}

#[test]
fn options_are_checked() {
    assert_eq!(options_error::<GrpcWeb>(json!({})), None);
    let error = options_error::<GrpcWeb>(json!({ "text": true })).unwrap();
    assert!(error.contains("unknown field `text`"), "{error}");
}
