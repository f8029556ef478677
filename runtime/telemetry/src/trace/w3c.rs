//! W3C Trace Context: `traceparent` and `tracestate`.

use std::num::NonZeroU128;

use ringway_api::Headers;

use super::propagation::{Child, Malformed, Parent, hex, only, push_hex, put, span_id};

pub(super) const FIELDS: &[&str] = &[PARENT, STATE];

const PARENT: &str = "traceparent";
/// Belongs to the trace and goes on as it came.
const STATE: &str = "tracestate";
/// The length of version 00 (section 3.2.2).
const LEN: usize = 55;

pub(super) fn extract(headers: &Headers) -> Result<Option<Parent>, Malformed> {
    only(headers, PARENT)?.map(|value| parse(value).ok_or(Malformed)).transpose()
}

/// Later versions may be longer; what is behind the flags is not for us (section 4.3).
fn parse(value: &[u8]) -> Option<Parent> {
    let version = value.get(..2)?;
    hex(version, false).filter(|_| version != b"ff")?;
    let ends = match value.get(LEN..)? {
        [] => true,
        [b'-', ..] => version != b"00",
        _ => false,
    };
    let dashes = [2, 35, 52].iter().all(|at| value.get(*at) == Some(&b'-'));
    if !ends || !dashes {
        return None;
    }
    let trace = NonZeroU128::new(hex(value.get(3..35)?, false)?)?;
    let span = span_id(value.get(36..52)?, false)?;
    let flags = hex(value.get(53..LEN)?, false)?;
    Some(Parent { ids: Some((trace, span)), sampled: Some(flags & 1 == 1) })
}

pub(super) fn inject(headers: &mut Headers, child: &Child<'_>) {
    let before = extract(headers).ok().flatten().and_then(|parent| parent.ids);
    // A state without its trace says nothing (section 3.3).
    if before.is_none_or(|(trace, _)| trace != child.trace) && headers.first(STATE).is_some() {
        headers.remove(STATE);
    }
    let mut value = Vec::with_capacity(LEN);
    value.extend_from_slice(b"00-");
    push_hex(&mut value, child.trace.get(), 32);
    value.push(b'-');
    push_hex(&mut value, child.span.get().into(), 16);
    value.extend_from_slice(if child.sampled { b"-01" } else { b"-00" });
    put(headers, PARENT, &value);
}
