//! Header fields as offsets into the bytes they arrived in.

mod known;
mod syntax;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

pub use known::Known;

use self::syntax::{check_value, is_framing, is_token};
use crate::Chunk;

/// A place in a head's text: in the received block, or in the side text that edits append to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
    side: bool,
}

impl Span {
    /// A range of the received block. Blocks are bounded by the header limits, far below 4 GiB.
    pub fn block(range: Range<usize>) -> Self {
        Self { start: range.start as u32, len: range.len() as u32, side: false }
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// True when it covers nothing.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The part from `from` on, clipped to the span.
    pub fn skip(self, from: usize) -> Self {
        let from = (from as u32).min(self.len);
        Self { start: self.start + from, len: self.len - from, ..self }
    }

    /// The first `keep` bytes, clipped to the span.
    pub fn take(self, keep: usize) -> Self {
        Self { len: (keep as u32).min(self.len), ..self }
    }
}

/// A field name or value that no HTTP message may carry (RFC 9110, sections 5.1 and 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidField;

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a valid header field name or value (RFC 9110, section 5)")
    }
}

impl std::error::Error for InvalidField {}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
    known: Option<Known>,
}

/// The header fields of one message, in order, repeated names kept apart.
///
/// A received head stays one block of bytes; fields are offsets into it, so that reading a head builds no map and
/// writing it copies each byte once. Edits append to a side text. Names keep their case and compare without it.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    block: Chunk,
    side: Vec<u8>,
    fields: Vec<Field>,
    form: Form,
    /// Something is not as it was received.
    edited: bool,
}

/// What a received block is made of, for codecs that can write on what nobody touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// Whatever the codec found fields in.
    #[default]
    Fields,
    /// HTTP/1.1 field lines.
    Lines,
    /// The beginning of a frame of this codec, up to its content at least.
    Frame(&'static str),
}

/// What a proxy usually adds to a head, so that the side text is allocated once.
const SIDE_ROOM: usize = 192;

/// A part of a field section as HTTP/1.1 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Whole lines, with their ends, as they were received.
    Raw(&'a [u8]),
    /// A field's name and value.
    Field(&'a [u8], &'a [u8]),
}

impl Headers {
    /// No fields, no memory.
    pub const fn new() -> Self {
        Self { block: Chunk::EMPTY, side: Vec::new(), fields: Vec::new(), form: Form::Fields, edited: false }
    }

    /// No fields yet, over a received block; room for `fields` of them.
    pub fn over(block: Chunk, fields: usize) -> Self {
        Self { block, fields: Vec::with_capacity(fields), ..Self::new() }
    }

    /// The same over a block in which each field that is pushed is a line `name ":" value CRLF`, blanks around the
    /// value aside; the codec has made sure of it. Such lines can be written on as they are.
    pub fn over_lines(block: Chunk, fields: usize) -> Self {
        Self { form: Form::Lines, ..Self::over(block, fields) }
    }

    /// The same over the beginning of a frame of `codec`, which gets it back from [`frame`](Self::frame).
    pub fn over_frame(codec: &'static str, block: Chunk, fields: usize) -> Self {
        Self { form: Form::Frame(codec), ..Self::over(block, fields) }
    }

    /// The beginning of the frame that the message was received as, if it was one of `codec`; as it was received,
    /// whatever has become of the fields since ([`is_edited`](Self::is_edited)).
    pub fn frame(&self, codec: &str) -> Option<&Chunk> {
        match self.form {
            Form::Frame(name) if name == codec => Some(&self.block),
            _ => None,
        }
    }

    /// The received block.
    pub fn block(&self) -> &[u8] {
        &self.block
    }

    /// Whether fields, or the target, are not what was received.
    pub fn is_edited(&self) -> bool {
        self.edited
    }

    /// Notes that a part of the head which lies beside the fields is not what was received.
    pub(crate) fn note_edit(&mut self) {
        self.edited = true;
    }

    /// As [`push_received`](Self::push_received), for ranges that no codec has validated, in a protocol that knows nothing
    /// of HTTP's rules. False, and nothing is added, when they are no field, or one that says how a message is framed
    /// or routed in HTTP (RFC 9110, section 7.6.1): it must not come to mean that.
    pub fn push_checked(&mut self, name: Range<usize>, value: Range<usize>) -> bool {
        let block = self.block.as_slice();
        let (Some(text), Some(content)) = (block.get(name.clone()), block.get(value.clone())) else { return false };
        let known = Known::lookup(text);
        let valid = is_token(text) && check_value(content).is_ok() && !known.is_some_and(is_framing);
        if valid {
            self.fields.push(Field { name: Span::block(name), value: Span::block(value), known });
        }
        valid
    }

    /// Whether [`push_checked`](Self::push_checked) takes a field.
    pub fn can_hold(name: &[u8], value: &[u8]) -> bool {
        is_token(name) && check_value(value).is_ok() && !Known::lookup(name).is_some_and(is_framing)
    }

    /// Adds a field that a codec makes of what it received elsewhere than in a field, so that routes and filters find
    /// it. Not an edit; left out if its value cannot stand in a field.
    pub fn push_derived(&mut self, name: &'static str, value: &[u8]) {
        if check_value(value).is_ok() {
            debug_assert!(is_token(name.as_bytes()), "{name}");
            self.push(Known::lookup(name.as_bytes()), name.as_bytes(), value);
        }
    }

    /// Adds a field that a codec found, already validated, at these ranges of the block.
    pub fn push_received(&mut self, name: Range<usize>, value: Range<usize>) {
        let known = Known::lookup(self.text(Span::block(name.clone())));
        self.push_classified(known, name, value);
    }

    /// The same for a codec that has looked the name up already.
    pub fn push_classified(&mut self, known: Option<Known>, name: Range<usize>, value: Range<usize>) {
        debug_assert_eq!(known, Known::lookup(self.text(Span::block(name.clone()))));
        self.fields.push(Field { name: Span::block(name), value: Span::block(value), known });
    }

    /// The bytes at a span of this head.
    pub fn text(&self, span: Span) -> &[u8] {
        let from = if span.side { self.side.as_slice() } else { self.block.as_slice() };
        from.get(span.start as usize..(span.start + span.len) as usize).unwrap_or_default()
    }

    /// Appends text that is not a field (a rewritten path, say) and returns where it lies.
    pub fn add_text(&mut self, text: &[u8]) -> Span {
        if self.side.capacity() == 0 {
            self.side.reserve(SIDE_ROOM);
        }
        let start = self.side.len() as u32;
        self.side.extend_from_slice(text);
        Span { start, len: text.len() as u32, side: true }
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// True when there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields().map(|(_, name, value)| (name, value))
    }

    /// All fields in order, with what is known of their names.
    pub fn fields(&self) -> impl Iterator<Item = (Option<Known>, &[u8], &[u8])> {
        let (block, side) = (self.block.as_slice(), self.side.as_slice());
        self.fields.iter().map(move |field| {
            let at = |span: Span| {
                let from = if span.side { side } else { block };
                from.get(span.start as usize..(span.start + span.len) as usize).unwrap_or_default()
            };
            (field.known, at(field.name), at(field.value))
        })
    }

    /// The first value of the field, if it is there.
    pub fn known(&self, name: Known) -> Option<&[u8]> {
        self.fields.iter().find(|field| field.known == Some(name)).map(|field| self.text(field.value))
    }

    /// Where the first value of the field lies, if it is there.
    pub fn known_span(&self, name: Known) -> Option<Span> {
        self.fields.iter().find(|field| field.known == Some(name)).map(|field| field.value)
    }

    /// Every value of the field.
    pub fn all_known(&self, name: Known) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |field| field.known == Some(name)).map(|field| self.text(field.value))
    }

    /// True when the field is there.
    pub fn has(&self, name: Known) -> bool {
        self.fields.iter().any(|field| field.known == Some(name))
    }

    /// The first value of the field of this name, in any case.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Every value of the field of this name, in any case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Appends a field.
    ///
    /// # Errors
    /// [`InvalidField`] when the name is no token or the value holds CR, LF, NUL or other control characters.
    pub fn append(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidField> {
        if !is_token(name.as_bytes()) {
            return Err(InvalidField);
        }
        check_value(value)?;
        self.edited = true;
        self.push(Known::lookup(name.as_bytes()), name.as_bytes(), value);
        Ok(())
    }

    /// Appends a field of a known name, written in its usual case.
    ///
    /// # Errors
    /// [`InvalidField`] when the value holds CR, LF, NUL or other control characters.
    pub fn append_known(&mut self, name: Known, value: &[u8]) -> Result<(), InvalidField> {
        check_value(value)?;
        self.edited = true;
        self.push(Some(name), name.as_str().as_bytes(), value);
        Ok(())
    }

    /// Replaces every field of this known name by one.
    ///
    /// # Errors
    /// As [`append_known`](Self::append_known); nothing is removed then.
    pub fn set_known(&mut self, name: Known, value: &[u8]) -> Result<(), InvalidField> {
        check_value(value)?;
        self.remove_known(name);
        self.edited = true;
        self.push(Some(name), name.as_str().as_bytes(), value);
        Ok(())
    }

    /// Replaces every field of this name by one.
    ///
    /// # Errors
    /// As [`append`](Self::append); nothing is removed then.
    pub fn set(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidField> {
        check_value(value)?;
        if !is_token(name.as_bytes()) {
            return Err(InvalidField);
        }
        self.remove(name);
        self.append(name, value)
    }

    /// Removes every field of this known name.
    pub fn remove_known(&mut self, name: Known) {
        let before = self.fields.len();
        self.fields.retain(|field| field.known != Some(name));
        self.edited |= self.fields.len() != before;
    }

    /// Removes every field of this name, in any case.
    pub fn remove(&mut self, name: &str) {
        self.retain(|_, field, _| !field.eq_ignore_ascii_case(name.as_bytes()));
    }

    /// Keeps the fields for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(Option<Known>, &[u8], &[u8]) -> bool) {
        let mut fields = std::mem::take(&mut self.fields);
        let before = fields.len();
        fields.retain(|field| keep(field.known, self.text(field.name), self.text(field.value)));
        self.edited |= fields.len() != before;
        self.fields = fields;
    }

    /// Hands the fields for which `keep` says so to `write`, in order: as few pieces as the received block allows, so
    /// that what nobody touched is copied in one go.
    pub fn write_lines(&self, mut keep: impl FnMut(Option<Known>) -> bool, mut write: impl FnMut(Line<'_>)) {
        let block = self.block.as_slice();
        let mut run = 0..0;
        for field in self.fields.iter().filter(|field| keep(field.known)) {
            let start = field.name.start as usize;
            let end = (field.value.start + field.value.len) as usize + 2;
            let raw = self.form == Form::Lines && !field.name.side && !field.value.side;
            if raw && block.get(end - 2..end) == Some(b"\r\n") {
                if run.end == start && !run.is_empty() {
                    run.end = end;
                    continue;
                }
                let before = std::mem::replace(&mut run, start..end);
                if !before.is_empty() {
                    write(Line::Raw(block.get(before).unwrap_or_default()));
                }
                continue;
            }
            let before = std::mem::replace(&mut run, 0..0);
            if !before.is_empty() {
                write(Line::Raw(block.get(before).unwrap_or_default()));
            }
            write(Line::Field(self.text(field.name), self.text(field.value)));
        }
        if !run.is_empty() {
            write(Line::Raw(block.get(run).unwrap_or_default()));
        }
    }

    /// Bytes that the names and values take, with 4 for each field's `": "` and CRLF: an upper bound of what
    /// writing them in HTTP/1.1 needs.
    pub fn wire_len(&self) -> usize {
        self.fields.iter().map(|field| field.name.len() + field.value.len() + 4).sum()
    }

    /// The same head in memory that may be kept for long (see [`Chunk::detach`]).
    pub fn detach(&mut self) {
        self.block = std::mem::take(&mut self.block).detach();
    }

    fn push(&mut self, known: Option<Known>, name: &[u8], value: &[u8]) {
        let name = self.add_text(name);
        let value = self.add_text(value);
        self.fields.push(Field { name, value, known });
    }
}
