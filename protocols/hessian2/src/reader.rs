//! Reading and skipping.

mod build;

use std::ops::Range;
use std::sync::Arc;

use crate::text::ascii_len;
use crate::{Class, Error, MAX_DEPTH, MAX_VALUES};

/// Reads one value after the other. Classes, types and values that may be referred to are remembered from one to the
/// next, as the serialization has it. After an error nothing more is to be read.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    classes: Vec<ClassEntry>,
    types: Vec<TypeEntry>,
    /// Lists, maps and objects so far.
    referable: usize,
    /// Where each of them lies, `None` while it has not ended; nothing in a reader that only skips.
    values: Option<Vec<Option<Place>>>,
    /// Classes, their fields and types so far.
    defined: usize,
    /// Values built so far.
    built: usize,
    /// A value is read for the second time: it defines nothing.
    replays: bool,
    /// How many bytes have been read for the second time.
    copied: usize,
    /// How long the names of all values built are together.
    named: usize,
}

/// A string: null, or its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// `null`
    Null,
    /// In one piece at this place of the bytes.
    Plain(Range<usize>),
    /// In several pieces, which were skipped.
    Chunked,
}

#[derive(Debug)]
struct ClassEntry {
    /// Where its name begins.
    at: usize,
    fields: usize,
    /// Once an object of it has been built.
    built: Option<Arc<Class>>,
}

#[derive(Debug)]
struct TypeEntry {
    at: usize,
    built: Option<Arc<str>>,
}

/// Where a value begins and ends.
type Place = (usize, usize);

impl<'a> Reader<'a> {
    /// A reader that begins at the place `at` of `bytes`.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { values: Some(Vec::new()), ..Self::skipping(bytes, at) }
    }

    /// A reader that does not remember the values it has skipped, which saves the memory for their places: one that it
    /// [reads](Self::value) must refer to nothing, else it is [`Error::UnknownReference`].
    pub fn skipping(bytes: &'a [u8], at: usize) -> Self {
        let (classes, types) = (Vec::new(), Vec::new());
        let (referable, values, replays) = (0, None, false);
        Self { bytes, at, classes, types, referable, values, defined: 0, built: 0, replays, copied: 0, named: 0 }
    }

    /// Where the next value begins.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The tag of the next value.
    ///
    /// # Errors
    /// There is none.
    pub fn peek(&self) -> Result<u8, Error> {
        self.bytes.get(self.at).copied().ok_or(Error::Truncated)
    }

    /// Reads a string or null without copying it; `None`, and nothing is read, if it is something else.
    ///
    /// # Errors
    /// It is truncated or malformed. Bytes after the first one of a character are not looked at.
    pub fn text(&mut self) -> Result<Option<Text>, Error> {
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

    /// Skips a value. Nothing is allocated but to remember classes and types.
    ///
    /// # Errors
    /// It is truncated or malformed, or there is more to remember than [`MAX_VALUES`].
    pub fn skip(&mut self) -> Result<(), Error> {
        self.skip_value(0)
    }

    /// Begins a map: false, and nothing is read, if the next value is none. Its entries follow, then
    /// [`end`](Self::end).
    ///
    /// # Errors
    /// Its type is truncated or malformed, or one too many to remember.
    pub fn map(&mut self) -> Result<bool, Error> {
        let tag = self.peek()?;
        if !matches!(tag, b'H' | b'M') {
            return Ok(false);
        }
        self.at += 1;
        if tag == b'M' {
            self.type_name()?;
        }
        self.open()?;
        Ok(true)
    }

    /// Whether a map, or a list of unknown length, ends here, and past its end.
    ///
    /// # Errors
    /// The bytes end here.
    pub fn end(&mut self) -> Result<bool, Error> {
        let end = self.peek()? == b'Z';
        self.at += usize::from(end);
        Ok(end)
    }

    fn skip_value(&mut self, depth: u32) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        self.definitions()?;
        let start = self.at;
        let tag = self.byte()?;
        match tag {
            0x00..=0x1f | 0x30..=0x33 | b'S' => self.chars(tag).map(drop),
            b'R' => self.pieces(tag, |_, _| Ok(())),
            0x20..=0x2f | 0x34..=0x37 | b'B' => self.binary(tag).map(drop),
            b'A' => self.pieces(tag, |_, _| Ok(())),
            b'N' | b'T' | b'F' | 0x5b | 0x5c | 0x80..=0xbf | 0xd8..=0xef => Ok(()),
            0x5d | 0xc0..=0xcf | 0xf0..=0xff => self.take(1).map(drop),
            0x5e | 0xd0..=0xd7 | 0x38..=0x3f => self.take(2).map(drop),
            b'I' | b'Y' | 0x4b | 0x5f => self.take(4).map(drop),
            b'L' | b'D' | 0x4a => self.take(8).map(drop),
            b'Q' => {
                let to = self.int()?;
                if to < self.referable { Ok(()) } else { Err(Error::UnknownReference) }
            }
            b'O' | 0x60..=0x6f => {
                let class = self.class_of(tag)?;
                let fields = self.classes.get(class).ok_or(Error::UnknownClass)?.fields;
                self.skip_values(start, fields, depth)
            }
            b'H' | b'M' | b'U' | b'W' => {
                let opened = self.open()?;
                if matches!(tag, b'M' | b'U') {
                    self.type_name()?;
                }
                while !self.end()? {
                    self.skip_value(depth + 1)?;
                    if matches!(tag, b'H' | b'M') {
                        self.skip_value(depth + 1)?;
                    }
                }
                self.close(opened, start);
                Ok(())
            }
            b'V' | b'X' | 0x70..=0x7f => {
                let (_, len) = self.list_head(tag)?;
                self.skip_values(start, len, depth)
            }
            _ => Err(Error::UnknownTag),
        }
    }

    /// The elements of a list. Each takes a byte at least, so that a length which is only claimed ends soon.
    fn skip_values(&mut self, start: usize, len: usize, depth: u32) -> Result<(), Error> {
        let opened = self.open()?;
        (0..len).try_for_each(|_| self.skip_value(depth + 1))?;
        self.close(opened, start);
        Ok(())
    }

    /// Notes that a value begins which may be referred to, and returns its number.
    fn open(&mut self) -> Result<usize, Error> {
        let number = self.referable;
        if !self.replays {
            self.referable += 1;
            if let Some(values) = &mut self.values {
                if values.len() >= MAX_VALUES {
                    return Err(Error::TooLarge);
                }
                values.push(None);
            }
        }
        Ok(number)
    }

    /// Notes that the value which began at `start` has ended.
    fn close(&mut self, number: usize, start: usize) {
        if !self.replays
            && let Some(place) = self.values.as_mut().and_then(|values| values.get_mut(number))
        {
            *place = Some((start, self.at));
        }
    }

    /// The definitions of classes in front of a value, any number of them.
    fn definitions(&mut self) -> Result<(), Error> {
        while self.peek()? == b'C' {
            self.at += 1;
            let at = self.at;
            self.name()?;
            let fields = self.int()?;
            (0..fields).try_for_each(|_| self.name())?;
            if !self.replays {
                self.define(fields.saturating_add(1))?;
                self.classes.push(ClassEntry { at, fields, built: None });
            }
        }
        Ok(())
    }

    /// Counts what is remembered of classes and types.
    fn define(&mut self, names: usize) -> Result<(), Error> {
        self.defined = self.defined.saturating_add(names);
        if self.defined > MAX_VALUES { Err(Error::TooLarge) } else { Ok(()) }
    }

    /// The number of an object's class.
    fn class_of(&mut self, tag: u8) -> Result<usize, Error> {
        if tag == b'O' { self.int() } else { Ok(usize::from(tag & 0x0f)) }
    }

    /// The type of a list of known length, if it has one, and the length.
    fn list_head(&mut self, tag: u8) -> Result<(Option<usize>, usize), Error> {
        let kind = if matches!(tag, b'V' | 0x70..=0x77) { Some(self.type_name()?) } else { None };
        let len = if matches!(tag, b'V' | b'X') { self.int()? } else { usize::from(tag & 0x07) };
        Ok((kind, len))
    }

    /// A type: its name, or the number of one that was there before. Returns where the name is.
    fn type_name(&mut self) -> Result<usize, Error> {
        let at = self.at;
        if matches!(self.peek()?, 0x00..=0x1f | 0x30..=0x33 | b'R' | b'S') {
            self.name()?;
            if !self.replays {
                self.define(1)?;
                self.types.push(TypeEntry { at, built: None });
            }
            return Ok(at);
        }
        let to = self.int()?;
        self.types.get(to).map(|entry| entry.at).ok_or(Error::UnknownType)
    }

    fn name(&mut self) -> Result<(), Error> {
        match self.text()? {
            Some(Text::Plain(_) | Text::Chunked) => Ok(()),
            Some(Text::Null) | None => Err(Error::NotAString),
        }
    }

    /// An int that counts something.
    fn int(&mut self) -> Result<usize, Error> {
        let tag = self.byte()?;
        let value = match tag {
            0x80..=0xbf | 0xc0..=0xcf | 0xd0..=0xd7 | b'I' => self.int_of(tag)?,
            _ => return Err(Error::NotAnInt),
        };
        usize::try_from(value).map_err(|_| Error::NegativeLength)
    }

    /// The int behind its tag.
    fn int_of(&mut self, tag: u8) -> Result<i32, Error> {
        Ok(match tag {
            0x80..=0xbf => i32::from(tag) - 0x90,
            0xc0..=0xcf => (i32::from(tag) - 0xc8) << 8 | i32::from(self.byte()?),
            0xd0..=0xd7 => (i32::from(tag) - 0xd4) << 16 | i32::from(u16::from_be_bytes(self.array()?)),
            _ => i32::from_be_bytes(self.array()?),
        })
    }

    /// The text behind a tag: its length counts UTF-16 units, each character has one to three bytes, or four for two
    /// units from writers that do not know Java's surrogates.
    fn chars(&mut self, tag: u8) -> Result<Range<usize>, Error> {
        let mut units = match tag {
            0x30..=0x33 => usize::from(tag - 0x30) << 8 | usize::from(self.byte()?),
            b'R' | b'S' => usize::from(u16::from_be_bytes(self.array()?)),
            short => usize::from(short),
        };
        let start = self.at;
        // Nearly all text, and nearly all of it in one look.
        if self.bytes.get(start..start.saturating_add(units)).is_some_and(<[u8]>::is_ascii) {
            self.take(units)?;
            return Ok(start..self.at);
        }
        while units > 0 {
            let (len, counts) = match self.peek()? {
                0x00..=0x7f => {
                    let ahead = self.bytes.get(self.at..).unwrap_or_default();
                    let ascii = ascii_len(ahead.get(..units).unwrap_or(ahead));
                    (ascii, ascii)
                }
                0xc0..=0xdf => (2, 1),
                0xe0..=0xef => (3, 1),
                0xf0..=0xf7 => (4, 2),
                _ => return Err(Error::MalformedText),
            };
            self.take(len)?;
            units = units.saturating_sub(counts);
        }
        Ok(start..self.at)
    }

    fn binary(&mut self, tag: u8) -> Result<Range<usize>, Error> {
        let len = match tag {
            0x34..=0x37 => usize::from(tag - 0x34) << 8 | usize::from(self.byte()?),
            b'A' | b'B' => usize::from(u16::from_be_bytes(self.array()?)),
            short => usize::from(short.saturating_sub(0x20)),
        };
        let start = self.at;
        self.take(len)?;
        Ok(start..self.at)
    }

    /// Pieces of text (`R`) or bytes (`A`) up to the last one, which has another tag; the first one's has been read.
    fn pieces(
        &mut self,
        more: u8,
        mut each: impl FnMut(&mut Self, Range<usize>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut tag = more;
        loop {
            let piece = match (more, tag) {
                (b'R', b'R' | b'S' | 0x00..=0x1f | 0x30..=0x33) => self.chars(tag)?,
                (b'A', b'A' | b'B' | 0x20..=0x2f | 0x34..=0x37) => self.binary(tag)?,
                _ => return Err(Error::UnknownTag),
            };
            each(self, piece)?;
            if tag != more {
                return Ok(());
            }
            tag = self.byte()?;
        }
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let end = self.at.saturating_add(count);
        let taken = self.bytes.get(self.at..end).ok_or(Error::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| Error::Truncated)
    }
}
