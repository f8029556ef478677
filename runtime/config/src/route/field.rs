//! Conditions on header fields, query parameters and cookies.

use regex::bytes::Regex;
use ringway_api::{Headers, RequestHead};

/// A condition on the values of one name.
#[derive(Debug)]
pub struct FieldMatcher {
    pub(crate) name: String,
    pub(crate) condition: Condition,
    pub(crate) invert: bool,
    /// What is not there counts as an empty value.
    pub(crate) missing_is_empty: bool,
}

/// What a value must be.
#[derive(Debug)]
pub(crate) enum Condition {
    Present,
    Text {
        kind: TextKind,
        wanted: String,
        ignore_case: bool,
    },
    Regex(Regex),
    /// From the first up to, but without, the second.
    Range(i64, i64),
}

/// How a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextKind {
    Exact,
    Prefix,
    Suffix,
    Contains,
}

impl FieldMatcher {
    /// On the request's header fields.
    pub(crate) fn matches_header(&self, head: &RequestHead) -> bool {
        self.matches_fields(&head.headers)
    }

    /// On header fields: several of one name count as one list (RFC 9110, section 5.3).
    pub fn matches_fields(&self, headers: &Headers) -> bool {
        let mut values = headers.all(&self.name);
        match (values.next(), values.next()) {
            (first, None) => self.matches(first),
            (Some(first), Some(second)) => {
                let mut list = [first, b",", second].concat();
                for more in values {
                    list.push(b',');
                    list.extend_from_slice(more);
                }
                self.matches(Some(&list))
            }
            // Nothing comes after nothing.
            (None, Some(_)) => false,
        }
    }

    /// On the query's parameters, as they are written; the first of a name counts.
    pub(crate) fn matches_query(&self, query: Option<&[u8]>) -> bool {
        self.matches(parameter(query, self.name.as_bytes()))
    }

    /// On the cookies; the first of a name counts.
    pub(crate) fn matches_cookie(&self, head: &RequestHead) -> bool {
        self.matches(cookie(head, self.name.as_bytes()))
    }

    /// On a value, or that there is none. What is not there meets no condition on its value, inverted or not, as in
    /// Envoy.
    pub fn matches(&self, value: Option<&[u8]>) -> bool {
        match value.or(self.missing_is_empty.then_some(&[])) {
            Some(value) => self.condition.holds(value) != self.invert,
            None => self.invert && matches!(self.condition, Condition::Present),
        }
    }
}

/// The value of a query's first parameter of this name, as it is written.
pub fn parameter<'a>(query: Option<&'a [u8]>, name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs = query?.split(|b| *b == b'&');
    pairs.find_map(|pair| {
        let end = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        (pair.get(..end)? == name).then(|| pair.get(end + 1..).unwrap_or_default())
    })
}

/// The value of a request's first cookie of this name (RFC 6265, section 4.2.1), without the quotes it may have.
pub fn cookie<'a>(head: &'a RequestHead, name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs = head.headers.all("cookie").flat_map(|list| list.split(|b| *b == b';'));
    pairs.find_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name)?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

impl Condition {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Text { kind, wanted, ignore_case } => kind.holds(value, wanted.as_bytes(), *ignore_case),
            Self::Regex(regex) => regex.is_match(value),
            Self::Range(start, end) => {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
                number.is_some_and(|number| (*start..*end).contains(&number))
            }
        }
    }
}

impl TextKind {
    fn holds(self, value: &[u8], wanted: &[u8], ignore_case: bool) -> bool {
        let same = |part: Option<&[u8]>| {
            part.is_some_and(|part| if ignore_case { part.eq_ignore_ascii_case(wanted) } else { part == wanted })
        };
        match self {
            Self::Exact => same(Some(value)),
            Self::Prefix => same(value.get(..wanted.len())),
            Self::Suffix => same(value.len().checked_sub(wanted.len()).and_then(|from| value.get(from..))),
            Self::Contains => wanted.is_empty() || value.windows(wanted.len()).any(|window| same(Some(window))),
        }
    }
}
