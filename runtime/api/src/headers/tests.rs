//! Edits, lines, frames.

use super::*;

#[test]
fn edits_keep_order_and_repeated_names() {
    let mut headers = Headers::over(Chunk::from("Host: a\r\nX-One: 1\r\nx-one: 2\r\n"), 4);
    headers.push_received(0..4, 6..7);
    headers.push_received(9..14, 16..17);
    headers.push_received(19..24, 26..27);
    assert_eq!(headers.known(Known::Host), Some(&b"a"[..]));
    assert_eq!(headers.all("X-ONE").collect::<Vec<_>>(), [b"1", b"2"]);
    headers.append("via", b"1.1 ringway").unwrap();
    assert_eq!(headers.known(Known::Via), Some(&b"1.1 ringway"[..]));
    headers.set("x-one", b"3").unwrap();
    assert_eq!(headers.all("x-one").collect::<Vec<_>>(), [b"3"]);
    headers.remove("HOST");
    assert!(!headers.has(Known::Host));
    assert_eq!(headers.len(), 2);
}

#[test]
fn untouched_lines_are_written_in_one_piece() {
    let mut headers = Headers::over_lines(Chunk::from("A: 1\r\nB:2\r\nC: 3 \r\nD: 4\r\nE: 5\r\n"), 4);
    for (name, value) in [(0..1, 3..4), (6..7, 8..9), (11..12, 14..15), (18..19, 21..22), (24..25, 27..28)] {
        headers.push_received(name, value);
    }
    headers.append_known(Known::Via, b"x").unwrap();
    let lines = |headers: &Headers| {
        let mut all = Vec::new();
        headers.write_lines(
            |known| known.is_none(),
            |line| match line {
                Line::Raw(raw) => all.push(String::from_utf8_lossy(raw).into_owned()),
                Line::Field(name, value) => all.push(String::from_utf8_lossy(&[name, value].concat()).into_owned()),
            },
        );
        all
    };
    assert_eq!(lines(&headers), ["A: 1\r\nB:2\r\n", "C3", "D: 4\r\nE: 5\r\n"]);
    headers.remove("D");
    headers.set("a", b"9").unwrap();
    assert_eq!(lines(&headers), ["B:2\r\n", "C3", "E: 5\r\n", "a9"]);
}

#[test]
fn nothing_that_would_split_a_message_gets_in() {
    let mut headers = Headers::new();
    for (name, value) in
        [("a b", "x"), ("", "x"), ("a", "x\r\ny: z"), ("a", "\0"), ("a:", "x"), ("a", " x"), ("a", "x\n")]
    {
        assert_eq!(headers.append(name, value.as_bytes()), Err(InvalidField), "{name:?} {value:?}");
        assert_eq!(headers.set(name, value.as_bytes()), Err(InvalidField), "{name:?} {value:?}");
    }
    assert!(headers.is_empty());
}
