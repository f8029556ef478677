//! A worker on which nothing moves, for filters that are asked what they would do.

use std::rc::Rc;
use std::task::Context;
use std::time::SystemTime;

use ringway_api::{Env, LocalBoxFuture, Time, Timer, TimerDriver};

/// Time stands still, tasks do not run, chance always says the same.
pub(super) struct Still;

struct Never;

impl Still {
    pub(super) fn env() -> Rc<dyn Env> {
        Rc::new(Self)
    }
}

impl Env for Still {
    fn now(&self) -> Time {
        // Late enough for whatever looks back.
        Time(1 << 40)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn timer(&self) -> Timer {
        Timer::new(Box::new(Never))
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        drop(task);
    }

    fn random(&self) -> u64 {
        0
    }
}

impl TimerDriver for Never {
    fn now(&self) -> Time {
        Still.now()
    }

    fn wake_at(&mut self, _: Time, _: &mut Context<'_>) {}
}
