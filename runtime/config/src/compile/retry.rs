//! What routes say of retries.

use std::time::Duration;

use super::matcher::{Keyed, fault, fields};
use crate::raw;
use crate::retry::{RateLimited, RetryOns, RetryPolicy};

/// Ten units: Envoy's default.
const MAX_INTERVALS: u64 = 10;
/// More is no retry but an attack.
const MAX_ATTEMPTS: u32 = 100;

pub(super) fn compile(raw: &raw::Retry) -> Result<RetryPolicy, Keyed> {
    let key = |name: &str| format!("route.retry.{name}");
    if raw.on.is_empty() && !raw.from_headers {
        return Err(fault(key("on"), "nothing is retried; name at least one reason, such as `connect-failure`"));
    }
    if raw.attempts > MAX_ATTEMPTS {
        return Err(fault(key("attempts"), format!("must be at most {MAX_ATTEMPTS}")));
    }
    if raw.on.contains(&raw::RetryOn::RetriableStatusCodes) && raw.retriable_status_codes.is_empty() {
        return Err(fault(key("retriable_status_codes"), "`retriable-status-codes` needs at least one"));
    }
    if raw.on.contains(&raw::RetryOn::RetriableHeaders) && raw.retriable_headers.is_empty() {
        return Err(fault(key("retriable_headers"), "`retriable-headers` needs at least one"));
    }
    if let Some(at) = raw.retriable_status_codes.iter().position(|status| !(200..600).contains(status)) {
        return Err(fault(key(&format!("retriable_status_codes[{at}]")), "is no final status code"));
    }
    let base = raw.back_off.base_interval;
    let max = raw.back_off.max_interval.map_or(base.0.saturating_mul(MAX_INTERVALS), |max| max.0);
    if base.0 == 0 {
        return Err(fault(key("back_off.base_interval"), "must be more than 0"));
    }
    if max < base.0 {
        return Err(fault(key("back_off.max_interval"), "must be at least `base_interval`"));
    }
    if raw.hedge_on_per_try_timeout && raw.per_try_timeout.0 == 0 {
        return Err(fault(key("hedge_on_per_try_timeout"), "needs a `per_try_timeout`"));
    }
    let mut on = RetryOns::default();
    on.extend(raw.on.iter().copied());
    Ok(RetryPolicy {
        on,
        attempts: raw.attempts,
        per_try_timeout: raw.per_try_timeout.limit(),
        per_try_idle_timeout: raw.per_try_idle_timeout.limit(),
        base_interval: base.duration(),
        max_interval: Duration::from_millis(max),
        statuses: raw.retriable_status_codes.clone(),
        headers: fields(&raw.retriable_headers, &key("retriable_headers"), true)?,
        rate_limited: raw.rate_limited_back_off.as_ref().map(rate_limited).transpose()?,
        previous_priorities: raw.previous_priorities.map(|raw| raw.update_frequency),
        previous_hosts: raw.host_selection.contains(&raw::HostSelection::PreviousHosts),
        host_attempts: raw.host_selection_retry_max_attempts,
        buffer_limit: raw.buffer_limit.bytes(),
        hedge: raw.hedge_on_per_try_timeout,
        include_attempt_count: raw.include_attempt_count,
        from_headers: raw.from_headers,
        nested: raw.nested,
    })
}

fn rate_limited(raw: &raw::RateLimitedBackOff) -> Result<RateLimited, Keyed> {
    let key = "route.retry.rate_limited_back_off.reset_headers";
    if raw.reset_headers.is_empty() {
        return Err(fault(key, "at least one is needed"));
    }
    let header = |(at, header): (usize, &raw::ResetHeader)| {
        if http::HeaderName::from_bytes(header.name.as_bytes()).is_err() {
            return Err(fault(format!("{key}[{at}].name"), format!("`{}` is no name", header.name)));
        }
        Ok((header.name.to_ascii_lowercase().into(), header.format))
    };
    let headers = raw.reset_headers.iter().enumerate().map(header).collect::<Result<_, _>>()?;
    Ok(RateLimited { headers, max: raw.max_interval.duration() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> Result<RetryPolicy, (String, String)> {
        let raw = serde_saphyr::from_str(text).map_err(|error| (String::new(), error.to_string()))?;
        compile(&raw).map_err(|(key, fault)| (key, fault.message))
    }

    #[test]
    fn defaults_are_envoys() {
        let policy = compiled("{ on: [5xx, unavailable] }").unwrap();
        assert_eq!((policy.attempts, policy.host_attempts, policy.buffer_limit), (1, 1, 64 << 10));
        assert_eq!((policy.base_interval.as_millis(), policy.max_interval.as_millis()), (25, 250));
        assert!(policy.per_try_timeout.is_none() && policy.rate_limited.is_none() && !policy.from_headers);
        let limited = compiled("{ on: [reset], rate_limited_back_off: {} }").unwrap().rate_limited.unwrap();
        assert_eq!(limited.max.as_secs(), 300);
        assert_eq!(
            limited.headers.iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
            ["retry-after", "x-ratelimit-reset"]
        );
    }

    #[test]
    fn what_could_never_work_is_refused_with_its_place() {
        for (text, key) in [
            ("{}", "route.retry.on"),
            ("{ on: [reset], attempts: 101 }", "route.retry.attempts"),
            ("{ on: [retriable-status-codes] }", "route.retry.retriable_status_codes"),
            (
                "{ on: [retriable-status-codes], retriable_status_codes: [503, 100] }",
                "route.retry.retriable_status_codes[1]",
            ),
            ("{ on: [retriable-headers] }", "route.retry.retriable_headers"),
            ("{ on: [reset], back_off: { base_interval: 0 } }", "route.retry.back_off.base_interval"),
            ("{ on: [reset], back_off: { base_interval: 2s, max_interval: 1s } }", "route.retry.back_off.max_interval"),
            ("{ on: [reset], hedge_on_per_try_timeout: true }", "route.retry.hedge_on_per_try_timeout"),
            (
                "{ on: [reset], rate_limited_back_off: { reset_headers: [] } }",
                "route.retry.rate_limited_back_off.reset_headers",
            ),
            (
                "{ on: [reset], rate_limited_back_off: { reset_headers: [{ name: 'a b' }] } }",
                "route.retry.rate_limited_back_off.reset_headers[0].name",
            ),
        ] {
            assert_eq!(compiled(text).unwrap_err().0, key, "{text}");
        }
        for unknown in ["{ on: [sometimes] }", "{ on: [reset], tries: 3 }"] {
            assert!(compiled(unknown).is_err(), "{unknown}");
        }
        assert!(compiled("{ from_headers: true }").is_ok());
    }
}
