//! Header compression as a client can break it (RFC 7541).

use crate::hpack::{block, indexed_literal, integer};
use crate::server::Outcome::{self, Answered, GoAway};
use crate::server::{GET, Server, check};
use crate::wire::{
    CONTINUATION, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PROTOCOL_ERROR, RST_STREAM, frame,
};

/// RFC 9113, section 4.3 has COMPRESSION_ERROR; the h2 crate says so in other words.
const BROKEN: Outcome = GoAway(PROTOCOL_ERROR);

fn request(block: impl AsRef<[u8]>) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 3, block)
}

fn number(value: usize, bits: u8, pattern: u8) -> Vec<u8> {
    let mut out = Vec::new();
    integer(value, bits, pattern, &mut out);
    out
}

#[test]
fn blocks_that_cannot_be_read() {
    let good = block(&GET);
    let after = |more: &[u8]| request([&good[..], more].concat());
    let before = |first: &[u8]| request([first, &good[..]].concat());
    let cases: &[(&str, Vec<u8>, Outcome)] = &[
        ("index 0", after(&[0x80]), BROKEN),
        ("an index past the tables", after(&[0x80 | 62]), BROKEN),
        ("a great index", after(&number(1 << 20, 7, 0x80)), BROKEN),
        ("an index that is too great a number", after(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), BROKEN),
        ("a name's index past the tables", after(&[&number(90, 6, 0x40)[..], &[1, b'x']].concat()), BROKEN),
        ("a name cut off", request(&good[..good.len() - 12]), BROKEN),
        ("a length beyond the end", after(&[0, 1, b'x', 50, b'y']), BROKEN),
        ("a length without end", after(&[0, 0x7f, 0xff, 0xff, 0xff]), BROKEN),
        ("a wrong Huffman code", after(&[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]), BROKEN),
        ("a table larger than allowed", before(&number(4097, 5, 0x20)), BROKEN),
        ("a table changed at the end", after(&[0x20]), BROKEN),
        ("a table of nothing", before(&[0x20]), Answered(3, 200)),
        ("a table as large as allowed", before(&[&[0x20][..], &number(4096, 5, 0x20)].concat()), Answered(3, 200)),
        ("indexes of the static table", request([0x82, 0x84, 0x86, 0x41, 1, b'a']), Answered(3, 200)),
        ("a field that is never indexed", after(&[0x10, 1, b'x', 1, b'y']), Answered(3, 200)),
    ];
    for (what, bytes, expected) in cases {
        check(what, bytes, *expected);
    }
}

#[test]
fn the_table_forgets_what_does_not_fit() {
    let mut server = Server::start();
    // Two fields of 2,000 bytes fit into 4,096 with their 32 each; a third pushes the first out.
    let value = vec![b'v'; 1900];
    let fields: Vec<_> = (0..3).flat_map(|at| indexed_literal(format!("x-{at}").as_bytes(), &value)).collect();
    let frames = server.round(request([block(&GET), fields].concat()));
    assert_eq!(server.outcome_of(&frames), Answered(3, 200));
    let again = frame(HEADERS, END_HEADERS | END_STREAM, 5, [block(&GET), vec![0x80 | 62, 0x80 | 63]].concat());
    let frames = server.round(again);
    assert_eq!(server.outcome_of(&frames), Answered(5, 200));
    assert!(server.log.borrow().requests[1].header("x-2").is_some());
    assert!(server.log.borrow().requests[1].header("x-1").is_some());
    let gone = frame(HEADERS, END_HEADERS | END_STREAM, 7, [block(&GET), vec![0x80 | 64]].concat());
    let frames = server.round(gone);
    assert_eq!(server.outcome_of(&frames), BROKEN);
}

#[test]
fn heads_that_are_too_large_are_answered() {
    // 60 KiB of fields, in frames of 14,000 bytes.
    let field = block(&[("x", &"y".repeat(14_000))]);
    let mut bytes = frame(HEADERS, END_STREAM, 3, block(&GET));
    for flags in [0, 0, 0, 0, END_HEADERS] {
        bytes.extend(frame(CONTINUATION, flags, 3, &field));
    }
    check("70,000 bytes", bytes, Answered(3, 431));
    let many = block(&vec![("x", "y"); 101]);
    check("101 fields", request([block(&GET), many].concat()), Answered(3, 431));
    let fits = block(&vec![("x", "y"); 96]);
    check("100 fields with the pseudo ones", request([block(&GET), fits].concat()), Answered(3, 200));
}

#[test]
fn a_bomb_is_answered_or_ends_the_connection() {
    // One field of 4,000 bytes in the table, then named again and again at a byte each.
    let bomb = |times: usize| {
        let seed = indexed_literal(b"x", &[b'v'; 4000]);
        [block(&GET), seed, vec![0x80 | 62; times]].concat()
    };
    check("80 KB of 4 KB", request(bomb(20)), Answered(3, 431));
    check("40 MB of 14 KB", request(bomb(10_000)), GoAway(ENHANCE_YOUR_CALM));

    // Bombs below what ends the connection: each is answered, and nothing of them is kept.
    let mut server = Server::start();
    server.round(crate::wire::headers(1, 0, &crate::server::HOLD));
    for at in 0..50 {
        let frames = server.round(frame(HEADERS, END_HEADERS | END_STREAM, 3 + 2 * at, bomb(20)));
        assert_eq!(server.outcome_of(&frames), Answered(3 + 2 * at, 431));
        assert!(frames.iter().all(|frame| frame.kind != RST_STREAM || frame.stream == 3 + 2 * at));
    }
    assert!(server.log.borrow().requests.is_empty());
    assert_eq!(server.control.pooled(), 0, "no received buffer is kept");
    server.assert_alive("bombs");
}
