//! `round_robin`: each host in turn, as often as its weight says, spread evenly.

use std::cell::{Cell, RefCell};

use ringway_api::{Hosts, LoadBalancer, NoOptions, PickCx};

use super::edf::Schedule;
use super::equal_weights;

/// Hosts take turns. With equal weights that is a cursor; otherwise each turn is due 1 / weight after the last.
#[derive(Debug)]
pub struct RoundRobin(Turns);

#[derive(Debug)]
enum Turns {
    /// The next host to try.
    Equal(Cell<usize>),
    Weighted(RefCell<Schedule>),
}

impl LoadBalancer for RoundRobin {
    const NAME: &'static str = "round_robin";
    type Config = NoOptions;
    type Compiled = ();

    fn compile(_: NoOptions) -> Result<(), String> {
        Ok(())
    }

    fn build(_: &(), hosts: Hosts<'_>, seed: u64) -> Self {
        if equal_weights(hosts) {
            Self(Turns::Equal(Cell::new((seed % hosts.len().max(1) as u64) as usize)))
        } else {
            Self(Turns::Weighted(RefCell::new(Schedule::new(hosts, seed))))
        }
    }

    fn pick(&self, hosts: Hosts<'_>, _: PickCx) -> Option<usize> {
        let cursor = match &self.0 {
            Turns::Equal(cursor) => cursor,
            Turns::Weighted(schedule) => return schedule.borrow_mut().next(hosts, |_| 1.0),
        };
        // The cursor moves past the host it found, so that the neighbour of an unusable one gets no double share.
        let begin = cursor.get().min(hosts.len());
        let found = (begin..hosts.len()).chain(0..begin).find(|at| hosts.is_usable(*at))?;
        cursor.set(if found + 1 < hosts.len() { found + 1 } else { 0 });
        Some(found)
    }
}
