//! Records out of received chunks (RFC 8446, section 5.1).

use ringway_api::Chunk;
use rustls::AlertDescription;

use super::fault::Fault;

/// Type, version and length.
pub(super) const HEADER: usize = 5;
/// The most plaintext that a record holds.
pub(super) const MAX_PLAINTEXT: usize = 1 << 14;
/// The most that encryption may add: TLS 1.2's bound (RFC 5246, section 6.2.3); that of 1.3 is lower, and opening a
/// record checks it.
const MAX_EXPANSION: usize = 2048;

/// Content types (RFC 8446, appendix B.1).
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// Received bytes that are not a whole record yet.
#[derive(Default)]
pub(super) struct Incoming {
    /// From the last chunk: what follows the records already taken.
    chunk: Chunk,
    /// The beginning of a record that straddles chunks, so that no chunk waits for the rest. It has the size of what
    /// arrived, at most twice, and never more than the record.
    partial: Vec<u8>,
}

/// A whole record, header included.
pub(super) enum Record {
    /// It lies in the chunk it was received in.
    Whole(Chunk),
    /// It was gathered.
    Gathered(Vec<u8>),
}

// === impl Incoming ===

impl Incoming {
    /// Takes a chunk; the one before has been used up.
    pub(super) fn push(&mut self, chunk: Chunk) {
        debug_assert!(self.chunk.is_empty(), "records are taken before more is received");
        self.chunk = chunk;
    }

    /// The next record, or `None` when more must be received first.
    ///
    /// # Errors
    /// What is there is no record of TLS, or too long a one.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Fault> {
        if self.partial.is_empty() {
            match record_len(&self.chunk)? {
                Some(len) if len <= self.chunk.len() => return Ok(Some(Record::Whole(self.chunk.split_to(len)))),
                _ if self.chunk.is_empty() => return Ok(None),
                _ => {}
            }
        }
        if self.partial.len() < HEADER {
            self.gather(HEADER);
        }
        let Some(len) = record_len(&self.partial)? else { return Ok(None) };
        self.gather(len);
        Ok((self.partial.len() == len).then(|| Record::Gathered(std::mem::take(&mut self.partial))))
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The first bytes, for a look at what was no record.
    pub(super) fn head(&self) -> &[u8] {
        let from = if self.partial.is_empty() { self.chunk.as_slice() } else { &self.partial };
        from.get(..HEADER).unwrap_or(from)
    }

    /// Moves bytes out of the chunk until `len` of the record are together, or the chunk is used up.
    fn gather(&mut self, len: usize) {
        let take = len.saturating_sub(self.partial.len()).min(self.chunk.len());
        let together = self.partial.len() + take;
        if together > self.partial.capacity() {
            // The peer's word for the length is not yet worth that much memory.
            let room = if together >= len { len } else { (together * 2).min(len) };
            self.partial.reserve_exact(room.max(HEADER) - self.partial.len());
        }
        self.partial.extend_from_slice(&self.chunk.split_to(take));
    }
}

// === impl Record ===

impl Record {
    /// Lets `on` change the record's bytes, in place where nobody else can see them and in a copy otherwise.
    #[allow(unsafe_code, reason = "a chunk can be written to only by those who know that they may")]
    pub(super) fn change<T>(self, on: impl FnOnce(&mut [u8]) -> T) -> (Chunk, T) {
        let mut bytes = match self {
            Self::Whole(mut chunk) => {
                if let Some(mut part) = chunk.exclusive_part() {
                    // SAFETY: the part is this chunk's bytes, which lie in memory that is good for writing; no other
                    // chunk covers any of them, and this one is borrowed for as long as the reference lives. The
                    // kernel writes only behind what it has filled.
                    let done = on(unsafe { part.as_mut() });
                    return (chunk, done);
                }
                chunk.to_vec()
            }
            Self::Gathered(bytes) => bytes,
        };
        let done = on(&mut bytes);
        (Chunk::from(bytes), done)
    }

    /// The bytes, header included.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(chunk) => chunk,
            Self::Gathered(bytes) => bytes,
        }
    }
}

/// The length of the record that begins `bytes`, header included; `None` when its header is not there yet.
fn record_len(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let &[kind, major, _, high, low, ..] = bytes else { return Ok(None) };
    if !(CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind) || major != 3 {
        return Err(Fault::protocol("tls_not_tls", AlertDescription::UnexpectedMessage));
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_PLAINTEXT + MAX_EXPANSION {
        return Err(Fault::protocol("tls_record_overflow", AlertDescription::RecordOverflow));
    }
    if len == 0 && kind != APPLICATION_DATA {
        return Err(Fault::protocol("tls_malformed", AlertDescription::UnexpectedMessage));
    }
    Ok(Some(HEADER + len))
}

#[cfg(test)]
#[allow(unsafe_code, reason = "memory that may be written to, as receive buffers are")]
mod tests {
    use std::cell::UnsafeCell;
    use std::ptr::NonNull;
    use std::rc::Rc;

    use ringway_api::Storage;

    use super::*;

    /// Memory that may be written to, as receive buffers are.
    struct Writable(UnsafeCell<Vec<u8>>);

    impl Writable {
        fn chunk(bytes: Vec<u8>) -> Chunk {
            let len = bytes.len();
            Chunk::exclusive(Rc::new(Self(UnsafeCell::new(bytes))), 0, len)
        }
    }

    impl Storage for Writable {
        fn slice(&self, start: usize, len: usize) -> &[u8] {
            // SAFETY: the vector itself never changes; its bytes do only by way of `writable`, while no slice exists.
            unsafe { std::slice::from_raw_parts((*self.0.get()).as_ptr().add(start), len) }
        }

        fn writable(&self, start: usize, len: usize) -> Option<NonNull<[u8]>> {
            // SAFETY: as above, and the range was checked when the chunk was made.
            let part = unsafe { (*self.0.get()).as_mut_ptr().add(start) };
            Some(NonNull::slice_from_raw_parts(NonNull::new(part)?, len))
        }
    }

    fn record(len: usize) -> Vec<u8> {
        let mut bytes = vec![APPLICATION_DATA, 3, 3];
        bytes.extend((len as u16).to_be_bytes());
        bytes.extend((0..len).map(|at| at as u8));
        bytes
    }

    #[test]
    fn a_record_in_one_exclusive_chunk_is_changed_where_it_lies() {
        let mut incoming = Incoming::default();
        let bytes = [record(10), record(3)].concat();
        incoming.push(Writable::chunk(bytes));
        let first = incoming.next().ok().flatten().unwrap();
        let place = first.bytes().as_ptr();
        let (chunk, ()) = first.change(|bytes| bytes[HEADER..].fill(7));
        assert_eq!(chunk.as_ptr(), place);
        assert_eq!(&chunk[HEADER..], [7; 10]);
        let second = incoming.next().ok().flatten().unwrap();
        assert_eq!(second.bytes(), record(3), "its neighbour is untouched");
        assert!(incoming.head().is_empty());
    }

    #[test]
    fn a_shared_record_is_copied() {
        let mut incoming = Incoming::default();
        let whole = Writable::chunk(record(10));
        incoming.push(whole.clone());
        let (chunk, ()) = incoming.next().ok().flatten().unwrap().change(|bytes| bytes[HEADER..].fill(7));
        assert_eq!(&chunk[HEADER..], [7; 10]);
        assert_eq!(whole.as_slice(), record(10));
    }

    #[test]
    fn every_split_yields_the_same_records() {
        let bytes = [record(300), record(0), record(1), record(40)].concat();
        for size in 1..bytes.len() {
            let mut incoming = Incoming::default();
            let mut lens = Vec::new();
            for part in bytes.chunks(size) {
                incoming.push(Chunk::copy_from(part));
                while let Some(record) = incoming.next().ok().flatten() {
                    lens.push(record.bytes().len() - HEADER);
                }
            }
            assert_eq!(lens, [300, 0, 1, 40], "in parts of {size}");
            assert!(incoming.head().is_empty());
        }
    }

    #[test]
    fn a_header_alone_buys_no_memory() {
        let mut incoming = Incoming::default();
        incoming.push(Chunk::copy_from(&record(1 << 14)[..7]));
        assert!(incoming.next().ok().flatten().is_none());
        assert!(incoming.partial.capacity() < 64, "{}", incoming.partial.capacity());
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bytes in [&b"GET / HTTP/1.1"[..], &[22, 3, 1, 255, 255], &[21, 3, 3, 0, 0], &[23, 2, 0, 0, 1]] {
            let mut incoming = Incoming::default();
            incoming.push(Chunk::copy_from(bytes));
            assert!(incoming.next().is_err(), "{bytes:?}");
        }
    }
}
