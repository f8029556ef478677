//! A load balancer: each worker stays with one host until it is overtaken.

use std::cell::Cell;

use ringway_api::{HostState, LoadBalancer, PickCx};

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

    fn build(hosts: &[HostState], seed: u64) -> Self {
        // Workers begin in different places.
        let begin = usize::try_from(seed % hosts.len().max(1) as u64).unwrap_or(0);
        Self { current: Cell::new(begin) }
    }

    fn pick(&self, hosts: &[HostState], _: PickCx) -> Option<usize> {
        let load = |host: &HostState| host.active.get() / host.weight;
        let usable = hosts.iter().enumerate().filter(|(_, host)| host.usable.get());
        let (least, idlest) = usable.min_by_key(|(_, host)| load(host))?;
        let current = hosts.get(self.current.get()).filter(|host| host.usable.get());
        if current.is_none_or(|current| load(current) > load(idlest) + SLACK) {
            self.current.set(least);
        }
        Some(self.current.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CX: PickCx = PickCx { random: 0, hash: None };

    #[test]
    fn it_stays_until_it_is_overtaken() {
        let hosts = [HostState::new(1), HostState::new(1)];
        let sticky = Sticky::build(&hosts, 1);
        for _ in 0..=SLACK {
            let picked = sticky.pick(&hosts, CX).unwrap();
            assert_eq!(picked, 1);
            hosts[picked].active.set(hosts[picked].active.get() + 1);
        }
        assert_eq!(sticky.pick(&hosts, CX), Some(0));
        // A host that may not be picked is left at once; without any there is none.
        hosts[0].usable.set(false);
        assert_eq!(sticky.pick(&hosts, CX), Some(1));
        hosts[1].usable.set(false);
        assert_eq!(sticky.pick(&hosts, CX), None);
    }
}
