//! ClientHellos as they could come.

use ringway_preface::client_hello::{ClientHello, Limits, MESSAGE_BYTES, Parsed, parse};
use ringway_testkit::Rng;

use crate::settles;

pub(crate) fn verdict(bytes: &[u8]) -> Option<Parsed> {
    Some(parse(bytes, Limits::default())).filter(|parsed| *parsed != Parsed::NeedMore)
}

#[track_caller]
pub(crate) fn hello(bytes: &[u8]) -> ClientHello {
    assert_eq!(settles(bytes, verdict), Some(bytes.len()), "whole at its last byte, no earlier");
    let more = [bytes, b"\x14\x03\x03\0\x01\x01"].concat();
    match parse(&more, Limits::default()) {
        Parsed::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn alpn(hello: &ClientHello) -> Vec<&[u8]> {
    hello.alpn.iter().collect()
}

/// Puts `message` into records of at most `size` bytes.
pub(crate) fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for fragment in message.chunks(size) {
        out.extend([22, 3, 1]);
        out.extend(vector16(fragment));
    }
    out
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(data)].concat()
}

fn sni(name: &str) -> Vec<u8> {
    extension(0, &vector16(&[&[0], &vector16(name.as_bytes())[..]].concat()))
}

fn protocols(names: &[&[u8]]) -> Vec<u8> {
    extension(16, &vector16(&names.iter().map(|name| vector8(name)).collect::<Vec<_>>().concat()))
}

fn versions(versions: &[u16]) -> Vec<u8> {
    extension(43, &vector8(&versions.iter().flat_map(|version| version.to_be_bytes()).collect::<Vec<_>>()))
}

fn body(extensions: &[Vec<u8>]) -> Vec<u8> {
    [&fixed()[..], &vector16(&extensions.concat())].concat()
}

fn fixed() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(vector8(&[9; 32]));
    body.extend(vector16(&[0x13, 0x01, 0x5a, 0x5a]));
    body.extend(vector8(&[0]));
    body
}

fn message(body: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1, high, middle, low], body].concat()
}

fn wire(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(&body(extensions)), 16384)
}

#[track_caller]
fn is_malformed(bytes: &[u8], part: &str) -> usize {
    match parse(bytes, Limits::default()) {
        Parsed::Malformed(reason) => assert!(reason.contains(part), "{reason}"),
        other => panic!("{other:?}, not {part}"),
    }
    settles(bytes, verdict).unwrap()
}

#[test]
fn what_is_offered() {
    let bytes = wire(&[
        extension(0x1a1a, b""),
        sni("Api.Example.COM"),
        protocols(&[&[0x2a, 0x2a], b"h2", b"jz", b"http/1.1"]),
        versions(&[0x3a3a, 0x0304, 0x0303]),
        extension(0xeaea, b"\0"),
    ]);
    let hello = hello(&bytes);
    assert_eq!(hello.server_name.as_deref(), Some("api.example.com"));
    // `jz` only looks like GREASE.
    assert_eq!(alpn(&hello), [&b"h2"[..], b"jz", b"http/1.1"]);
    assert!(hello.alpn.contains(b"h2") && !hello.alpn.contains(b"h3") && !hello.alpn.contains(&[0x2a, 0x2a]));
    assert_eq!((hello.versions, hello.legacy), (vec![0x0304, 0x0303], false));
}

#[test]
fn old_hellos() {
    // Without extensions, and with none.
    for body in [fixed(), body(&[])] {
        let hello = hello(&records(&message(&body), 16384));
        assert_eq!(hello.server_name, None);
        assert_eq!(alpn(&hello), Vec::<&[u8]>::new());
        assert_eq!((hello.versions, hello.legacy), (vec![0x0303], true));
    }
    // SSL 2.0's form is not TLS.
    for ssl2 in [&b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10"[..], b"\x80\x2e\x01\0\x02"] {
        assert_eq!(settles(ssl2, verdict), Some(1));
        assert_eq!(parse(ssl2, Limits::default()), Parsed::NotTls);
    }
}

#[test]
fn any_records() {
    let message = message(&body(&[sni("a.example"), protocols(&[b"h2"]), versions(&[0x0304])]));
    let whole = hello(&records(&message, 16384));
    for size in 1..message.len() {
        assert_eq!(hello(&records(&message, size)), whole);
    }
    let mut rng = Rng::new(0x5eed_0003);
    for _ in 0..200 {
        let mut bytes = Vec::new();
        let mut rest = &message[..];
        while !rest.is_empty() {
            let (fragment, more) = rest.split_at(1 + rng.below(rest.len().min(40)));
            bytes.extend(records(fragment, 16384));
            rest = more;
        }
        assert_eq!(hello(&bytes), whole);
    }
}

#[test]
fn records_that_break_the_rules() {
    let sound = message(&body(&[sni("a.example")]));
    let at = |bytes: &[u8], part| is_malformed(bytes, part);
    for (bytes, part, settled) in [
        (&b"\x16\x03\x01\0\0"[..], "length", 5),
        (b"\x16\x03\x01\x40\x01", "length", 5),
        (b"\x16\x03\x01\xff\xff", "length", 5),
        (b"\x16\x03\x01\x02\0\x02", "begin with", 6),
        (b"\x16\x03\x01\x02\0\0\0\0\0", "begin with", 6),
        (b"\x16\x03\x01\0\x04\x01\0\0\0", "cut short", 9),
        (b"\x16\x03\x01\0\x08\x01\0\0\x01", "after the ClientHello", 9),
        (b"\x16\x03\x01\0\x04\x01\x01\0\0", "limit", 9),
        (b"\x16\x03\x01\0\x01\x01\x15", "another record", 7),
        (b"\x16\x03\x01\0\x01\x01\x17\x03", "another record", 7),
        (b"\x16\x03\x01\0\x01\x01\x16\x02", "major", 8),
    ] {
        assert_eq!(at(bytes, part), settled, "{bytes:?}");
    }
    // Bytes after the hello, in its own record and in one of their own that it shares.
    at(&records(&[&sound[..], &[0]].concat(), 16384), "after the ClientHello");
    at(&records(&[&sound[..], &sound].concat(), 60), "after the ClientHello");
    for bytes in [&b"\x16\x02"[..], b"\x15\x03", b"GET / HTTP/1.1\r\n", b"\x16\x04\x01"] {
        assert_eq!(parse(bytes, Limits::default()), Parsed::NotTls);
        assert!(settles(bytes, verdict).is_some());
    }
}

#[test]
fn limits() {
    // A padding extension (RFC 7685) fills the message up to the limit.
    let room = MESSAGE_BYTES - message(&body(&[extension(21, b"")])).len();
    let full = message(&body(&[extension(21, &vec![0; room])]));
    assert_eq!(full.len(), MESSAGE_BYTES);
    assert!(matches!(parse(&records(&full, 16384), Limits::default()), Parsed::Hello(_)));
    assert!(matches!(parse(&records(&full, 128), Limits::default()), Parsed::Hello(_)));
    assert!(matches!(parse(&records(&full, 127), Limits::default()), Parsed::Malformed(_)));
    let over = message(&body(&[extension(21, &vec![0; room + 1])]));
    assert!(matches!(parse(&records(&over, 16384), Limits::default()), Parsed::Malformed(_)));
    let small = Limits { message_bytes: 100, records: 2 };
    let message = message(&body(&[]));
    assert!(matches!(parse(&records(&message, message.len().div_ceil(2)), small), Parsed::Hello(_)));
    assert!(matches!(parse(&records(&message, message.len().div_ceil(3)), small), Parsed::Malformed(_)));
    assert!(matches!(parse(&records(&full, 16384), small), Parsed::Malformed(_)));
}

#[test]
fn bodies_that_break_the_rules() {
    let bad = |body: &[u8], part| {
        let bytes = records(&message(body), 16384);
        assert_eq!(is_malformed(&bytes, part), bytes.len());
    };
    let sound = body(&[sni("a.example"), protocols(&[b"h2"]), versions(&[0x0304])]);
    for len in (0..sound.len()).filter(|len| *len != fixed().len()) {
        bad(&sound[..len], "ClientHello");
    }
    bad(&[&sound[..], &[0]].concat(), "after the extensions");
    let with = |at: usize, byte| {
        let mut changed = fixed();
        changed[at] = byte;
        changed
    };
    bad(&with(0, 2), "major");
    bad(&with(34, 33), "session id");
    bad(&with(68, 3), "two-byte numbers");
    bad(&with(68, 0), "two-byte numbers");
    bad(&with(73, 0), "compression");

    let bad = |extensions: &[Vec<u8>], part| bad(&body(extensions), part);
    bad(&[sni("a.example"), sni("b.example")], "comes twice");
    bad(&[extension(51, b""), versions(&[0x0304]), extension(51, b"")], "comes twice");
    bad(&[extension(0, b"")], "one host name");
    bad(&[extension(0, b"\0\0")], "one host name");
    bad(&[extension(0, b"\0\x04\0\0\x01a\0")], "one host name");
    bad(&[extension(0, b"\0\x04\x01\0\x01a")], "one host name");
    bad(&[extension(0, b"\0\x08\0\0\x01a\0\0\x01b")], "one host name");
    bad(&[extension(0, b"\0\x03\0\0\0")], "DNS name");
    bad(&[sni("a.example.")], "dot");
    bad(&[sni("192.0.2.1")], "IP address");
    bad(&[sni("2001:db8::1")], "IP address");
    bad(&[sni("a\0.example")], "DNS name");
    bad(&[sni("b\u{fc}cher.example")], "ASCII");
    bad(&[extension(16, b"")], "ALPN");
    bad(&[protocols(&[])], "ALPN");
    bad(&[protocols(&[b"h2", b""])], "empty");
    bad(&[extension(16, b"\0\x03\x03h2")], "ALPN");
    bad(&[extension(16, b"\0\x03\x02h2x")], "ALPN");
    bad(&[versions(&[])], "supported_versions");
    bad(&[extension(43, b"\x03\x03\x04\x03")], "supported_versions");
    bad(&[extension(43, b"\x02\x03\x04\x03")], "supported_versions");
    bad(&[extension(43, b"\x04\x03\x04")], "supported_versions");
}

#[test]
fn garbage_has_one_verdict() {
    let mut rng = Rng::new(0x5eed_0004);
    let sound = wire(&[sni("a.example"), protocols(&[b"h2"]), versions(&[0x0304])]);
    let split = records(&message(&body(&[sni("a.example"), protocols(&[b"h2"])])), 50);
    let starts: [&[u8]; 4] =
        [b"", b"\x16\x03\x01", b"\x16\x03\x01\0\x40\x01\0\0\x3c\x03\x03", b"\x16\x03\x01\0\x01\x01"];
    for _ in 0..10_000 {
        let len = rng.below(120);
        let mut bytes = rng.pick(&starts).to_vec();
        bytes.extend(rng.bytes(len));
        settles(&bytes, verdict);
        let mut bytes = rng.pick(&[&sound, &split]).to_vec();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len());
            bytes[at] = rng.bits() as u8;
        }
        settles(&bytes, verdict);
    }
}
