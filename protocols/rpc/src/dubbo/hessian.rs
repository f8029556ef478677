//! hessian2, as far as it takes to find what stands behind the arguments: values are skipped, not built ("Hessian 2.0
//! Serialization Protocol", section 4 and its bytecode map).

use std::ops::Range;

use crate::CodecError;

/// Values within values.
const MAX_DEPTH: u32 = 64;

/// Reads one value after the other. What has been seen of classes and of values that may be referred to is remembered.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The number of fields of each class that was defined.
    classes: Vec<usize>,
    types: usize,
    /// Lists, maps and objects so far.
    referable: usize,
}

/// A string: null, or its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Null,
    /// In one piece at this place.
    Plain(Range<usize>),
    /// In several pieces.
    Chunked,
}

/// Bytes that are looked at together.
const LANE: usize = 64;

const TRUNCATED: CodecError = CodecError::malformed("hessian_truncated");
const UNKNOWN: CodecError = CodecError::malformed("hessian_unknown_tag");

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, classes: Vec::new(), types: 0, referable: 0 }
    }

    /// Where the next value begins.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The tag of the next value.
    pub(super) fn peek(&self) -> Result<u8, CodecError> {
        self.bytes.get(self.at).copied().ok_or(TRUNCATED)
    }

    /// Reads a string or null; `None`, and nothing is read, if it is something else.
    pub(super) fn text(&mut self) -> Result<Option<Text>, CodecError> {
        let tag = self.peek()?;
        Ok(Some(match tag {
            b'N' => {
                self.at += 1;
                Text::Null
            }
            0x00..=0x1f | 0x30..=0x33 | b'S' => {
                self.at += 1;
                Text::Plain(self.chars(tag)?)
            }
            b'R' => {
                self.skip()?;
                Text::Chunked
            }
            _ => return Ok(None),
        }))
    }

    /// Skips a value.
    pub(super) fn skip(&mut self) -> Result<(), CodecError> {
        self.value(0)
    }

    /// Begins a map: false if the next value is none. Its entries follow, then [`end`](Self::end).
    pub(super) fn map(&mut self) -> Result<bool, CodecError> {
        let tag = self.peek()?;
        if !matches!(tag, b'H' | b'M') {
            return Ok(false);
        }
        self.at += 1;
        if tag == b'M' {
            self.type_name()?;
        }
        self.referable += 1;
        Ok(true)
    }

    /// Whether a list or map of unknown length ends here, and past its end.
    pub(super) fn end(&mut self) -> Result<bool, CodecError> {
        let end = self.peek()? == b'Z';
        self.at += usize::from(end);
        Ok(end)
    }

    fn value(&mut self, depth: u32) -> Result<(), CodecError> {
        if depth > MAX_DEPTH {
            return Err(CodecError::malformed("hessian_too_deep"));
        }
        let tag = self.byte()?;
        match tag {
            0x00..=0x1f | 0x30..=0x33 | b'S' => self.chars(tag).map(drop),
            b'R' => self.pieces(b'R', b'S', Self::chars),
            0x20..=0x2f | 0x34..=0x37 | b'B' => self.binary(tag).map(drop),
            b'A' => self.pieces(b'A', b'B', Self::binary),
            b'N' | b'T' | b'F' | 0x5b | 0x5c | 0x80..=0xbf | 0xd8..=0xef => Ok(()),
            0x5d | 0xc0..=0xcf | 0xf0..=0xff => self.bytes(1),
            0x5e | 0xd0..=0xd7 | 0x38..=0x3f => self.bytes(2),
            b'I' | b'Y' | 0x4b | 0x5f => self.bytes(4),
            b'L' | b'D' | 0x4a => self.bytes(8),
            b'Q' => self.reference(),
            b'C' => {
                self.class()?;
                self.value(depth)
            }
            b'O' => {
                let class = self.int()?;
                self.object(class, depth)
            }
            0x60..=0x6f => self.object(usize::from(tag - 0x60), depth),
            b'H' | b'M' | b'U' | b'W' => {
                self.referable += 1;
                if matches!(tag, b'M' | b'U') {
                    self.type_name()?;
                }
                while !self.end()? {
                    self.value(depth + 1)?;
                }
                Ok(())
            }
            b'V' | 0x70..=0x77 => {
                self.type_name()?;
                let len = if tag == b'V' { self.int()? } else { usize::from(tag - 0x70) };
                self.values(len, depth)
            }
            b'X' => {
                let len = self.int()?;
                self.values(len, depth)
            }
            0x78..=0x7f => self.values(usize::from(tag - 0x78), depth),
            _ => Err(UNKNOWN),
        }
    }

    /// The elements of a list. Each takes a byte at least, so that a length which is only claimed ends soon.
    fn values(&mut self, len: usize, depth: u32) -> Result<(), CodecError> {
        self.referable += 1;
        (0..len).try_for_each(|_| self.value(depth + 1))
    }

    fn object(&mut self, class: usize, depth: u32) -> Result<(), CodecError> {
        let unknown = CodecError::malformed("hessian_unknown_class");
        let fields = *self.classes.get(class).ok_or(unknown)?;
        self.values(fields, depth)
    }

    fn class(&mut self) -> Result<(), CodecError> {
        self.string()?;
        let fields = self.int()?;
        (0..fields).try_for_each(|_| self.string())?;
        self.classes.push(fields);
        Ok(())
    }

    fn reference(&mut self) -> Result<(), CodecError> {
        let to = self.int()?;
        if to < self.referable { Ok(()) } else { Err(CodecError::malformed("hessian_unknown_reference")) }
    }

    /// A type: its name, or the number of one that was there before.
    fn type_name(&mut self) -> Result<(), CodecError> {
        if matches!(self.peek()?, 0x00..=0x1f | 0x30..=0x33 | b'R' | b'S') {
            self.types += 1;
            return self.string();
        }
        let to = self.int()?;
        if to < self.types { Ok(()) } else { Err(CodecError::malformed("hessian_unknown_type")) }
    }

    fn string(&mut self) -> Result<(), CodecError> {
        match self.text()? {
            Some(Text::Plain(_) | Text::Chunked) => Ok(()),
            Some(Text::Null) | None => Err(CodecError::malformed("hessian_not_a_string")),
        }
    }

    /// An int that counts something.
    fn int(&mut self) -> Result<usize, CodecError> {
        let tag = self.byte()?;
        let number = |high: u8, zero: u8| (i64::from(high) - i64::from(zero)) << 8;
        let value = match tag {
            0x80..=0xbf => i64::from(tag) - 0x90,
            0xc0..=0xcf => number(tag, 0xc8) + i64::from(self.byte()?),
            0xd0..=0xd7 => ((number(tag, 0xd4) + i64::from(self.byte()?)) << 8) + i64::from(self.byte()?),
            b'I' => {
                let four = self.bytes.get(self.at..self.at + 4).ok_or(TRUNCATED)?;
                self.at += 4;
                four.try_into().map(i32::from_be_bytes).map_or(-1, i64::from)
            }
            _ => return Err(CodecError::malformed("hessian_not_an_int")),
        };
        usize::try_from(value).map_err(|_| CodecError::malformed("hessian_negative_length"))
    }

    /// The text behind a tag: its length counts UTF-16 units, each character has one to three bytes, or four for two
    /// units from writers that do not know Java's surrogates.
    fn chars(&mut self, tag: u8) -> Result<Range<usize>, CodecError> {
        let mut units = match tag {
            0x30..=0x33 => usize::from(tag - 0x30) << 8 | usize::from(self.byte()?),
            b'R' | b'S' => usize::from(self.byte()?) << 8 | usize::from(self.byte()?),
            short => usize::from(short),
        };
        let start = self.at;
        if self.bytes.get(start..start + units).is_some_and(<[u8]>::is_ascii) {
            self.at += units;
            return Ok(start..self.at);
        }
        while units > 0 {
            // Most text is ASCII, of which many bytes are looked at together.
            let many = units.min(LANE);
            if self.bytes.get(self.at..self.at + many).is_some_and(<[u8]>::is_ascii) {
                self.at += many;
                units -= many;
                continue;
            }
            units = self.characters(units, many)?;
        }
        Ok(start..self.at)
    }

    /// At least `many` of so many units, one character after the other; those that are left.
    fn characters(&mut self, mut units: usize, many: usize) -> Result<usize, CodecError> {
        let enough = units - many;
        while units > enough {
            let (len, counts) = match self.peek()? {
                0x00..=0x7f => (1, 1),
                0xc0..=0xdf => (2, 1),
                0xe0..=0xef => (3, 1),
                0xf0..=0xf7 => (4, 2),
                _ => return Err(CodecError::malformed("hessian_malformed_text")),
            };
            self.bytes(len)?;
            units = units.saturating_sub(counts);
        }
        Ok(units)
    }

    fn binary(&mut self, tag: u8) -> Result<Range<usize>, CodecError> {
        let len = match tag {
            0x34..=0x37 => usize::from(tag - 0x34) << 8 | usize::from(self.byte()?),
            b'A' | b'B' => usize::from(self.byte()?) << 8 | usize::from(self.byte()?),
            short => usize::from(short.saturating_sub(0x20)),
        };
        let start = self.at;
        self.bytes(len)?;
        Ok(start..self.at)
    }

    /// Pieces up to the last one, whose tag is `last` or a short form of it; the first one's tag has been read.
    fn pieces(
        &mut self,
        more: u8,
        last: u8,
        piece: fn(&mut Self, u8) -> Result<Range<usize>, CodecError>,
    ) -> Result<(), CodecError> {
        piece(self, more)?;
        loop {
            let tag = self.byte()?;
            let short = if last == b'S' {
                matches!(tag, 0x00..=0x1f | 0x30..=0x33)
            } else {
                matches!(tag, 0x20..=0x2f | 0x34..=0x37)
            };
            if tag != more && tag != last && !short {
                return Err(UNKNOWN);
            }
            piece(self, tag)?;
            if tag != more {
                return Ok(());
            }
        }
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn bytes(&mut self, count: usize) -> Result<(), CodecError> {
        let end = self.at.saturating_add(count);
        if end > self.bytes.len() {
            return Err(TRUNCATED);
        }
        self.at = end;
        Ok(())
    }
}

/// Writes a string in pieces of at most 32 Ki units, as Java's `Hessian2Output` does.
pub(super) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    const PIECE: usize = 0x8000;
    // Characters of four bytes are two units of three bytes each (CESU-8).
    let text = String::from_utf8_lossy(text);
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut rest = units.as_slice();
    loop {
        let mut len = rest.len().min(PIECE);
        // A pair of surrogates stays together.
        if len < rest.len() && rest.get(len - 1).is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            len -= 1;
        }
        let (piece, after) = rest.split_at(len);
        let [high, low] = (len as u16).to_be_bytes();
        match (after.is_empty(), len) {
            (false, _) => out.extend([b'R', high, low]),
            (true, 0..=31) => out.push(low),
            (true, 32..=1023) => out.extend([0x30 + high, low]),
            (true, _) => out.extend([b'S', high, low]),
        }
        for unit in piece {
            let unit = *unit;
            match unit {
                0..=0x7f => out.push(unit as u8),
                0x80..=0x7ff => out.extend([0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
                _ => {
                    out.extend([0xe0 | (unit >> 12) as u8, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8])
                }
            }
        }
        if after.is_empty() {
            return;
        }
        rest = after;
    }
}
