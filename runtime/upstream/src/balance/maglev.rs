//! `maglev`: what hashes alike goes to one host, by a table that shares hashes almost evenly (Eisenbud et al., "Maglev: A
//! Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4).

use std::sync::Arc;

use ringway_api::{Hosts, LoadBalancer, PickCx};
use schemars::JsonSchema;
use serde::Deserialize;

use super::hashing::{Made, check_factor, first_with_room, hash_of, keys, mix};

/// A table of hosts, looked up by the hash.
#[derive(Debug)]
pub struct Maglev {
    table: Arc<[u32]>,
    factor: Option<u32>,
}

/// The options of [`Maglev`].
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaglevConfig {
    /// Entries of the table; a prime number, at most 5,000,011.
    pub table_size: u32,
    /// As of `ring_hash`.
    pub hash_balance_factor: Option<u32>,
}

/// The options, and the tables that were made with them.
#[derive(Debug)]
pub struct MaglevOptions {
    config: MaglevConfig,
    made: Made<[u32]>,
}

/// Envoy's limit.
const MOST: u32 = 5_000_011;

impl Default for MaglevConfig {
    fn default() -> Self {
        Self { table_size: 65_537, hash_balance_factor: None }
    }
}

impl LoadBalancer for Maglev {
    const NAME: &'static str = "maglev";
    type Config = MaglevConfig;
    type Compiled = MaglevOptions;

    fn compile(config: MaglevConfig) -> Result<MaglevOptions, String> {
        if config.table_size > MOST || !is_prime(config.table_size) {
            return Err(format!("table_size: {} is no prime number up to {MOST}", config.table_size));
        }
        check_factor(config.hash_balance_factor)?;
        Ok(MaglevOptions { config, made: Made::default() })
    }

    fn prepare(options: &MaglevOptions, hosts: &[(u32, u64)]) {
        options.table(hosts);
    }

    fn build(options: &MaglevOptions, hosts: Hosts<'_>, _: u64) -> Self {
        Self { table: options.table(&keys(hosts)), factor: options.config.hash_balance_factor }
    }

    fn pick(&self, hosts: Hosts<'_>, cx: PickCx) -> Option<usize> {
        let mut hash = hash_of(cx);
        let size = self.table.len().max(1) as u64;
        // Beyond some attempts nearly everybody is out, and the order of the hosts is as good as any.
        let sequence = (0..64).filter_map(|_| {
            let at = self.table.get((hash % size) as usize).copied();
            hash = mix(hash, 1);
            at.map(|at| at as usize)
        });
        first_with_room(hosts, self.factor, sequence).or_else(|| hosts.usable().next())
    }
}

impl MaglevOptions {
    fn table(&self, hosts: &[(u32, u64)]) -> Arc<[u32]> {
        self.made.of(hosts, || fill(hosts, self.config.table_size).into())
    }
}

/// Hosts claim the free place that comes next in their own permutation of the table, in turns, the heavier more often.
fn fill(hosts: &[(u32, u64)], size: u32) -> Vec<u32> {
    if hosts.is_empty() {
        return Vec::new();
    }
    const FREE: u32 = u32::MAX;
    let heaviest = hosts.iter().map(|(weight, _)| *weight).max().unwrap_or(1).max(1);
    let modulus = u64::from(size);
    let mut claims: Vec<(u64, u64, f64)> =
        hosts.iter().map(|(_, key)| (mix(*key, 1) % modulus, mix(*key, 2) % (modulus - 1).max(1) + 1, 0.0)).collect();
    let mut table = vec![FREE; size as usize];
    let mut left = table.len();
    let mut turn = 0_u64;
    while left > 0 {
        turn += 1;
        for (at, ((weight, _), (next, skip, had))) in hosts.iter().zip(&mut claims).enumerate() {
            // As in Envoy, a host of a third of the weight has every third turn.
            if (turn as f64) * f64::from(*weight) / f64::from(heaviest) < *had + 1.0 {
                continue;
            }
            *had += 1.0;
            loop {
                let place = *next as usize;
                *next = (*next + *skip) % modulus;
                if let Some(entry) = table.get_mut(place).filter(|entry| **entry == FREE) {
                    *entry = at as u32;
                    left -= 1;
                    break;
                }
            }
            if left == 0 {
                break;
            }
        }
    }
    table
}

fn is_prime(number: u32) -> bool {
    number > 1
        && (2..)
            .take_while(|factor| u64::from(*factor) * u64::from(*factor) <= u64::from(number))
            .all(|factor: u32| !number.is_multiple_of(factor))
}
