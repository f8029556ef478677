//! Load balancers: one file per algorithm, one line each in the catalogue.
//!
//! All skip hosts that may not be picked and give none when there is no other.

mod edf;
mod least_request;
mod random;
mod round_robin;

pub use least_request::LeastRequest;
pub use random::Random;
pub use round_robin::RoundRobin;

use ringway_api::HostState;

/// How often a random choice is repeated when it meets an unusable host, before all hosts are looked at.
const TRIES: usize = 4;

fn equal_weights(hosts: &[HostState]) -> bool {
    hosts.windows(2).all(|pair| matches!(pair, [a, b] if a.weight == b.weight))
}

/// A stream of numbers from the random bits of one pick (SplitMix64).
struct Draw(u64);

impl Draw {
    /// A number below `bound`, every one as likely as the others to within `bound` / 2^64; 0 for a bound of 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        ((u128::from(bits) * u128::from(bound)) >> 64) as u64
    }

    /// A usable host, each as likely as the others.
    fn usable(&mut self, hosts: &[HostState]) -> Option<usize> {
        for _ in 0..TRIES {
            let index = self.below(hosts.len() as u64) as usize;
            if hosts.get(index)?.usable.get() {
                return Some(index);
            }
        }
        let usable = || hosts.iter().enumerate().filter(|(_, host)| host.usable.get());
        let nth = self.below(usable().count() as u64) as usize;
        usable().nth(nth).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests;
