//! What a proxy does for gRPC calls: their own deadline, and replies that their clients understand.
//!
//! After the protocol's description ("gRPC over HTTP2"): content types, `grpc-timeout`, status codes.

use std::time::Duration;

use ringway_api::{Headers, RequestHead};

/// The deadline's field.
const TIMEOUT: &str = "grpc-timeout";
/// Triple's own, in milliseconds.
const TRIPLE_TIMEOUT: &str = "tri-service-timeout";
/// Digits of its value at most.
const DIGITS: usize = 8;

/// Whether a request is a gRPC call.
pub(crate) fn is_call(head: &RequestHead) -> bool {
    let Some(kind) = head.headers.known(ringway_api::Known::ContentType) else { return false };
    // Dubbo's Triple is gRPC; with this its arguments are wrapped once more.
    if kind.starts_with(b"application/triple") {
        return true;
    }
    let Some(rest) = kind.strip_prefix(b"application/grpc") else { return false };
    // `application/grpc-web` is another protocol.
    matches!(rest.first(), None | Some(b'+' | b';'))
}

/// The time a call may take: what it says itself, cut to `most`. The head tells the next hop what is left.
pub(crate) fn deadline(head: &mut RequestHead, most: Option<Duration>) -> Option<Duration> {
    let triple = head.headers.first(TRIPLE_TIMEOUT).and_then(millis);
    let own = head.headers.first(TIMEOUT).and_then(parse).or(triple);
    let limit = match (own, most) {
        (Some(own), Some(most)) => own.min(most),
        (own, most) => own.or(most)?,
    };
    if own != Some(limit) {
        tell_deadline(head, limit);
    }
    Some(limit)
}

/// Tells the next hop what is left of a call's time.
pub(crate) fn tell_deadline(head: &mut RequestHead, left: Duration) {
    let set = head.headers.set(TIMEOUT, format(left).as_bytes());
    debug_assert!(set.is_ok(), "digits and a unit");
    if head.headers.first(TRIPLE_TIMEOUT).is_some() {
        let set = head.headers.set(TRIPLE_TIMEOUT, left.as_millis().to_string().as_bytes());
        debug_assert!(set.is_ok(), "digits");
    }
}

/// The status that fields tell, if they do.
pub(crate) fn status(fields: &Headers) -> Option<u32> {
    std::str::from_utf8(fields.first("grpc-status")?).ok()?.parse().ok()
}

/// The status of a call whose response says none ("HTTP to gRPC Status Code Mapping").
pub(crate) const fn status_of_http(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

fn millis(value: &[u8]) -> Option<Duration> {
    let millis = std::str::from_utf8(value).ok()?.parse::<u64>().ok()?;
    (millis > 0).then(|| Duration::from_millis(millis))
}

fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

fn format(limit: Duration) -> String {
    let most = 10_u128.pow(DIGITS as u32);
    for (unit, count) in [('u', limit.as_micros()), ('m', limit.as_millis()), ('S', u128::from(limit.as_secs()))] {
        if count < most {
            return format!("{count}{unit}");
        }
    }
    format!("{}H", (limit.as_secs() / 3600).min(99_999_999))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(timeout: Option<&str>) -> RequestHead {
        let mut head = RequestHead::new(http::Method::POST, "a", "/s/m");
        head.headers.append("content-type", b"application/grpc").unwrap();
        if let Some(timeout) = timeout {
            head.headers.append(TIMEOUT, timeout.as_bytes()).unwrap();
        }
        head
    }

    #[test]
    fn calls_are_known_by_their_content_type() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/triple+wrapper", true),
            ("application/json", false),
        ] {
            let mut head = RequestHead::new(http::Method::POST, "a", "/");
            head.headers.append("content-type", kind.as_bytes()).unwrap();
            assert_eq!(is_call(&head), expected, "{kind}");
        }
    }

    #[test]
    fn the_deadline_of_triple_is_one_too() {
        let mut head = call(None);
        head.headers.append(TRIPLE_TIMEOUT, b"1500").unwrap();
        assert_eq!(deadline(&mut head, None), Some(Duration::from_millis(1500)));
        assert_eq!(deadline(&mut head, Some(Duration::from_secs(1))), Some(Duration::from_secs(1)));
        assert_eq!(head.headers.first(TRIPLE_TIMEOUT), Some(&b"1000"[..]));
        assert_eq!(head.headers.first(TIMEOUT), Some(&b"1000000u"[..]));
    }

    #[test]
    fn a_deadline_is_cut_and_told() {
        let second = Duration::from_secs(1);
        for (own, most, limit, told) in [
            (None, None, None, None),
            (Some("5S"), None, Some(5 * second), Some("5S")),
            (Some("5S"), Some(second), Some(second), Some("1000000u")),
            (Some("500m"), Some(second), Some(second / 2), Some("500m")),
            (None, Some(second), Some(second), Some("1000000u")),
            (None, Some(1000 * second), Some(1000 * second), Some("1000000m")),
            // What cannot be read is not a deadline, and passed on as it is.
            (Some("123456789S"), None, None, Some("123456789S")),
            (Some("5x"), None, None, Some("5x")),
        ] {
            let mut head = call(own);
            assert_eq!(deadline(&mut head, most), limit, "{own:?} {most:?}");
            let value = head.headers.first(TIMEOUT).map(|value| String::from_utf8_lossy(value).into_owned());
            assert_eq!(value.as_deref(), told, "{own:?} {most:?}");
        }
    }
}
