//! Pairs of sockets, and what each completion does to them.

use std::os::fd::RawFd;

use ringway_api::ChunkQueue;
use ringway_io::ring::{Completion, Ring};

use crate::token::{Kind, Side, Token};

/// Bytes on their way to one socket at which its source is paused, and below which it goes on.
const HIGH: usize = 256 << 10;
const LOW: usize = 64 << 10;

/// All pairs, by place.
#[derive(Default)]
pub(crate) struct Pairs {
    places: Vec<Place>,
    free: Vec<u32>,
    /// Receives that ended for want of buffers.
    starved: Vec<Token>,
}

#[derive(Default)]
struct Place {
    generation: u16,
    pair: Option<Box<Pair>>,
}

struct Pair {
    down: Half,
    up: Half,
    /// Something failed: both are closed as soon as nothing is under way.
    broken: bool,
}

/// One socket.
struct Half {
    fd: RawFd,
    /// What the other half received and this one has yet to send.
    queue: ChunkQueue,
    /// Bytes of the send that is under way.
    sending: usize,
    receiving: Receiving,
    fin: Fin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiving {
    Idle,
    Armed,
    /// Cancelled; data may still come before the completion that ends it.
    Cancelling,
    /// Waits for buffers.
    Starved,
    /// The peer has sent all it had, or failed.
    Ended,
}

/// Our end of the stream to the peer: sent when the other half's stream has ended and the queue is empty.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fin {
    Open,
    Wanted,
    Sending,
    Done,
}

impl Pairs {
    /// How many pairs there are.
    pub(crate) fn open(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Takes in two sockets; the token's kind is for the caller to choose.
    pub(crate) fn insert(&mut self, down: RawFd, up: RawFd) -> Token {
        let pair = Box::new(Pair { down: Half::new(down), up: Half::new(up), broken: false });
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        let mut generation = 0;
        if let Some(place) = self.places.get_mut(index as usize) {
            generation = place.generation;
            place.pair = Some(pair);
        }
        Token { kind: Kind::Connect, side: Side::Up, generation, index }
    }

    pub(crate) fn connected(&mut self, ring: &mut Ring, token: Token, ok: bool) {
        let Some(pair) = self.pair(token) else { return };
        if ok {
            pair.down.arm(ring, token.with(Kind::Recv, Side::Down));
            pair.up.arm(ring, token.with(Kind::Recv, Side::Up));
        } else {
            pair.fail(ring);
            self.settle(ring, token);
        }
    }

    pub(crate) fn received(&mut self, ring: &mut Ring, token: Token, completion: Completion) {
        let Some(pair) = self.pair(token) else { return };
        let broken = pair.broken;
        let (half, far) = pair.halves(token.side);
        if !completion.more {
            half.receiving = Receiving::Idle;
        }
        let (mut starved, mut failed) = (false, false);
        match completion.result {
            Ok(0) => {
                half.receiving = Receiving::Ended;
                far.fin = Fin::Wanted;
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
            far.push(ring, token.with(Kind::Send, token.side.other()));
            let waiting = far.waiting();
            if half.receiving == Receiving::Armed && waiting >= HIGH {
                half.receiving = Receiving::Cancelling;
                ring.cancel(token.pack());
            } else if waiting < LOW {
                half.arm(ring, token);
            }
        }
        if failed {
            pair.fail(ring);
        }
        let broken = pair.broken;
        if starved {
            self.starved.push(token);
        }
        if broken {
            self.settle(ring, token);
        }
    }

    pub(crate) fn sent(&mut self, ring: &mut Ring, token: Token, ok: bool) {
        let Some(pair) = self.pair(token) else { return };
        pair.halves(token.side).0.sending = 0;
        if !ok {
            pair.fail(ring);
        }
        if pair.broken {
            self.settle(ring, token);
            return;
        }
        let (half, far) = pair.halves(token.side);
        half.push(ring, token);
        if half.waiting() < LOW {
            far.arm(ring, token.with(Kind::Recv, token.side.other()));
        }
    }

    /// The end of the stream has gone out. If it could not, the receive says what is wrong with the socket.
    pub(crate) fn finished(&mut self, ring: &mut Ring, token: Token) {
        let Some(pair) = self.pair(token) else { return };
        pair.halves(token.side).0.fin = Fin::Done;
        self.settle(ring, token);
    }

    /// Arms the receives that ended for want of buffers, once there are some.
    pub(crate) fn feed_starved(&mut self, ring: &mut Ring) {
        if self.starved.is_empty() || !ring.has_buffers() {
            return;
        }
        for token in std::mem::take(&mut self.starved) {
            let Some(pair) = self.pair(token) else { continue };
            let broken = pair.broken;
            let half = pair.halves(token.side).0;
            if half.receiving == Receiving::Starved && !broken {
                half.receiving = Receiving::Idle;
                half.arm(ring, token);
            }
        }
    }

    fn pair(&mut self, token: Token) -> Option<&mut Pair> {
        let place = self.places.get_mut(token.index as usize)?;
        if place.generation == token.generation { place.pair.as_deref_mut() } else { None }
    }

    /// Closes a pair that is done or broken, once the kernel works on nothing of it.
    fn settle(&mut self, ring: &mut Ring, token: Token) {
        let Some(pair) = self.pair(token) else { return };
        let over = pair.broken || pair.down.done() && pair.up.done();
        if !over || pair.down.busy() || pair.up.busy() {
            return;
        }
        ring.close(pair.down.fd);
        ring.close(pair.up.fd);
        if let Some(place) = self.places.get_mut(token.index as usize) {
            place.generation = place.generation.wrapping_add(1);
            place.pair = None;
        }
        self.free.push(token.index);
    }
}

impl Pair {
    fn fail(&mut self, ring: &mut Ring) {
        if !self.broken {
            self.broken = true;
            self.down.stop(ring);
            self.up.stop(ring);
        }
    }

    /// The half of a side, then the other.
    fn halves(&mut self, side: Side) -> (&mut Half, &mut Half) {
        match side {
            Side::Down => (&mut self.down, &mut self.up),
            Side::Up => (&mut self.up, &mut self.down),
        }
    }
}

impl Half {
    fn new(fd: RawFd) -> Self {
        Self { fd, queue: ChunkQueue::new(), sending: 0, receiving: Receiving::Idle, fin: Fin::Open }
    }

    /// Bytes on their way to the peer.
    fn waiting(&self) -> usize {
        self.queue.bytes() + self.sending
    }

    fn busy(&self) -> bool {
        matches!(self.receiving, Receiving::Armed | Receiving::Cancelling)
            || self.sending > 0
            || self.fin == Fin::Sending
    }

    fn done(&self) -> bool {
        self.receiving == Receiving::Ended && self.fin == Fin::Done
    }

    fn arm(&mut self, ring: &mut Ring, token: Token) {
        if self.receiving == Receiving::Idle {
            self.receiving = Receiving::Armed;
            ring.recv(self.fd, token.pack());
        }
    }

    /// Sends what waits, then the end of the stream; one operation at a time.
    fn push(&mut self, ring: &mut Ring, token: Token) {
        if self.sending > 0 {
            return;
        }
        if !self.queue.is_empty() {
            self.sending = self.queue.bytes();
            ring.send(self.fd, &mut self.queue, token.pack());
            self.sending -= self.queue.bytes();
        } else if self.fin == Fin::Wanted {
            self.fin = Fin::Sending;
            ring.shutdown(self.fd, libc::SHUT_WR, token.with(Kind::Fin, token.side).pack());
        }
    }

    /// Ends everything that is under way; the completions that say so still come.
    fn stop(&mut self, ring: &mut Ring) {
        self.queue.clear();
        if self.busy() {
            ring.cancel_fd(self.fd);
        }
    }
}
