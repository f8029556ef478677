//! Timers to use again: a request's deadlines cost no allocation and no change of the wheel.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringway_api::{Env, Timer};

/// Spare timers kept at most.
const SPARE: usize = 256;

/// A worker's spare timers. One that comes back stays armed in the wheel; at worst it wakes somebody for nothing.
pub(crate) struct TimerPool {
    env: Rc<dyn Env>,
    spare: RefCell<Vec<Timer>>,
}

/// A timer out of the pool; goes back on drop.
pub(crate) struct PooledTimer {
    pool: Rc<TimerPool>,
    timer: Option<Timer>,
}

impl TimerPool {
    pub(crate) fn new(env: Rc<dyn Env>) -> Rc<Self> {
        Rc::new(Self { env, spare: RefCell::default() })
    }

    /// A timer that is not set.
    pub(crate) fn take(self: &Rc<Self>) -> PooledTimer {
        let timer = self.spare.borrow_mut().pop().unwrap_or_else(|| self.env.timer());
        PooledTimer { pool: Rc::clone(self), timer: Some(timer) }
    }
}

impl Deref for PooledTimer {
    type Target = Timer;

    #[allow(clippy::expect_used, reason = "the timer is there until drop")]
    fn deref(&self) -> &Timer {
        self.timer.as_ref().expect("taken only by drop")
    }
}

impl DerefMut for PooledTimer {
    #[allow(clippy::expect_used, reason = "the timer is there until drop")]
    fn deref_mut(&mut self) -> &mut Timer {
        self.timer.as_mut().expect("taken only by drop")
    }
}

impl Drop for PooledTimer {
    fn drop(&mut self) {
        if let Some(mut timer) = self.timer.take() {
            timer.clear();
            let mut spare = self.pool.spare.borrow_mut();
            if spare.len() < SPARE {
                spare.push(timer);
            }
        }
    }
}

/// The outcome of a future that ends in time.
pub(crate) async fn within<T>(timer: &mut Timer, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    timer.set_after(limit);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => timer.poll_expired(cx).map(|()| None),
    })
    .await
}
