//! Pairs of sockets, and what each completion does to them.

use ringway_api::ChunkQueue;
use ringway_io::ring::{Completion, Ring};

/// Bytes queued for one socket at which its source is paused, and below which it goes on.
const HIGH: usize = 256 << 10;
const LOW: usize = 64 << 10;

/// Which operation a completion is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Accept,
    Connect,
    Recv,
    Send,
    Fin,
}

/// Which socket of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Side {
    Down = 0,
    Up = 1,
}

/// An operation of a pair: kind, side, generation, index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    side: Side,
    generation: u16,
    index: u32,
}

impl Token {
    pub(crate) fn accept() -> u64 {
        Self { kind: Kind::Accept, side: Side::Down, generation: 0, index: 0 }.pack()
    }

    pub(crate) fn with(self, kind: Kind, side: Side) -> Self {
        Self { kind, side, ..self }
    }

    pub(crate) fn pack(self) -> u64 {
        (self.kind as u64) << 56 | (self.side as u64) << 48 | u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn read(token: u64) -> Self {
        let kind = match token >> 56 {
            0 => Kind::Accept,
            1 => Kind::Connect,
            2 => Kind::Recv,
            3 => Kind::Send,
            _ => Kind::Fin,
        };
        let side = if token >> 48 & 1 == 0 { Side::Down } else { Side::Up };
        Self { kind, side, generation: (token >> 32) as u16, index: token as u32 }
    }
}

/// One socket.
struct Half {
    fd: i32,
    /// What the other half received and this one has yet to send.
    queue: ChunkQueue,
    sending: usize,
    receiving: Receiving,
    /// The other half's stream has ended: ours follows when the queue is empty.
    fin: Fin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiving {
    Idle,
    Armed,
    Cancelling,
    Starved,
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fin {
    Open,
    Wanted,
    Sending,
    Done,
}

struct Pair {
    halves: [Half; 2],
    /// Something failed: both are closed as soon as nothing is under way.
    broken: bool,
}

/// All pairs.
#[derive(Default)]
pub(crate) struct Pairs {
    places: Vec<(u16, Option<Box<Pair>>)>,
    free: Vec<u32>,
    starved: Vec<Token>,
}

impl Half {
    fn new(fd: i32) -> Self {
        Self { fd, queue: ChunkQueue::new(), sending: 0, receiving: Receiving::Idle, fin: Fin::Open }
    }

    fn busy(&self) -> bool {
        matches!(self.receiving, Receiving::Armed | Receiving::Cancelling)
            || self.sending > 0
            || self.fin == Fin::Sending
    }

    fn arm(&mut self, ring: &mut Ring, token: Token) {
        if self.receiving == Receiving::Idle {
            self.receiving = Receiving::Armed;
            ring.recv(self.fd, token.pack());
        }
    }

    fn push(&mut self, ring: &mut Ring, token: Token) {
        if self.sending > 0 {
            return;
        }
        if !self.queue.is_empty() {
            let before = self.queue.bytes();
            ring.send(self.fd, &mut self.queue, token.pack());
            self.sending = before - self.queue.bytes();
        } else if self.fin == Fin::Wanted {
            self.fin = Fin::Sending;
            ring.shutdown(self.fd, libc::SHUT_WR, token.with(Kind::Fin, token.side).pack());
        }
    }
}

impl Pair {
    /// The half of a side, then the other.
    fn split(&mut self, side: Side) -> (&mut Half, &mut Half) {
        let [down, up] = &mut self.halves;
        match side {
            Side::Down => (down, up),
            Side::Up => (up, down),
        }
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Down => Side::Up,
        Side::Up => Side::Down,
    }
}

impl Pairs {
    pub(crate) fn insert(&mut self, down: i32, up: i32) -> Token {
        let pair = Box::new(Pair { halves: [Half::new(down), Half::new(up)], broken: false });
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let mut generation = 0;
        if let Some(place) = self.places.get_mut(index as usize) {
            generation = place.0;
            place.1 = Some(pair);
        }
        Token { kind: Kind::Connect, side: Side::Up, generation, index }
    }

    fn pair(&mut self, token: Token) -> Option<&mut Pair> {
        let (generation, pair) = self.places.get_mut(token.index as usize)?;
        if *generation == token.generation { pair.as_deref_mut() } else { None }
    }

    pub(crate) fn connected(&mut self, ring: &mut Ring, token: Token, ok: bool) {
        let Some(pair) = self.pair(token) else { return };
        pair.broken |= !ok;
        if ok {
            for side in [Side::Down, Side::Up] {
                pair.split(side).0.arm(ring, token.with(Kind::Recv, side));
            }
        }
        self.settle(ring, token);
    }

    pub(crate) fn received(&mut self, ring: &mut Ring, token: Token, completion: Completion) {
        let mut starved = false;
        let Some(pair) = self.pair(token) else { return };
        let broken = pair.broken;
        let (half, far) = pair.split(token.side);
        if !completion.more {
            half.receiving = Receiving::Idle;
        }
        let mut failed = false;
        match completion.result {
            Ok(0) => {
                half.receiving = Receiving::Ended;
                if far.fin == Fin::Open {
                    far.fin = Fin::Wanted;
                }
            }
            Ok(_) => far.queue.extend(completion.chunk),
            Err(libc::ENOBUFS) => {
                half.receiving = Receiving::Starved;
                starved = true;
            }
            Err(libc::ECANCELED) => {}
            Err(_) => {
                half.receiving = Receiving::Ended;
                failed = true;
            }
        }
        if !broken && !failed {
            far.push(ring, token.with(Kind::Send, other(token.side)));
            let queued = far.queue.bytes() + far.sending;
            if half.receiving == Receiving::Armed && queued >= HIGH {
                half.receiving = Receiving::Cancelling;
                ring.cancel(token.pack());
            } else if queued < LOW {
                half.arm(ring, token);
            }
        }
        pair.broken |= failed;
        if starved {
            self.starved.push(token);
        }
        self.settle(ring, token);
    }

    pub(crate) fn sent(&mut self, ring: &mut Ring, token: Token, ok: bool) {
        let Some(pair) = self.pair(token) else { return };
        pair.broken |= !ok;
        let broken = pair.broken;
        let (half, far) = pair.split(token.side);
        half.sending = 0;
        if !broken {
            half.push(ring, token);
            if half.queue.bytes() + half.sending < LOW {
                far.arm(ring, token.with(Kind::Recv, other(token.side)));
            }
        }
        self.settle(ring, token);
    }

    pub(crate) fn finished(&mut self, ring: &mut Ring, token: Token) {
        let Some(pair) = self.pair(token) else { return };
        pair.split(token.side).0.fin = Fin::Done;
        self.settle(ring, token);
    }

    /// Arms the receives that ended for want of buffers, once there are some.
    pub(crate) fn feed_starved(&mut self, ring: &mut Ring) {
        if self.starved.is_empty() || !ring.has_buffers() {
            return;
        }
        for token in std::mem::take(&mut self.starved) {
            let Some(pair) = self.pair(token) else { continue };
            let half = pair.split(token.side).0;
            if half.receiving == Receiving::Starved {
                half.receiving = Receiving::Idle;
                half.arm(ring, token);
            }
        }
    }

    /// Closes a pair that is done or broken, once the kernel works on nothing of it.
    fn settle(&mut self, ring: &mut Ring, token: Token) {
        let Some(pair) = self.pair(token) else { return };
        let done = pair.halves.iter().all(|half| half.receiving == Receiving::Ended && half.fin == Fin::Done);
        if !pair.broken && !done {
            return;
        }
        if pair.broken {
            for half in &mut pair.halves {
                half.queue.clear();
                if half.busy() && half.receiving != Receiving::Cancelling {
                    if half.receiving == Receiving::Armed {
                        half.receiving = Receiving::Cancelling;
                    }
                    ring.cancel_fd(half.fd);
                }
            }
        }
        if pair.halves.iter().any(Half::busy) {
            return;
        }
        for half in &pair.halves {
            ring.close(half.fd);
        }
        if let Some((generation, place)) = self.places.get_mut(token.index as usize) {
            *generation = generation.wrapping_add(1);
            *place = None;
        }
        self.free.push(token.index);
    }
}
