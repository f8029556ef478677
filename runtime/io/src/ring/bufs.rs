//! Receive buffers that the kernel fills: one provided-buffer ring per worker.
//!
//! With incremental buffers (Linux 6.12) the kernel fills a buffer message by message, so that large receives and
//! small messages share the same memory; elsewhere each message takes a whole, smaller buffer. A chunk points into
//! its buffer; the buffer goes back to the kernel when the last chunk of it has been dropped.

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{IoUring, types::BufRingEntry};
use ringway_api::{Chunk, Storage};

/// `IOU_PBUF_RING_INC`
const INCREMENTAL: u16 = 2;
/// `IORING_CQE_F_BUF_MORE`: the kernel goes on filling this buffer.
const BUF_MORE: u32 = 1 << 4;
/// The only buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// Buffers to keep with the kernel: few, so that the same memory stays in the cache.
const DEPTH: usize = 8;
/// At most, after it ran out.
const MAX_DEPTH: usize = 16;
/// While more than half of the pool is held by chunks that wait.
const SCARCE_DEPTH: usize = 2;

/// How much receive memory a ring may have.
#[derive(Clone, Copy, Debug)]
pub struct BufConfig {
    /// Bytes of one buffer with incremental consumption.
    pub buffer: usize,
    /// Bytes of one buffer without.
    pub plain_buffer: usize,
    /// Bytes of all buffers together. Address space is reserved at once, memory is used as needed.
    pub pool: usize,
    /// Never use incremental buffers, even where the kernel has them.
    pub plain: bool,
}

impl Default for BufConfig {
    fn default() -> Self {
        Self { buffer: 128 << 10, plain_buffer: 32 << 10, pool: 32 << 20, plain: false }
    }
}

pub(super) struct BufRing {
    entries: Mapping,
    memory: Rc<Mapping>,
    mask: u16,
    tail: u16,
    buffer: usize,
    incremental: bool,
    /// What the kernel holds, by buffer id.
    provided: Vec<Option<Rc<RecvBuf>>>,
    /// Whether a buffer has been written to since its memory was last given back.
    touched: Vec<bool>,
    in_kernel: usize,
    /// How many buffers to keep with the kernel: few, so that the same memory stays in the cache; more after it ran out.
    depth: usize,
    home: Rc<Home>,
}

/// Where buffers come back to. Shared with each of them, apart from the ring: a chunk may be dropped anywhere.
struct Home {
    free: RefCell<Vec<u16>>,
    total: usize,
}

/// One buffer, for as long as the kernel or a chunk needs it.
struct RecvBuf {
    start: NonNull<u8>,
    /// Bytes the kernel has filled; what lies behind is never read.
    filled: Cell<usize>,
    id: u16,
    home: Rc<Home>,
    _memory: Rc<Mapping>,
}

impl BufRing {
    pub(super) fn register(ring: &IoUring, config: &BufConfig) -> io::Result<Self> {
        let incremental = if config.plain { None } else { Self::try_register(ring, config, true).ok() };
        match incremental {
            Some(bufs) => Ok(bufs),
            None => Self::try_register(ring, config, false),
        }
    }

    fn try_register(ring: &IoUring, config: &BufConfig, incremental: bool) -> io::Result<Self> {
        let mut this = Self::new(config, incremental)?;
        let (slots, flags) = (this.mask + 1, if incremental { INCREMENTAL } else { 0 });
        // SAFETY: `entries` is page aligned, holds `slots` entries and lives as long as the ring (`Ring` unregisters
        // by closing itself before it drops this).
        unsafe {
            let entries = this.entries.start.as_ptr() as u64;
            ring.submitter().register_buf_ring_with_flags(entries, slots, GROUP, flags)?;
        }
        this.replenish();
        Ok(this)
    }

    /// All buffers free; the kernel knows of none yet.
    fn new(config: &BufConfig, incremental: bool) -> io::Result<Self> {
        let buffer = if incremental { config.buffer } else { config.plain_buffer };
        let count = (config.pool / buffer).clamp(4, 1 << 15);
        let slots = count.next_power_of_two();
        Ok(Self {
            entries: Mapping::new(slots * size_of::<BufRingEntry>())?,
            memory: Rc::new(Mapping::new(count * buffer)?),
            mask: slots as u16 - 1,
            tail: 0,
            buffer,
            incremental,
            provided: (0..count).map(|_| None).collect(),
            touched: vec![false; count],
            in_kernel: 0,
            depth: DEPTH.min(count),
            home: Rc::new(Home { free: RefCell::new((0..count as u16).rev().collect()), total: count }),
        })
    }

    pub(super) fn incremental(&self) -> bool {
        self.incremental
    }

    /// Gives free buffers to the kernel, up to the depth. True when it holds any afterwards.
    pub(super) fn replenish(&mut self) -> bool {
        let depth = if self.free_quarters() >= 2 { self.depth } else { SCARCE_DEPTH };
        if self.in_kernel >= depth {
            return true;
        }
        let mut free = self.home.free.borrow_mut();
        let before = self.tail;
        while self.in_kernel < depth {
            let Some(id) = free.pop() else { break };
            let offset = usize::from(id) * self.buffer;
            // SAFETY: ids are below `count` and the mapping holds `count` buffers.
            let start = unsafe { self.memory.start.add(offset) };
            let slot = usize::from(self.tail & self.mask);
            // SAFETY: `slot` is below the number of entries, which are plain integers. The kernel reads an entry only
            // after the tail was moved past it, below.
            let entry = unsafe { &mut *self.entries.start.as_ptr().cast::<BufRingEntry>().add(slot) };
            entry.set_addr(start.as_ptr() as u64);
            entry.set_len(self.buffer as u32);
            entry.set_bid(id);
            let (home, memory) = (Rc::clone(&self.home), Rc::clone(&self.memory));
            let buf = Rc::new(RecvBuf { start, filled: Cell::new(0), id, home, _memory: memory });
            if let Some(place) = self.provided.get_mut(usize::from(id)) {
                *place = Some(buf);
            }
            self.tail = self.tail.wrapping_add(1);
            self.in_kernel += 1;
        }
        if self.tail != before {
            // SAFETY: the tail overlays a reserved field of the first entry, is aligned for it, and is read by the
            // kernel alone; the release store publishes the entries.
            let tail =
                unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.start.as_ptr().cast()).cast_mut()) };
            tail.store(self.tail, Ordering::Release);
        }
        self.in_kernel > 0
    }

    /// The kernel ran out within one turn: give it more the next time, within bounds: what it holds is what a fast
    /// sender can fill before anybody notices that its consumer is slow.
    pub(super) fn ran_out(&mut self) {
        let bound = if self.free_quarters() >= 2 { MAX_DEPTH } else { SCARCE_DEPTH };
        self.depth = (self.depth * 2).min(bound).min(self.home.total);
    }

    /// How many quarters of the pool are free.
    fn free_quarters(&self) -> usize {
        self.home.free.borrow().len() * 4 / self.home.total
    }

    /// The chunk that a completion of `len` bytes in buffer `id` describes.
    pub(super) fn take(&mut self, id: u16, len: usize, flags: u32) -> Option<Chunk> {
        let place = self.provided.get_mut(usize::from(id))?;
        let buf = Rc::clone(place.as_ref()?);
        if !self.incremental || flags & BUF_MORE == 0 {
            *place = None;
            self.in_kernel -= 1;
        }
        if let Some(touched) = self.touched.get_mut(usize::from(id)) {
            *touched = true;
        }
        let start = buf.filled.get();
        buf.filled.set((start + len).min(self.buffer));
        // When most of the pool is held by chunks that wait, what arrives is copied out, so that slow readers cannot
        // take the memory that others receive into.
        let scarce = self.free_quarters() == 0;
        let chunk = Chunk::exclusive(buf, start, len);
        Some(if scarce { chunk.detach() } else { chunk })
    }

    /// Bytes of buffers that neither lie free nor with the kernel.
    pub(super) fn held(&self) -> usize {
        let free = self.home.free.borrow().len();
        (self.home.total.saturating_sub(free + self.in_kernel)) * self.buffer
    }

    /// Returns the memory of buffers that no chunk points into to the system; for a worker that goes idle.
    pub(super) fn trim(&mut self) {
        self.depth = DEPTH.min(self.home.total);
        // A buffer that a chunk holds is neither free nor, if the kernel still fills it, ours alone.
        let unused = |id: usize| match self.provided.get(id) {
            Some(Some(buf)) => Rc::strong_count(buf) == 1,
            _ => self.home.free.borrow().contains(&(id as u16)),
        };
        let unused: Vec<usize> = (0..self.home.total).filter(|id| self.is_touched(*id) && unused(*id)).collect();
        for id in unused {
            // SAFETY: the range is one buffer of the mapping. Nothing here refers to it, and the kernel writes only
            // behind what it has filled, into whatever memory is there then.
            let freed = unsafe {
                let start = self.memory.start.add(id * self.buffer);
                libc::madvise(start.as_ptr().cast(), self.buffer, libc::MADV_DONTNEED)
            };
            debug_assert_eq!(freed, 0);
            if let Some(touched) = self.touched.get_mut(id) {
                *touched = false;
            }
        }
    }

    /// Pages of the pool that are in memory.
    #[cfg(test)]
    pub(super) fn resident(&self) -> usize {
        let mut pages = vec![0_u8; self.memory.len.div_ceil(4096)];
        // SAFETY: the range is the mapping, and there is a byte for each of its pages.
        let read = unsafe { libc::mincore(self.memory.start.as_ptr().cast(), self.memory.len, pages.as_mut_ptr()) };
        assert_eq!(read, 0);
        pages.iter().filter(|page| **page & 1 == 1).count()
    }

    fn is_touched(&self, id: usize) -> bool {
        self.touched.get(id).copied().unwrap_or_default()
    }
}

impl Storage for RecvBuf {
    fn slice(&self, start: usize, len: usize) -> &[u8] {
        let filled = self.filled.get();
        let start = start.min(filled);
        let len = len.min(filled - start);
        // SAFETY: the range lies within the filled part of this buffer, which the kernel no longer writes to: it
        // appends behind `filled` and starts over only after this value has been dropped. The mapping outlives us.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(start), len) }
    }

    fn pooled(&self) -> bool {
        true
    }

    fn writable(&self, start: usize, len: usize) -> Option<NonNull<[u8]>> {
        let end = start.checked_add(len).filter(|end| *end <= self.filled.get())?;
        // SAFETY: `start` is within the filled part of this buffer, as `end` is.
        let part = unsafe { self.start.add(start) };
        Some(NonNull::slice_from_raw_parts(part, end - start))
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        self.home.free.borrow_mut().push(self.id);
    }
}

/// Anonymous memory, page aligned and zeroed.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Self> {
        // SAFETY: a new anonymous private mapping has no preconditions.
        let start = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0)
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { start, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped; the owner is gone, and with it everything that pointed here.
        let unmapped = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, 0);
    }
}

#[cfg(test)]
mod tests;
