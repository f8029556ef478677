//! Requests that another site makes a browser send, refused; as Envoy's `csrf`.

use std::rc::Rc;
use std::sync::Arc;

use http::{Method, StatusCode};
use ringway_api::{Action, Env, FilterCx, FilterStats, LocalReply, Request, RequestHead, Stat, StreamCx, StreamFilter};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::percent::Percent;
use crate::text_match::{TextMatch, TextMatchConfig};

/// Refuses `POST`, `PUT`, `PATCH` and `DELETE` whose origin is not the site that they go to.
///
/// The origin is what `Origin` says, else `Referer`, which browsers do not let a page set. A request that says neither
/// is refused as well.
pub struct Csrf {
    policy: Arc<CsrfPolicy>,
    stats: FilterStats,
    env: Rc<dyn Env>,
}

/// What users write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsrfConfig {
    /// The percentage of requests for which this holds.
    #[serde(default = "all")]
    enabled: Percent,
    /// Count the others, and refuse none of them.
    #[serde(default)]
    shadow: bool,
    /// Other origins that may, as `host` or `host:port`.
    #[serde(default)]
    additional_origins: Vec<TextMatchConfig>,
}

/// [`CsrfConfig`], checked.
#[derive(Debug)]
pub struct CsrfPolicy {
    enabled: Percent,
    shadow: bool,
    origins: Box<[TextMatch]>,
}

const MISSING_SOURCE_ORIGIN: usize = 0;
const REQUEST_INVALID: usize = 1;
const REQUEST_VALID: usize = 2;

const REFUSED: LocalReply = LocalReply::new(StatusCode::FORBIDDEN, "Invalid origin", "csrf_origin_mismatch");

impl StreamFilter for Csrf {
    const NAME: &'static str = "csrf";
    const STATS: &'static [Stat] = &[
        Stat::counter("missing_source_origin", "Requests without an origin; refused."),
        Stat::counter("request_invalid", "Requests of an origin that may not; refused."),
        Stat::counter("request_valid", "Requests of an origin that may."),
    ];
    type Config = CsrfConfig;
    type Compiled = CsrfPolicy;
    type State = ();

    fn compile(config: CsrfConfig) -> Result<CsrfPolicy, String> {
        Ok(CsrfPolicy {
            enabled: config.enabled,
            shadow: config.shadow,
            origins: TextMatch::compile_all("additional_origins", config.additional_origins)?,
        })
    }

    fn build(policy: Arc<CsrfPolicy>, _: Option<&Self>, cx: FilterCx) -> Self {
        Self { policy, stats: cx.stats, env: cx.env }
    }

    fn on_request(&self, (): &mut (), request: &mut Request, _: &StreamCx) -> Action {
        let head = &request.head;
        if ![Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(&head.method) {
            return Action::Continue;
        }
        let enforced = self.policy.enabled.hits(self.env.random());
        if !enforced && !self.policy.shadow {
            return Action::Continue;
        }
        let outcome = match source(head) {
            None => MISSING_SOURCE_ORIGIN,
            Some(source) if self.policy.allows(source, head) => REQUEST_VALID,
            Some(_) => REQUEST_INVALID,
        };
        self.stats.inc(outcome);
        if outcome == REQUEST_VALID || !enforced { Action::Continue } else { Action::Reply(Box::new(REFUSED)) }
    }
}

impl CsrfPolicy {
    fn allows(&self, source: Site<'_>, head: &RequestHead) -> bool {
        source.is(head.authority()) || self.origins.iter().any(|wanted| wanted.fits(source.authority))
    }
}

/// A host, with a port if it is named.
#[derive(Clone, Copy, Debug)]
struct Site<'a> {
    authority: &'a [u8],
    /// The port that goes without saying, if the scheme is known.
    port: Option<&'static [u8]>,
}

/// Where a request comes from, if it says so. More than one `Origin` is none: whoever is behind might read the other one.
fn source(head: &RequestHead) -> Option<Site<'_>> {
    let of = |name| {
        let mut values = head.headers.all(name);
        let value = values.next().filter(|value| !value.is_empty())?;
        values.next().is_none().then(|| Site::of(value))
    };
    match head.headers.first("origin") {
        Some(origin) if !origin.is_empty() => of("origin"),
        _ => of("referer"),
    }
}

impl<'a> Site<'a> {
    /// The site of an absolute URL; of what is none, `null` say, all of it, which is no host's name.
    fn of(url: &'a [u8]) -> Self {
        let Some(at) = url.windows(3).position(|part| part == b"://") else {
            return Self { authority: url, port: None };
        };
        let (scheme, rest) = url.split_at(at);
        let rest = rest.get(3..).unwrap_or_default();
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        let port = match scheme {
            b"http" => Some(&b":80"[..]),
            b"https" => Some(&b":443"[..]),
            _ => None,
        };
        Self { authority, port }
    }

    /// Whether it is the site of this authority, the port of the scheme aside. Hosts have no case.
    fn is(self, authority: &[u8]) -> bool {
        let (own, other) = (self.without_port(self.authority), self.without_port(authority));
        !own.is_empty() && own.eq_ignore_ascii_case(other)
    }

    fn without_port(self, authority: &[u8]) -> &[u8] {
        self.port.and_then(|port| authority.strip_suffix(port)).unwrap_or(authority)
    }
}

const fn all() -> Percent {
    Percent::ALL
}
