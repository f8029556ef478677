//! Values, built.

use std::sync::Arc;

use super::Reader;
use crate::text::Joined;
use crate::{Class, Error, MAX_COPIED, MAX_DEPTH, MAX_NAMES, MAX_VALUES, Value};

impl Reader<'_> {
    /// Reads a value with all that is in it. A reference becomes a copy of what it refers to.
    ///
    /// # Errors
    /// It is truncated or malformed, nested too deep, too large, or repeats too much.
    pub fn value(&mut self) -> Result<Value, Error> {
        self.build(0)
    }

    /// Begins an object: `None`, and nothing but definitions is read, if the next value is none. As many values follow as
    /// its class has fields; so one can be read field by field that refers to itself, as Java's exceptions do.
    ///
    /// # Errors
    /// Its class is truncated, malformed, or was not defined; or there is too much of it.
    pub fn object(&mut self) -> Result<Option<Arc<Class>>, Error> {
        self.definitions()?;
        let tag = self.peek()?;
        if !matches!(tag, b'O' | 0x60..=0x6f) {
            return Ok(None);
        }
        self.at += 1;
        let number = self.class_of(tag)?;
        let class = self.class(number)?;
        self.open()?;
        Ok(Some(class))
    }

    fn build(&mut self, depth: u32) -> Result<Value, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        self.definitions()?;
        self.built += 1;
        if self.built > MAX_VALUES {
            return Err(Error::TooLarge);
        }
        let start = self.at;
        let tag = self.byte()?;
        Ok(match tag {
            b'N' => Value::Null,
            b'T' => Value::Bool(true),
            b'F' => Value::Bool(false),
            0x80..=0xd7 | b'I' => Value::Int(self.int_of(tag)?),
            0xd8..=0xff | 0x38..=0x3f | b'Y' | b'L' => Value::Long(self.long_of(tag)?),
            0x5b..=0x5f | b'D' => Value::Double(self.double_of(tag)?),
            0x4a => Value::Date(i64::from_be_bytes(self.array()?)),
            0x4b => Value::Date(i64::from(i32::from_be_bytes(self.array()?)) * 60_000),
            0x00..=0x1f | 0x30..=0x33 | b'S' | b'R' => Value::String(self.string_of(tag)?),
            0x20..=0x2f | 0x34..=0x37 | b'B' | b'A' => Value::Binary(self.binary_of(tag)?),
            b'Q' => self.referred(depth)?,
            b'O' | 0x60..=0x6f => self.fields(tag, start, depth)?,
            b'H' | b'M' => self.entries(tag, start, depth)?,
            b'U' | b'W' | b'V' | b'X' | 0x70..=0x7f => self.items(tag, start, depth)?,
            _ => return Err(Error::UnknownTag),
        })
    }

    fn long_of(&mut self, tag: u8) -> Result<i64, Error> {
        Ok(match tag {
            0xd8..=0xef => i64::from(tag) - 0xe0,
            0xf0..=0xff => (i64::from(tag) - 0xf8) << 8 | i64::from(self.byte()?),
            0x38..=0x3f => (i64::from(tag) - 0x3c) << 16 | i64::from(u16::from_be_bytes(self.array()?)),
            b'Y' => i32::from_be_bytes(self.array()?).into(),
            _ => i64::from_be_bytes(self.array()?),
        })
    }

    fn double_of(&mut self, tag: u8) -> Result<f64, Error> {
        Ok(match tag {
            0x5b => 0.0,
            0x5c => 1.0,
            0x5d => i8::from_be_bytes(self.array()?).into(),
            0x5e => i16::from_be_bytes(self.array()?).into(),
            // Thousandths.
            0x5f => 0.001 * f64::from(i32::from_be_bytes(self.array()?)),
            _ => f64::from_be_bytes(self.array()?),
        })
    }

    fn string_of(&mut self, tag: u8) -> Result<String, Error> {
        let mut text = Joined::default();
        if tag == b'R' {
            self.pieces(tag, |reader, piece| text.push(reader.bytes.get(piece).unwrap_or_default()))?;
        } else {
            let piece = self.chars(tag)?;
            text.push(self.bytes.get(piece).unwrap_or_default())?;
        }
        text.finish()
    }

    fn binary_of(&mut self, tag: u8) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        if tag == b'A' {
            self.pieces(tag, |reader, piece| {
                bytes.extend_from_slice(reader.bytes.get(piece).unwrap_or_default());
                Ok(())
            })?;
        } else {
            let piece = self.binary(tag)?;
            bytes.extend_from_slice(self.bytes.get(piece).unwrap_or_default());
        }
        Ok(bytes)
    }

    fn items(&mut self, tag: u8, start: usize, depth: u32) -> Result<Value, Error> {
        let mut items = Vec::new();
        let opened = self.open()?;
        let kind = if matches!(tag, b'U' | b'W') {
            let kind = if tag == b'U' { Some(self.type_name()?) } else { None };
            while !self.end()? {
                items.push(self.build(depth + 1)?);
            }
            kind
        } else {
            let (kind, len) = self.list_head(tag)?;
            for _ in 0..len {
                items.push(self.build(depth + 1)?);
            }
            kind
        };
        self.close(opened, start);
        Ok(Value::List { type_name: self.kind(kind)?, items })
    }

    fn entries(&mut self, tag: u8, start: usize, depth: u32) -> Result<Value, Error> {
        let mut entries = Vec::new();
        let opened = self.open()?;
        let kind = if tag == b'M' { Some(self.type_name()?) } else { None };
        while !self.end()? {
            let key = self.build(depth + 1)?;
            entries.push((key, self.build(depth + 1)?));
        }
        self.close(opened, start);
        Ok(Value::Map { type_name: self.kind(kind)?, entries })
    }

    fn fields(&mut self, tag: u8, start: usize, depth: u32) -> Result<Value, Error> {
        let number = self.class_of(tag)?;
        let class = self.class(number)?;
        let mut fields = Vec::new();
        let opened = self.open()?;
        for _ in &class.fields {
            fields.push(self.build(depth + 1)?);
        }
        self.close(opened, start);
        Ok(Value::Object { class, fields })
    }

    fn class(&mut self, number: usize) -> Result<Arc<Class>, Error> {
        let class = self.class_at(number)?;
        self.spend_names(class.fields.iter().map(String::len).sum::<usize>() + class.name.len())?;
        Ok(class)
    }

    /// The class of this number, which all its objects share.
    fn class_at(&mut self, number: usize) -> Result<Arc<Class>, Error> {
        let entry = self.classes.get(number).ok_or(Error::UnknownClass)?;
        if let Some(class) = &entry.built {
            return Ok(Arc::clone(class));
        }
        let (at, count) = (entry.at, entry.fields);
        let after = std::mem::replace(&mut self.at, at);
        let name = self.name_here()?;
        self.int()?;
        let fields = (0..count).map(|_| self.name_here()).collect::<Result<_, _>>()?;
        self.at = after;
        let class = Arc::new(Class { name, fields });
        if let Some(entry) = self.classes.get_mut(number) {
            entry.built = Some(Arc::clone(&class));
        }
        Ok(class)
    }

    fn kind(&mut self, at: Option<usize>) -> Result<Option<Arc<str>>, Error> {
        let Some(at) = at else { return Ok(None) };
        let name = self.kind_at(at)?;
        self.spend_names(name.len())?;
        Ok(Some(name))
    }

    /// The name of the type at this place, which all values of it share.
    fn kind_at(&mut self, at: usize) -> Result<Arc<str>, Error> {
        // Places grow with numbers.
        let number = self.types.binary_search_by_key(&at, |entry| entry.at).map_err(|_| Error::UnknownType)?;
        if let Some(name) = self.types.get(number).and_then(|entry| entry.built.as_ref()) {
            return Ok(Arc::clone(name));
        }
        let after = std::mem::replace(&mut self.at, at);
        let name: Arc<str> = self.name_here()?.into();
        self.at = after;
        if let Some(entry) = self.types.get_mut(number) {
            entry.built = Some(Arc::clone(&name));
        }
        Ok(name)
    }

    /// Counts names, which are shared here but not by those who write them out with each value.
    fn spend_names(&mut self, len: usize) -> Result<(), Error> {
        self.named = self.named.saturating_add(len);
        if self.named > MAX_NAMES { Err(Error::TooLarge) } else { Ok(()) }
    }

    fn name_here(&mut self) -> Result<String, Error> {
        let tag = self.byte()?;
        self.string_of(tag)
    }

    /// What is referred to, read once more where it stands. What was built refers only to what ended before it; what was
    /// skipped may refer to itself, until that is too deep or too much.
    fn referred(&mut self, depth: u32) -> Result<Value, Error> {
        let to = self.int()?;
        let values = self.values.as_ref().ok_or(Error::UnknownReference)?;
        let (start, end) = match values.get(to) {
            Some(None) => return Err(Error::CyclicReference),
            Some(Some(place)) => *place,
            None => return Err(Error::UnknownReference),
        };
        // Before it is read: what is in it besides values, such as the names of classes, takes its time as well.
        self.copied = self.copied.saturating_add(end.saturating_sub(start));
        if self.copied > MAX_COPIED {
            return Err(Error::TooLarge);
        }
        let after = std::mem::replace(&mut self.at, start);
        let replays = std::mem::replace(&mut self.replays, true);
        let value = self.build(depth)?;
        self.replays = replays;
        self.at = after;
        Ok(value)
    }
}
