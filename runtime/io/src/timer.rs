//! Timers of a worker's wheel.

use std::rc::Rc;
use std::task::Context;

use ringway_api::{Time, TimerDriver};

use crate::driver::Driver;
use crate::wheel::Key;

pub(crate) struct WheelTimer {
    driver: Rc<Driver>,
    key: Key,
}

impl WheelTimer {
    pub(crate) fn new(driver: &Rc<Driver>) -> Self {
        Self { driver: Rc::clone(driver), key: driver.add_timer() }
    }
}

impl TimerDriver for WheelTimer {
    fn now(&self) -> Time {
        self.driver.now()
    }

    fn wake_at(&mut self, at: Time, cx: &mut Context<'_>) {
        self.driver.arm_timer(self.key, at, cx);
    }
}

impl Drop for WheelTimer {
    fn drop(&mut self) {
        self.driver.drop_timer(self.key);
    }
}
