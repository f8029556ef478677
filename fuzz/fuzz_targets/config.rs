//! Configurations: any text is compiled or refused with a message, never a panic; what was compiled once compiles again
//! to the same, and its unchanged parts are shared.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use ringway_api::{BalancerSpec, ProtocolSpec};
use ringway_config::{Catalog, compile};
use ringway_http1::Http1;
use ringway_upstream::balance::{LeastRequest, Random, RoundRobin};

const PROTOCOLS: &[ProtocolSpec] = &[ProtocolSpec::of::<Http1>()];
const BALANCERS: &[BalancerSpec] =
    &[BalancerSpec::of::<RoundRobin>(), BalancerSpec::of::<LeastRequest>(), BalancerSpec::of::<Random>()];
const CATALOG: Catalog =
    Catalog { protocols: PROTOCOLS, filters: &[], balancers: BALANCERS, check_access_log: |_| Ok(()) };

fuzz_target!(|text: &str| {
    match compile("fuzz", text, &CATALOG, None) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(first) => {
            let again = compile("fuzz", text, &CATALOG, Some(&first)).expect("it compiled before");
            assert!(first.listeners.iter().zip(&again.listeners).all(|(old, new)| Arc::ptr_eq(old, new)));
            assert!(first.clusters.iter().zip(&again.clusters).all(|(old, new)| Arc::ptr_eq(old, new)));
        }
    }
});
