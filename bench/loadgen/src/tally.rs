//! What was measured: counted by each thread for itself, told to the reporting thread once per interval.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::codec::Messages;

/// Kinds of errors that are told apart; what comes after is counted together.
const MAX_KINDS: usize = 64;
const LONGEST: u64 = 3_600_000_000_000;

/// A part of a run, of one thread or of all.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests that ended well, or with a status that says no.
    pub completed: u64,
    /// Bytes received of their replies.
    pub bytes: u64,
    /// Messages within calls of gRPC.
    pub messages: Messages,
    /// Nanoseconds from the intended start (open loop) or the send (closed loop) to the last byte.
    pub latency: Histogram<u64>,
    /// Nanoseconds from the send to the last byte.
    pub service: Histogram<u64>,
    /// How late the generator itself sent: nanoseconds after a request was due and a connection was free for it.
    pub lateness: Histogram<u64>,
    /// By kind.
    pub errors: BTreeMap<String, u64>,
    /// Connections that were opened.
    pub connects: u64,
    /// Connections that were not open when the load began.
    pub unopened: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that were due and never sent, because no connection was free.
    pub unsent: u64,
    /// CPU time of the generator's threads in nanoseconds.
    pub cpu: u64,
    /// Turns of the loop.
    pub turns: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            completed: 0,
            bytes: 0,
            messages: Messages::default(),
            latency: histogram(),
            service: histogram(),
            lateness: histogram(),
            errors: BTreeMap::new(),
            connects: 0,
            unopened: 0,
            sent: 0,
            unsent: 0,
            cpu: 0,
            turns: 0,
        }
    }
}

impl Tally {
    /// Counts an error.
    pub fn fail(&mut self, kind: String) {
        self.fail_times(kind, 1);
    }

    /// Adds what another thread or interval counted.
    pub fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.bytes += other.bytes;
        self.messages.add(other.messages);
        self.connects += other.connects;
        self.unopened += other.unopened;
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.cpu += other.cpu;
        self.turns += other.turns;
        for (mine, theirs) in [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
            (&mut self.lateness, &other.lateness),
        ] {
            // All histograms have the same bounds.
            let added = mine.add(theirs);
            debug_assert!(added.is_ok());
        }
        for (kind, count) in &other.errors {
            self.fail_times(kind.clone(), *count);
        }
    }

    /// All errors.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The most frequent error.
    pub fn main_error(&self) -> Option<&str> {
        self.errors.iter().max_by_key(|(_, count)| **count).map(|(kind, _)| &**kind)
    }

    fn fail_times(&mut self, kind: String, count: u64) {
        let kind =
            if self.errors.len() >= MAX_KINDS && !self.errors.contains_key(&kind) { "other".into() } else { kind };
        *self.errors.entry(kind).or_default() += count;
    }
}

fn histogram() -> Histogram<u64> {
    // The bounds are constants that fit.
    Histogram::new_with_bounds(1_000, LONGEST, 3).unwrap_or_else(|_| unreachable!("constant bounds"))
}
