//! Writing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Class, Value, write_string};

/// Writes one value after the other. Classes and types are written once and then referred to, values never are.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    classes: HashMap<Arc<Class>, usize>,
    types: HashMap<Arc<str>, usize>,
}

/// Lists, objects and strings of bytes in short forms.
const SHORT_LIST: usize = 7;
const SHORT_CLASS: usize = 15;
const SHORT_BINARY: usize = 15;
const MEDIUM_BINARY: usize = 1023;
const BINARY_PIECE: usize = 0x8000;

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, classes: HashMap::new(), types: HashMap::new() }
    }

    /// `null`
    pub fn null(&mut self) {
        self.out.push(b'N');
    }

    /// `true` or `false`
    pub fn bool(&mut self, value: bool) {
        self.out.push(if value { b'T' } else { b'F' });
    }

    /// 32 bits
    pub fn int(&mut self, value: i32) {
        let [top, high, mid, low] = value.to_be_bytes();
        match value {
            -0x10..=0x2f => self.out.push(0x90u8.wrapping_add(low)),
            -0x800..=0x7ff => self.out.extend([0xc8u8.wrapping_add(mid), low]),
            -0x4_0000..=0x3_ffff => self.out.extend([0xd4u8.wrapping_add(high), mid, low]),
            _ => self.out.extend([b'I', top, high, mid, low]),
        }
    }

    /// 64 bits
    pub fn long(&mut self, value: i64) {
        let [.., high, mid, low] = value.to_be_bytes();
        match value {
            -8..=15 => self.out.push(0xe0u8.wrapping_add(low)),
            -0x800..=0x7ff => self.out.extend([0xf8u8.wrapping_add(mid), low]),
            -0x4_0000..=0x3_ffff => self.out.extend([0x3cu8.wrapping_add(high), mid, low]),
            _ => match i32::try_from(value) {
                Ok(short) => self.tagged(b'Y', &short.to_be_bytes()),
                Err(_) => self.tagged(b'L', &value.to_be_bytes()),
            },
        }
    }

    /// A double. Of those that Java writes as whole numbers, -0 keeps its sign here.
    pub fn double(&mut self, value: f64) {
        // As casts do in Java: towards zero, and to the nearest bound.
        let (whole, mills) = (value as i32, (value * 1000.0) as i32);
        if value == 0.0 && value.is_sign_negative() {
            return self.tagged(b'D', &value.to_be_bytes());
        }
        let exact = f64::from(whole) == value;
        match (exact, whole) {
            (true, 0) => self.out.push(0x5b),
            (true, 1) => self.out.push(0x5c),
            (true, -0x80..=0x7f) => self.tagged(0x5d, &(whole as i8).to_be_bytes()),
            (true, -0x8000..=0x7fff) => self.tagged(0x5e, &(whole as i16).to_be_bytes()),
            _ if 0.001 * f64::from(mills) == value => self.tagged(0x5f, &mills.to_be_bytes()),
            _ => self.tagged(b'D', &value.to_be_bytes()),
        }
    }

    /// A point of time in milliseconds since 1970.
    pub fn date(&mut self, millis: i64) {
        match i32::try_from(millis / 60_000) {
            Ok(minutes) if millis % 60_000 == 0 => self.tagged(0x4b, &minutes.to_be_bytes()),
            _ => self.tagged(0x4a, &millis.to_be_bytes()),
        }
    }

    /// Bytes.
    pub fn binary(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while rest.len() > BINARY_PIECE {
            let (piece, after) = rest.split_at(BINARY_PIECE);
            self.tagged(b'A', &(BINARY_PIECE as u16).to_be_bytes());
            self.out.extend_from_slice(piece);
            rest = after;
        }
        let [high, low] = (rest.len() as u16).to_be_bytes();
        if rest.len() <= SHORT_BINARY {
            self.out.push(0x20 + low);
        } else if rest.len() <= MEDIUM_BINARY {
            self.out.extend([0x34 + high, low]);
        } else {
            self.out.extend([b'B', high, low]);
        }
        self.out.extend_from_slice(rest);
    }

    /// Text.
    pub fn string(&mut self, text: &str) {
        write_string(text, self.out);
    }

    /// Begins a list of so many values, which follow. Lengths beyond 2^31 cannot be written and nobody has them.
    pub fn list(&mut self, type_name: Option<&Arc<str>>, len: usize) {
        let short = u8::try_from(len).ok().filter(|_| len <= SHORT_LIST);
        match (type_name, short) {
            (Some(name), Some(short)) => {
                self.out.push(0x70 + short);
                self.type_name(name);
            }
            (Some(name), None) => {
                self.out.push(b'V');
                self.type_name(name);
                self.len(len);
            }
            (None, Some(short)) => self.out.push(0x78 + short),
            (None, None) => {
                self.out.push(b'X');
                self.len(len);
            }
        }
    }

    /// Begins a map. Keys and values follow in turn, then [`end`](Self::end).
    pub fn map(&mut self, type_name: Option<&Arc<str>>) {
        match type_name {
            Some(name) => {
                self.out.push(b'M');
                self.type_name(name);
            }
            None => self.out.push(b'H'),
        }
    }

    /// Ends a map.
    pub fn end(&mut self) {
        self.out.push(b'Z');
    }

    /// Begins an object. As many values follow as its class has fields.
    pub fn object(&mut self, class: &Arc<Class>) {
        let next = self.classes.len();
        let number = match self.classes.get(class) {
            Some(number) => *number,
            None => {
                self.out.push(b'C');
                self.string(&class.name);
                self.len(class.fields.len());
                class.fields.iter().for_each(|name| self.string(name));
                self.classes.insert(Arc::clone(class), next);
                next
            }
        };
        match u8::try_from(number) {
            Ok(short) if number <= SHORT_CLASS => self.out.push(0x60 + short),
            _ => {
                self.out.push(b'O');
                self.len(number);
            }
        }
    }

    /// A value with all that is in it. An object gets as many values as its class has fields: missing ones are null,
    /// surplus ones are left out.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Int(value) => self.int(*value),
            Value::Long(value) => self.long(*value),
            Value::Double(value) => self.double(*value),
            Value::Date(millis) => self.date(*millis),
            Value::Binary(bytes) => self.binary(bytes),
            Value::String(text) => self.string(text),
            Value::List { type_name, items } => {
                self.list(type_name.as_ref(), items.len());
                items.iter().for_each(|item| self.value(item));
            }
            Value::Map { type_name, entries } => {
                self.map(type_name.as_ref());
                for (key, value) in entries {
                    self.value(key);
                    self.value(value);
                }
                self.end();
            }
            Value::Object { class, fields } => {
                self.object(class);
                let missing = std::iter::repeat(&Value::Null);
                fields.iter().chain(missing).take(class.fields.len()).for_each(|field| self.value(field));
            }
        }
    }

    fn type_name(&mut self, name: &Arc<str>) {
        if let Some(number) = self.types.get(name) {
            return self.len(*number);
        }
        self.types.insert(Arc::clone(name), self.types.len());
        self.string(name);
    }

    fn len(&mut self, len: usize) {
        self.int(i32::try_from(len).unwrap_or(i32::MAX));
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.out.extend_from_slice(bytes);
    }
}
