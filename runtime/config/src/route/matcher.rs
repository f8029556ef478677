//! What one route matches.

use http::Method;
use regex::bytes::Regex;
use ringway_api::{RequestHead, rpc};

use super::FieldMatcher;

/// All conditions of a route.
#[derive(Debug)]
pub(crate) struct RouteMatcher {
    pub(crate) path: PathMatch,
    pub(crate) case_sensitive: bool,
    pub(crate) methods: Vec<Method>,
    pub(crate) headers: Vec<FieldMatcher>,
    pub(crate) labels: Vec<Label>,
    pub(crate) query: Vec<FieldMatcher>,
}

/// The condition on the path, its query left out.
#[derive(Debug)]
pub(crate) enum PathMatch {
    Prefix(String),
    Exact(String),
    /// Whole segments: without a slash at its end.
    Segments(String),
    Regex(Regex),
    /// `CONNECT`, which has none.
    Connect,
}

/// A condition on what a protocol of calls says of the service, in whichever of these fields it does.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) names: [&'static str; 2],
    pub(crate) wanted: String,
}

impl Label {
    /// The second is Triple's.
    pub(crate) const VERSION: [&'static str; 2] = [rpc::VERSION, "tri-service-version"];
    pub(crate) const GROUP: [&'static str; 2] = [rpc::GROUP, "tri-service-group"];

    fn holds(&self, head: &RequestHead) -> bool {
        self.names.iter().any(|name| head.headers.first(name) == Some(self.wanted.as_bytes()))
    }
}

impl RouteMatcher {
    pub(crate) fn matches(&self, head: &RequestHead, path: &[u8]) -> bool {
        self.path.holds(path, self.case_sensitive)
            && (self.methods.is_empty() || self.methods.contains(&head.method))
            && self.headers.iter().all(|field| field.matches_header(head))
            && self.labels.iter().all(|label| label.holds(head))
            && (self.query.is_empty() || {
                let query = head.query();
                self.query.iter().all(|field| field.matches_query(query))
            })
    }
}

impl PathMatch {
    fn holds(&self, path: &[u8], case_sensitive: bool) -> bool {
        let starts = |text: &str| {
            let Some(start) = path.get(..text.len()) else { return false };
            if case_sensitive { start == text.as_bytes() } else { start.eq_ignore_ascii_case(text.as_bytes()) }
        };
        match self {
            Self::Prefix(prefix) => starts(prefix),
            Self::Exact(exact) => path.len() == exact.len() && starts(exact),
            Self::Segments(prefix) => starts(prefix) && matches!(path.get(prefix.len()), None | Some(b'/')),
            Self::Regex(regex) => !path.is_empty() && regex.is_match(path),
            // RFC 9112, section 3.2.3: the only request without a path.
            Self::Connect => path.is_empty(),
        }
    }
}
