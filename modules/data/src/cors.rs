//! Cross-origin requests of browsers (the CORS protocol of the Fetch standard), as Envoy's `cors`.

use std::rc::Rc;
use std::sync::Arc;

use http::{Method, StatusCode};
use ringway_api::{
    Action, Body, Env, FilterCx, FilterStats, Headers, LocalSource, Millis, Request, Response, ResponseFlags,
    ResponseHead, Stat, StreamCx, StreamFilter,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::field_list;
use crate::percent::Percent;
use crate::text_match::{TextMatch, TextMatchConfig};

/// Tells browsers which origins may use what is served, and answers their preflights.
///
/// Nothing is refused here: what a browser may not see, it keeps from its page. Requests without `Origin` pass
/// untouched.
pub struct Cors {
    policy: Arc<Policy>,
    stats: FilterStats,
    env: Rc<dyn Env>,
}

/// What users write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorsConfig {
    /// The origins that may; `exact: "*"` is any.
    allow_origins: Vec<TextMatchConfig>,
    /// The methods that a preflight's answer names; `*` for any.
    #[serde(default)]
    allow_methods: Vec<String>,
    /// The request fields that a preflight's answer names; `*` for any.
    #[serde(default)]
    allow_headers: Vec<String>,
    /// The response fields that a page may see; `*` for any.
    #[serde(default)]
    expose_headers: Vec<String>,
    /// How long a browser may keep a preflight's answer; the browser decides where it is not set.
    max_age: Option<Millis>,
    /// Requests may carry cookies and other credentials.
    #[serde(default)]
    allow_credentials: bool,
    /// Pages of public networks may use private ones.
    #[serde(default)]
    allow_private_network_access: bool,
    /// Pass preflights of other origins on; otherwise they are answered here, without permission.
    #[serde(default = "yes")]
    forward_not_matching_preflights: bool,
    /// The status of a preflight's answer, 200 or 204.
    #[serde(default = "ok")]
    preflight_status: u16,
    /// The percentage of requests for which this holds.
    #[serde(default = "all")]
    enabled: Percent,
    /// Count origins of the others, and change nothing for them.
    #[serde(default)]
    shadow: bool,
}

/// [`CorsConfig`], ready to be put into fields.
#[derive(Debug)]
pub struct Policy {
    any_origin: bool,
    origins: Box<[TextMatch]>,
    methods: Option<String>,
    headers: Option<String>,
    exposed: Option<String>,
    max_age: Option<String>,
    credentials: bool,
    private_network: bool,
    forward: bool,
    status: StatusCode,
    enabled: Percent,
    shadow: bool,
}

const ORIGIN_VALID: usize = 0;
const ORIGIN_INVALID: usize = 1;

impl StreamFilter for Cors {
    const NAME: &'static str = "cors";
    const STATS: &'static [Stat] = &[
        Stat::counter("origin_valid", "Requests of an origin that is allowed."),
        Stat::counter("origin_invalid", "Requests of an origin that is not."),
    ];
    type Config = CorsConfig;
    type Compiled = Policy;
    /// The origin, if the response has to say that it is allowed.
    type State = Option<Box<[u8]>>;

    fn compile(config: CorsConfig) -> Result<Policy, String> {
        if config.allow_origins.is_empty() {
            return Err("allow_origins: name at least one origin".to_owned());
        }
        let list = |option: &str, names: &[String]| -> Result<Option<String>, String> {
            if let Some(bad) = names.iter().find(|name| !Headers::can_hold(name.as_bytes(), b"")) {
                return Err(format!("{option}: {bad:?} is no name"));
            }
            Ok((!names.is_empty()).then(|| names.join(",")))
        };
        let is_any = |origin: &TextMatchConfig| matches!(origin, TextMatchConfig::Exact(text) if text == "*");
        let status = match config.preflight_status {
            200 => StatusCode::OK,
            204 => StatusCode::NO_CONTENT,
            other => return Err(format!("preflight_status: {other} is neither 200 nor 204")),
        };
        Ok(Policy {
            any_origin: config.allow_origins.iter().any(is_any),
            origins: TextMatch::compile_all("allow_origins", config.allow_origins)?,
            methods: list("allow_methods", &config.allow_methods)?,
            headers: list("allow_headers", &config.allow_headers)?,
            exposed: list("expose_headers", &config.expose_headers)?,
            max_age: config.max_age.map(|age| age.duration().as_secs().to_string()),
            credentials: config.allow_credentials,
            private_network: config.allow_private_network_access,
            forward: config.forward_not_matching_preflights,
            status,
            enabled: config.enabled,
            shadow: config.shadow,
        })
    }

    fn build(policy: Arc<Policy>, _: Option<&Self>, cx: FilterCx) -> Self {
        Self { policy, stats: cx.stats, env: cx.env }
    }

    fn on_request(&self, state: &mut Self::State, request: &mut Request, _: &StreamCx) -> Action {
        let policy = &*self.policy;
        let fields = &request.head.headers;
        let Some(origin) = fields.first("origin").filter(|origin| !origin.is_empty()) else { return Action::Continue };
        let enforced = policy.enabled.hits(self.env.random());
        if !enforced && !policy.shadow {
            return Action::Continue;
        }
        let allowed = policy.allows(origin);
        self.stats.inc(if allowed { ORIGIN_VALID } else { ORIGIN_INVALID });
        if !enforced {
            return Action::Continue;
        }
        let asked = fields.first("access-control-request-method").is_some_and(|method| !method.is_empty());
        if request.head.method == Method::OPTIONS && asked {
            return match allowed {
                true => Action::Respond(Box::new(said(policy.permission(origin, fields)))),
                false if policy.forward => Action::Continue,
                false => Action::Respond(Box::new(said(policy.answer()))),
            };
        }
        if allowed {
            *state = Some(origin.into());
        }
        Action::Continue
    }

    fn on_response(&self, state: &mut Self::State, response: &mut Response, _: &StreamCx) {
        if let Some(origin) = state.take() {
            let headers = &mut response.head.headers;
            self.policy.allow(&origin, headers);
            if let Some(exposed) = &self.policy.exposed {
                put(headers, "access-control-expose-headers", exposed.as_bytes());
            }
        }
    }
}

impl Policy {
    fn allows(&self, origin: &[u8]) -> bool {
        self.any_origin || self.origins.iter().any(|wanted| wanted.fits(origin))
    }

    /// What says that the origin is allowed. Always this origin and not `*`: that is no permission to send credentials.
    fn allow(&self, origin: &[u8], headers: &mut Headers) {
        put(headers, "access-control-allow-origin", origin);
        if self.credentials {
            put(headers, "access-control-allow-credentials", b"true");
        }
        // Else a cache would give one origin's permission to another.
        let added = field_list::add_vary(headers, "origin");
        debug_assert!(added.is_ok());
    }

    /// The answer to a preflight that is allowed.
    fn permission(&self, origin: &[u8], request: &Headers) -> Response {
        let mut response = self.answer();
        let headers = &mut response.head.headers;
        self.allow(origin, headers);
        for (name, value) in [
            ("access-control-allow-methods", &self.methods),
            ("access-control-allow-headers", &self.headers),
            ("access-control-max-age", &self.max_age),
        ] {
            if let Some(value) = value {
                put(headers, name, value.as_bytes());
            }
        }
        if self.private_network && request.first("access-control-request-private-network") == Some(b"true") {
            put(headers, "access-control-allow-private-network", b"true");
        }
        response
    }

    fn answer(&self) -> Response {
        Response { head: ResponseHead::new(self.status), body: Body::Empty }
    }
}

/// Sets a field to what was a field's value, or was checked when it was compiled.
/// Says in the log, in Envoy's word, why no host was asked.
fn said(mut response: Response) -> Response {
    response.head.set_local(LocalSource::Filter, ResponseFlags::NONE, "cors_response");
    response
}

fn put(headers: &mut Headers, name: &str, value: &[u8]) {
    let set = headers.set(name, value);
    debug_assert!(set.is_ok(), "{name}");
}

const fn yes() -> bool {
    true
}

const fn ok() -> u16 {
    200
}

const fn all() -> Percent {
    Percent::ALL
}
