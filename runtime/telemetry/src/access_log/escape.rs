//! Bytes that came from outside, made harmless for a line of a log.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::IpAddr;

/// Appends bytes for a text log: printable ASCII stands for itself but `"` and `\`, all else becomes `\xHH`, so that
/// nothing can end a line or a quoted value, or steer a terminal.
pub(super) fn push_text(out: &mut Vec<u8>, mut bytes: &[u8]) {
    if all_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    while let Some(at) = bytes.iter().position(|b| !is_plain(*b)) {
        let (plain, rest) = bytes.split_at(at);
        out.extend_from_slice(plain);
        let Some((odd, rest)) = rest.split_first() else { return };
        match odd {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *odd]),
            _ => out.extend_from_slice(&[b'\\', b'x', hex(odd >> 4), hex(*odd)]),
        }
        bytes = rest;
    }
    out.extend_from_slice(bytes);
}

/// Appends a JSON string with its quotes.
pub(crate) fn push_json_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    push_json_inner(out, bytes);
    out.push(b'"');
}

/// Appends the inside of a JSON string (RFC 8259, section 7). What is not UTF-8 becomes U+FFFD; control characters,
/// and the line separators that some readers take for an end of line, are escaped.
pub(super) fn push_json_inner(out: &mut Vec<u8>, bytes: &[u8]) {
    if all_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\u{2028}' => out.extend_from_slice(b"\\u2028"),
                '\u{2029}' => out.extend_from_slice(b"\\u2029"),
                // All of these are below U+00A0.
                c if c.is_control() => {
                    let code = c as u32 as u8;
                    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(code >> 4), hex(code)]);
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends a number.
pub(super) fn push_decimal(out: &mut Vec<u8>, number: u64) {
    push_padded(out, number, 1, b'0');
}

/// Appends an IP address.
pub(super) fn push_ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        // By hand, since the standard library's formatting takes several times as long.
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                push_decimal(out, octet.into());
            }
        }
        IpAddr::V6(address) => display(out, &address),
    }
}

/// Appends what prints as plain ASCII.
pub(super) fn display(out: &mut Vec<u8>, value: &impl Display) {
    // Writing to a vector cannot fail.
    let _infallible: io::Result<()> = write!(out, "{value}");
}

/// Appends a number, padded on the left to at least `width` (at most 20).
pub(super) fn push_padded(out: &mut Vec<u8>, mut number: u64, width: usize, pad: u8) {
    // Hours, minutes and most other numbers of a log.
    if number < 10 && width < 2 {
        out.push(b'0' + number as u8);
        return;
    }
    if (10..100).contains(&number) && width <= 2 {
        out.extend_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
        return;
    }
    let mut digits = [pad; 20];
    let mut first = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        first = at;
        if number == 0 {
            break;
        }
    }
    let first = first.min(digits.len().saturating_sub(width));
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// Whether every byte stands for itself in text and in JSON.
pub(super) fn all_plain(bytes: &[u8]) -> bool {
    // No early exit: nearly everything is plain, and so the loop is vectorised.
    bytes.iter().fold(true, |all, byte| all & is_plain(*byte))
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// The digit of the lower four bits.
pub(super) fn hex(nibble: u8) -> u8 {
    match nibble & 15 {
        digit @ 0..=9 => b'0' + digit,
        digit => b'a' + digit - 10,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers() {
        for number in (0..1001).chain([12_345, u64::MAX]) {
            let mut out = Vec::new();
            push_decimal(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
        let mut out = Vec::new();
        push_padded(&mut out, 7, 3, b'0');
        push_padded(&mut out, 1234, 3, b'0');
        push_padded(&mut out, 5, 2, b' ');
        assert_eq!(out, b"0071234 5");
    }

    #[test]
    fn addresses() {
        for text in ["0.0.0.0", "10.1.20.255", "::1", "2001:db8::7"] {
            let mut out = Vec::new();
            push_ip(&mut out, text.parse().unwrap());
            assert_eq!(out, text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn text_is_printable_and_closed(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut out = Vec::new();
            push_text(&mut out, &bytes);
            prop_assert!(out.iter().all(|b| matches!(b, b' '..=b'~')));
            let mut at = out.iter();
            while let Some(b) = at.next() {
                prop_assert!(*b != b'"');
                if *b == b'\\' {
                    at.next();
                }
            }
        }

        #[test]
        fn json_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..100), text in ".{0,40}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let mut out = Vec::new();
                push_json_string(&mut out, bytes);
                prop_assert!(!out.iter().any(|b| *b < b' '));
                let back: String = serde_json::from_slice(&out).unwrap();
                prop_assert_eq!(back, String::from_utf8_lossy(bytes));
            }
        }
    }
}
