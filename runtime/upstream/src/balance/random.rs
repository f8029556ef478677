//! `random`: any host, as likely as its weight says.

use ringway_api::{Hosts, LoadBalancer, NoOptions, PickCx};

use super::{Draw, TRIES, equal_weights};

/// Draws a host by weight. Needs no memory of the past, so workers that do not know of each other do no harm.
#[derive(Debug)]
pub struct Random {
    /// The sum of the weights up to and with each host; empty when all weights are equal.
    upto: Box<[u64]>,
}

impl LoadBalancer for Random {
    const NAME: &'static str = "random";
    type Config = NoOptions;
    type Compiled = ();

    fn compile(_: NoOptions) -> Result<(), String> {
        Ok(())
    }

    fn build(_: &(), hosts: Hosts<'_>, _: u64) -> Self {
        let sums = || {
            hosts.iter().scan(0u64, |sum, host| {
                *sum += u64::from(host.weight);
                Some(*sum)
            })
        };
        Self { upto: if equal_weights(hosts) { Box::default() } else { sums().collect() } }
    }

    fn pick(&self, hosts: Hosts<'_>, cx: PickCx) -> Option<usize> {
        let mut draw = Draw(cx.random);
        let Some(&total) = self.upto.last() else { return draw.usable(hosts) };
        for _ in 0..TRIES {
            let point = draw.below(total);
            let index = self.upto.partition_point(|upto| *upto <= point);
            if hosts.is_usable(index) {
                return Some(index);
            }
        }
        among_usable(&mut draw, hosts)
    }
}

/// The same draw among usable hosts only: what remains when most of the weight may not be picked.
fn among_usable(draw: &mut Draw, hosts: Hosts<'_>) -> Option<usize> {
    let weight = |at: usize| hosts.get(at).map_or(0, |host| u64::from(host.weight));
    let mut point = draw.below(hosts.usable().map(weight).sum());
    for at in hosts.usable() {
        match point.checked_sub(weight(at)) {
            Some(rest) => point = rest,
            None => return Some(at),
        }
    }
    None
}
