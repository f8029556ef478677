//! `random`: any host, as likely as its weight says.

use ringway_api::{HostState, LoadBalancer, PickCx};

use super::{Draw, TRIES, equal_weights};

/// Draws a host by weight. Needs no memory of the past, so workers that do not know of each other do no harm.
#[derive(Debug)]
pub struct Random {
    /// The sum of the weights up to and with each host; empty when all weights are equal.
    upto: Box<[u64]>,
}

impl LoadBalancer for Random {
    const NAME: &'static str = "random";

    fn build(hosts: &[HostState], _: u64) -> Self {
        let sums = || {
            hosts.iter().scan(0u64, |sum, host| {
                *sum += u64::from(host.weight);
                Some(*sum)
            })
        };
        Self { upto: if equal_weights(hosts) { Box::default() } else { sums().collect() } }
    }

    fn pick(&self, hosts: &[HostState], cx: PickCx) -> Option<usize> {
        let mut draw = Draw(cx.random);
        let Some(&total) = self.upto.last() else { return draw.usable(hosts) };
        for _ in 0..TRIES {
            let point = draw.below(total);
            let index = self.upto.partition_point(|upto| *upto <= point);
            if hosts.get(index)?.usable.get() {
                return Some(index);
            }
        }
        among_usable(&mut draw, hosts)
    }
}

/// The same draw among usable hosts only: what remains when most of the weight may not be picked.
fn among_usable(draw: &mut Draw, hosts: &[HostState]) -> Option<usize> {
    let usable = || hosts.iter().enumerate().filter(|(_, host)| host.usable.get());
    let mut point = draw.below(usable().map(|(_, host)| u64::from(host.weight)).sum());
    for (index, host) in usable() {
        match point.checked_sub(u64::from(host.weight)) {
            Some(rest) => point = rest,
            None => return Some(index),
        }
    }
    None
}
