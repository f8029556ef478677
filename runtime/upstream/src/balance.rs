//! Load balancers: one file per algorithm, one line each in the catalogue.
//!
//! All skip hosts that may not be picked and give none when there is no other.

mod edf;
mod hashing;
mod least_request;
mod maglev;
mod peak_ewma;
mod random;
mod ring_hash;
mod round_robin;

pub use least_request::{LeastRequest, LeastRequestConfig};
pub use maglev::{Maglev, MaglevConfig};
pub use peak_ewma::{PeakEwma, PeakEwmaConfig};
pub use random::Random;
pub use ring_hash::{RingHash, RingHashConfig};
pub use round_robin::RoundRobin;

pub(crate) use peak_ewma::observed;
use ringway_api::Hosts;

/// How often a random choice is repeated when it meets an unusable host, before all hosts are looked at.
const TRIES: usize = 4;

fn equal_weights(hosts: Hosts<'_>) -> bool {
    let first = hosts.get(0).map(|host| host.weight);
    hosts.iter().all(|host| Some(host.weight) == first)
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
    fn usable(&mut self, hosts: Hosts<'_>) -> Option<usize> {
        for _ in 0..TRIES {
            let index = self.below(hosts.len() as u64) as usize;
            if hosts.is_usable(index) {
                return Some(index);
            }
        }
        let nth = self.below(hosts.usable().count() as u64) as usize;
        hosts.usable().nth(nth)
    }

    /// Another choice: another host than `first` if the first draw of it is usable, else any usable one.
    fn other(&mut self, hosts: Hosts<'_>, first: usize) -> usize {
        let step = 1 + self.below(hosts.len().saturating_sub(1) as u64) as usize;
        let index = if first + step < hosts.len() { first + step } else { first + step - hosts.len() };
        if hosts.is_usable(index) { index } else { self.usable(hosts).unwrap_or(first) }
    }
}

#[cfg(test)]
mod tests;
