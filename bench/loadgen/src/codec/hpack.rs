//! As much of HPACK (RFC 7541) as a client needs that keeps no dynamic table and allows the server none: it asks for
//! a table of size 0, so what comes is of the static table or literal.

/// The static table's entries that tell a status (RFC 7541, appendix A), from this index on.
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
const FIRST_STATUS: u64 = 8;
const LAST_STATUS: u64 = 14;
/// Entries of the static table.
const STATIC: u64 = 61;

/// What a client wants to know of a header block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u16>,
}

/// Adds a field as a literal that is not indexed, without Huffman coding.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    for text in [name, value] {
        write_length(out, text.len());
        out.extend_from_slice(text.as_bytes());
    }
}

/// Reads a header block.
pub(super) fn read(mut block: &[u8]) -> Option<Fields> {
    let mut fields = Fields::default();
    while let Some(first) = block.first().copied() {
        if first & 0x80 != 0 {
            let index = integer(&mut block, 7)?;
            if (FIRST_STATUS..=LAST_STATUS).contains(&index) {
                fields.status = STATUSES.get((index - FIRST_STATUS) as usize).copied();
            } else if index == 0 || index > STATIC {
                return None;
            }
        } else if first & 0xe0 == 0x20 {
            // An update of the table's size, which can be 0 alone.
            if integer(&mut block, 5)? != 0 {
                return None;
            }
        } else {
            let bits = if first & 0xc0 == 0x40 { 6 } else { 4 };
            let name = match integer(&mut block, bits)? {
                0 => Name::of(string(&mut block)?),
                FIRST_STATUS..=LAST_STATUS => Name::Status,
                index if index <= STATIC => Name::Other,
                _ => return None,
            };
            let value = string(&mut block)?;
            match name {
                Name::Status => fields.status = number(value),
                Name::GrpcStatus => fields.grpc_status = number(value),
                Name::Other => {}
            }
        }
    }
    Some(fields)
}

#[derive(Clone, Copy)]
enum Name {
    Status,
    GrpcStatus,
    Other,
}

/// A string as it stands in the block, and whether it is Huffman-coded.
type Coded<'a> = (&'a [u8], bool);

impl Name {
    fn of((text, huffman): Coded<'_>) -> Self {
        let is = |name: &str| if huffman { huffman_of(name) == text } else { name.as_bytes() == text };
        match () {
            () if is("grpc-status") => Self::GrpcStatus,
            () if is(":status") => Self::Status,
            () => Self::Other,
        }
    }
}

/// Codes of the few characters that are looked for (RFC 7541, appendix B): the code and its length in bits.
fn code(byte: u8) -> (u32, u32) {
    match byte {
        b'0'..=b'2' => (u32::from(byte - b'0'), 5),
        b'3'..=b'9' => (0x19 + u32::from(byte - b'3'), 6),
        b'a' => (0x3, 5),
        b'c' => (0x4, 5),
        b's' => (0x8, 5),
        b't' => (0x9, 5),
        b'-' => (0x16, 6),
        b'g' => (0x26, 6),
        b'p' => (0x2b, 6),
        b'r' => (0x2c, 6),
        b'u' => (0x2d, 6),
        b':' => (0x5c, 7),
        // Never asked for: the end of a string, which no text holds.
        _ => (0x3fff_ffff, 30),
    }
}

fn huffman_of(text: &str) -> Vec<u8> {
    let (mut out, mut bits, mut held) = (Vec::new(), 0u64, 0);
    for (code, length) in text.bytes().map(code) {
        bits = bits << length | u64::from(code);
        held += length;
        while held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    if held > 0 {
        out.push((bits << (8 - held)) as u8 | (0xff >> held));
    }
    out
}

/// A number of few digits.
fn number((text, huffman): Coded<'_>) -> Option<u16> {
    if !huffman {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let all = text.get(..text.len().min(8))?.iter().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
    let (mut left, mut value) = (8 * text.len().min(8) as u32, 0u16);
    // What is left below a code is padding of ones.
    while left >= 5 {
        let five = all >> (left - 5) & 0x1f;
        let six = if left >= 6 { all >> (left - 6) & 0x3f } else { 0x3f };
        let (digit, used) = match (five, six) {
            (0..=2, _) => (five, 5),
            (_, 0x19..=0x1f) => (six - 0x19 + 3, 6),
            _ => break,
        };
        value = value.checked_mul(10)?.checked_add(digit as u16)?;
        left -= used;
    }
    (left < 8 && all & ((1 << left) - 1) == (1 << left) - 1).then_some(value)
}

/// RFC 7541 section 5.1.
fn integer(block: &mut &[u8], bits: u32) -> Option<u64> {
    let (first, mut rest) = block.split_first()?;
    let most = (1u64 << bits) - 1;
    let mut value = u64::from(*first) & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (byte, after) = rest.split_first()?;
            rest = after;
            value = value.checked_add(u64::from(byte & 0x7f) << shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 28 {
                return None;
            }
        }
    }
    *block = rest;
    Some(value)
}

fn string<'a>(block: &mut &'a [u8]) -> Option<Coded<'a>> {
    let huffman = block.first()? & 0x80 != 0;
    let length = usize::try_from(integer(block, 7)?).ok()?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    Some((text, huffman))
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    if length < 127 {
        out.push(length as u8);
        return;
    }
    out.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_in_all_their_forms() {
        let status = |block: &[u8]| read(block).and_then(|fields| fields.status);
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x20, 0x8d]), Some(404));
        // RFC 7541 appendix C.6.1: 302, Huffman-coded, under an indexed name.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        assert_eq!(status(&[0x08, 3, b'5', b'0', b'3']), Some(503));
        for text in ["100", "299", "345", "678", "999"] {
            let mut block = vec![0x08, 0x80 | huffman_of(text).len() as u8];
            block.extend(huffman_of(text));
            assert_eq!(status(&block), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn grpc_statuses_plain_and_coded() {
        let mut block = Vec::new();
        write_field(&mut block, "grpc-status", "14");
        assert_eq!(read(&block).unwrap().grpc_status, Some(14));
        let name = huffman_of("grpc-status");
        let block = [&[0, 0x80 | name.len() as u8][..], &name, &[1, b'0']].concat();
        assert_eq!(read(&block).unwrap().grpc_status, Some(0));
    }

    #[test]
    fn what_is_cut_or_of_a_table_that_is_not_there_is_refused() {
        for block in [
            &[0xbe][..],
            &[0x80],
            &[0x3f, 0xe1, 0x1f],
            &[0x00, 5, b'a'],
            &[0x7f],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(read(block), None, "{block:x?}");
        }
        let mut long = Vec::new();
        write_field(&mut long, "a", &"b".repeat(1000));
        assert_eq!(read(&long), Some(Fields::default()));
    }
}
