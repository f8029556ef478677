//! Header blocks (RFC 7541): written in the plainest way, read in all ways that may come.

/// A block of literal fields, without indexing and Huffman codes.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes())).collect()
}

/// One literal field, whatever its bytes.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        integer(text.len(), 7, 0, &mut out);
        out.extend_from_slice(text);
    }
    out
}

/// A literal field that enters the dynamic table.
pub(crate) fn indexed_literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = literal(name, value);
    out[0] = 0x40;
    out
}

/// A number with a prefix of `bits` (RFC 7541, section 5.1).
pub(crate) fn integer(mut value: usize, bits: u8, pattern: u8, out: &mut Vec<u8>) {
    let most = (1_usize << bits) - 1;
    if value < most {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | most as u8);
    value -= most;
    while value >= 128 {
        out.push(0x80 | (value % 128) as u8);
        value /= 128;
    }
    out.push(value as u8);
}

/// Reads the blocks of one direction of a connection.
#[derive(Default)]
pub(crate) struct Decoder {
    table: Vec<(String, String)>,
}

impl Decoder {
    /// The fields of a whole block.
    pub(crate) fn decode(&mut self, mut block: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while let Some(first) = block.first().copied() {
            if first & 0x80 != 0 {
                let index = number(&mut block, 7);
                fields.push(self.field(index));
            } else if first & 0xe0 == 0x20 {
                number(&mut block, 5);
            } else {
                let kept = first & 0x40 != 0;
                let name = match number(&mut block, if kept { 6 } else { 4 }) {
                    0 => text(&mut block),
                    index => self.field(index).0,
                };
                let field = (name, text(&mut block));
                if kept {
                    self.table.insert(0, field.clone());
                }
                fields.push(field);
            }
        }
        fields
    }

    fn field(&self, index: usize) -> (String, String) {
        match STATIC.get(index - 1) {
            Some((name, value)) => ((*name).to_owned(), (*value).to_owned()),
            None => self.table[index - 1 - STATIC.len()].clone(),
        }
    }
}

fn number(block: &mut &[u8], bits: u8) -> usize {
    let most = (1_usize << bits) - 1;
    let mut next = || {
        let (first, rest) = block.split_first().unwrap();
        *block = rest;
        usize::from(*first)
    };
    let mut value = next() & most;
    if value < most {
        return value;
    }
    let mut shift = 0;
    loop {
        let byte = next();
        value += (byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

fn text(block: &mut &[u8]) -> String {
    let huffman = block[0] & 0x80 != 0;
    let length = number(block, 7);
    let (text, rest) = block.split_at(length);
    *block = rest;
    if huffman { unhuffman(text) } else { String::from_utf8(text.to_vec()).unwrap() }
}

/// The symbols by the length of their codes, which are canonical (RFC 7541, appendix B): those that appear in tests.
const CODES: [(u32, &[u8]); 8] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
];

fn unhuffman(bytes: &[u8]) -> String {
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| u32::from(byte >> shift) & 1));
    let mut text = String::new();
    'symbols: loop {
        let (mut code, mut length, mut first) = (0, 0, 0);
        for (size, symbols) in CODES {
            while length < size {
                let Some(bit) = bits.next() else { break 'symbols };
                (code, length, first) = (code << 1 | bit, length + 1, first << 1);
            }
            if let Some(symbol) = symbols.get((code - first) as usize) {
                text.push(char::from(*symbol));
                continue 'symbols;
            }
            first += symbols.len() as u32;
        }
        // The padding is the beginning of a code that is longer than any here.
        break;
    }
    text
}

/// RFC 7541, appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[test]
fn blocks_are_read_as_rfc_7541_shows_them() {
    // Appendix C.6.1: a response with Huffman codes.
    let bytes = [
        0x48, 0x82, 0x64, 0x02, 0x58, 0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b, 0x61, 0x96, 0xd0, 0x7a, 0xbe, 0x94, 0x10,
        0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
    ];
    let mut decoder = Decoder::default();
    let date = ("date".to_owned(), "Mon, 21 Oct 2013 20:13:21 GMT".to_owned());
    let expected = [(":status", "302"), ("cache-control", "private")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(decoder.decode(&bytes), [&expected[..], std::slice::from_ref(&date)].concat());
    assert_eq!(decoder.decode(&[0xbe]), [date]);
    assert_eq!(decoder.decode(&block(&[("a", "b")])), [("a".to_owned(), "b".to_owned())]);
}
