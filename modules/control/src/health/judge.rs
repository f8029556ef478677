//! From the outcomes of checks to a verdict. Sans-I/O; Envoy's rules.

use std::fmt;

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckFailure {
    /// There was no answer (no connection, a reset, or none in time), or one that may be repeated. It takes several.
    Network(String),
    /// The host answered that it is not well, or something that is no answer. One is enough.
    Unhealthy(String),
    /// A response to a request said `x-envoy-immediate-health-check-fail`. One is enough.
    Immediate,
}

/// What is thought of a host, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judge {
    healthy: bool,
    /// There has been no check yet.
    pending: bool,
    successes: u32,
    failures: u32,
}

impl Judge {
    /// Of a host that was never checked: it is out until a check succeeds.
    pub(super) fn new() -> Self {
        Self { healthy: false, pending: true, successes: 0, failures: 0 }
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// Takes a check's outcome; true when the verdict has changed.
    pub(super) fn hear(&mut self, outcome: Result<(), &CheckFailure>, healthy: u32, unhealthy: u32) -> bool {
        let first = std::mem::replace(&mut self.pending, false);
        let before = self.healthy;
        match outcome {
            Ok(()) => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                // A new host has no bad past to make up for.
                self.healthy |= first || self.successes >= healthy;
            }
            Err(failure) => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                if !matches!(failure, CheckFailure::Network(_)) || self.failures >= unhealthy {
                    self.healthy = false;
                }
            }
        }
        self.healthy != before
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(reason) | Self::Unhealthy(reason) => f.write_str(reason),
            Self::Immediate => f.write_str("a response said x-envoy-immediate-health-check-fail"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` succeeds, `-` is a network failure, `!` an unhealthy answer, `i` an immediate failure; after each, `H` or `U`.
    fn verdicts(outcomes: &str) -> String {
        let mut judge = Judge::new();
        let mut changes = String::new();
        for outcome in outcomes.chars() {
            let failure = match outcome {
                '+' => None,
                '-' => Some(CheckFailure::Network(String::new())),
                '!' => Some(CheckFailure::Unhealthy(String::new())),
                _ => Some(CheckFailure::Immediate),
            };
            let before = judge.is_healthy();
            let changed = judge.hear(failure.as_ref().map_or(Ok(()), Err), 2, 3);
            assert_eq!(changed, before != judge.is_healthy());
            changes.push(if judge.is_healthy() { 'H' } else { 'U' });
        }
        changes
    }

    #[test]
    fn thresholds_decide() {
        for (outcomes, expected) in [
            // The first success is enough, for the first check only.
            ("+", "H"),
            ("-+", "UU"),
            ("-++", "UUH"),
            ("!+-++", "UUUUH"),
            // Three network failures in a row, or one answer that says so.
            ("+--+--+", "HHHHHHH"),
            ("+---", "HHHU"),
            ("+!", "HU"),
            ("+i", "HU"),
            ("+---+++", "HHHUUHH"),
            ("+-!-++", "HHUUUH"),
        ] {
            assert_eq!(verdicts(outcomes), expected, "{outcomes}");
        }
    }
}
