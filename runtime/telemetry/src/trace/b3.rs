//! Zipkin's B3, in one field (`b3`) or in several (`X-B3-TraceId` and so on).

use std::num::NonZeroU128;

use ringway_api::Headers;

use super::propagation::{Child, Malformed, Parent, hex, only, push_hex, put, span_id};
use crate::SpanId;

pub(super) const SINGLE_FIELDS: &[&str] = &[SINGLE];
pub(super) const MULTI_FIELDS: &[&str] = &[TRACE, SPAN, PARENT, SAMPLED, FLAGS];

const SINGLE: &str = "b3";
// The case that Zipkin's own libraries look for where names have one: in attachments of calls.
const TRACE: &str = "X-B3-TraceId";
const SPAN: &str = "X-B3-SpanId";
const PARENT: &str = "X-B3-ParentSpanId";
const SAMPLED: &str = "X-B3-Sampled";
/// `1` asks for the trace whatever the sampling says.
const FLAGS: &str = "X-B3-Flags";

pub(super) fn extract_single(headers: &Headers) -> Result<Option<Parent>, Malformed> {
    only(headers, SINGLE)?.map(|value| parse(value).ok_or(Malformed)).transpose()
}

/// `trace-span[-decision[-parent]]`, or a decision alone.
fn parse(value: &[u8]) -> Option<Parent> {
    let mut parts = value.split(|byte| *byte == b'-');
    let first = parts.next()?;
    let Some(span) = parts.next() else {
        return Some(Parent { ids: None, sampled: Some(decision(first)?) });
    };
    let ids = Some((trace_id(first)?, span_id(span, true)?));
    let sampled = parts.next().map(|text| decision(text).ok_or(())).transpose().ok()?;
    if let Some(parent) = parts.next() {
        span_id(parent, true)?;
    }
    parts.next().is_none().then_some(Parent { ids, sampled })
}

fn decision(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"d" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    }
}

/// Of 64 or 128 bits.
fn trace_id(text: &[u8]) -> Option<NonZeroU128> {
    NonZeroU128::new(Some(text).filter(|text| matches!(text.len(), 16 | 32)).and_then(|text| hex(text, true))?)
}

pub(super) fn inject_single(headers: &mut Headers, child: &Child<'_>) {
    let debug = |value: &[u8]| value == b"d" || value.split(|byte| *byte == b'-').nth(2) == Some(b"d");
    let debug = child.sampled && headers.first(SINGLE).is_some_and(debug);
    let mut value = Vec::with_capacity(68);
    push_trace(&mut value, child.trace);
    value.push(b'-');
    push_span(&mut value, child.span);
    value.extend_from_slice(match (debug, child.sampled) {
        (true, _) => b"-d-",
        (_, true) => b"-1-",
        (_, false) => b"-0-",
    });
    push_span(&mut value, child.parent);
    put(headers, SINGLE, &value);
}

pub(super) fn extract_multi(headers: &Headers) -> Result<Option<Parent>, Malformed> {
    let sampled = match only(headers, FLAGS)? {
        Some(b"1") => Some(true),
        _ => only(headers, SAMPLED)?.map(|text| decision(text).ok_or(Malformed)).transpose()?,
    };
    match (only(headers, TRACE)?, only(headers, SPAN)?) {
        (Some(trace), Some(span)) => {
            let ids = (trace_id(trace).ok_or(Malformed)?, span_id(span, true).ok_or(Malformed)?);
            Ok(Some(Parent { ids: Some(ids), sampled }))
        }
        (None, None) => Ok(sampled.map(|_| Parent { ids: None, sampled })),
        _ => Err(Malformed),
    }
}

pub(super) fn inject_multi(headers: &mut Headers, child: &Child<'_>) {
    let mut id = Vec::with_capacity(32);
    push_trace(&mut id, child.trace);
    put(headers, TRACE, &id);
    for (name, span) in [(SPAN, child.span), (PARENT, child.parent)] {
        id.clear();
        push_span(&mut id, span);
        put(headers, name, &id);
    }
    let debug = headers.first(FLAGS) == Some(b"1");
    if debug && child.sampled {
        // The flag implies it.
        headers.remove(SAMPLED);
        return;
    }
    if debug {
        headers.remove(FLAGS);
    }
    put(headers, SAMPLED, if child.sampled { b"1" } else { b"0" });
}

/// Ids of 64 bits stay such.
fn push_trace(text: &mut Vec<u8>, trace: NonZeroU128) {
    push_hex(text, trace.get(), if trace.get() >> 64 == 0 { 16 } else { 32 });
}

fn push_span(text: &mut Vec<u8>, span: SpanId) {
    push_hex(text, span.get().into(), 16);
}
