//! A load balancer: each worker stays with one host until it is overtaken.

use std::cell::Cell;

use ringway_api::{Hosts, LoadBalancer, NoOptions, PickCx};

/// Requests that a worker may have under way with its host beyond the least busy one before it looks for another.
const SLACK: u32 = 8;

/// Stays with a host, so that few connections are open; leaves it when it is busier than another by [`SLACK`] requests,
/// each counted by its host's weight.
#[derive(Debug)]
pub struct Sticky {
    current: Cell<usize>,
}

impl LoadBalancer for Sticky {
    const NAME: &'static str = "sticky";
    type Config = NoOptions;
    type Compiled = ();

    fn compile(_: NoOptions) -> Result<(), String> {
        Ok(())
    }

    fn build(_: &(), hosts: Hosts<'_>, seed: u64) -> Self {
        // Workers begin in different places.
        let begin = usize::try_from(seed % hosts.len().max(1) as u64).unwrap_or(0);
        Self { current: Cell::new(begin) }
    }

    fn pick(&self, hosts: Hosts<'_>, _: PickCx) -> Option<usize> {
        let load = |at: usize| hosts.get(at).map_or(u32::MAX, |host| host.active.get() / host.weight);
        let idlest = hosts.usable().min_by_key(|at| load(*at))?;
        let current = self.current.get();
        if !hosts.is_usable(current) || load(current) > load(idlest) + SLACK {
            self.current.set(idlest);
        }
        Some(self.current.get())
    }
}

#[cfg(test)]
mod tests {
    use ringway_api::{HostState, Time};

    use super::*;

    const CX: PickCx = PickCx { random: 0, hash: None, now: Time(0) };

    #[test]
    fn it_stays_until_it_is_overtaken() {
        let states = [HostState::new(1, 1), HostState::new(1, 2)];
        let hosts = Hosts::all(&states);
        let sticky = Sticky::build(&(), hosts, 1);
        for _ in 0..=SLACK {
            let picked = sticky.pick(hosts, CX).unwrap();
            assert_eq!(picked, 1);
            states[picked].active.set(states[picked].active.get() + 1);
        }
        assert_eq!(sticky.pick(hosts, CX), Some(0));
        // A host that may not be picked is left at once; without any there is none.
        states[0].usable.set(false);
        assert_eq!(sticky.pick(hosts, CX), Some(1));
        states[1].usable.set(false);
        assert_eq!(sticky.pick(hosts, CX), None);
    }
}
