//! A mesh in virtual time around the product's own code: router, balancers, limits, outlier detection, retries.
//!
//! Nothing here reads a clock or draws a random number that does not follow from the seed: the same seed gives the same
//! bytes on every machine. Each [`Part`] answers one question with tables, plots and [`Check`]s, which say what must hold
//! whatever the seed is.
//!
//! Two kinds of parts. Those about one algorithm call its public face directly ([`distribution`], [`stability`],
//! [`fairness`], [`limits`], [`router`]). The others run whole workers, from the bytes of a request to the bytes of its
//! response, among hosts that queue, slow down and fail ([`latency`], [`failure`], [`brownout`]).

#![forbid(unsafe_code)]

mod algorithms;
pub mod brownout;
pub mod distribution;
pub mod failure;
pub mod fairness;
pub mod latency;
pub mod limits;
mod mesh;
pub mod report;
pub mod router;
pub mod stability;
pub mod svg;

pub use report::{Check, Part, Table};

use anyhow::Result;

/// How much is simulated, and from which seed.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Everything random follows from it.
    pub seed: u64,
    /// A tenth of it or less: for tests of builds that are not optimised.
    pub small: bool,
}

/// A part as the command line names it.
#[derive(Clone, Copy)]
pub struct PartSpec {
    /// Its name.
    pub name: &'static str,
    /// What it shows.
    pub what: &'static str,
    /// Does it.
    pub run: fn(Run) -> Result<Part>,
}

/// Everything that is simulated, in the order of the report.
pub const PARTS: &[PartSpec] = &[
    PartSpec { name: "distribution", what: "how exactly hosts get their shares", run: distribution::run },
    PartSpec { name: "stability", what: "what moves when one of N hosts leaves", run: stability::run },
    PartSpec { name: "fairness", what: "shares and load over 1 to 16 workers", run: fairness::run },
    PartSpec { name: "limits", what: "what leased limits refuse too early", run: limits::run },
    PartSpec { name: "router", what: "thousands of virtual hosts against an oracle", run: router::run },
    PartSpec { name: "latency", what: "one slow host of ten; a host that joins", run: latency::run },
    PartSpec { name: "failure", what: "a host fails and comes back", run: failure::run },
    PartSpec { name: "brownout", what: "retries while hosts are overloaded", run: brownout::run },
];

impl Run {
    /// `full`, or `small` of a small run.
    pub fn size<T>(self, full: T, small: T) -> T {
        if self.small { small } else { full }
    }
}
