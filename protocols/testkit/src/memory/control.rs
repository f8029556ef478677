//! The test's hand on a stream.

use std::fmt;
use std::io;
use std::rc::Rc;

use super::Pipe;

/// Looks at one end of a pair and meddles with it, from the test's side. Outlives the end.
#[derive(Clone)]
pub struct Control {
    pub(super) out: Rc<Pipe>,
    pub(super) inn: Rc<Pipe>,
}

impl Control {
    /// Holds back what this end has sent (`true`) until it is released (`false`); unacknowledged meanwhile.
    pub fn stall_sent(&self, stalled: bool) {
        let mut state = self.out.state.borrow_mut();
        state.stalled = stalled;
        if !stalled {
            state.acked += state.unacked();
            state.wake_reader();
        }
    }

    /// This end's next receive fails with `kind`, after what is already there.
    pub fn fail_recv(&self, kind: io::ErrorKind) {
        let mut state = self.inn.state.borrow_mut();
        state.recv_error = Some(kind);
        state.wake_reader();
    }

    /// This end's next send fails with `kind`.
    pub fn fail_send(&self, kind: io::ErrorKind) {
        let mut state = self.out.state.borrow_mut();
        state.send_error = Some(kind);
        state.wake_writer();
    }

    /// Bytes this end has sent so far.
    pub fn sent(&self) -> u64 {
        self.out.state.borrow().sent
    }

    /// Calls of `poll_send` that moved something.
    pub fn sends(&self) -> u64 {
        self.out.state.borrow().sends
    }

    /// Bytes this end has received so far.
    pub fn received(&self) -> u64 {
        self.inn.state.borrow().received
    }

    /// Calls of `poll_recv`, with or without a result.
    pub fn recvs(&self) -> u64 {
        self.inn.state.borrow().recvs
    }

    /// Bytes that wait to be received by this end.
    pub fn waiting(&self) -> usize {
        self.inn.state.borrow().bytes
    }

    /// The most bytes that ever waited to be received by this end.
    pub fn waiting_peak(&self) -> usize {
        self.inn.state.borrow().peak
    }

    /// Pooled chunks received by this end that are still alive.
    pub fn pooled(&self) -> usize {
        self.inn.pooled.get()
    }

    /// True once this end has ended its sending side, by dropping it or otherwise.
    pub fn has_ended(&self) -> bool {
        self.out.state.borrow().ended
    }

    /// True once this end has reset the stream.
    pub fn has_reset(&self) -> bool {
        self.out.state.borrow().reset
    }

    /// True once this end is dropped or has reset the stream.
    pub fn is_gone(&self) -> bool {
        self.inn.state.borrow().deaf
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Control({} received, {} sent)", self.received(), self.sent())
    }
}
