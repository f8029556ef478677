//! `least_request`: where the least is under way.

use std::cell::RefCell;

use ringway_api::{HostState, LoadBalancer, PickCx};

use super::edf::Schedule;
use super::{Draw, equal_weights};

/// With equal weights the better of two random hosts (power of two choices). Otherwise turns as in round robin, each
/// with the weight divided by one more than what is under way at the host, as Envoy does with an active request bias
/// of 1.
#[derive(Debug)]
pub struct LeastRequest(Option<RefCell<Schedule>>);

impl LoadBalancer for LeastRequest {
    const NAME: &'static str = "least_request";

    fn build(hosts: &[HostState], seed: u64) -> Self {
        Self((!equal_weights(hosts)).then(|| RefCell::new(Schedule::new(hosts, seed))))
    }

    fn pick(&self, hosts: &[HostState], cx: PickCx) -> Option<usize> {
        if let Some(schedule) = &self.0 {
            return schedule.borrow_mut().next(hosts, |host| host.active.get());
        }
        let mut draw = Draw(cx.random);
        let first = draw.usable(hosts)?;
        let second = other(&mut draw, hosts, first);
        let active = |index: usize| hosts.get(index).map_or(u32::MAX, |host| host.active.get());
        Some(if active(second) < active(first) { second } else { first })
    }
}

/// A second choice: another host than `first` if the first draw of it is usable, else any usable one.
fn other(draw: &mut Draw, hosts: &[HostState], first: usize) -> usize {
    let step = 1 + draw.below(hosts.len().saturating_sub(1) as u64) as usize;
    let index = if first + step < hosts.len() { first + step } else { first + step - hosts.len() };
    match hosts.get(index) {
        Some(host) if host.usable.get() => index,
        _ => draw.usable(hosts).unwrap_or(first),
    }
}
