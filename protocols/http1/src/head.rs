//! Message heads: from bytes to the waist's types, strictly.
//!
//! `httparse` finds the parts; it forgives some things that other implementations read differently, so each line's
//! shape is checked again here: one CRLF per line, nothing between lines, no blank before a colon, no folding.

mod assemble;
mod fields;
mod framing;
mod request;
mod response;
mod syntax;

use std::mem::MaybeUninit;
use std::ops::Range;

use http::StatusCode;
use ringway_api::{LocalReply, ResponseFlag};

pub use assemble::Assembler;
pub(crate) use fields::trailers;
pub use framing::Framing;
pub use request::{RequestParts, decode_request};
pub use response::{Asked, ResponseParts, decode_response};
pub use syntax::is_tchar;

/// What a head may take.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes from the first line to the empty line, both included.
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

/// Why a message is refused: the status that says so (of a request), and one word for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status to answer with.
    pub status: StatusCode,
    /// One word, such as `bare_lf`.
    pub details: &'static str,
}

impl Refusal {
    /// A refusal with a status of its own.
    pub const fn new(status: StatusCode, details: &'static str) -> Self {
        Self { status, details }
    }

    /// 400.
    pub const fn bad(details: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, details)
    }

    /// The reply to a refused request.
    pub fn reply(&self) -> LocalReply {
        let body = self.status.canonical_reason().unwrap_or("Refused");
        let flag = match self.status {
            StatusCode::REQUEST_TIMEOUT => ResponseFlag::StreamIdleTimeout,
            _ => ResponseFlag::DownstreamProtocolError,
        };
        LocalReply::new(self.status, body, self.details).flag(flag)
    }
}

/// Heads with no more fields than this are read without allocating for it.
const STACK_FIELDS: usize = 128;

type Slot<'b> = MaybeUninit<httparse::Header<'b>>;

/// Calls `parse` with room for `fields` fields.
fn with_slots<'b, T>(fields: usize, parse: impl FnOnce(&mut [Slot<'b>]) -> T) -> T {
    if fields <= STACK_FIELDS {
        let mut slots = [const { MaybeUninit::uninit() }; STACK_FIELDS];
        let (slots, _) = slots.split_at_mut(fields);
        parse(slots)
    } else {
        let mut slots = vec![MaybeUninit::uninit(); fields];
        parse(&mut slots)
    }
}

/// One field's place in the head.
struct Found<'b> {
    name: &'b [u8],
    name_at: Range<usize>,
    value: &'b [u8],
    value_at: Range<usize>,
}

/// Walks over the fields that `httparse` found, which must follow each other without a gap from `next` on.
struct Lines<'b> {
    bytes: &'b [u8],
    next: usize,
}

impl<'b> Lines<'b> {
    /// Lines after a first line that must end at `end`.
    fn after(bytes: &'b [u8], end: usize) -> Result<Self, Refusal> {
        let mut lines = Self { bytes, next: end };
        lines.crlf()?;
        Ok(lines)
    }

    fn field(&mut self, header: &httparse::Header<'b>) -> Result<Found<'b>, Refusal> {
        let name = header.name.as_bytes();
        let start = self.next;
        let colon = start + name.len();
        if offset(self.bytes, name) != start || self.bytes.get(colon) != Some(&b':') {
            return Err(Refusal::bad("malformed_field_line"));
        }
        let from = skip_blanks(self.bytes, colon + 1);
        let to = from + header.value.len();
        // An empty value's place means nothing.
        if !header.value.is_empty() && offset(self.bytes, header.value) != from {
            return Err(Refusal::bad("malformed_field_line"));
        }
        self.next = skip_blanks(self.bytes, to);
        self.crlf()?;
        Ok(Found { name, name_at: start..colon, value: header.value, value_at: from..to })
    }

    /// The empty line, which must end the head at `len`.
    fn end(mut self, len: usize) -> Result<(), Refusal> {
        self.crlf()?;
        if self.next == len { Ok(()) } else { Err(Refusal::bad("malformed_head")) }
    }

    fn crlf(&mut self) -> Result<(), Refusal> {
        if self.bytes.get(self.next..self.next + 2) != Some(b"\r\n") {
            return Err(Refusal::bad("bare_lf"));
        }
        self.next += 2;
        Ok(())
    }
}

fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// Where `part`, a slice of `bytes`, starts in it.
fn offset(bytes: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize)
}

fn too_many_fields() -> Refusal {
    Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_many_headers")
}

fn too_large() -> Refusal {
    Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large")
}

#[cold]
fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => too_many_fields(),
        httparse::Error::HeaderName => Refusal::bad("invalid_field_name"),
        httparse::Error::HeaderValue => Refusal::bad("invalid_field_value"),
        httparse::Error::NewLine => Refusal::bad("invalid_line_end"),
        httparse::Error::Status => Refusal::bad("invalid_status"),
        httparse::Error::Token => Refusal::bad("invalid_first_line"),
        httparse::Error::Version => Refusal::bad("invalid_version"),
    }
}
