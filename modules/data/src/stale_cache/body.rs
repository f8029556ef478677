//! Content that is recorded as it goes by.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_api::{Body, BodyError, BodyStream, Frame};

use super::store::{Reservation, Store};

/// What to do with the content once it has ended: all of it, or `None` when it cannot be kept.
pub(crate) type Keep = Box<dyn FnOnce(&Rc<RefCell<Store>>, Option<Vec<u8>>)>;

/// A body of which a copy is made.
pub(crate) struct Recorded {
    inner: Body,
    recording: Option<Recording>,
}

struct Recording {
    copy: Vec<u8>,
    reservation: Reservation,
    keep: Keep,
}

impl Recorded {
    pub(crate) fn new(inner: Body, reservation: Reservation, keep: Keep) -> Self {
        Self { inner, recording: Some(Recording { copy: Vec::new(), reservation, keep }) }
    }
}

impl Recording {
    fn end(self, whole: bool) {
        let Self { copy, reservation, keep } = self;
        let store = Rc::clone(&reservation.store);
        // Given back before the entry takes its place.
        drop(reservation);
        keep(&store, whole.then_some(copy));
    }
}

impl BodyStream for Recorded {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let frame = self.inner.poll_frame(cx);
        let Poll::Ready(ready) = &frame else { return frame };
        if let (Some(Ok(Frame::Data(chunk))), Some(recording)) = (ready, &mut self.recording)
            && recording.reservation.grow(chunk.len())
        {
            recording.copy.extend_from_slice(chunk);
            return frame;
        }
        if let Some(recording) = self.recording.take() {
            // Trailers are not kept, so what has some is not whole without them.
            recording.end(ready.is_none());
        }
        frame
    }

    fn remaining(&self) -> Option<u64> {
        self.inner.remaining()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        // A consumer that knows the length need not ask for the end.
        if let Some(recording) = self.recording.take() {
            recording.end(self.inner.remaining() == Some(0));
        }
    }
}
