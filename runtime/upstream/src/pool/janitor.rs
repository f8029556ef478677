//! The task that closes idle connections: at once when their peer did, or after the idle timeout.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};

use ringway_api::Timer;

use super::bell::Bell;
use super::{CloseCause, Host};
use crate::host::Settings;

/// The bell of the host's janitor, which starts with the first connection.
pub(super) fn bell(host: &Rc<Host>, settings: &Settings) -> Arc<Bell> {
    let mut bell = host.pool.bell.borrow_mut();
    if let Some(bell) = &*bell {
        return Arc::clone(bell);
    }
    let new = Arc::new(Bell::default());
    *bell = Some(Arc::clone(&new));
    drop(bell);
    host.pool.timed.set(false);
    let mut janitor =
        Janitor { host: Rc::downgrade(host), bell: Arc::clone(&new), timer: settings.env.timer(), knocked: Vec::new() };
    settings.env.spawn(Box::pin(async move { std::future::poll_fn(|cx| janitor.poll(cx)).await }));
    new
}

struct Janitor {
    /// It ends with its host.
    host: Weak<Host>,
    bell: Arc<Bell>,
    timer: Timer,
    knocked: Vec<u32>,
}

impl Janitor {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(host) = self.host.upgrade() else { return Poll::Ready(()) };
        self.bell.answer(cx, &mut self.knocked);
        for slot in self.knocked.drain(..) {
            host.look_at(slot);
        }
        loop {
            host.evict_expired(&mut self.timer);
            if self.timer.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Host {
    /// Closes the connection if it is idle and of no more use.
    fn look_at(&self, slot: u32) {
        let member = self.pool.state.borrow().members.at(slot).cloned();
        if let Some(member) = member.filter(|member| member.is_idle() && member.knocked())
            && !member.watch()
        {
            self.pool.close(member, CloseCause::PeerClosed);
        }
    }

    /// Closes what has been idle for too long and sets the timer for the next one.
    fn evict_expired(&self, timer: &mut Timer) {
        let settings = self.settings();
        let now = settings.env.now();
        loop {
            let oldest = self.pool.state.borrow().members.oldest_idle().cloned();
            let due = oldest.zip(settings.idle_timeout).map(|(oldest, span)| (oldest.idle_since.get() + span, oldest));
            match due {
                Some((due, oldest)) if due <= now => self.pool.close(oldest, CloseCause::IdleTimeout),
                Some((due, _)) => {
                    self.pool.timed.set(true);
                    return timer.set(due);
                }
                None => {
                    self.pool.timed.set(false);
                    return timer.clear();
                }
            }
        }
    }
}
