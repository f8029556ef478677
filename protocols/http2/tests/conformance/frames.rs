//! Frames of the wrong size, on the wrong stream, padded wrongly, out of their order (RFC 9113, sections 4 to 6).

use crate::hpack::block;
use crate::server::Outcome::{self, Answered, GoAway, Ignored, Reset};
use crate::server::{GET, HELD, POST, check};
use crate::wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_SIZE_ERROR, GOAWAY, HEADERS, PADDED, PING, PRIORITY,
    PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, data, frame, goaway, header,
    headers, window_update,
};

fn all(cases: &[(&str, Vec<u8>, Outcome)]) {
    for (what, bytes, expected) in cases {
        check(what, bytes, *expected);
    }
}

#[test]
fn frames_of_the_wrong_size() {
    let size = GoAway(FRAME_SIZE_ERROR);
    all(&[
        // Refused by its header alone.
        ("DATA of 16385", header(16_385, DATA, 0, HELD), size),
        ("HEADERS of 16385", header(16_385, HEADERS, 0, 3), size),
        ("an unknown frame of 2^24-1", header((1 << 24) - 1, 0xfa, 0, 0), size),
        ("SETTINGS of 16386", header(16_386, SETTINGS, 0, 0), size),
        ("PING of 7", frame(PING, 0, 0, [0; 7]), size),
        ("PING of 9", frame(PING, 0, 0, [0; 9]), size),
        ("PING of 0, acknowledging", frame(PING, ACK, 0, []), size),
        ("WINDOW_UPDATE of 3", frame(WINDOW_UPDATE, 0, 0, [0, 0, 1]), size),
        ("WINDOW_UPDATE of 5", frame(WINDOW_UPDATE, 0, HELD, [0, 0, 0, 0, 1]), size),
        ("RST_STREAM of 3", frame(RST_STREAM, 0, HELD, [0; 3]), size),
        ("RST_STREAM of 5", frame(RST_STREAM, 0, HELD, [0; 5]), size),
        // A stream error as RFC 9113 has it; an endpoint may always end the connection (section 5.4.1).
        ("PRIORITY of 4", frame(PRIORITY, 0, HELD, [0; 4]), size),
        ("PRIORITY of 6", frame(PRIORITY, 0, HELD, [0; 6]), size),
        ("GOAWAY of 7", frame(GOAWAY, 0, 0, [0; 7]), size),
        ("HEADERS too short for its priority", frame(HEADERS, END_HEADERS | WITH_PRIORITY, 3, [0; 4]), size),
        ("HEADERS too short for its padding", frame(HEADERS, END_HEADERS | PADDED, 3, []), size),
        ("DATA too short for its padding", frame(DATA, PADDED, HELD, []), size),
        ("DATA of 16384", data(HELD, 0, [0; 16_384]), Ignored),
    ]);
}

#[test]
fn frames_on_the_wrong_stream() {
    let wrong = GoAway(PROTOCOL_ERROR);
    all(&[
        ("DATA on 0", data(0, 0, "x"), wrong),
        ("HEADERS on 0", headers(0, END_STREAM, &GET), wrong),
        ("PRIORITY on 0", frame(PRIORITY, 0, 0, [0, 0, 0, 1, 0]), wrong),
        ("RST_STREAM on 0", frame(RST_STREAM, 0, 0, [0; 4]), wrong),
        ("PING on a stream", frame(PING, 0, HELD, [0; 8]), wrong),
        ("GOAWAY on a stream", frame(GOAWAY, 0, HELD, [0; 8]), wrong),
        ("CONTINUATION on 0", frame(CONTINUATION, END_HEADERS, 0, block(&GET)), wrong),
        ("SETTINGS on a stream", frame(SETTINGS, 0, HELD, []), wrong),
        (
            "PUSH_PROMISE of a client",
            frame(PUSH_PROMISE, END_HEADERS, HELD, [&[0, 0, 0, 2], &block(&GET)[..]].concat()),
            wrong,
        ),
        ("PUSH_PROMISE on 0", frame(PUSH_PROMISE, END_HEADERS, 0, [&[0, 0, 0, 2], &block(&GET)[..]].concat()), wrong),
    ]);
}

#[test]
fn padding() {
    let padded = |length: u8, content: &[u8]| [&[length], content].concat();
    let whole = [&[3], &block(&GET)[..], &[0; 3]].concat();
    all(&[
        ("DATA, padding as long as the frame", frame(DATA, PADDED, HELD, padded(5, b"hello")), Ignored),
        ("DATA, padding longer than the frame", frame(DATA, PADDED, HELD, padded(6, b"hello")), GoAway(PROTOCOL_ERROR)),
        ("DATA, nothing but the length", frame(DATA, PADDED, HELD, [1]), GoAway(PROTOCOL_ERROR)),
        ("DATA, padding of none", frame(DATA, PADDED, HELD, [0]), Ignored),
        ("HEADERS, padding longer", frame(HEADERS, PADDED | END_HEADERS, 3, padded(200, b"x")), GoAway(PROTOCOL_ERROR)),
        ("HEADERS, padded", frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 3, whole), Answered(3, 200)),
    ]);
}

#[test]
fn header_blocks_are_not_interrupted() {
    let block = block(&GET);
    let (front, back) = block.split_at(block.len() / 2);
    let begin = frame(HEADERS, END_STREAM, 3, front);
    let then = |more: &[Vec<u8>]| [&begin[..], &more.concat()].concat();
    let wrong = GoAway(PROTOCOL_ERROR);
    all(&[
        ("whole", then(&[frame(CONTINUATION, END_HEADERS, 3, back)]), Answered(3, 200)),
        (
            "in many",
            then(&[
                frame(CONTINUATION, 0, 3, &back[..1]),
                frame(CONTINUATION, 0, 3, []),
                frame(CONTINUATION, 0, 3, &back[1..]),
                frame(CONTINUATION, END_HEADERS, 3, []),
            ]),
            Answered(3, 200),
        ),
        ("by DATA", then(&[data(HELD, 0, "x")]), wrong),
        ("by HEADERS", then(&[headers(5, END_STREAM, &GET)]), wrong),
        ("by PRIORITY", then(&[frame(PRIORITY, 0, 3, [0, 0, 0, 1, 0])]), wrong),
        ("by PING", then(&[frame(PING, 0, 0, [0; 8])]), wrong),
        ("by SETTINGS", then(&[frame(SETTINGS, 0, 0, [])]), wrong),
        ("by an unknown frame", then(&[frame(0xfa, 0, 3, "x")]), wrong),
        ("by WINDOW_UPDATE", then(&[window_update(0, 1)]), wrong),
        ("by another's CONTINUATION", then(&[frame(CONTINUATION, END_HEADERS, HELD, back)]), wrong),
        ("CONTINUATION after none", frame(CONTINUATION, END_HEADERS, HELD, back), wrong),
        (
            "CONTINUATION after the end",
            then(&[frame(CONTINUATION, END_HEADERS, 3, back), frame(CONTINUATION, END_HEADERS, 3, [])]),
            wrong,
        ),
    ]);
}

#[test]
fn what_is_unknown_is_ignored() {
    all(&[
        ("a type, on the connection", frame(0xfa, 0xff, 0, "whatever"), Ignored),
        ("a type, on a stream that is open", frame(0x42, 0xff, HELD, [0; 1000]), Ignored),
        ("a type, on an idle stream", frame(0xff, 0, 99, ""), Ignored),
        ("a goaway with more to say", [goaway(0, 0), frame(GOAWAY, 0, 0, [0; 40])].concat(), Ignored),
        ("flags of PING", frame(PING, 0xfe, 0, [0; 8]), Ignored),
        ("flags of HEADERS", headers(3, END_STREAM | 0xd2, &GET), Answered(3, 200)),
        ("the reserved bit", headers(0x8000_0003, END_STREAM, &GET), Answered(3, 200)),
    ]);
}

#[test]
fn priorities() {
    let block = block(&POST);
    let prioritised = |on: u32| {
        frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 3, [&on.to_be_bytes()[..], &[7], &block].concat())
    };
    all(&[
        ("of a stream that is open", frame(PRIORITY, 0, HELD, [0, 0, 0, 0, 9]), Ignored),
        ("of an idle stream", frame(PRIORITY, 0, 77, [0, 0, 0, 1, 9]), Ignored),
        ("in HEADERS", prioritised(1), Answered(3, 200)),
        ("on itself, in HEADERS", prioritised(3), Reset(3, PROTOCOL_ERROR)),
    ]);
}
