//! Big-endian numbers at places of a frame that may be too short for them; and what they mean.

use std::time::Duration;

/// The byte at a place.
pub(crate) fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Two bytes at a place.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

/// Four bytes at a place.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// Eight bytes at a place.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}

/// Replaces bytes at a place that is there.
pub(crate) fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    debug_assert!(at + new.len() <= bytes.len(), "a frame is longer than its fixed part");
    if let Some(place) = bytes.get_mut(at..at + new.len()) {
        place.copy_from_slice(new);
    }
}

/// Whether bytes end with the CRC-32 of the others.
pub(crate) fn crc_fits(bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<4>().is_some_and(|(others, crc)| crc32fast::hash(others) == u32::from_be_bytes(*crc))
}

/// How long a caller waits who says so in milliseconds; zero and less are no bound.
pub(crate) fn wait(millis: i64) -> Option<Duration> {
    u64::try_from(millis).ok().filter(|millis| *millis > 0).map(Duration::from_millis)
}
