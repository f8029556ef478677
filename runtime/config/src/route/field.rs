//! Conditions on header fields and query parameters.

use regex::bytes::Regex;
use ringway_api::RequestHead;

/// A condition on the values of one name.
#[derive(Debug)]
pub(crate) struct FieldMatcher {
    pub(crate) name: String,
    pub(crate) condition: Condition,
    pub(crate) invert: bool,
}

/// What a value must be.
#[derive(Debug)]
pub(crate) enum Condition {
    Present,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(Regex),
}

impl FieldMatcher {
    /// On the request's header fields: several of one name count as one list (RFC 9110, section 5.3). A field that is not
    /// there meets no condition on its value, inverted or not, as in Envoy.
    pub(crate) fn matches_header(&self, head: &RequestHead) -> bool {
        let mut values = head.headers.all(&self.name);
        let held = match (values.next(), values.next()) {
            (None, _) if !matches!(self.condition, Condition::Present) => return false,
            (None, _) => false,
            (Some(value), None) => self.condition.holds(value),
            (Some(first), Some(second)) => {
                let mut list = [first, b",", second].concat();
                for more in values {
                    list.push(b',');
                    list.extend_from_slice(more);
                }
                self.condition.holds(&list)
            }
        };
        held != self.invert
    }

    /// On the query's parameters, as they are written; the first of a name counts.
    pub(crate) fn matches_query(&self, query: Option<&[u8]>) -> bool {
        let mut pairs = query.into_iter().flat_map(|query| query.split(|b| *b == b'&'));
        let value = pairs.find_map(|pair| {
            let end = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            (pair.get(..end)? == self.name.as_bytes()).then(|| pair.get(end + 1..).unwrap_or_default())
        });
        value.is_some_and(|value| self.condition.holds(value)) != self.invert
    }
}

impl Condition {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Suffix(suffix) => value.ends_with(suffix.as_bytes()),
            Self::Contains(part) => {
                part.is_empty() || value.windows(part.len()).any(|window| window == part.as_bytes())
            }
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}
