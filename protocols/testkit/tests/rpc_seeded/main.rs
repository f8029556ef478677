//! Codecs with one bug each: the conformance suite must notice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(unreachable_pub, reason = "the codec and its samples belong to a crate of their own")]

mod bugs;
mod caught;
#[path = "../../../../examples/plugin-protocol/src/parcel.rs"]
mod parcel;
#[path = "../../../../examples/plugin-protocol/tests/samples/mod.rs"]
mod samples;
