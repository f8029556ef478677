//! SkyWalking's cross-process propagation, version 3 (`sw8`). What applications send along (`sw8-correlation`, `sw8-x`)
//! is theirs and goes on as it came.
//!
//! Ids are texts of any form there. One that is a UUID or 32 hex digits is a trace id as it stands, any other becomes
//! one by hashing; the next hop gets the text that came. A span is a place in a segment of its process: spans of this
//! proxy are segments of one span, named by its id in hex.

use std::num::NonZeroU128;

use ringway_api::Headers;

use super::propagation::{Child, Malformed, Parent, hex, only, push_hex, put, span_id};
use crate::SpanId;

pub(super) const FIELDS: &[&str] = &[FIELD];

const FIELD: &str = "sw8";
/// Of ids and of texts that are sent on; longer ones are nobody's.
const LIMIT: usize = 256;

/// What of a field counts here.
struct Sw8 {
    sampled: bool,
    trace: Vec<u8>,
    segment: Vec<u8>,
    span: u32,
}

pub(super) fn extract(headers: &Headers) -> Result<Option<Parent>, Malformed> {
    let Some(value) = only(headers, FIELD)? else { return Ok(None) };
    let read = Sw8::parse(value).ok_or(Malformed)?;
    let ids = (trace_of(&read.trace), read.parent());
    Ok(Some(Parent { ids: Some(ids), sampled: Some(read.sampled) }))
}

pub(super) fn inject(headers: &mut Headers, child: &Child<'_>) {
    let before = headers.first(FIELD).and_then(Sw8::parse);
    let trace = before.map(|before| before.trace).filter(|text| trace_of(text) == child.trace);
    let trace = trace.unwrap_or_else(|| digits(child.trace.get(), 32));
    let mut value = Vec::with_capacity(160);
    value.push(if child.sampled { b'1' } else { b'0' });
    let host = child.host.map_or_else(|| "-".to_owned(), ToString::to_string);
    let texts: [&[u8]; 2] = [&trace, &digits(child.span.get().into(), 16)];
    for text in texts {
        value.push(b'-');
        encode(text, &mut value);
    }
    value.extend_from_slice(b"-0");
    let path = child.endpoint.split(|byte| *byte == b'?').next().unwrap_or_default();
    for text in [child.service.as_bytes(), child.service.as_bytes(), path, host.as_bytes()] {
        value.push(b'-');
        encode(text.get(..LIMIT).unwrap_or(text), &mut value);
    }
    put(headers, FIELD, &value);
}

impl Sw8 {
    /// `sample-trace-segment-span-service-instance-endpoint-address`, all but the first and fourth in base64.
    fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = value.split(|byte| *byte == b'-');
        let sampled = match parts.next()? {
            b"1" => true,
            b"0" => false,
            _ => return None,
        };
        let mut id = || decode(parts.next()?).filter(|text| (1..=LIMIT).contains(&text.len()));
        let (trace, segment) = (id()?, id()?);
        let span = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        // Who it was is not looked at, but must be there.
        (0..4).try_for_each(|_| parts.next().map(drop))?;
        parts.next().is_none().then_some(Self { sampled, trace, segment, span })
    }

    fn parent(&self) -> SpanId {
        if let Some(id) = span_id(&self.segment, false).filter(|_| self.span == 0) {
            return id;
        }
        let mut text = self.segment.clone();
        text.extend_from_slice(format!("-{}", self.span).as_bytes());
        let hash = hash(&text);
        SpanId::new((hash >> 64) as u64 ^ hash as u64).unwrap_or(SpanId::MIN)
    }
}

/// The id of a trace by its text.
fn trace_of(text: &[u8]) -> NonZeroU128 {
    let plain: Vec<u8> = match text.len() {
        36 => text.iter().copied().filter(|byte| *byte != b'-').collect(),
        _ => text.to_vec(),
    };
    let number = Some(&plain).filter(|plain| plain.len() == 32).and_then(|plain| hex(plain, true));
    number.and_then(NonZeroU128::new).or_else(|| NonZeroU128::new(hash(text))).unwrap_or(NonZeroU128::MIN)
}

/// FNV-1a: the same on every hop.
fn hash(text: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    text.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

fn digits(number: u128, count: u32) -> Vec<u8> {
    let mut text = Vec::with_capacity(count as usize);
    push_hex(&mut text, number, count);
    text
}

// === base64 (RFC 4648, section 4) ===

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let letter = ALPHABET.get((bits >> (18 - 6 * digit)) as usize & 63);
            out.push(letter.filter(|_| digit <= group.len()).copied().unwrap_or(b'='));
        }
    }
}

/// Padding may be missing.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    if text.len() - end > 2 || end % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(end * 3 / 4);
    for group in text.get(..end)?.chunks(4) {
        let mut bits = 0_u32;
        for letter in group {
            let value = ALPHABET.iter().position(|known| known == letter)?;
            bits = bits << 6 | value as u32;
        }
        bits <<= 6 * (4 - group.len());
        let [_, high, middle, low] = bits.to_be_bytes();
        bytes.extend([high, middle, low].iter().take(group.len() - 1));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_back() {
        for len in 0..20 {
            let bytes: Vec<u8> = (0..len).map(|at: u8| at.wrapping_mul(37)).collect();
            let mut text = Vec::new();
            encode(&bytes, &mut text);
            assert_eq!(decode(&text).as_deref(), Some(&*bytes));
        }
        for wrong in ["a", "a===", "a b=", "====", "YWJj\n"] {
            assert_eq!(decode(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_trace_keeps_the_text_of_its_id() {
        // The example of the protocol's description.
        let field = b"1-TRACEID-SEGMENTID-3-PARENT_SERVICE-PARENT_INSTANCE-PARENT_ENDPOINT-IPPORT";
        assert!(Sw8::parse(field).is_none(), "not base64");
        let field = b"1-NzY2LjUxMS4xMg==-c2VnbWVudA==-3-c2VydmljZQ==-aW5zdA==-L2FwcA==-MTI3LjAuMC4xOjgwODA=";
        let mut headers = Headers::new();
        headers.append("sw8", field).unwrap();
        let parent = extract(&headers).unwrap().unwrap();
        let (trace, _) = parent.ids.unwrap();
        let child = Child {
            trace,
            span: SpanId::new(7).unwrap(),
            parent: SpanId::new(6).unwrap(),
            sampled: true,
            service: "shop",
            endpoint: b"/a?secret",
            host: None,
        };
        inject(&mut headers, &child);
        let sent = headers.first("sw8").unwrap().to_vec();
        assert!(sent.starts_with(b"1-NzY2LjUxMS4xMg==-"), "{}", String::from_utf8_lossy(&sent));
        assert!(!String::from_utf8_lossy(&sent).contains("c2VjcmV0"), "no query");
        let next = extract(&headers).unwrap().unwrap();
        assert_eq!(next.ids, Some((trace, child.span)), "the next hop of ours knows the span");
    }
}
