//! The pool against a model that plays the kernel: it takes buffers from the ring's entries, fills them, and watches
//! who holds what.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// One page, so that free buffers can be given back to the system alone.
const BUFFER: usize = 4096;

#[derive(Clone, Debug)]
enum Op {
    Replenish,
    /// The kernel receives so many bytes into the buffer whose turn it is, and with `true` is done with it.
    Receive(usize, bool),
    /// The worker, of one of its chunks.
    Share(usize),
    Split(usize, usize),
    Advance(usize, usize),
    Truncate(usize, usize),
    /// Turns over the bits of what nobody else sees.
    Write(usize),
    Detach(usize),
    Drop(usize),
    Trim,
}

fn op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![3 => 0..200usize, 1 => 0..=BUFFER];
    prop_oneof![
        2 => Just(Op::Replenish),
        8 => (len(), prop::bool::weighted(0.2)).prop_map(|(len, done)| Op::Receive(len, done)),
        2 => any::<usize>().prop_map(Op::Share),
        2 => (any::<usize>(), len()).prop_map(|(at, len)| Op::Split(at, len)),
        1 => (any::<usize>(), len()).prop_map(|(at, len)| Op::Advance(at, len)),
        1 => (any::<usize>(), len()).prop_map(|(at, len)| Op::Truncate(at, len)),
        2 => any::<usize>().prop_map(Op::Write),
        1 => any::<usize>().prop_map(Op::Detach),
        4 => any::<usize>().prop_map(Op::Drop),
        1 => Just(Op::Trim),
    ]
}

/// A buffer as the kernel has it.
struct Given {
    id: u16,
    start: *mut u8,
    filled: usize,
}

/// A chunk, what it must say, and the buffer that it keeps from coming back.
#[derive(Clone)]
struct Held {
    chunk: Chunk,
    bytes: Vec<u8>,
    id: Option<u16>,
}

impl Held {
    /// What changed the chunk may have taken all of it, and nothing keeps a buffer for nothing.
    fn new(chunk: Chunk, bytes: Vec<u8>, id: Option<u16>) -> Self {
        let id = id.filter(|_| !bytes.is_empty());
        Self { chunk, bytes, id }
    }
}

struct Model {
    bufs: BufRing,
    head: u16,
    kernel: VecDeque<Given>,
    chunks: Vec<Held>,
    /// Every byte received differs from those around it and from what the buffer held before.
    next: usize,
}

impl Model {
    fn new(buffers: usize, incremental: bool) -> Self {
        let config = BufConfig { buffer: BUFFER, plain_buffer: BUFFER, pool: buffers * BUFFER, plain: !incremental };
        let bufs = BufRing::new(&config, incremental).unwrap();
        Self { bufs, head: 0, kernel: VecDeque::new(), chunks: Vec::new(), next: 0 }
    }

    fn apply(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Replenish => {
                let any = self.bufs.replenish();
                self.fetch()?;
                prop_assert_eq!(any, !self.kernel.is_empty());
            }
            Op::Receive(len, done) => self.receive(len, done)?,
            Op::Trim => self.bufs.trim(),
            Op::Share(at) => {
                let held = self.pick(at).cloned();
                self.chunks.extend(held);
            }
            Op::Split(at, count) => {
                let Some(held) = self.pick(at) else { return Ok(()) };
                let cut = count.min(held.bytes.len());
                let (front, rest) = (held.chunk.split_to(count), held.bytes.split_off(cut));
                let front = Held::new(front, std::mem::replace(&mut held.bytes, rest), held.id);
                *held = Held::new(std::mem::take(&mut held.chunk), std::mem::take(&mut held.bytes), held.id);
                self.chunks.push(front);
            }
            Op::Advance(at, count) => {
                let Some(mut held) = self.take(at) else { return Ok(()) };
                held.chunk.advance(count);
                held.bytes.drain(..count.min(held.bytes.len()));
                self.chunks.push(Held::new(held.chunk, held.bytes, held.id));
            }
            Op::Truncate(at, keep) => {
                let Some(mut held) = self.take(at) else { return Ok(()) };
                held.chunk.truncate(keep);
                held.bytes.truncate(keep);
                self.chunks.push(Held::new(held.chunk, held.bytes, held.id));
            }
            Op::Write(at) => {
                let Some(held) = self.pick(at) else { return Ok(()) };
                let Some(mut part) = held.chunk.exclusive_part() else { return Ok(()) };
                // SAFETY: the chunk, whose bytes these are alone, is borrowed for as long as `part` is used; `check`
                // sees it if they are another's too.
                unsafe { part.as_mut() }.iter_mut().for_each(|byte| *byte = !*byte);
                held.bytes.iter_mut().for_each(|byte| *byte = !*byte);
            }
            Op::Detach(at) => {
                let Some(held) = self.take(at) else { return Ok(()) };
                self.chunks.push(Held::new(held.chunk.detach(), held.bytes, None));
            }
            Op::Drop(at) => drop(self.take(at)),
        }
        self.check()
    }

    fn pick(&mut self, at: usize) -> Option<&mut Held> {
        let count = self.chunks.len();
        self.chunks.get_mut(at.checked_rem(count)?)
    }

    fn take(&mut self, at: usize) -> Option<Held> {
        Some(self.chunks.swap_remove(at.checked_rem(self.chunks.len())?))
    }

    /// Takes over the buffers that the ring offers. None may be in use.
    fn fetch(&mut self) -> Result<(), TestCaseError> {
        let entries = self.bufs.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the tail overlays the first entry and is aligned for it, as in `replenish`.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) }.load(Ordering::Acquire);
        while self.head != tail {
            // SAFETY: masked, the slot is below the number of entries; only `replenish` writes them.
            let entry = unsafe { &*entries.add(usize::from(self.head & self.bufs.mask)) };
            let (id, start) = (entry.bid(), entry.addr() as *mut u8);
            prop_assert_eq!(entry.len() as usize, BUFFER);
            let memory = self.bufs.memory.start.as_ptr();
            prop_assert_eq!(start, memory.wrapping_add(usize::from(id) * BUFFER));
            prop_assert!(usize::from(id) < self.bufs.home.total);
            prop_assert!(self.kernel.iter().all(|given| given.id != id), "the kernel has {id} already");
            prop_assert!(!self.is_used(id), "a chunk holds {id}");
            self.kernel.push_back(Given { id, start, filled: 0 });
            self.head = self.head.wrapping_add(1);
        }
        Ok(())
    }

    fn receive(&mut self, len: usize, done: bool) -> Result<(), TestCaseError> {
        let Some(mut given) = self.kernel.pop_front() else {
            self.bufs.ran_out();
            return Ok(());
        };
        let len = len.min(BUFFER - given.filled);
        let bytes: Vec<u8> = (self.next..self.next + len).map(|n| (n % 251) as u8).collect();
        self.next += len + 1;
        // SAFETY: the model was given this buffer of `BUFFER` bytes and fills what lies behind `filled` only.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), given.start.add(given.filled), len) };
        given.filled += len;
        let id = given.id;
        let scarce = (self.free() - usize::from(!self.is_used(id))) * 4 < self.bufs.home.total;
        let more = self.bufs.incremental && !done && given.filled < BUFFER;
        if more {
            self.kernel.push_front(given);
        }
        let chunk = self.bufs.take(id, len, if more { BUF_MORE } else { 0 });
        let Some(chunk) = chunk else { return Err(TestCaseError::fail(format!("no chunk of {id}"))) };
        prop_assert_eq!(chunk.is_pooled(), !scarce && len > 0);
        let mut held = Held::new(chunk, bytes, Some(id).filter(|_| !scarce));
        prop_assert_eq!(held.chunk.exclusive_part().is_some(), held.id.is_some());
        self.chunks.push(held);
        Ok(())
    }

    fn is_used(&self, id: u16) -> bool {
        self.chunks.iter().any(|held| held.id == Some(id))
    }

    /// Buffers that nobody has.
    fn free(&self) -> usize {
        let kernel = self.kernel.iter().map(|given| given.id);
        let used: BTreeSet<u16> = self.chunks.iter().filter_map(|held| held.id).chain(kernel).collect();
        self.bufs.home.total - used.len()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for held in &self.chunks {
            prop_assert!(*held.chunk == *held.bytes, "the bytes of a chunk of {:?} changed", held.id);
            prop_assert_eq!(held.chunk.is_pooled(), held.id.is_some());
        }
        let free = self.bufs.home.free.borrow();
        let apart: BTreeSet<u16> = free.iter().copied().collect();
        prop_assert_eq!(apart.len(), free.len(), "a buffer came back twice");
        prop_assert_eq!((free.len(), self.bufs.in_kernel), (self.free(), self.kernel.len()));
        prop_assert_eq!(self.bufs.held(), (self.bufs.home.total - free.len() - self.kernel.len()) * BUFFER);
        prop_assert!(self.kernel.len() <= MAX_DEPTH);
        Ok(())
    }
}

proptest! {
    /// No buffer is in two hands, each comes back when the last chunk of it has gone, and what a chunk says stays.
    #[test]
    fn behaves_like_a_set_of_buffers(
        ops in prop::collection::vec(op(), 1..200),
        buffers in 4..40usize,
        incremental: bool,
    ) {
        let mut model = Model::new(buffers, incremental);
        for op in ops {
            model.apply(op)?;
        }
        let chunks = std::mem::take(&mut model.chunks);
        let bytes: Vec<_> = chunks.into_iter().map(|held| (held.chunk, held.bytes)).collect();
        let home = Rc::clone(&model.bufs.home);
        drop(model);
        for (chunk, bytes) in &bytes {
            prop_assert!(**chunk == **bytes, "a chunk did not survive its ring");
        }
        drop(bytes);
        prop_assert_eq!(home.free.borrow().len(), home.total);
    }
}

#[test]
fn what_the_kernel_does_not_have_gives_no_chunk() {
    let mut model = Model::new(4, false);
    assert!(model.bufs.take(0, 1, 0).is_none());
    assert!(model.bufs.take(4, 1, 0).is_none());
    model.apply(Op::Replenish).unwrap();
    let id = model.kernel.front().map(|given| given.id).unwrap();
    assert!(model.bufs.take(id, 1, 0).is_some());
    assert!(model.bufs.take(id, 1, 0).is_none());
    assert!(model.bufs.take(u16::MAX, 1, 0).is_none());
}
