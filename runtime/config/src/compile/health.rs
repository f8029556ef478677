//! Health checks and outlier detection.

use std::ops::RangeInclusive;

use http::{HeaderName, HeaderValue, Method};

use crate::error::Fault;
use crate::health_check::{HealthCheck, HealthCheckKind, Heartbeat};
use crate::raw;

/// What may be asked by `rpc`.
const HEARTBEATS: [(&str, Heartbeat); 3] =
    [("dubbo", Heartbeat::Dubbo), ("bolt", Heartbeat::Bolt), ("boltv2", Heartbeat::BoltV2)];
/// Bytes that a check by `tcp` waits for at most: they are kept until the answer is complete.
const MOST_BYTES: usize = 16 << 10;

/// The cluster's health check.
pub(super) fn check(cluster: &raw::Cluster, path: &str) -> Result<Option<HealthCheck>, Fault> {
    let path = format!("{path}.health_checks");
    let raw = match &*cluster.health_checks {
        [] => return Ok(None),
        [only] => only,
        _ => return Err(Fault::new(path, "a cluster has one health check at most")),
    };
    let path = format!("{path}[0]");
    for (key, value) in [
        ("timeout", raw.timeout.0),
        ("interval", raw.interval.0),
        ("unhealthy_interval", raw.unhealthy_interval.unwrap_or(raw.interval).0),
        ("no_traffic_interval", raw.no_traffic_interval.0),
        ("port", raw.port.map_or(1, u64::from)),
        ("unhealthy_threshold", raw.unhealthy_threshold.into()),
        ("healthy_threshold", raw.healthy_threshold.into()),
    ] {
        if value == 0 {
            return Err(Fault::new(format!("{path}.{key}"), "must be more than 0"));
        }
    }
    let is_unix = |endpoint: &raw::Endpoint| endpoint.parts().0.starts_with("unix:");
    if raw.port.is_some() && cluster.endpoints.iter().flatten().any(is_unix) {
        return Err(Fault::new(format!("{path}.port"), "a unix socket has no ports"));
    }
    let kind = match (&raw.http, &raw.grpc, &raw.tcp, &raw.rpc) {
        (Some(http), None, None, None) => self::http(http, cluster, &format!("{path}.http"))?,
        (None, Some(grpc), None, None) => {
            if let Some(authority) = &grpc.authority {
                check_authority(authority, &format!("{path}.grpc.authority"))?;
            }
            HealthCheckKind::Grpc { service: grpc.service.clone(), authority: grpc.authority.clone() }
        }
        (None, None, Some(tcp), None) => self::tcp(tcp, &format!("{path}.tcp"))?,
        (None, None, None, Some(rpc)) => HealthCheckKind::Rpc(heartbeat(rpc, cluster, &format!("{path}.rpc"))?),
        _ => return Err(Fault::new(path, "exactly one of `http`, `grpc`, `tcp` and `rpc`")),
    };
    Ok(Some(HealthCheck {
        timeout: raw.timeout.duration(),
        interval: raw.interval.duration(),
        interval_jitter: raw.interval_jitter.duration(),
        initial_jitter: raw.initial_jitter.duration(),
        unhealthy_interval: raw.unhealthy_interval.unwrap_or(raw.interval).duration(),
        no_traffic_interval: raw.no_traffic_interval.duration(),
        unhealthy_threshold: raw.unhealthy_threshold,
        healthy_threshold: raw.healthy_threshold,
        reuse_connection: raw.reuse_connection,
        port: raw.port,
        kind,
    }))
}

/// Whether outlier detection's numbers make sense.
pub(super) fn outliers(raw: &raw::OutlierDetection, path: &str) -> Result<(), Fault> {
    let path = format!("{path}.outlier_detection");
    for (key, percent) in [
        ("max_ejection_percent", raw.max_ejection_percent),
        ("enforcing_consecutive_5xx", raw.enforcing_consecutive_5xx),
        ("enforcing_consecutive_gateway_failure", raw.enforcing_consecutive_gateway_failure),
        ("enforcing_consecutive_local_origin_failure", raw.enforcing_consecutive_local_origin_failure),
        ("enforcing_success_rate", raw.enforcing_success_rate),
        ("enforcing_local_origin_success_rate", raw.enforcing_local_origin_success_rate),
        ("failure_percentage_threshold", raw.failure_percentage_threshold),
        ("enforcing_failure_percentage", raw.enforcing_failure_percentage),
        ("enforcing_failure_percentage_local_origin", raw.enforcing_failure_percentage_local_origin),
    ] {
        if percent > 100 {
            return Err(Fault::new(format!("{path}.{key}"), "is a percentage: 0 to 100"));
        }
    }
    for (key, span) in [("interval", raw.interval), ("base_ejection_time", raw.base_ejection_time)] {
        if span.0 == 0 {
            return Err(Fault::new(format!("{path}.{key}"), "must be more than 0"));
        }
    }
    Ok(())
}

fn http(raw: &raw::HttpHealthCheck, cluster: &raw::Cluster, path: &str) -> Result<HealthCheckKind, Fault> {
    let fault = |key: &str, message: String| Fault::new(format!("{path}.{key}"), message);
    if !raw.path.starts_with('/') {
        return Err(fault("path", "must begin with `/`".into()));
    }
    if raw.path.parse::<http::uri::PathAndQuery>().is_err() {
        return Err(fault("path", format!("`{}` is no path", raw.path)));
    }
    if let Some(host) = &raw.host {
        check_authority(host, &format!("{path}.host"))?;
    }
    let method = Method::from_bytes(raw.method.as_bytes())
        .ok()
        .filter(|method| *method != Method::CONNECT)
        .ok_or_else(|| fault("method", format!("`{}` is no method that a health check can use", raw.method)))?;
    if raw.expected_statuses.is_empty() {
        return Err(fault("expected_statuses", "there is none, so that no host would ever be well".into()));
    }
    let expected = ranges(&raw.expected_statuses, &format!("{path}.expected_statuses"))?;
    let retriable = ranges(&raw.retriable_statuses, &format!("{path}.retriable_statuses"))?;
    let mut headers = Vec::with_capacity(raw.request_headers.len());
    for (name, value) in &raw.request_headers {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let framing = ["host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "keep-alive"];
        match parsed {
            Some((name, _)) if framing.contains(&name.as_str()) => {
                let message = "is the connection's own affair; use `host` for the authority";
                return Err(fault(&format!("request_headers.{name}"), message.into()));
            }
            Some(field) => headers.push(field),
            None => return Err(fault(&format!("request_headers.{name}"), "is no header field".into())),
        }
    }
    let http2 = raw.http2.unwrap_or(cluster.protocol == "http2");
    let (path, host) = (raw.path.clone(), raw.host.clone());
    Ok(HealthCheckKind::Http { method, path, host, headers, expected, retriable, http2 })
}

fn ranges(texts: &[String], path: &str) -> Result<Vec<RangeInclusive<u16>>, Fault> {
    let range = |(at, text): (usize, &String)| {
        statuses(text).ok_or_else(|| {
            let message = format!("`{text}` is neither a status such as 200 nor a range such as 200-299");
            Fault::new(format!("{path}[{at}]"), message)
        })
    };
    texts.iter().enumerate().map(range).collect()
}

fn check_authority(text: &str, path: &str) -> Result<(), Fault> {
    match text.parse::<http::uri::Authority>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::new(path, format!("`{text}` is no authority"))),
    }
}

fn statuses(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let parse = |text: &str| text.trim().parse().ok().filter(|status| (100..=599).contains(status));
    let (first, last) = (parse(first)?, parse(last)?);
    (first <= last).then_some(first..=last)
}

fn tcp(raw: &raw::TcpHealthCheck, path: &str) -> Result<HealthCheckKind, Fault> {
    let bytes = |text: &str, key: String| {
        payload(text).ok_or_else(|| Fault::new(format!("{path}.{key}"), "is not pairs of hexadecimal digits after 0x"))
    };
    let send = raw.send.as_deref().map_or(Ok(Vec::new()), |text| bytes(text, "send".into()))?;
    let mut receive = Vec::with_capacity(raw.receive.len());
    for (at, text) in raw.receive.iter().enumerate() {
        let wanted = bytes(text, format!("receive[{at}]"))?;
        if wanted.is_empty() {
            return Err(Fault::new(format!("{path}.receive[{at}]"), "must not be empty"));
        }
        receive.push(wanted);
    }
    if receive.iter().map(Vec::len).sum::<usize>() > MOST_BYTES {
        return Err(Fault::new(format!("{path}.receive"), "is longer than 16 KiB"));
    }
    Ok(HealthCheckKind::Tcp { send, receive })
}

/// Text, or hexadecimal digits after `0x`.
fn payload(text: &str) -> Option<Vec<u8>> {
    let Some(digits) = text.strip_prefix("0x") else { return Some(text.as_bytes().to_vec()) };
    let pair = |pair: &[u8]| {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        match *pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        }
    };
    digits.as_bytes().chunks(2).map(pair).collect()
}

fn heartbeat(raw: &raw::RpcHealthCheck, cluster: &raw::Cluster, path: &str) -> Result<Heartbeat, Fault> {
    let wanted = raw.protocol.as_deref().unwrap_or(&cluster.protocol);
    match HEARTBEATS.iter().find(|(name, _)| *name == wanted) {
        Some((_, heartbeat)) => Ok(*heartbeat),
        None => {
            let message = format!("no heartbeat of `{wanted}` to check by; there are: dubbo, bolt, boltv2");
            let fault = Fault::new(format!("{path}.protocol"), message);
            Err(fault.near(wanted, HEARTBEATS.iter().map(|(name, _)| *name)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_ranges() {
        assert_eq!(statuses("200"), Some(200..=200));
        assert_eq!(statuses("200-299"), Some(200..=299));
        assert_eq!(statuses("100 - 599"), Some(100..=599));
        for bad in ["", "2xx", "99", "600", "299-200", "200-", "-1", "200-299-300"] {
            assert_eq!(statuses(bad), None, "{bad}");
        }
    }

    #[test]
    fn payloads_are_text_or_hexadecimal() {
        assert_eq!(payload("PING\r\n").as_deref(), Some(&b"PING\r\n"[..]));
        assert_eq!(payload("0x00ffA0").as_deref(), Some(&[0, 0xff, 0xa0][..]));
        assert_eq!(payload("0x").as_deref(), Some(&[][..]));
        for bad in ["0x0", "0xgg", "0x1 "] {
            assert_eq!(payload(bad), None, "{bad}");
        }
    }
}
