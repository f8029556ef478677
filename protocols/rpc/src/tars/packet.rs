//! What a packet of Tars has before and behind its content.

use std::ops::Range;

use super::jce::{BYTES, Cursor, Field, STRING1, STRING4, Stop};
use crate::CodecError;
use crate::wire::u32_at;

/// The tags of a `RequestPacket` and of a `ResponsePacket` by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tags {
    pub(super) id: u8,
    pub(super) content: u8,
    pub(super) status: u8,
}

pub(super) const REQUEST: Tags = Tags { id: 4, content: 7, status: 10 };
pub(super) const RESPONSE: Tags = Tags { id: 3, content: 6, status: 7 };

/// Of either.
pub(super) const VERSION: u8 = 1;
pub(super) const PACKET_TYPE: u8 = 2;
pub(super) const MESSAGE_TYPE: [u8; 2] = [3, 4];
pub(super) const SERVANT_OR_RET: u8 = 5;
pub(super) const FUNCTION: u8 = 6;
pub(super) const TIMEOUT: u8 = 8;
pub(super) const DESCRIPTION: u8 = 8;
pub(super) const CONTEXT: u8 = 9;

/// A packet, as far as its content.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) tags: Tags,
    pub(super) version: i32,
    pub(super) packet_type: i32,
    pub(super) id: i32,
    pub(super) id_field: Range<usize>,
    /// Of a response: what came of it, and where that stands.
    pub(super) ret: Option<(i32, Range<usize>)>,
    /// Of a request: the servant and the function.
    pub(super) names: [Range<usize>; 2],
    /// The field that holds the content; empty where there is none.
    pub(super) content_field: Range<usize>,
    pub(super) content: Range<usize>,
    pub(super) len: usize,
}

impl Packet {
    /// Reads the beginning of a packet, up to its content.
    pub(super) fn read(prefix: &[u8]) -> Result<Self, Stop> {
        let Some(len) = u32_at(prefix, 0) else { return Err(Stop::Need(4)) };
        let len = len as usize;
        let mut cursor = Cursor { bytes: prefix, at: 4, end: len };
        let malformed = || Stop::Bad(CodecError::malformed("tars_malformed_packet"));
        let mut ints: [Option<(i32, Range<usize>)>; 5] = Default::default();
        let mut names: [Option<Range<usize>>; 2] = Default::default();
        let mut last = 0;
        let (content_field, content) = loop {
            let from = cursor.at;
            // What they have fifth tells requests from responses: the servant, or what came of it.
            let tags = if names.iter().any(Option::is_some) { REQUEST } else { RESPONSE };
            let head = if from < len { Some(cursor.head()?) } else { None };
            match head {
                Some((tag, _)) if tag <= last => return Err(malformed()),
                Some((tag, BYTES)) if tag == tags.content => {
                    let len = cursor.bytes_len()?;
                    let content = cursor.at..cursor.at.saturating_add(len);
                    if content.end > cursor.end {
                        return Err(malformed());
                    }
                    break (from..content.end, content);
                }
                Some((tag @ (SERVANT_OR_RET | FUNCTION), kind @ (STRING1 | STRING4))) => {
                    let name = names.get_mut(usize::from(tag - SERVANT_OR_RET)).ok_or_else(malformed)?;
                    *name = Some(cursor.string(kind)?);
                    last = tag;
                }
                Some((tag, kind)) if tag <= SERVANT_OR_RET => {
                    let int = ints.get_mut(usize::from(tag - 1)).ok_or_else(malformed)?;
                    *int = Some((cursor.int32(kind)?, from..cursor.at));
                    last = tag;
                }
                Some((tag, _)) if tag <= tags.content => return Err(malformed()),
                // There is no content.
                _ => break (from..from, from..from),
            }
        };
        let [version, packet_type, third, fourth, ret] = ints;
        let [servant, function] = names;
        let (tags, id, names) = match (servant, &ret) {
            (Some(servant), None) => (REQUEST, fourth, [servant, function.unwrap_or_default()]),
            (None, Some(_)) if function.is_none() => (RESPONSE, third, [0..0, 0..0]),
            _ => return Err(malformed()),
        };
        let (id, id_field) = id.ok_or_else(malformed)?;
        let value = |int: Option<(i32, _)>| int.map_or(0, |(value, _)| value);
        let (version, packet_type) = (value(version), value(packet_type));
        Ok(Self { tags, version, packet_type, id, id_field, ret, names, content_field, content, len })
    }

    /// Of a packet that is there as a whole.
    pub(super) fn whole(block: &[u8]) -> Result<Self, CodecError> {
        Self::read(block).map_err(Stop::in_whole)
    }

    /// Tells the fields behind the content.
    pub(super) fn rest(&self, block: &[u8], mut found: impl FnMut(Field)) -> Result<(), CodecError> {
        let mut cursor = Cursor { bytes: block, at: self.content_field.end, end: self.len };
        let mut last = self.tags.content;
        while let Some(field) = cursor.field().map_err(Stop::in_whole)? {
            if field.tag <= last {
                return Err(CodecError::malformed("tars_malformed_packet"));
            }
            last = field.tag;
            found(field);
        }
        Ok(())
    }

    /// A whole number behind the content.
    pub(super) fn int(block: &[u8], field: &Field) -> Result<i32, CodecError> {
        let mut cursor = Cursor { bytes: block, at: field.value, end: field.range.end };
        cursor.int32(field.kind).map_err(Stop::in_whole)
    }
}
