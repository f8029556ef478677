//! When a request is sent again, compiled.

use std::num::NonZeroU32;
use std::time::Duration;

use ringway_api::Headers;

pub use crate::raw::{ResetFormat, RetryOn};
use crate::route::FieldMatcher;

/// A route's policy on retries.
#[derive(Debug)]
pub struct RetryPolicy {
    /// What is retried.
    pub on: RetryOns,
    /// Retries at most.
    pub attempts: u32,
    /// How long a try may take until the head of its response.
    pub per_try_timeout: Option<Duration>,
    /// How long nothing may move in a try.
    pub per_try_idle_timeout: Option<Duration>,
    /// The unit of the pauses.
    pub base_interval: Duration,
    /// The longest pause.
    pub max_interval: Duration,
    /// Status codes that are retried.
    pub statuses: Vec<u16>,
    /// Pauses that responses ask for.
    pub rate_limited: Option<RateLimited>,
    /// Retries avoid hosts that were tried.
    pub previous_hosts: bool,
    /// Retries avoid the priorities that were tried before, looked at anew after so many tries.
    pub previous_priorities: Option<NonZeroU32>,
    /// How often another host is picked to avoid them.
    pub host_attempts: u32,
    /// Bytes of a request's content that are kept.
    pub buffer_limit: usize,
    /// A per-try timeout begins another try beside the one before.
    pub hedge: bool,
    /// Tell hosts which try it is.
    pub include_attempt_count: bool,
    /// Requests may say themselves when they are retried.
    pub from_headers: bool,
    /// Retries are retried too.
    pub nested: bool,
    pub(crate) headers: Vec<FieldMatcher>,
}

/// Pauses that responses ask for.
#[derive(Debug)]
pub struct RateLimited {
    /// The fields, in lower case, that say how long.
    pub headers: Vec<(Box<str>, ResetFormat)>,
    /// The longest pause that is believed.
    pub max: Duration,
}

/// A set of [`RetryOn`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOns(u32);

impl RetryPolicy {
    /// Whether a response has one of the fields that are retried.
    pub fn matches_headers(&self, headers: &Headers) -> bool {
        self.headers.iter().any(|field| field.matches_fields(headers))
    }
}

impl RetryOns {
    /// What asks for a retry of gRPC calls by their status.
    pub const GRPC: Self = Self(
        Self::bit(RetryOn::Cancelled)
            | Self::bit(RetryOn::DeadlineExceeded)
            | Self::bit(RetryOn::Internal)
            | Self::bit(RetryOn::ResourceExhausted)
            | Self::bit(RetryOn::Unavailable),
    );

    const fn bit(on: RetryOn) -> u32 {
        1 << on as u32
    }

    /// Whether one of `ons` is in.
    pub fn any(self, ons: &[RetryOn]) -> bool {
        ons.iter().any(|on| self.0 & Self::bit(*on) != 0)
    }

    /// Whether the sets have something in common.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is in.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds what a comma-separated list names; words that are not known are left out, as Envoy does.
    pub fn add_list(&mut self, list: &[u8]) {
        use serde::Deserialize;
        use serde::de::value::{Error, StrDeserializer};
        let words = std::str::from_utf8(list).unwrap_or_default().split(',').map(str::trim);
        let known = |word: &str| RetryOn::deserialize(StrDeserializer::<Error>::new(word)).ok();
        self.extend(words.filter_map(known));
    }
}

impl Extend<RetryOn> for RetryOns {
    fn extend<T: IntoIterator<Item = RetryOn>>(&mut self, ons: T) {
        ons.into_iter().for_each(|on| self.0 |= Self::bit(on));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_requests_are_read_as_far_as_they_are_known() {
        let mut ons = RetryOns::default();
        ons.add_list(b"5xx, retriable-4xx,nonsense,, unavailable");
        assert!(ons.any(&[RetryOn::Status5xx]) && ons.any(&[RetryOn::Retriable4xx]) && ons.meets(RetryOns::GRPC));
        assert!(!ons.any(&[RetryOn::Reset, RetryOn::Cancelled]));
    }
}
