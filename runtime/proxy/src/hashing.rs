//! What a request hashes to, so that what belongs together goes to one host.

use ringway_api::{Address, RequestHead};
use ringway_config::{HashKey, HashPolicy, cookie, parameter};
use xxhash_rust::xxh64::xxh64;

/// A request's hash.
#[derive(Debug, Default)]
pub(crate) struct Hashed {
    /// Nothing when the request has nothing of what is hashed.
    pub(crate) hash: Option<u64>,
    /// Cookies for the response, made because the request had none.
    pub(crate) cookies: Vec<String>,
}

/// Hashes a request. As in Envoy, several policies are combined in their order, and those behind a terminal one that has
/// a hash do not count.
pub(crate) fn of(policies: &[HashPolicy], head: &RequestHead, peer: &Address, random: impl Fn() -> u64) -> Hashed {
    let mut hashed = Hashed::default();
    for policy in policies {
        let hash = match &policy.key {
            HashKey::Header(name) => {
                // All values, in an order that does not depend on that of the fields.
                let mut values: Vec<&[u8]> = head.headers.all(name).collect();
                values.sort_unstable();
                (!values.is_empty()).then(|| xxh64(&values.concat(), 0))
            }
            HashKey::Cookie(name, made) => match cookie(head, name.as_bytes()).filter(|value| !value.is_empty()) {
                Some(value) => Some(xxh64(value, 0)),
                None => made.as_ref().map(|attributes| {
                    let value = format!("{:016x}", random());
                    hashed.cookies.push(format!("{name}=\"{value}\"{attributes}"));
                    xxh64(value.as_bytes(), 0)
                }),
            },
            HashKey::SourceIp => peer.ip().map(|peer| match peer.ip() {
                std::net::IpAddr::V4(ip) => xxh64(&ip.octets(), 0),
                std::net::IpAddr::V6(ip) => xxh64(&ip.octets(), 0),
            }),
            HashKey::Query(name) => parameter(head.query(), name.as_bytes()).map(|value| xxh64(value, 0)),
        };
        if let Some(hash) = hash {
            hashed.hash = Some(hashed.hash.map_or(hash, |before| before.rotate_left(1) ^ hash));
            if policy.terminal {
                break;
            }
        }
    }
    hashed
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn policies(keys: impl IntoIterator<Item = (HashKey, bool)>) -> Vec<HashPolicy> {
        keys.into_iter().map(|(key, terminal)| HashPolicy { key, terminal }).collect()
    }

    fn hash(policies: &[HashPolicy], fields: &[(&str, &str)], path: &str) -> Hashed {
        let mut head = RequestHead::new(Method::GET, "a", path);
        fields.iter().for_each(|(name, value)| head.headers.append(name, value.as_bytes()).unwrap());
        of(policies, &head, &Address::Ip("10.0.0.1:5".parse().unwrap()), || 7)
    }

    #[test]
    fn policies_combine_and_terminal_ones_end() {
        let both = policies([(HashKey::Header("x".into()), false), (HashKey::Query("q".into()), false)]);
        let first = policies([(HashKey::Header("x".into()), true), (HashKey::Query("q".into()), false)]);
        let one = hash(&both, &[("x", "1")], "/").hash;
        assert_eq!(one, Some(xxh64(b"1", 0)));
        assert_ne!(hash(&both, &[("x", "1")], "/?q=2").hash, one);
        assert_eq!(hash(&first, &[("x", "1")], "/?q=2").hash, one);
        assert_eq!(hash(&first, &[], "/?q=2").hash, Some(xxh64(b"2", 0)));
        assert_eq!(hash(&both, &[], "/").hash, None);
        assert!(hash(&policies([(HashKey::SourceIp, false)]), &[], "/").hash.is_some());
    }

    #[test]
    fn cookies_are_made_once() {
        let sticky = policies([(HashKey::Cookie("sticky".into(), Some("; HttpOnly".into())), false)]);
        let made = hash(&sticky, &[], "/");
        assert_eq!(made.cookies, ["sticky=\"0000000000000007\"; HttpOnly"]);
        let kept = hash(&sticky, &[("cookie", "a=b; sticky=\"0000000000000007\"")], "/");
        assert!(kept.cookies.is_empty());
        assert_eq!(kept.hash, made.hash);
        let never = policies([(HashKey::Cookie("sticky".into(), None), false)]);
        assert_eq!(hash(&never, &[], "/").hash, None);
    }
}
