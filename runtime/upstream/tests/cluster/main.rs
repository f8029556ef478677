//! Clusters and pools through their public face, under a fake clock, against a network the test plays.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "all of this crate is a test")]

mod bound;
mod groups;
mod health;
mod limits;
mod net;
mod original;
mod pool;
mod raw;
mod rebuild;
mod schedule;
mod world;
