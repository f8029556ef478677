//! A load generator on Ringway's engine: what `ringway-bench` does, as a library for its own tests.
//!
//! [`Plan`] says what to do; [`run`] does it with a thread per ring and returns a [`Summary`]. Protocols differ behind
//! [`codec::Codec`] alone; there is one loop for all of them, and for open and closed loops.

#![forbid(unsafe_code)]

pub mod assertion;
pub mod cli;
mod clock;
pub mod codec;
pub mod find_max;
pub mod replay;
pub mod report;
pub mod request;
mod run;
pub mod schedule;
pub mod tally;
mod worker;

pub use run::{ROWS, Second, Summary, probe, run};
pub use worker::Plan;
