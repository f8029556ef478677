//! How the ids of a trace travel from hop to hop: one format per file, and the table of them.
//!
//! Header fields of HTTP, metadata of gRPC, attachments of Dubbo and headers of bolt are all [`Headers`], so that one
//! format serves all of them. What comes from outside is never trusted: what is malformed is as if it were not there.

use std::num::NonZeroU128;

use ringway_api::{Address, Headers};

use super::{b3, sw8, w3c};
use crate::SpanId;

/// A format of trace ids in header fields.
#[derive(Clone, Copy, Debug)]
pub struct Propagation {
    /// Its name in configurations.
    pub name: &'static str,
    /// The fields that it writes and that are dropped where a caller's trace is not to be continued.
    pub fields: &'static [&'static str],
    extract: fn(&Headers) -> Result<Option<Parent>, Malformed>,
    inject: fn(&mut Headers, &Child<'_>),
}

/// All formats.
pub const PROPAGATIONS: &[Propagation] = &[
    Propagation { name: "w3c", fields: w3c::FIELDS, extract: w3c::extract, inject: w3c::inject },
    Propagation { name: "b3", fields: b3::SINGLE_FIELDS, extract: b3::extract_single, inject: b3::inject_single },
    Propagation { name: "b3_multi", fields: b3::MULTI_FIELDS, extract: b3::extract_multi, inject: b3::inject_multi },
    Propagation { name: "sw8", fields: sw8::FIELDS, extract: sw8::extract, inject: sw8::inject },
];

/// What a caller says of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace and the caller's span; B3 may tell a decision alone.
    pub ids: Option<(NonZeroU128, SpanId)>,
    /// Whether the trace is recorded; the caller may leave that open.
    pub sampled: Option<bool>,
}

/// What the next hop is told.
#[derive(Clone, Copy, Debug)]
pub struct Child<'a> {
    /// The trace.
    pub trace: NonZeroU128,
    /// The span of the try that carries this.
    pub span: SpanId,
    /// The span that the try is part of.
    pub parent: SpanId,
    /// Whether spans are recorded.
    pub sampled: bool,
    /// The name of this service.
    pub service: &'a str,
    /// What is asked for: the path.
    pub endpoint: &'a [u8],
    /// The host that is asked, if it is one.
    pub host: Option<&'a Address>,
}

/// Fields that are there and cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Propagation {
    /// The format of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PROPAGATIONS.iter().find(|format| format.name == name)
    }

    /// What the caller says; `None` where it says nothing.
    ///
    /// # Errors
    /// The fields are there, but not in this format.
    pub fn extract(&self, headers: &Headers) -> Result<Option<Parent>, Malformed> {
        (self.extract)(headers)
    }

    /// Tells the next hop. Fields of the caller are replaced; what belongs to its trace besides its ids, such as
    /// `tracestate`, stays if the trace is the same.
    pub fn inject(&self, headers: &mut Headers, child: &Child<'_>) {
        (self.inject)(headers, child);
    }

    /// Removes what the caller said.
    pub fn remove(&self, headers: &mut Headers) {
        self.fields.iter().for_each(|name| headers.remove(name));
    }
}

/// The only value of a field; `Err` when there are several, which says nothing.
pub(super) fn only<'h>(headers: &'h Headers, name: &str) -> Result<Option<&'h [u8]>, Malformed> {
    let mut values = headers.all(name);
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err(Malformed),
    }
}

/// Sets a field. Names are constants and values hex digits and the like.
pub(super) fn put(headers: &mut Headers, name: &str, value: &[u8]) {
    let put = headers.set(name, value);
    debug_assert!(put.is_ok(), "{name}");
}

/// A number of exactly these hex digits, up to 32.
pub(super) fn hex(digits: &[u8], upper: bool) -> Option<u128> {
    if digits.is_empty() || digits.len() > 32 {
        return None;
    }
    digits.iter().try_fold(0_u128, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' if upper => digit - b'A' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// An id of 16 digits that is not zero.
pub(super) fn span_id(digits: &[u8], upper: bool) -> Option<SpanId> {
    let id = Some(digits).filter(|digits| digits.len() == 16).and_then(|digits| hex(digits, upper))?;
    SpanId::new(u64::try_from(id).ok()?)
}

/// Hex digits at the end of text; made by hand because requests pay for it.
pub(super) fn push_hex(text: &mut Vec<u8>, number: u128, digits: u32) {
    for at in (0..digits).rev() {
        let digit = (number >> (4 * at)) as usize & 0xf;
        text.extend(b"0123456789abcdef".get(digit));
    }
}

#[cfg(test)]
#[path = "propagation_tests.rs"]
mod tests;
