//! Names and values in plain text, each behind its length in four bytes: the form that many protocols give to what goes
//! with a call.

use std::ops::Range;

use ringway_api::Headers;

use crate::wire::u32_at;
use crate::{CodecError, RpcCodec, rewrite};

/// The length of a value that is null.
const NULL: u32 = u32::MAX;

/// Reads the pairs in a part of a block: the places of names and values. The value `None` is null.
///
/// # Errors
/// `malformed`, for what ends within a pair, or has no name.
pub fn read_pairs(
    block: &[u8],
    part: Range<usize>,
    malformed: CodecError,
    mut found: impl FnMut(Range<usize>, Option<Range<usize>>),
) -> Result<(), CodecError> {
    let mut at = part.start;
    let text = |at: &mut usize| {
        let len = u32_at(block, *at).filter(|_| *at + 4 <= part.end).ok_or(malformed)?;
        *at += 4;
        if len == NULL {
            return Ok(None);
        }
        let range = *at..at.saturating_add(len as usize);
        if range.end > part.end {
            return Err(malformed);
        }
        *at = range.end;
        Ok(Some(range))
    };
    while at < part.end {
        let (name, value) = (text(&mut at)?, text(&mut at)?);
        found(name.ok_or(malformed)?, value);
    }
    Ok(())
}

/// Writes a pair.
pub fn write_pair(name: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    for text in [Some(name), value] {
        out.extend(text.map_or(NULL, |text| text.len() as u32).to_be_bytes());
        out.extend_from_slice(text.unwrap_or_default());
    }
}

/// The pairs of an edited message: those that were in `origin`, a part of a block, as they are now; and the new ones.
pub fn edited_pairs<C: RpcCodec>(headers: &Headers, origin: Option<(&[u8], Range<usize>)>) -> Vec<u8> {
    let (mut out, mut before) = (Vec::new(), Vec::new());
    if let Some((block, part)) = origin {
        let text = |range: Range<usize>| block.get(range).unwrap_or_default();
        let found = |name, value: Option<_>| before.push((text(name), value.map(text)));
        let read = read_pairs(block, part, CodecError::malformed("malformed_pairs"), found);
        debug_assert!(read.is_ok(), "they have been read once");
    }
    rewrite::<C>(headers, before, |name, value| write_pair(name, value, &mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_they_were_written_and_no_further() {
        let malformed = CodecError::malformed("bad");
        let mut bytes = Vec::new();
        let pairs: [(&[u8], Option<&[u8]>); 3] = [(b"a", Some(b"1")), (b"", None), (b"bc", Some(b""))];
        pairs.iter().for_each(|(name, value)| write_pair(name, *value, &mut bytes));
        let mut read = Vec::new();
        let found = |name: Range<usize>, value: Option<Range<usize>>| {
            read.push((bytes.get(name).unwrap(), value.map(|value| bytes.get(value).unwrap())));
        };
        read_pairs(&bytes, 0..bytes.len(), malformed, found).unwrap();
        assert_eq!(read, pairs);
        let ends = [0, 10, 18, bytes.len()];
        for end in (0..bytes.len()).filter(|end| !ends.contains(end)) {
            assert_eq!(read_pairs(&bytes, 0..end, malformed, |_, _| ()), Err(malformed), "{end}");
        }
    }

    #[test]
    fn what_has_no_name_is_malformed() {
        let malformed = CodecError::malformed("bad");
        assert_eq!(read_pairs(&[0xff; 8], 0..8, malformed, |_, _| ()), Err(malformed));
    }
}
