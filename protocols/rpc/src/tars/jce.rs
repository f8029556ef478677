//! Fields as Tars encodes them: a byte with the tag and the type, then the value in as many bytes as it needs.

use std::ops::Range;

use crate::CodecError;
use crate::wire::{byte, u16_at, u32_at, u64_at};

pub(super) const BYTE: u8 = 0;
const SHORT: u8 = 1;
const INT: u8 = 2;
const LONG: u8 = 3;
const FLOAT: u8 = 4;
const DOUBLE: u8 = 5;
pub(super) const STRING1: u8 = 6;
pub(super) const STRING4: u8 = 7;
pub(super) const MAP: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 10;
const STRUCT_END: u8 = 11;
const ZERO: u8 = 12;
pub(super) const BYTES: u8 = 13;

/// A tag that does not fit beside the type follows it.
const WIDE_TAG: u8 = 15;
/// Structs, lists and maps in each other.
const MAX_DEPTH: usize = 32;

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// So many bytes are needed, counted from the frame's beginning.
    Need(usize),
    Bad(CodecError),
}

impl Stop {
    fn malformed() -> Self {
        Self::Bad(CodecError::malformed("tars_malformed_field"))
    }

    /// The same of a frame that is there as a whole.
    pub(super) fn in_whole(self) -> CodecError {
        match self {
            Self::Need(_) => CodecError::malformed("tars_truncated"),
            Self::Bad(error) => error,
        }
    }
}

/// Reads fields, from `at` to `end`, of which not all bytes need be there.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) end: usize,
}

/// A field's place.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) tag: u8,
    pub(super) kind: u8,
    /// Where its value begins.
    pub(super) value: usize,
    pub(super) range: Range<usize>,
}

impl Cursor<'_> {
    fn take(&mut self, count: usize) -> Result<Range<usize>, Stop> {
        let from = self.at;
        let to = from.checked_add(count).filter(|to| *to <= self.end).ok_or_else(Stop::malformed)?;
        if to > self.bytes.len() {
            return Err(Stop::Need(to));
        }
        self.at = to;
        Ok(from..to)
    }

    fn take_byte(&mut self) -> Result<u8, Stop> {
        let place = self.take(1)?;
        byte(self.bytes, place.start).ok_or_else(Stop::malformed)
    }

    /// The tag and the type of the next field.
    pub(super) fn head(&mut self) -> Result<(u8, u8), Stop> {
        let head = self.take_byte()?;
        let tag = match head >> 4 {
            WIDE_TAG => self.take_byte()?,
            tag => tag,
        };
        Ok((tag, head & 15))
    }

    /// A whole number.
    pub(super) fn int(&mut self, kind: u8) -> Result<i64, Stop> {
        let width = match kind {
            ZERO => return Ok(0),
            BYTE => 1,
            SHORT => 2,
            INT => 4,
            LONG => 8,
            _ => return Err(Stop::malformed()),
        };
        let at = self.take(width)?.start;
        let value = match width {
            1 => byte(self.bytes, at).map(|value| value.cast_signed().into()),
            2 => u16_at(self.bytes, at).map(|value| value.cast_signed().into()),
            4 => u32_at(self.bytes, at).map(|value| value.cast_signed().into()),
            _ => u64_at(self.bytes, at).map(u64::cast_signed),
        };
        value.ok_or_else(Stop::malformed)
    }

    /// A whole number of 32 bits.
    pub(super) fn int32(&mut self, kind: u8) -> Result<i32, Stop> {
        i32::try_from(self.int(kind)?).map_err(|_| Stop::malformed())
    }

    /// A text's place.
    pub(super) fn string(&mut self, kind: u8) -> Result<Range<usize>, Stop> {
        let len = match kind {
            STRING1 => self.take_byte()?.into(),
            STRING4 => {
                let at = self.take(4)?.start;
                u32_at(self.bytes, at).ok_or_else(Stop::malformed)? as usize
            }
            _ => return Err(Stop::malformed()),
        };
        self.take(len)
    }

    /// How many elements follow; each takes a byte at least.
    fn count(&mut self) -> Result<usize, Stop> {
        let (_, kind) = self.head()?;
        let count = usize::try_from(self.int32(kind)?).map_err(|_| Stop::malformed())?;
        if count > self.end - self.at { Err(Stop::malformed()) } else { Ok(count) }
    }

    /// The length of the bytes that follow.
    pub(super) fn bytes_len(&mut self) -> Result<usize, Stop> {
        match self.head()? {
            (_, BYTE) => self.count(),
            _ => Err(Stop::malformed()),
        }
    }

    /// The next field, if there is one.
    pub(super) fn field(&mut self) -> Result<Option<Field>, Stop> {
        if self.at >= self.end {
            return Ok(None);
        }
        let from = self.at;
        let (tag, kind) = self.head()?;
        let value = self.at;
        self.skip(kind, 0)?;
        Ok(Some(Field { tag, kind, value, range: from..self.at }))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<(), Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Bad(CodecError::malformed("tars_nested_too_deep")));
        }
        match kind {
            BYTE | SHORT | INT | LONG | ZERO => self.int(kind).map(drop),
            FLOAT => self.take(4).map(drop),
            DOUBLE => self.take(8).map(drop),
            STRING1 | STRING4 => self.string(kind).map(drop),
            BYTES => {
                let len = self.bytes_len()?;
                self.take(len).map(drop)
            }
            MAP | LIST => {
                let elements = self.count()? * if kind == MAP { 2 } else { 1 };
                for _ in 0..elements {
                    let (_, kind) = self.head()?;
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            STRUCT => loop {
                match self.head()? {
                    (_, STRUCT_END) => return Ok(()),
                    (_, kind) => self.skip(kind, depth + 1)?,
                }
            },
            _ => Err(Stop::malformed()),
        }
    }
}

/// Tells the entries of a map of texts.
pub(super) fn entries(
    block: &[u8],
    map: &Field,
    mut found: impl FnMut(Range<usize>, Range<usize>),
) -> Result<(), CodecError> {
    let mut cursor = Cursor { bytes: block, at: map.value, end: map.range.end };
    let mut each = || -> Result<(), Stop> {
        if map.kind != MAP {
            return Err(Stop::malformed());
        }
        for _ in 0..cursor.count()? {
            let (_, kind) = cursor.head()?;
            let name = cursor.string(kind)?;
            let (_, kind) = cursor.head()?;
            found(name, cursor.string(kind)?);
        }
        Ok(())
    };
    each().map_err(Stop::in_whole)
}

/// Writes a whole number; tags below 15 only.
pub(super) fn put_int(tag: u8, value: i32, out: &mut Vec<u8>) {
    if value == 0 {
        out.push(tag << 4 | ZERO);
    } else if let Ok(value) = i8::try_from(value) {
        out.push(tag << 4 | BYTE);
        out.extend(value.to_be_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(tag << 4 | SHORT);
        out.extend(value.to_be_bytes());
    } else {
        out.push(tag << 4 | INT);
        out.extend(value.to_be_bytes());
    }
}

pub(super) fn put_string(tag: u8, text: &[u8], out: &mut Vec<u8>) {
    if let Ok(len) = u8::try_from(text.len()) {
        out.extend([tag << 4 | STRING1, len]);
    } else {
        out.push(tag << 4 | STRING4);
        out.extend((text.len() as u32).to_be_bytes());
    }
    out.extend_from_slice(text);
}

/// Writes bytes up to 2 GiB long.
pub(super) fn put_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend([tag << 4 | BYTES, BYTE]);
    put_int(0, i32::try_from(bytes.len()).unwrap_or(i32::MAX), out);
    out.extend_from_slice(bytes);
}

/// Writes a map of texts.
pub(super) fn put_map(tag: u8, entries: &[(&[u8], &[u8])], out: &mut Vec<u8>) {
    out.push(tag << 4 | MAP);
    put_int(0, i32::try_from(entries.len()).unwrap_or(i32::MAX), out);
    for (name, value) in entries {
        put_string(0, name, out);
        put_string(1, value, out);
    }
}
