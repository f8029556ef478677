//! Fake clock, in-memory sockets and conformance runs for Ringway codecs.
//!
//! [`Sim`] runs everything on one thread in an order that depends on nothing but its seed; time passes only when a
//! test says so or nothing else can happen. [`pair`] and [`MemoryNet`] stand in for sockets and cut what they carry
//! into awkward pieces. [`conform`] holds the runs that every codec must survive.

#![forbid(unsafe_code)]
#![allow(clippy::panic, reason = "a test kit reports by panicking")]

pub mod conform;
mod handler;
mod memory;
mod net;
mod rng;
pub mod rpc;
mod sim;

pub use handler::{Answer, Recorded, TestHandler, TestLog, TestObserver, collect};
pub use memory::{Control, MemoryIo, PairOptions, Split, pair};
pub use net::{MemoryNet, NetMode};
pub use rng::Rng;
pub use sim::{Sim, test_conn};
