//! What one route matches.

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;
use regex::bytes::Regex;
use ringway_api::{Known, RequestHead, rpc};

use super::{Asked, FieldMatcher, PathTemplate};

/// All conditions of a route.
#[derive(Debug)]
pub(crate) struct RouteMatcher {
    pub(crate) path: PathMatch,
    pub(crate) case_sensitive: bool,
    pub(crate) methods: Vec<Method>,
    pub(crate) headers: Vec<FieldMatcher>,
    pub(crate) labels: Vec<Label>,
    pub(crate) query: Vec<FieldMatcher>,
    /// On the heap: few routes have any of them.
    pub(crate) more: Option<Box<More>>,
}

/// Conditions that few routes have.
#[derive(Debug, Default)]
pub(crate) struct More {
    pub(crate) cookies: Vec<FieldMatcher>,
    pub(crate) grpc: bool,
    /// Any of these, if there are some.
    pub(crate) sources: Vec<IpNet>,
    /// Of 2^32 requests.
    pub(crate) fraction: Option<u64>,
}

/// The condition on the path, its query left out.
#[derive(Debug)]
pub(crate) enum PathMatch {
    Prefix(String),
    Exact(String),
    /// Whole segments: without a slash at its end.
    Segments(String),
    /// With the text that every match begins with.
    Regex(Regex, String),
    Template(PathTemplate),
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
    pub(crate) fn matches(&self, asked: Asked<'_>, path: &[u8]) -> bool {
        let head = asked.head;
        self.path.holds(path, self.case_sensitive)
            && (self.methods.is_empty() || self.methods.contains(&head.method))
            && self.headers.iter().all(|field| field.matches_header(head))
            && self.labels.iter().all(|label| label.holds(head))
            && (self.query.is_empty() || {
                let query = head.query();
                self.query.iter().all(|field| field.matches_query(query))
            })
            && self.more.as_ref().is_none_or(|more| more.holds(asked))
    }
}

/// For people.
impl RouteMatcher {
    /// The condition that a request does not meet, by its key in the configuration; the first one.
    pub(crate) fn unmet(&self, asked: Asked<'_>, path: &[u8]) -> Option<String> {
        let head = asked.head;
        let of = |key: &str, fields: &[FieldMatcher], holds: &dyn Fn(&FieldMatcher) -> bool| {
            fields.iter().find(|field| !holds(field)).map(|field| format!("{key}: {}", field.name))
        };
        let of_path = || (!self.path.holds(path, self.case_sensitive)).then(|| "path".to_owned());
        let of_methods =
            || (!self.methods.is_empty() && !self.methods.contains(&head.method)).then(|| "methods".to_owned());
        let of_labels = || {
            let unmet = self.labels.iter().find(|label| !label.holds(head))?;
            Some(if unmet.names == Label::VERSION { "version" } else { "group" }.to_owned())
        };
        of_path()
            .or_else(of_methods)
            .or_else(|| of("headers", &self.headers, &|field| field.matches_header(head)))
            .or_else(of_labels)
            .or_else(|| of("query_parameters", &self.query, &|field| field.matches_query(head.query())))
            .or_else(|| self.more.as_ref()?.unmet(asked))
    }

    /// The share of the requests that match by chance, in percent; `None` without such a condition.
    pub(crate) fn chance(&self) -> Option<f64> {
        let fraction = self.more.as_ref()?.fraction?;
        Some(fraction as f64 / (1_u64 << 32) as f64 * 100.0)
    }
}

impl More {
    /// The condition that is not met.
    fn unmet(&self, asked: Asked<'_>) -> Option<String> {
        if self.grpc && !is_grpc(asked.head) {
            return Some("grpc".to_owned());
        }
        if !self.is_from_here(asked.source) {
            return Some("source".to_owned());
        }
        let cookie = self.cookies.iter().find(|cookie| !cookie.matches_cookie(asked.head));
        let chance = || (!self.is_chosen(asked.random)).then(|| "runtime_fraction".to_owned());
        cookie.map(|cookie| format!("cookies: {}", cookie.name)).or_else(chance)
    }
}

impl More {
    fn holds(&self, asked: Asked<'_>) -> bool {
        (!self.grpc || is_grpc(asked.head))
            && self.is_from_here(asked.source)
            && self.cookies.iter().all(|cookie| cookie.matches_cookie(asked.head))
            && self.is_chosen(asked.random)
    }

    fn is_from_here(&self, source: Option<IpAddr>) -> bool {
        let within = |source: IpAddr| self.sources.iter().any(|network| network.contains(&source));
        self.sources.is_empty() || source.is_some_and(within)
    }

    fn is_chosen(&self, random: u64) -> bool {
        // Unrelated to the bits that pick a weighted cluster, which are the high ones.
        let chance = random & u64::from(u32::MAX);
        self.fraction.is_none_or(|fraction| chance < fraction)
    }
}

/// "Requests" of gRPC's description of itself over HTTP/2: `application/grpc` with an optional `+format`.
fn is_grpc(head: &RequestHead) -> bool {
    let kind = head.headers.known(Known::ContentType).and_then(|kind| kind.strip_prefix(b"application/grpc"));
    kind.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl PathMatch {
    /// What all paths that match begin with, if their case matters; nothing for those without a path.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self {
            Self::Prefix(text) | Self::Exact(text) | Self::Segments(text) | Self::Regex(_, text) => Some(text),
            Self::Template(template) => Some(&template.literal),
            Self::Connect => None,
        }
    }

    fn holds(&self, path: &[u8], case_sensitive: bool) -> bool {
        let starts = |text: &str| {
            let Some(start) = path.get(..text.len()) else { return false };
            if case_sensitive { start == text.as_bytes() } else { start.eq_ignore_ascii_case(text.as_bytes()) }
        };
        match self {
            Self::Prefix(prefix) => starts(prefix),
            Self::Exact(exact) => path.len() == exact.len() && starts(exact),
            Self::Segments(prefix) => starts(prefix) && matches!(path.get(prefix.len()), None | Some(b'/')),
            Self::Regex(regex, _) => !path.is_empty() && regex.is_match(path),
            Self::Template(template) => template.regex.is_match(path),
            // RFC 9112, section 3.2.3: the only request without a path.
            Self::Connect => path.is_empty(),
        }
    }
}
