//! What may be kept, and served (RFC 9111), on the strict side: what is not plainly allowed is not done.

use http::{Method, StatusCode};
use ringway_api::{Known, Millis, RequestHead, ResponseHead};

use crate::field_list;

/// What a request allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    pub(crate) serve: bool,
    pub(crate) store: bool,
}

/// How long a response may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    /// For how many seconds it is fresh from now on.
    pub(crate) seconds: u64,
    /// How old it is already, in seconds.
    pub(crate) age: u64,
    /// How long it may be stale, if it says so (RFC 5861, section 4).
    pub(crate) stale_if_error: Option<Millis>,
    /// It depends on fields of the request.
    pub(crate) varies: bool,
}

/// `None` when the cache has nothing to do with the request.
pub(crate) fn of_request(head: &RequestHead, ignore_cookies: bool) -> Option<Allowed> {
    let fields = &head.headers;
    if head.method != Method::GET
        || fields.has(Known::Authorization)
        || (fields.has(Known::Cookie) && !ignore_cookies)
        || fields.first("range").is_some()
    {
        return None;
    }
    let says = |directive| field_list::contains(fields, "cache-control", directive);
    // `no-cache` wants an answer of the origin's. Other wishes for freshness do not count here (RFC 5861, section 4).
    let serve = !says("no-cache") && !field_list::contains(fields, "pragma", "no-cache");
    Some(Allowed { serve, store: !says("no-store") })
}

/// `None` when the response must not be kept, or could not be used when it is stale.
pub(crate) fn of_response(head: &ResponseHead, vary: &[String]) -> Option<Freshness> {
    const FORBIDDEN: [&str; 6] = ["no-store", "no-cache", "private", "must-revalidate", "proxy-revalidate", "s-maxage"];
    let fields = &head.headers;
    if head.status != StatusCode::OK
        || fields.first("set-cookie").is_some()
        || fields.first("content-range").is_some()
        || field_list::contains(fields, "pragma", "no-cache")
    {
        return None;
    }
    let mut max_age = None;
    let mut stale_if_error = None;
    for directive in field_list::members(fields, "cache-control") {
        let mut parts = directive.splitn(2, |b| *b == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii();
        if FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes())) {
            return None;
        }
        let mut seconds = || parts.next().and_then(seconds);
        if name.eq_ignore_ascii_case(b"max-age") {
            // What cannot be read is stale (RFC 9111, section 4.2.1).
            max_age = Some(seconds().unwrap_or(0));
        } else if name.eq_ignore_ascii_case(b"stale-if-error") {
            stale_if_error = Some(Millis(seconds().unwrap_or(0).saturating_mul(1000)));
        }
    }
    let known = |name: &[u8]| vary.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    if !field_list::members(fields, "vary").all(known) {
        return None;
    }
    let age = fields.first("age").and_then(seconds).unwrap_or(0);
    let varies = field_list::members(fields, "vary").next().is_some();
    Some(Freshness { seconds: max_age.unwrap_or(0).saturating_sub(age), age, stale_if_error, varies })
}

/// A delta of seconds (RFC 9111, section 1.2.2), in quotes or not. At most 2^31.
fn seconds(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    const MOST: u64 = 1 << 31;
    Some(str::from_utf8(text).ok()?.parse().unwrap_or(MOST).min(MOST))
}

#[cfg(test)]
mod tests {
    use ringway_api::Headers;

    use super::*;

    fn response(fields: &[(&str, &str)]) -> ResponseHead {
        let mut headers = Headers::new();
        fields.iter().for_each(|(name, value)| headers.append(name, value.as_bytes()).unwrap());
        ResponseHead { headers, ..ResponseHead::new(StatusCode::OK) }
    }

    #[test]
    fn what_is_not_plainly_allowed_is_not_kept() {
        let vary = ["accept".to_owned()];
        let control = |value| response(&[("Cache-Control", value)]);
        for (value, fresh) in [
            ("max-age=5", Some(5)),
            ("public, Max-Age=\"7\"", Some(7)),
            ("max-age=x", Some(0)),
            ("max-age=99999999999999999999", Some(1 << 31)),
            ("public", Some(0)),
            ("NO-STORE", None),
            ("max-age=5, private", None),
            ("private=\"set-cookie\"", None),
            ("no-cache", None),
            ("max-age=5,must-revalidate", None),
            ("proxy-revalidate", None),
            ("s-maxage=5", None),
        ] {
            assert_eq!(of_response(&control(value), &vary).map(|fresh| fresh.seconds), fresh, "{value}");
        }
        for fields in
            [&[("set-cookie", "a=b")], &[("vary", "*")], &[("vary", "accept, cookie")], &[("pragma", "no-cache")]]
        {
            assert!(of_response(&response(fields), &vary).is_none(), "{fields:?}");
        }
        let aged = response(&[("cache-control", "max-age=10, stale-if-error=3"), ("age", "4"), ("vary", "Accept")]);
        let fresh = of_response(&aged, &vary).unwrap();
        assert_eq!((fresh.seconds, fresh.age, fresh.varies), (6, 4, true));
        assert_eq!(fresh.stale_if_error, Some(Millis(3000)));
    }
}
