//! The turns of a worker's loop: when to wait, and when to rest.

use std::io;
use std::time::Duration;

use ringway_api::Time;

use super::{Core, CoreConfig};
use crate::driver::Driver;

/// When to wait, and with which timer.
pub(super) struct Pace {
    tick: Duration,
    /// Events since the last tick.
    busy: bool,
    last: Time,
    /// Events since the last rest.
    worked: bool,
    rested: Time,
    on_rest: Option<fn()>,
}

/// A quiet worker gives memory back, at most this often: what it uses again has to be fetched again.
const REST: Duration = Duration::from_secs(1);

impl Pace {
    pub(super) fn new(config: &CoreConfig) -> Self {
        Self {
            tick: config.tick,
            busy: false,
            last: Time::default(),
            worked: true,
            rested: Time::default(),
            on_rest: config.on_rest,
        }
    }

    /// One turn of the loop. While there is work, one periodic timer of the kernel drives all timeouts: programming a
    /// timer per wait costs microseconds on virtual machines. After a quiet tick it is stopped, and the wait itself is
    /// limited to the next deadline.
    pub(super) fn turn(&mut self, core: &Core, may_wait: bool) -> io::Result<()> {
        let driver = &core.shared.driver;
        let ticking = driver.is_ticking();
        let limit = if may_wait && !ticking { self.limit(driver) } else { None };
        let turn = driver.turn(may_wait, limit)?;
        if turn.signalled {
            core.deliver();
        }
        self.busy |= turn.events > 0;
        let now = driver.now();
        if now.since(self.last) >= self.tick {
            if self.busy {
                self.worked = true;
                driver.set_tick(Some(self.tick));
                core.work_goes_on();
            } else {
                if ticking {
                    driver.set_tick(None);
                }
                if self.worked && now.since(self.rested) >= REST {
                    self.rest(core, now);
                }
            }
            (self.busy, self.last) = (false, now);
        }
        Ok(())
    }

    /// How long to wait: until the next timer, or the rest that is due. Events too soon after the last look are looked
    /// at once a tick has passed.
    fn limit(&self, driver: &Driver) -> Option<Duration> {
        let now = driver.now();
        let rest = self.worked.then(|| self.rested + REST);
        let look = self.busy.then(|| self.last + self.tick);
        let next = driver.next_timer().into_iter().chain(rest).chain(look).min()?;
        Some(next.since(now) + Duration::from_millis(1))
    }

    /// Gives back memory that nothing uses now.
    fn rest(&mut self, core: &Core, now: Time) {
        (self.worked, self.rested) = (false, now);
        core.shared.driver.trim();
        core.shared.tasks.shrink();
        if let Some(on_rest) = self.on_rest {
            on_rest();
        }
    }
}
