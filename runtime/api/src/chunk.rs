//! Owned, cheaply shared bytes: what moves between sockets, codecs and filters.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;

use bytes::Bytes;

/// Memory that chunks may point into: an engine's receive buffer, a vector, anything that stays put.
pub trait Storage {
    /// The part `start..start + len`, clipped to what is there. Must return the same bytes at the same address for
    /// as long as the value lives.
    fn slice(&self, start: usize, len: usize) -> &[u8];

    /// True when the memory belongs to a pool that wants it back soon, so that a chunk which is kept for long is
    /// better copied out ([`Chunk::detach`]).
    fn pooled(&self) -> bool {
        false
    }

    /// Where the part `start..start + len` may be written to while nobody reads it; `None` when it may not. Only a
    /// chunk made by [`Chunk::exclusive`] asks. What is returned must be good for reads and writes for as long as the
    /// value lives: an engine relies on it.
    fn writable(&self, start: usize, len: usize) -> Option<NonNull<[u8]>> {
        let _ = (start, len);
        None
    }
}

impl Storage for Bytes {
    fn slice(&self, start: usize, len: usize) -> &[u8] {
        let end = start.saturating_add(len).min(self.len());
        self.get(start..end).unwrap_or_default()
    }
}

impl Storage for Vec<u8> {
    fn slice(&self, start: usize, len: usize) -> &[u8] {
        let end = start.saturating_add(len).min(self.len());
        self.get(start..end).unwrap_or_default()
    }
}

/// An immutable piece of bytes that shares its memory; cloning and slicing copy nothing. At most 2 GiB long.
///
/// It is not `Send`: its counts are plain integers, which is what makes handing a received buffer to another
/// socket free.
pub struct Chunk(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static [u8]),
    Shared { storage: Rc<dyn Storage>, start: u32, extent: Extent },
}

/// A length, and whether no other chunk covers any byte of this one; in one word, since every connection has chunks.
#[derive(Clone)]
struct Extent(Cell<u32>);

impl Extent {
    const SOLE: u32 = 1 << 31;

    fn new(len: u32) -> Self {
        Self(Cell::new(len & !Self::SOLE))
    }

    fn len(&self) -> usize {
        (self.0.get() & !Self::SOLE) as usize
    }

    fn set_len(&mut self, len: usize) {
        self.0.set(self.0.get() & Self::SOLE | len as u32 & !Self::SOLE);
    }

    fn is_sole(&self) -> bool {
        self.0.get() & Self::SOLE != 0
    }

    fn set_sole(&self, sole: bool) {
        self.0.set(self.0.get() & !Self::SOLE | if sole { Self::SOLE } else { 0 });
    }
}

impl Chunk {
    /// The empty chunk.
    pub const EMPTY: Self = Self(Repr::Static(&[]));

    /// A chunk over constant bytes.
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self(Repr::Static(bytes))
    }

    /// The part `start..start + len` of a shared memory; clipped to what the memory holds, and to its first 2 GiB:
    /// nothing that is buffered comes near. An empty part holds no memory.
    pub fn shared(storage: Rc<dyn Storage>, start: usize, len: usize) -> Self {
        let available = storage.slice(start, len).len();
        if available == 0 {
            return Self::EMPTY;
        }
        const MOST: u32 = i32::MAX as u32;
        let start = u32::try_from(start).unwrap_or(MOST).min(MOST);
        let len = u32::try_from(available).unwrap_or(MOST).min(MOST - start);
        debug_assert_eq!(len as usize, available, "larger than a chunk can be");
        Self(Repr::Shared { storage, start, extent: Extent::new(len) })
    }

    /// As [`shared`](Self::shared), for a part of the memory that no other chunk covers and nobody else reads: what an
    /// engine has just received. It can be written to ([`exclusive_part`](Self::exclusive_part)) until it is cloned.
    pub fn exclusive(storage: Rc<dyn Storage>, start: usize, len: usize) -> Self {
        let chunk = Self::shared(storage, start, len);
        if let Repr::Shared { extent, .. } = &chunk.0 {
            extent.set_sole(true);
        }
        chunk
    }

    /// Where this chunk's bytes lie, if they may be written to: it was made by [`exclusive`](Self::exclusive), neither
    /// it nor what it was split from has been cloned since, and its memory can be written to. The place is good for
    /// as long as this chunk is borrowed.
    pub fn exclusive_part(&mut self) -> Option<NonNull<[u8]>> {
        match &self.0 {
            Repr::Shared { storage, start, extent } if extent.is_sole() => {
                storage.writable(*start as usize, extent.len()).filter(|part| part.len() == extent.len())
            }
            _ => None,
        }
    }

    /// A copy of `bytes` in memory of its own.
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Static(bytes) => bytes.len(),
            Repr::Shared { extent, .. } => extent.len(),
        }
    }

    /// True when there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Static(bytes) => bytes,
            Repr::Shared { storage, start, extent } => storage.slice(*start as usize, extent.len()),
        }
    }

    /// Drops the first `count` bytes (all of them when there are fewer). A chunk that becomes empty lets go of its
    /// memory.
    pub fn advance(&mut self, count: usize) {
        if count >= self.len() {
            *self = Self::EMPTY;
            return;
        }
        match &mut self.0 {
            Repr::Static(bytes) => *bytes = bytes.get(count..).unwrap_or_default(),
            Repr::Shared { start, extent, .. } => {
                *start += count as u32;
                extent.set_len(extent.len() - count);
            }
        }
    }

    /// Keeps the first `keep` bytes. A chunk that becomes empty lets go of its memory.
    pub fn truncate(&mut self, keep: usize) {
        let keep = keep.min(self.len());
        if keep == 0 {
            *self = Self::EMPTY;
            return;
        }
        match &mut self.0 {
            Repr::Static(bytes) => *bytes = bytes.get(..keep).unwrap_or_default(),
            Repr::Shared { extent, .. } => extent.set_len(keep),
        }
    }

    /// Takes the first `count` bytes off (all of them when there are fewer) and returns them.
    pub fn split_to(&mut self, count: usize) -> Self {
        if count >= self.len() {
            return std::mem::take(self);
        }
        // Not `clone`: the two parts do not overlap, so they stay as exclusive as the whole was.
        let mut head = Self(self.0.clone());
        head.truncate(count);
        self.advance(count);
        head
    }

    /// The same bytes in memory that may be kept for long: a chunk of pooled memory is copied out, others stay.
    pub fn detach(self) -> Self {
        match &self.0 {
            Repr::Shared { storage, .. } if storage.pooled() => Self::copy_from(&self),
            _ => self,
        }
    }

    /// True when the bytes lie in pooled memory (see [`Storage::pooled`]).
    pub fn is_pooled(&self) -> bool {
        matches!(&self.0, Repr::Shared { storage, .. } if storage.pooled())
    }
}

impl Clone for Chunk {
    fn clone(&self) -> Self {
        if let Repr::Shared { extent, .. } = &self.0 {
            extent.set_sole(false);
        }
        Self(self.0.clone())
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self::shared(Rc::new(bytes), 0, len)
    }
}

impl From<&'static str> for Chunk {
    fn from(text: &'static str) -> Self {
        Self::from_static(text.as_bytes())
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        let len = bytes.len();
        Self::shared(Rc::new(bytes), 0, len)
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}

/// Chunks in order, with their total length: what a sender hands to [`Io::poll_send`](crate::Io::poll_send).
///
/// The first chunk lies in the queue itself, so that the usual queue of one allocates nothing. Every connection has
/// some of these: an empty one is kept small.
#[derive(Debug, Default)]
pub struct ChunkQueue {
    /// Empty when nothing waits.
    first: Chunk,
    #[allow(clippy::box_collection, reason = "a pointer instead of four words in every connection")]
    rest: Option<Box<VecDeque<Chunk>>>,
    bytes: usize,
}

impl Extend<Chunk> for ChunkQueue {
    fn extend<T: IntoIterator<Item = Chunk>>(&mut self, chunks: T) {
        chunks.into_iter().for_each(|chunk| self.push(chunk));
    }
}

impl ChunkQueue {
    /// An empty queue; holds no memory of its own until a second chunk is pushed.
    pub const fn new() -> Self {
        Self { first: Chunk::EMPTY, rest: None, bytes: 0 }
    }

    /// Appends a chunk; an empty one is dropped.
    pub fn push(&mut self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        self.bytes += chunk.len();
        if self.first.is_empty() {
            self.first = chunk;
        } else {
            self.rest.get_or_insert_default().push_back(chunk);
        }
    }

    /// Takes the first chunk.
    pub fn pop(&mut self) -> Option<Chunk> {
        if self.first.is_empty() {
            return None;
        }
        let next = self.next();
        let chunk = std::mem::replace(&mut self.first, next);
        self.bytes -= chunk.len();
        Some(chunk)
    }

    /// Puts a chunk back in front.
    pub fn push_front(&mut self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        self.bytes += chunk.len();
        let second = std::mem::replace(&mut self.first, chunk);
        if !second.is_empty() {
            self.rest.get_or_insert_default().push_front(second);
        }
    }

    /// Drops the first `count` bytes.
    pub fn advance(&mut self, mut count: usize) {
        while count > 0 && !self.first.is_empty() {
            let step = count.min(self.first.len());
            self.first.advance(step);
            self.bytes -= step;
            count -= step;
            if self.first.is_empty() {
                self.first = self.next();
            }
        }
    }

    /// What follows the first chunk, taken out; empty when nothing does.
    fn next(&mut self) -> Chunk {
        self.rest.as_mut().and_then(|rest| rest.pop_front()).unwrap_or_default()
    }

    /// The chunks, first to last.
    pub fn iter(&self) -> impl Iterator<Item = &Chunk> {
        let first = Some(&self.first).filter(|first| !first.is_empty());
        first.into_iter().chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    /// How many chunks wait.
    pub fn count(&self) -> usize {
        usize::from(!self.first.is_empty()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Drops everything and the queue's own memory.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Gives back memory that an empty queue still holds; for a connection that goes idle.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.rest = None;
        }
    }
}

#[cfg(test)]
mod tests;
