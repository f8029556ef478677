//! Parcel: any bytes, read and sent through a proxy in memory.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ringway_testkit::rpc::fuzz::<ringway_parcel::Parcel>(bytes));
