//! Tars: any bytes are read or refused, alike in every cut; what is read can be answered and written again; and a proxy
//! survives them from either side.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_rpc::tars::Tars;
use ringway_testkit::rpc::fuzz;

fuzz_target!(|bytes: &[u8]| fuzz::<Tars>(bytes));
