//! How much later than planned a worker comes to what it has to do.

use std::cell::Cell;
use std::time::Duration;

/// An average of delays that forgets within some intervals. A worker whose turns are long is late for its timers.
#[derive(Debug, Default)]
pub(super) struct LoopDelay(Cell<Duration>);

impl LoopDelay {
    /// How often it is measured.
    pub(super) const INTERVAL: Duration = Duration::from_millis(20);

    /// Timers may come so late on a worker that has nothing else to do: the tick of its wheel.
    const TICK: Duration = Duration::from_millis(4);

    /// Notes how late a timer was.
    pub(super) fn note(&self, late: Duration) {
        let late = late.saturating_sub(Self::TICK);
        // An eighth: a single long turn does not shed anything, some in a row do.
        self.0.set((self.0.get() * 7 + late) / 8);
    }

    /// The average.
    pub(super) fn average(&self) -> Duration {
        self.0.get()
    }

    /// Begins anew.
    pub(super) fn forget(&self) {
        self.0.set(Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_in_a_row_count_and_are_forgotten() {
        let ms = Duration::from_millis;
        let delay = LoopDelay::default();
        (0..100).for_each(|_| delay.note(ms(4)));
        assert_eq!(delay.average(), Duration::ZERO, "ticks are no delay");
        delay.note(ms(84));
        assert_eq!(delay.average(), ms(10));
        (0..20).for_each(|_| delay.note(ms(84)));
        assert!(delay.average() > ms(70));
        (0..20).for_each(|_| delay.note(ms(1)));
        assert!(delay.average() < ms(7));
        delay.forget();
        assert_eq!(delay.average(), Duration::ZERO);
    }
}
