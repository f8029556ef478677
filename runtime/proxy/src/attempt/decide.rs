//! What is retried, and after which pause.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use ringway_api::{ExchangeError, ExchangeErrorKind, Headers, RequestHead, ResponseHead};
use ringway_config::{ResetFormat, RetryOn, RetryOns, RetryPolicy};
use ringway_upstream::AcquireError;

use super::Failure;
use super::tell::ATTEMPT_COUNT;

/// A route's policy as it is for one request.
pub(super) struct Rules<'a> {
    policy: &'a RetryPolicy,
    on: RetryOns,
    /// Retries at most.
    pub(super) attempts: u32,
    pub(super) per_try_timeout: Option<Duration>,
    pub(super) hedge: bool,
    /// What the request adds to the policy's.
    statuses: Vec<u16>,
    names: Vec<Box<str>>,
    /// The try that the request was when it arrived, from 1.
    pub(super) arrived_as: u32,
}

/// More is no retry but an attack; as the configuration's.
const MAX_ATTEMPTS: u32 = 100;

impl<'a> Rules<'a> {
    /// The rules for a request. What it says itself is taken out of its head where the policy lets it say so.
    pub(super) fn of(policy: &'a RetryPolicy, head: &mut RequestHead) -> Self {
        let mut rules = Self {
            policy,
            on: policy.on,
            attempts: policy.attempts,
            per_try_timeout: policy.per_try_timeout,
            hedge: policy.hedge,
            statuses: Vec::new(),
            names: Vec::new(),
            arrived_as: number(&head.headers, ATTEMPT_COUNT).unwrap_or(1).max(1),
        };
        if policy.from_headers {
            rules.ask(&mut head.headers);
        }
        if rules.arrived_as > 1 && !policy.nested {
            rules.on = RetryOns::default();
        }
        rules
    }

    fn ask(&mut self, headers: &mut Headers) {
        let mut take = |name: &str, read: &mut dyn FnMut(&[u8])| {
            if let Some(value) = headers.first(name).map(<[u8]>::to_vec) {
                read(&value);
                headers.remove(name);
            }
        };
        take("x-envoy-retry-on", &mut |value| self.on.add_list(value));
        take("x-envoy-retry-grpc-on", &mut |value| self.on.add_list(value));
        take("x-envoy-max-retries", &mut |value| {
            self.attempts = read(value).unwrap_or(self.attempts).min(MAX_ATTEMPTS);
        });
        take("x-envoy-retriable-status-codes", &mut |value| {
            self.statuses = value.split(|b| *b == b',').filter_map(read).collect();
        });
        take("x-envoy-retriable-header-names", &mut |value| {
            let names = std::str::from_utf8(value).unwrap_or_default().split(',').map(str::trim);
            self.names = names.filter(|name| !name.is_empty()).map(Into::into).collect();
        });
        take("x-envoy-upstream-rq-per-try-timeout-ms", &mut |value| {
            self.per_try_timeout = read(value).filter(|millis| *millis > 0).map(Duration::from_millis);
        });
        take("x-envoy-hedge-on-per-try-timeout", &mut |value| {
            self.hedge = value.eq_ignore_ascii_case(b"true") && self.per_try_timeout.is_some();
        });
    }

    /// Whether anything could be retried.
    pub(super) fn may_retry(&self) -> bool {
        !self.on.is_empty() && self.attempts > 0
    }

    /// Whether a gRPC status could ask for a retry.
    pub(super) fn wants_grpc_status(&self) -> bool {
        self.on.meets(RetryOns::GRPC)
    }

    /// Whether a response is one to be retried. `trailers` are those of a response that has nothing else behind its
    /// head.
    pub(super) fn wants_response(&self, head: &ResponseHead, trailers: Option<&Headers>) -> bool {
        let has = |name: &str| head.headers.first(name).is_some();
        // Whoever is overloaded has tried, or refuses to: more requests are what it must not get.
        if self.on.is_empty() || (has("x-envoy-overloaded") && !self.policy.nested) {
            return false;
        }
        if has("x-envoy-ratelimited") {
            return self.on.any(&[RetryOn::EnvoyRatelimited]);
        }
        let status = head.status;
        let gateway =
            [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT].contains(&status);
        let code = status.as_u16();
        self.on.any(&[RetryOn::Status5xx]) && status.is_server_error()
            || self.on.any(&[RetryOn::GatewayError]) && gateway
            || self.on.any(&[RetryOn::Retriable4xx]) && status == StatusCode::CONFLICT
            || self.on.any(&[RetryOn::RetriableStatusCodes])
                && (self.policy.statuses.contains(&code) || self.statuses.contains(&code))
            || self.on.any(&[RetryOn::RetriableHeaders])
                && (self.policy.matches_headers(&head.headers) || self.names.iter().any(|name| has(name)))
            || self.wants_grpc_status() && self.wants_grpc(&head.headers, trailers)
    }

    fn wants_grpc(&self, head: &Headers, trailers: Option<&Headers>) -> bool {
        let status = trailers.and_then(|trailers| trailers.first("grpc-status")).or_else(|| head.first("grpc-status"));
        // The numbers are the protocol's ("Status codes and their use in gRPC").
        let on = match status {
            Some(b"1") => RetryOn::Cancelled,
            Some(b"4") => RetryOn::DeadlineExceeded,
            Some(b"8") => RetryOn::ResourceExhausted,
            Some(b"13") => RetryOn::Internal,
            Some(b"14") => RetryOn::Unavailable,
            _ => return false,
        };
        self.on.any(&[on])
    }

    /// Whether a try without a response is to be repeated. As in Envoy no response counts as a 5xx: the client would
    /// get one.
    pub(super) fn wants_failure(&self, failure: &Failure) -> bool {
        const ANY: [RetryOn; 3] = [RetryOn::Status5xx, RetryOn::GatewayError, RetryOn::Reset];
        match failure {
            Failure::Acquire(AcquireError::Connect { .. } | AcquireError::Handshake { .. }) => {
                self.on.any(&ANY) || self.on.any(&[RetryOn::ConnectFailure, RetryOn::ResetBeforeRequest])
            }
            // A limit of ours: trying harder is what it is there to prevent.
            Failure::Acquire(_) | Failure::Timeout => false,
            Failure::Exchange(ExchangeError { kind, unseen, details, .. }) => match kind {
                ExchangeErrorKind::Closed | ExchangeErrorKind::Protocol => {
                    self.on.any(&ANY)
                        || (*unseen && self.on.any(&[RetryOn::ResetBeforeRequest]))
                        || (*details == REFUSED && self.on.any(&[RetryOn::RefusedStream]))
                }
                // The next response would be as large, the body is lost.
                ExchangeErrorKind::TooLarge | ExchangeErrorKind::RequestBody => false,
            },
            Failure::PerTryTimeout | Failure::PerTryIdle => self.on.any(&ANY),
        }
    }

    /// The pause before a retry, by its number from 1: anything below `(2^n - 1)` units, as Envoy's.
    pub(super) fn back_off(&self, retry: u32, random: u64) -> Duration {
        let units = 1_u32.checked_shl(retry).map_or(u32::MAX, |power| power - 1);
        let most = self.policy.base_interval.saturating_mul(units).min(self.policy.max_interval);
        below(most, random)
    }

    /// The pause that a response asks for, and half of it at random, so that not all come back at once.
    pub(super) fn asked_pause(&self, headers: &Headers, wall: SystemTime, random: u64) -> Option<Duration> {
        let limited = self.policy.rate_limited.as_ref()?;
        let pause = limited.headers.iter().find_map(|(name, format)| {
            let seconds = Duration::from_secs(read(headers.first(name)?)?);
            match format {
                ResetFormat::Seconds => Some(seconds),
                ResetFormat::UnixTimestamp => {
                    let now = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
                    seconds.checked_sub(now)
                }
            }
        })?;
        (pause > Duration::ZERO && pause <= limited.max).then(|| pause + below(pause / 2, random))
    }
}

/// What a codec says of a stream that its host refused (RFC 9113, section 8.7).
const REFUSED: &str = "http2_refused_stream";

fn below(most: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(random % nanos)
}

fn number(headers: &Headers, name: &str) -> Option<u32> {
    read(headers.first(name)?)
}

fn read<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}
