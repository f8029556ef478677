//! What completions mean for the slots they belong to.

use std::os::fd::RawFd;

use ringway_api::Time;

use super::{Inner, finish_sending};
use crate::listen::After;
use crate::ring::Completion;
use crate::slots::{Kind, Slot, SlotId};
use crate::socket::{BULK, Errno, Fin, RECV_HIGH, RECV_LOW, Recv, SMALL};
use crate::sys;

impl Inner {
    pub(super) fn dispatch(&mut self, completion: Completion) {
        let (kind, id) = SlotId::from_token(completion.token);
        match kind {
            Kind::Recv => self.received(id, completion),
            Kind::Send => self.sent(id, completion.result),
            Kind::Fin => self.finished(id, completion.result),
            Kind::Tick => {
                self.ticked = true;
                self.ticking = completion.more;
            }
            Kind::Event => self.signalled = true,
            Kind::Accept => self.accepted(id, completion),
            Kind::Connect => self.connected(id, completion.result),
        }
    }

    fn received(&mut self, id: SlotId, completion: Completion) {
        let Inner { slots, ring, starved, stats, .. } = self;
        let Some(socket) = slots.socket(id) else { return };
        if !completion.more {
            socket.recv = Recv::Idle;
        }
        match completion.result {
            Ok(0) => socket.recv = Recv::Ended,
            Ok(len) => {
                if len as usize >= BULK {
                    socket.bulk = true;
                } else if (len as usize) < SMALL && socket.rx.is_empty() {
                    socket.bulk = false;
                }
                if let Some(chunk) = completion.chunk.filter(|_| !socket.closing) {
                    socket.rx.push(chunk);
                }
                if socket.recv == Recv::Armed && socket.rx.bytes() >= RECV_HIGH {
                    socket.recv = Recv::Cancelling;
                    socket.bulk = true;
                    stats.paused += 1;
                    ring.cancel(id.token(Kind::Recv));
                }
            }
            Err(libc::ENOBUFS) => {
                stats.starved += 1;
                socket.recv = Recv::Starved;
                starved.push(id);
            }
            // Paused on purpose, or interrupted: armed again when somebody asks for more.
            Err(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            Err(error) => {
                socket.recv = Recv::Ended;
                socket.recv_error = Some(Errno::new(error));
            }
        }
        if socket.closing {
            self.settle(id);
            return;
        }
        if socket.recv == Recv::Idle && socket.reader.waiting() && socket.rx.is_empty() {
            socket.arm(ring, id.token(Kind::Recv));
        } else {
            socket.reader.wake();
        }
    }

    fn sent(&mut self, id: SlotId, result: Result<u32, i32>) {
        let limit = self.send_limit;
        let Inner { slots, ring, .. } = self;
        let Some(socket) = slots.socket(id) else { return };
        socket.sending = 0;
        match result {
            Err(error) => {
                socket.send_error = Some(Errno::new(error));
                socket.tx.clear();
            }
            Ok(_) if !socket.tx.is_empty() => {
                let before = socket.tx.bytes();
                ring.send(socket.fd, &mut socket.tx, id.token(Kind::Send));
                socket.begun(before - socket.tx.bytes());
            }
            Ok(_) => socket.tx.shrink(),
        }
        if socket.fin == Fin::Wanted {
            finish_sending(ring, socket, id);
        }
        if socket.closing {
            self.settle(id);
        } else if socket.queued() <= limit / 2 || socket.send_error.is_some() {
            socket.writer.wake();
        }
    }

    fn finished(&mut self, id: SlotId, result: Result<u32, i32>) {
        let Some(socket) = self.slots.socket(id) else { return };
        socket.fin = Fin::Done;
        if let Err(error) = result {
            socket.send_error.get_or_insert(Errno::new(error));
        }
        if socket.closing {
            self.settle(id);
        } else {
            socket.writer.wake();
        }
    }

    fn accepted(&mut self, id: SlotId, completion: Completion) {
        let taken = match self.slots.get(id) {
            Some(Slot::Accept(accept)) => accept.completed(&completion),
            _ => false,
        };
        if !taken && let Ok(fd) = completion.result {
            // Accepted after the listener was given up: closed, not leaked.
            self.ring.close(fd as RawFd);
        }
        if !completion.more
            && let Some(Slot::Accept(accept)) = self.slots.get(id)
        {
            match accept.ended(completion.result) {
                After::Again(fd) => self.ring.accept(fd, id.token(Kind::Accept)),
                After::Free => drop(self.slots.remove(id)),
                After::Keep => {}
            }
        }
    }

    fn connected(&mut self, id: SlotId, result: Result<u32, i32>) {
        if let Some(Slot::Connect(connect)) = self.slots.get(id)
            && !connect.completed(result)
        {
            drop(self.slots.remove(id));
        }
    }

    /// Arms the receives that ended for want of buffers, as soon as there are some.
    pub(super) fn feed_starved(&mut self) {
        if self.starved.is_empty() || !self.ring.has_buffers() {
            return;
        }
        for id in std::mem::take(&mut self.starved) {
            let Some(socket) = self.slots.socket(id) else { continue };
            if socket.recv == Recv::Starved {
                if socket.closing || socket.rx.bytes() >= RECV_LOW {
                    socket.recv = Recv::Idle;
                } else {
                    socket.arm(&mut self.ring, id.token(Kind::Recv));
                }
            }
        }
    }

    /// Moves a closing socket on: deliver, then end the receive, then close and free.
    pub(super) fn settle(&mut self, id: SlotId) {
        let Inner { slots, ring, .. } = self;
        let Some(socket) = slots.socket(id) else { return };
        if socket.queued() > 0 || socket.fin == Fin::Sending {
            return;
        }
        match socket.recv {
            // Ends the receive, which the kernel would otherwise keep the file open for, and says goodbye.
            Recv::Armed => {
                socket.recv = Recv::Cancelling;
                if !socket.aborted && socket.fin != Fin::Done && socket.send_error.is_none() {
                    socket.fin = Fin::Sending;
                    ring.shutdown(socket.fd, libc::SHUT_RDWR, id.token(Kind::Fin));
                }
                ring.cancel(id.token(Kind::Recv));
            }
            Recv::Cancelling => {}
            Recv::Idle | Recv::Starved | Recv::Ended => {
                ring.close(socket.fd);
                drop(slots.remove(id));
            }
        }
    }

    pub(super) fn cut_lingering(&mut self, now: Time) {
        let mut expired = Vec::new();
        let Inner { slots, lingering, .. } = self;
        lingering.retain(|(until, id)| {
            let pending = slots.socket(*id).is_some_and(|socket| socket.queued() > 0);
            if pending && *until <= now {
                expired.push(*id);
            }
            pending && *until > now
        });
        for id in expired {
            self.stats.linger_expired += 1;
            if let Some(socket) = self.slots.socket(id) {
                let fd = socket.fd;
                socket.tx.clear();
                sys::reset_on_close(fd);
                self.ring.cancel_fd(fd);
            }
        }
    }
}
