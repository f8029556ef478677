//! The outcome must not depend on how bytes are cut, and no bytes may do harm.

use http::Method;
use ringway_api::Chunk;
use ringway_http1::body::{BodyLimits, Decoded, Decoder};
use ringway_http1::encode::{Delimit, request_head};
use ringway_http1::head::{Asked, Assembler, Framing, HeadLimits, Refusal, decode_request, decode_response};
use ringway_http1::{HeaderCase, Http1Options};
use ringway_testkit::{Answer, PairOptions, Recorded, Split, TestHandler, conform};

use crate::world::{Server, Upstream, get};

pub(crate) const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 100 };
pub(crate) const BODY_LIMITS: BodyLimits = BodyLimits { trailer_bytes: 4096, extension_bytes: 4096, fields: 100 };

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET /p?q=1 HTTP/1.1\r\nHost:a.example:80\r\nX: \t y \r\nEmpty:\r\nConnection: x\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;e=\"f\\\"\"\r\nhello\r\n06\r\n world\r\n00\r\nT: x\r\n\r\n",
    "OPTIONS http://b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: z\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n",
];

const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    "HTTP/1.1 204\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not There\r\nContent-Length: 2\r\n\r\nno",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\nT: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\nX: y\r\n\r\nhello",
];

/// What a request was read as.
#[derive(Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) authority: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

/// Reads requests from pieces with the core alone: those that are complete, and what ended the reading.
pub(crate) fn read_requests(pieces: &[&[u8]]) -> (Vec<Read>, Option<Refusal>) {
    let mut all = Vec::new();
    let mut assembler = Assembler::new();
    let mut current: Option<(Read, Decoder)> = None;
    for piece in pieces {
        let mut inbox = Chunk::copy_from(piece);
        loop {
            if let Some((mut read, mut decoder)) = current.take() {
                match decoder.decode(&mut inbox, BODY_LIMITS) {
                    Ok(Decoded::Data(data)) => read.body.extend_from_slice(&data),
                    Ok(Decoded::Trailers(trailers)) => {
                        read.trailers = Recorded::of_fields(&trailers);
                        decoder = Decoder::Done;
                    }
                    Ok(Decoded::End) => {
                        all.push(read);
                        continue;
                    }
                    Ok(Decoded::NeedMore) => {
                        current = Some((read, decoder));
                        break;
                    }
                    Err(refusal) => return (all, Some(refusal)),
                }
                current = Some((read, decoder));
                continue;
            }
            if inbox.is_empty() {
                break;
            }
            match assembler.decode(&mut inbox, |block| decode_request(block, LIMITS, false)) {
                Ok(Some(parts)) => {
                    let read = Read {
                        method: parts.head.method.clone(),
                        target: String::from_utf8_lossy(parts.head.path_and_query()).into_owned(),
                        authority: String::from_utf8_lossy(parts.head.authority()).into_owned(),
                        headers: Recorded::of_fields(&parts.head.headers),
                        body: Vec::new(),
                        trailers: Vec::new(),
                    };
                    current = Some((read, Decoder::new(parts.framing)));
                }
                Ok(None) => break,
                Err(refusal) => return (all, Some(refusal)),
            }
        }
    }
    (all, None)
}

fn read_responses(pieces: &[&[u8]]) -> (Vec<(u16, Framing)>, Option<Refusal>) {
    let mut all = Vec::new();
    let mut assembler = Assembler::new();
    for piece in pieces {
        let mut inbox = Chunk::copy_from(piece);
        while !inbox.is_empty() {
            match assembler.decode(&mut inbox, |block| {
                decode_response(block, Asked { method: &Method::GET, upgrade: None }, LIMITS)
            }) {
                Ok(Some(parts)) => all.push((parts.head.status.as_u16(), parts.framing)),
                Ok(None) => break,
                Err(refusal) => return (all, Some(refusal)),
            }
        }
    }
    (all, None)
}

#[test]
fn requests_read_alike_however_they_are_cut() {
    for request in REQUESTS {
        conform::every_split(request.as_bytes(), read_requests);
    }
    let all = REQUESTS[..5].concat();
    conform::every_split(all.as_bytes(), read_requests);
    assert_eq!(read_requests(&[all.as_bytes()]).0.len(), 5);
}

#[test]
fn response_heads_read_alike_however_they_are_cut() {
    for response in RESPONSES {
        let end = response.rfind("\r\n\r\n").unwrap() + 4;
        let heads = if response.contains("chunked") { response.find("\r\n\r\n").unwrap() + 4 } else { end };
        conform::every_split(&response.as_bytes()[..heads], read_responses);
    }
}

#[test]
fn the_server_answers_alike_however_bytes_arrive() {
    for request in REQUESTS {
        let run = |split| {
            let handler = TestHandler::new(|request| {
                let text = format!("{} {:?}", request.target, request.body);
                Answer::body(http::StatusCode::OK, ringway_api::Body::Full(Chunk::from(text.into_bytes())))
            });
            let pairing = PairOptions { split, seed: 7, ..PairOptions::default() };
            let mut server = Server::with(handler, Http1Options::default(), pairing);
            let answer = server.round(request);
            // A 100 depends on whether the content was there already.
            let answer = answer.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
            (answer, server.log.borrow().requests.clone())
        };
        let whole = run(Split::AsSent);
        for split in [Split::Fixed(1), Split::Fixed(2), Split::Fixed(7), Split::Random(40)] {
            assert_eq!(run(split), whole, "{split:?} {request:?}");
        }
    }
}

#[test]
fn the_client_reads_alike_however_bytes_arrive() {
    for response in RESPONSES {
        let run = |split| {
            let pairing = PairOptions { split, seed: 7, ..PairOptions::default() };
            let mut up = Upstream::with(Http1Options::default(), pairing);
            let result = up.send(get("/"));
            up.io.recv_now();
            up.sim.block_on(up.io.send(response)).unwrap();
            up.sim.run_until_quiet();
            (result.take().expect("an end"), up.is_reusable())
        };
        let whole = run(Split::AsSent);
        for split in [Split::Fixed(1), Split::Fixed(2), Split::Fixed(7), Split::Random(40)] {
            assert_eq!(run(split), whole, "{split:?} {response:?}");
        }
    }
}

#[test]
fn garbage_and_mutations_are_refused_or_read_but_do_no_harm() {
    const WORDS: &[&[u8]] = &[
        b"GET ",
        b"POST ",
        b"/",
        b"* ",
        b" HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"Host: a\r\n",
        b"\r\n",
        b"\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"5\r\n",
        b"hello",
        b"0\r\n\r\n",
        b": ",
        b"\r",
    ];
    conform::garbage(3000, 400, WORDS, |bytes| {
        conform_one(bytes);
    });
    for request in REQUESTS.iter().chain(RESPONSES) {
        conform::mutations(300, request.as_bytes(), conform_one);
    }
}

/// Whole and byte by byte must agree, and what is read must survive being written and read again.
fn conform_one(bytes: &[u8]) {
    // Ended, so that a head in pieces is judged too: it may wait for its end, a head in one piece need not.
    let bytes = &[bytes, b"\r\n\r\n"].concat()[..];
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    let (whole, refusal) = read_requests(&[bytes]);
    let (cut, cut_refusal) = read_requests(&singles);
    assert_eq!((&whole, refusal.is_some()), (&cut, cut_refusal.is_some()), "{:?}", String::from_utf8_lossy(bytes));
    assert_eq!(read_responses(&[bytes]).0, read_responses(&singles).0);
    if let Ok(Some((parts, _))) = decode_request(&Chunk::copy_from(bytes), LIMITS, false) {
        let mut written = Vec::new();
        request_head(&parts.head, Delimit::Nothing, HeaderCase::Preserve, &mut written);
        let (again, len) =
            decode_request(&Chunk::from(written.clone()), HeadLimits { bytes: 9000, fields: 200 }, false)
                .expect("what we write is valid")
                .expect("and whole");
        assert_eq!(len, written.len());
        assert_eq!(again.head.path_and_query(), parts.head.path_and_query());
        assert_eq!(again.head.authority(), parts.head.authority());
    }
}
