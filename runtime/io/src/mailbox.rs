//! Mailboxes: bounded queues by which other threads tell a worker something.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use crossbeam::queue::ArrayQueue;

use crate::core::Core;
use crate::remote::Remote;

/// The sending end: any thread's, any number of them.
pub struct Sender<T> {
    queue: Arc<ArrayQueue<T>>,
    remote: Arc<Remote>,
}

/// The worker's end.
pub struct Receiver<T> {
    queue: Arc<ArrayQueue<T>>,
    core: Core,
}

/// The mailbox is full: the message comes back.
pub struct Full<T>(pub T);

/// A mailbox of the worker `core` for at most `capacity` messages.
pub fn mailbox<T>(core: &Core, capacity: usize) -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(ArrayQueue::new(capacity.max(1)));
    (Sender { queue: Arc::clone(&queue), remote: core.remote() }, Receiver { queue, core: core.clone() })
}

impl<T> Sender<T> {
    /// Puts a message in and wakes the worker.
    ///
    /// # Errors
    /// [`Full`] with the message when `capacity` messages wait already.
    pub fn send(&self, message: T) -> Result<(), Full<T>> {
        self.queue.push(message).map_err(Full)?;
        self.remote.signal();
        Ok(())
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// True when none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), remote: Arc::clone(&self.remote) }
    }
}

impl<T> Receiver<T> {
    /// The next message.
    pub async fn recv(&mut self) -> T {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next message, if there is one.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(message) = self.queue.pop() {
            return Poll::Ready(message);
        }
        // A message pushed from here on signals after it, and the signal is looked at in a later turn.
        self.core.wait_for_mail(cx.waker());
        match self.queue.pop() {
            Some(message) => Poll::Ready(message),
            None => Poll::Pending,
        }
    }
}

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mailbox is full")
    }
}
