//! Virtual hosts by domain: exact, then the longest suffix, then the longest prefix, then `*` (Envoy's order).

use std::collections::HashMap;

/// A domain as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Domain {
    Exact(String),
    /// `*.example.com`, kept as `.example.com`; matches at least one more label.
    Suffix(String),
    /// `www.*`, kept as `www.`.
    Prefix(String),
    Any,
}

impl Domain {
    /// Reads a domain.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        if lower == "*" {
            return Ok(Self::Any);
        }
        let inner = lower.strip_prefix('*').or(lower.strip_suffix('*')).unwrap_or(&lower);
        let valid = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if inner.is_empty() || inner.contains('*') || !inner.bytes().all(valid) {
            return Err(format!("`{text}` is not a domain: write `a.example.com`, `*.example.com`, `www.*` or `*`"));
        }
        Ok(if lower.starts_with('*') {
            Self::Suffix(inner.to_owned())
        } else if lower.ends_with('*') {
            Self::Prefix(inner.to_owned())
        } else {
            Self::Exact(inner.to_owned())
        })
    }
}

/// The domains of a route table.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    exact: HashMap<Box<[u8]>, usize>,
    suffixes: HashMap<Box<[u8]>, usize>,
    /// Lengths that occur, longest first.
    suffix_lengths: Vec<usize>,
    prefixes: HashMap<Box<[u8]>, usize>,
    prefix_lengths: Vec<usize>,
    any: Option<usize>,
}

/// Longer authorities match by `*` only; no DNS name with a port is that long.
const MAX_HOST: usize = 300;

impl Hosts {
    /// Adds a domain of a virtual host; false when it was there before.
    pub(crate) fn insert(&mut self, domain: &Domain, host: usize) -> bool {
        let keep = |map: &mut HashMap<Box<[u8]>, usize>, key: &str| map.insert(key.as_bytes().into(), host).is_none();
        let note = |lengths: &mut Vec<usize>, length: usize| {
            if let Err(at) = lengths.binary_search_by(|other| length.cmp(other)) {
                lengths.insert(at, length);
            }
        };
        match domain {
            Domain::Exact(name) => keep(&mut self.exact, name),
            Domain::Suffix(suffix) => {
                note(&mut self.suffix_lengths, suffix.len());
                keep(&mut self.suffixes, suffix)
            }
            Domain::Prefix(prefix) => {
                note(&mut self.prefix_lengths, prefix.len());
                keep(&mut self.prefixes, prefix)
            }
            Domain::Any => self.any.replace(host).is_none(),
        }
    }

    /// The virtual host for an authority: as it is first, then without its port.
    pub(crate) fn find(&self, authority: &[u8]) -> Option<usize> {
        if self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty() {
            return self.any;
        }
        let mut lower = [0; MAX_HOST];
        let Some(host) = lower.get_mut(..authority.len()) else { return self.any };
        host.copy_from_slice(authority);
        host.make_ascii_lowercase();
        let host = &*host;
        self.named(host).or_else(|| self.named(without_port(host)?)).or(self.any)
    }

    fn named(&self, host: &[u8]) -> Option<usize> {
        let exact = self.exact.get(host);
        let suffix = || {
            self.suffix_lengths
                .iter()
                .filter(|length| **length < host.len())
                .find_map(|length| self.suffixes.get(host.get(host.len() - length..)?))
        };
        let prefix = || {
            self.prefix_lengths
                .iter()
                .filter(|length| **length < host.len())
                .find_map(|length| self.prefixes.get(host.get(..*length)?))
        };
        exact.or_else(suffix).or_else(prefix).copied()
    }
}

/// The host without `:port`, if it has one.
fn without_port(host: &[u8]) -> Option<&[u8]> {
    let colon = host.iter().rposition(|b| *b == b':')?;
    let (name, port) = host.split_at(colon);
    let digits = port.get(1..)?.iter().all(u8::is_ascii_digit);
    // `[::1]` has colons of its own.
    (digits && (!name.contains(&b':') || name.ends_with(b"]"))).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_domain_wins() {
        let mut hosts = Hosts::default();
        let domains =
            ["*", "*.example.com", "*.a.example.com", "www.*", "www.b.*", "a.example.com", "p.example.com:81"];
        for (at, domain) in domains.iter().enumerate() {
            assert!(hosts.insert(&Domain::parse(domain).unwrap(), at), "{domain}");
        }
        for (authority, expected) in [
            ("nothing.org", 0),
            ("x.example.com", 1),
            ("X.EXAMPLE.com:8080", 1),
            ("x.a.example.com", 2),
            ("www.org", 3),
            ("www.b.org", 4),
            ("a.example.com", 5),
            ("a.example.com:443", 5),
            (".example.com", 0),
            ("p.example.com:81", 6),
            ("p.example.com:82", 1),
            ("[::1]:80", 0),
            ("", 0),
        ] {
            assert_eq!(hosts.find(authority.as_bytes()), Some(expected), "{authority}");
        }
        assert!(!hosts.insert(&Domain::Any, 9));
        for bad in ["", "a*b", "**", "*.*", "a b", "a/b"] {
            assert!(Domain::parse(bad).is_err(), "{bad}");
        }
    }
}
