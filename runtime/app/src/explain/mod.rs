//! What would become of a request, and why. Asked of the matchers and filters that serve requests, on a snapshot of its own,
//! so that nothing of the running one is touched: no limit is used up, nothing is counted.

mod asked;
mod filters;
mod show;
mod still;
mod upstream;

use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Result, bail};
pub(crate) use asked::AskedFor;
use asked::Parsed;
use filters::FilterStep;
use ringway_api::{Address, ConnCx, ConnInfo, Request, StreamCx, TlsInfo};
use ringway_config::raw::{self, Transport};
use ringway_config::{Asked, Chain, ConnFacts, Fit, Listener, RouteAction, RouteTable, Service, Snapshot};
use ringway_proxy::PathPolicy;
use serde::Serialize;
use serde_json::Value;
pub(crate) use show::text;
use still::Still;
pub(crate) use upstream::Upstream;

/// What becomes of a request.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    request: Sent,
    listener: Named,
    chains: Vec<ChainStep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing: Option<Routed>,
    filters: Vec<FilterStep>,
    /// How it is routed after a filter has changed what routes look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    rerouted: Option<Routed>,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) upstreams: Vec<Upstream>,
}

/// A request.
#[derive(Debug, Serialize)]
struct Sent {
    method: String,
    authority: String,
    path: String,
    headers: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct Named {
    name: String,
    address: String,
}

/// A filter chain, and why it takes the connection or does not.
#[derive(Debug, Serialize)]
struct ChainStep {
    name: String,
    chosen: bool,
    why: String,
}

/// How a request is routed.
#[derive(Debug, Serialize)]
struct Routed {
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_host: Option<VirtualHost>,
    /// Routes that do not match, with the first condition that is not met.
    passed_over: Vec<PassedOver>,
    /// Earlier ones that do not match either.
    not_shown: usize,
    /// The route, with its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Taken>,
}

#[derive(Debug, Serialize)]
struct VirtualHost {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    domains: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PassedOver {
    at: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "match")]
    matches: Value,
    unmet: String,
}

#[derive(Debug, Serialize)]
struct Taken {
    at: usize,
    /// The share of such requests that it takes, in percent, where chance decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    chance: Option<f64>,
    /// All that the configuration says of it.
    config: Value,
}

/// What the proxy does in the end.
#[derive(Debug, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
enum Outcome {
    /// No chain takes the connection.
    Closed,
    /// The path cannot be made comparable.
    Malformed {
        status: u16,
    },
    /// No route.
    NoRoute {
        status: u16,
    },
    /// A filter answers.
    Answered {
        by: String,
        status: u16,
        body: String,
    },
    /// A filter resets it.
    Reset {
        by: String,
    },
    Redirect {
        config: Value,
    },
    DirectResponse {
        status: u16,
    },
    /// Sent on, like this.
    Forward {
        request: Sent,
        /// How long the response may take, in milliseconds; for ever without.
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u128>,
        /// Whether another host may be asked when one fails.
        retries: bool,
    },
    /// To the cluster that a field names, which says nothing.
    NoCluster {
        field: String,
    },
    /// Bytes to a cluster.
    Bytes {
        cluster: String,
    },
}

/// Explains a request.
///
/// # Errors
/// What of the question cannot be understood.
pub(crate) fn explain(snapshot: &Snapshot, asked: &AskedFor) -> Result<Explanation> {
    let Parsed { mut request, port, tls, host } = asked.parse()?;
    let listener = listener(snapshot, asked, port, tls)?;
    let shown = Sent::of(&request);
    let local = match (&listener.address, asked.source) {
        (Address::Ip(local), source) if local.ip().is_unspecified() => Address::Ip((source, local.port()).into()),
        (local, _) => local.clone(),
    };
    let peer = Address::Ip((asked.source, 50_000).into());
    let facts = ConnFacts {
        local: &local,
        peer: &peer,
        transport: if tls { Transport::Tls } else { Transport::RawBuffer },
        server_name: Some(host.as_str()).filter(|_| tls),
        offers: &|name| tls && ["h2", "http/1.1"].contains(&name),
    };
    let fits = listener.matcher.explain(&facts);
    let chains = listener.chains.iter().zip(&fits).map(|(chain, fit)| ChainStep::of(chain, *fit)).collect();
    let mut explanation = Explanation {
        request: shown,
        listener: Named { name: listener.raw.name.clone(), address: listener.address.to_string() },
        chains,
        routing: None,
        filters: Vec::new(),
        rerouted: None,
        outcome: Outcome::Closed,
        upstreams: Vec::new(),
    };
    let Some(chain) = listener.matcher.find(&facts).and_then(|at| listener.chains.get(at)) else {
        return Ok(explanation);
    };
    match &chain.service {
        Service::Raw { cluster, .. } => {
            explanation.upstreams = upstream::of(snapshot, &[(*cluster, 100.0)]);
            let cluster = snapshot.clusters.get(*cluster).map_or_else(String::new, |cluster| cluster.raw.name.clone());
            explanation.outcome = Outcome::Bytes { cluster };
        }
        Service::Streams { filters, routes, .. } => {
            let mut info = ConnInfo::new(1, local.clone(), peer.clone());
            info.tls = tls.then(|| Rc::new(TlsInfo { server_name: Some(host.as_str().into()), ..TlsInfo::default() }));
            let streams =
                Streams { snapshot, chain, routes, cx: StreamCx::new(Rc::new(ConnCx::new(info, Still::env()))) };
            streams.explain(&mut request, asked, filters, &mut explanation);
        }
    }
    Ok(explanation)
}

/// The listener that is meant.
fn listener<'a>(snapshot: &'a Snapshot, asked: &AskedFor, port: Option<u16>, tls: bool) -> Result<&'a Arc<Listener>> {
    let names = || snapshot.listeners.iter().map(|listener| listener.raw.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = &asked.listener {
        let found = snapshot.listeners.iter().find(|listener| listener.raw.name == *name);
        return found.ok_or_else(|| anyhow::anyhow!("there is no listener `{name}`; there are {}", names()));
    }
    let wanted = port.unwrap_or(if tls { 443 } else { 80 });
    let has_port = |listener: &&Arc<Listener>| listener.address.ip().is_some_and(|ip| ip.port() == wanted);
    match (snapshot.listeners.iter().find(has_port), &snapshot.listeners[..]) {
        (Some(found), _) | (None, [found]) => Ok(found),
        (None, []) => bail!("there is no listener"),
        (None, _) => bail!("no listener has port {wanted}: say which with --listener; there are {}", names()),
    }
}

/// A chain of requests that is asked.
struct Streams<'a> {
    snapshot: &'a Snapshot,
    chain: &'a Chain,
    routes: &'a RouteTable,
    cx: StreamCx,
}

impl Streams<'_> {
    fn explain(
        &self,
        request: &mut Request,
        asked: &AskedFor,
        usual: &[ringway_config::Filter],
        explanation: &mut Explanation,
    ) {
        let path = self.chain.raw.path;
        let policy = PathPolicy { normalize: path.normalize, merge_slashes: path.merge_slashes };
        if policy.apply(&mut request.head).is_err() {
            explanation.outcome = Outcome::Malformed { status: 400 };
            return;
        }
        let source = Some(asked.source.to_canonical());
        let ask = |request: &Request| self.routes.explain(Asked { head: &request.head, source, random: 0 });
        let mut routing = ask(request);
        explanation.routing = Some(self.routed(&routing));
        let own = routing.at.and_then(|at| self.routes.filters.get(self.routes.route(at)?.filters? as usize));
        let seen = filters::run(usual, own, &self.chain.raw, self.raw_route(&routing), request, &self.cx);
        explanation.filters = seen.steps;
        if let Some(outcome) = seen.outcome {
            explanation.outcome = outcome;
            return;
        }
        if seen.reroute {
            routing = ask(request);
            explanation.rerouted = Some(self.routed(&routing));
        }
        let Some(route) = routing.at.and_then(|at| self.routes.route(at)) else {
            explanation.outcome = Outcome::NoRoute { status: 404 };
            return;
        };
        let raw = self.raw_route(&routing);
        match &route.action {
            RouteAction::Redirect(_) => {
                explanation.outcome = Outcome::Redirect { config: value(raw.and_then(|raw| raw.redirect.as_ref())) };
            }
            RouteAction::Direct(direct) => {
                explanation.outcome = Outcome::DirectResponse { status: direct.status.as_u16() };
            }
            RouteAction::Forward(forward) => {
                let clusters = match upstream::destinations(self.snapshot, forward, &request.head) {
                    Ok(clusters) => clusters,
                    Err(field) => {
                        explanation.outcome = Outcome::NoCluster { field };
                        return;
                    }
                };
                let weighted = (clusters.len() > 1).then_some(0);
                let first = clusters.first().and_then(|(at, _)| self.snapshot.clusters.get(*at));
                let cluster = first.map(|cluster| cluster.raw.name.as_str());
                ringway_proxy::sent(route, cluster, weighted, &mut request.head, &self.cx);
                let timeout_ms = forward.timeout.map(|timeout| timeout.as_millis());
                let retries = forward.retry.is_some();
                explanation.outcome = Outcome::Forward { request: Sent::of(request), timeout_ms, retries };
                explanation.upstreams = upstream::of(self.snapshot, &clusters);
            }
        }
    }

    fn raw_routes(&self) -> Option<&raw::Routes> {
        match self.chain.raw.routes.as_ref()? {
            raw::RoutesRef::Inline(routes) => Some(routes),
            raw::RoutesRef::Name(name) => self.snapshot.raw.routes.get(name),
        }
    }

    fn raw_route(&self, routing: &ringway_config::Routing) -> Option<&raw::Route> {
        self.raw_routes()?.virtual_hosts.get(routing.virtual_host?)?.routes.get(routing.route?)
    }

    fn routed(&self, routing: &ringway_config::Routing) -> Routed {
        let host = routing.virtual_host.and_then(|host| self.raw_routes()?.virtual_hosts.get(host));
        let route = |at: usize| host.and_then(|host| host.routes.get(at));
        let passed_over = routing.passed_over.iter().map(|(at, unmet)| PassedOver {
            at: *at,
            name: route(*at).and_then(|route| route.name.clone()),
            matches: value(route(*at).map(|route| &route.matches)),
            unmet: unmet.clone(),
        });
        Routed {
            virtual_host: host.map(|host| VirtualHost { name: host.name.clone(), domains: host.domains.clone() }),
            passed_over: passed_over.collect(),
            not_shown: routing.not_shown,
            route: routing.route.map(|at| Taken { at, chance: routing.chance, config: value(route(at)) }),
        }
    }
}

impl ChainStep {
    fn of(chain: &Chain, fit: Fit) -> Self {
        let why = match fit {
            Fit::Chosen => "takes the connection".to_owned(),
            Fit::Unmet(key) => format!("{key} is not met"),
            Fit::LessSpecific(key) => format!("another one fits {key} better"),
            Fit::LaterOfEqual => "one before it fits as well".to_owned(),
        };
        Self { name: chain.raw.name.clone(), chosen: fit == Fit::Chosen, why }
    }
}

impl Sent {
    fn of(request: &Request) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let head = &request.head;
        Self {
            method: head.method.to_string(),
            authority: text(head.authority()),
            path: text(head.path_and_query()),
            headers: head.headers.iter().map(|(name, value)| (text(name), text(value))).collect(),
        }
    }
}

/// A part of a configuration as it is written.
fn value<T: Serialize>(part: Option<T>) -> Value {
    // What was read can be written.
    part.and_then(|part| serde_json::to_value(part).ok()).unwrap_or_default()
}
