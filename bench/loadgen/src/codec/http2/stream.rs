//! One stream: what is left to send of it, and what has come.

use ringway_api::Chunk;

use super::super::{Call, Outcome};

/// The length and the flag in front of each message of gRPC.
const PREFIX: usize = 5;

/// A request and as much as is known of its reply.
pub(super) struct Stream {
    pub(super) tag: u32,
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u16>,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    /// What the server allows to be sent.
    pub(super) window: i64,
    /// Bytes of the reply, and those of them that the server has not been given back.
    pub(super) got: usize,
    pub(super) received: u32,
}

/// What has not been sent: the rest of a body, or of a message and those after it.
pub(super) struct Outgoing {
    now: Chunk,
    message: Chunk,
    /// Messages that have not been begun, and how many of them may be.
    left: u32,
    allowed: u32,
}

/// Messages of gRPC, told apart by their prefixes; their content is not looked at.
#[derive(Default)]
pub(super) struct Incoming {
    prefix: [u8; PREFIX],
    have: usize,
    left: u32,
    pub(super) count: u32,
}

// === impl Stream ===

impl Stream {
    pub(super) fn new(tag: u32, window: i64, outgoing: Outgoing) -> Self {
        let incoming = Incoming::default();
        Self { tag, status: None, grpc_status: None, outgoing, incoming, window, got: 0, received: 0 }
    }

    /// How the reply is to be counted.
    pub(super) fn outcome(&self, grpc: bool, call: Call) -> Outcome {
        match (self.status, self.grpc_status) {
            (Some(status), _) if status >= 400 => Outcome::Status(status),
            _ if !grpc => Outcome::Good,
            (_, Some(0)) if self.incoming.is_cut_off() => Outcome::Wrong("gRPC: the last message is not whole"),
            (_, Some(0)) if !self.outgoing.is_done() => {
                Outcome::Wrong("gRPC: the call ended before all its messages were sent")
            }
            (_, Some(0)) if call.replies.is_some_and(|replies| replies != self.incoming.count) => {
                Outcome::Wrong("gRPC: another number of messages than --grpc-replies")
            }
            (_, Some(0)) => Outcome::Good,
            // A call without a status has failed with UNKNOWN (2).
            (_, status) => Outcome::Status(status.unwrap_or(2)),
        }
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// A body.
    pub(super) fn body(body: Chunk) -> Self {
        Self { now: body, message: Chunk::default(), left: 0, allowed: 0 }
    }

    /// The messages of a call.
    pub(super) fn messages(message: Chunk, call: Call) -> Self {
        let allowed = if call.ping_pong { 1 } else { call.messages };
        Self { now: Chunk::default(), message, left: call.messages, allowed }
    }

    /// Whether everything was sent.
    pub(super) fn is_done(&self) -> bool {
        self.now.is_empty() && self.left == 0
    }

    /// One more message may be sent: its turn has come.
    pub(super) fn allow(&mut self, more: u32) {
        self.allowed = self.allowed.saturating_add(more);
    }

    /// Bytes that could be sent now, at most `most`; `None` when nothing waits.
    pub(super) fn waits(&mut self, most: usize) -> Option<usize> {
        if self.now.is_empty() {
            if self.left == 0 || self.allowed == 0 {
                return None;
            }
            self.now = self.message.clone();
            self.left -= 1;
            self.allowed -= 1;
        }
        Some(self.now.len().min(most))
    }

    /// Takes what [`waits`](Self::waits) has told, and whether it ends a message.
    pub(super) fn take(&mut self, count: usize) -> (Chunk, bool) {
        let part = self.now.split_to(count.min(self.now.len()));
        (part, self.now.is_empty())
    }
}

// === impl Incoming ===

impl Incoming {
    /// Takes bytes of the stream; how many messages they have made whole.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> u32 {
        let before = self.count;
        loop {
            if self.have == PREFIX {
                let part = bytes.len().min(self.left as usize);
                bytes = bytes.get(part..).unwrap_or_default();
                self.left -= part as u32;
                if self.left > 0 {
                    break;
                }
                self.have = 0;
                self.count = self.count.saturating_add(1);
            }
            let Some((first, rest)) = bytes.split_first() else { break };
            if let Some(place) = self.prefix.get_mut(self.have) {
                *place = *first;
            }
            bytes = rest;
            self.have += 1;
            if self.have == PREFIX {
                let [_, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length);
            }
        }
        self.count - before
    }

    fn is_cut_off(&self) -> bool {
        self.have > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_at_every_split() {
        let bytes = [&[0, 0, 0, 0, 3][..], b"abc", &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 1], b"x"].concat();
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let mut incoming = Incoming::default();
            assert_eq!(incoming.take(first) + incoming.take(second), 3, "at {cut}");
            assert!(!incoming.is_cut_off());
        }
        for cut in [1, 4, 5, 7, 9] {
            let mut incoming = Incoming::default();
            incoming.take(&bytes[..cut]);
            assert!(incoming.is_cut_off(), "at {cut}");
        }
    }

    #[test]
    fn turns_are_waited_for() {
        let call = Call { messages: 3, ping_pong: true, replies: None };
        let mut outgoing = Outgoing::messages(Chunk::from("abcdef"), call);
        assert_eq!(outgoing.waits(4), Some(4));
        assert!(!outgoing.take(4).1);
        assert_eq!(outgoing.waits(4), Some(2));
        assert!(outgoing.take(2).1);
        assert_eq!(outgoing.waits(4), None);
        outgoing.allow(2);
        for _ in 0..2 {
            assert_eq!(outgoing.waits(9), Some(6));
            outgoing.take(6);
        }
        assert!(outgoing.is_done() && outgoing.waits(9).is_none());
    }
}
