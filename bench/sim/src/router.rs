//! Thousands of virtual hosts: the compiled router against one that looks at everything in turn.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use http::Method;
use ringway_api::RequestHead;
use ringway_config::{RouteTable, Service, compile};
use ringway_testkit::Rng;
use serde_json::{Value, json};

use crate::mesh::CATALOG;
use crate::report::Figure;
use crate::{Part, Run, Table};

/// A virtual host as the oracle knows it.
struct VirtualHost {
    domains: Vec<String>,
    routes: Vec<Route>,
}

struct Route {
    name: String,
    rule: Rule,
    method: Option<Method>,
    /// `x-canary: 1` must be there.
    canary: bool,
}

/// What a path must be like.
enum Rule {
    Exact(String),
    Prefix(String),
    Segments(String),
    /// `/reports-N/` and four digits.
    Report(String),
}

/// Requests of all kinds, each routed by both.
pub fn run(run: Run) -> Result<Part> {
    let mut part = Part::new("Router: the compiled table against a naive oracle");
    let columns = ["virtual hosts", "routes", "requests", "with a route", "wrong"];
    let mut table = Table::new("Every request by both", columns);
    for virtual_hosts in run.size(&[1, 10, 100, 1_000, 5_000][..], &[1, 10, 300]) {
        let (routes, found) = compare(*virtual_hosts, run.size(20_000, 2_000), run.seed)?;
        let [requests, routed, wrong] = found;
        table.row(virtual_hosts.to_string(), [routes as u64, requests, routed, wrong].map(Figure::count));
        part.at_most(format!("{virtual_hosts} virtual hosts: wrong routes"), wrong as f64, 0.0);
        if *virtual_hosts >= 10 {
            let what = format!("{virtual_hosts} virtual hosts: requests with a route");
            part.at_least(what, routed as f64, requests as f64 / 20.0);
        }
    }
    part.tables.push(table);
    Ok(part)
}

/// How many routes there are; requests, those with a route, those with a wrong one.
fn compare(count: usize, requests: u64, seed: u64) -> Result<(usize, [u64; 3])> {
    let mut rng = Rng::new(seed ^ count as u64);
    let oracle: Vec<VirtualHost> = (0..count).map(|at| VirtualHost::new(at, &mut rng)).collect();
    let table = compiled(&oracle)?;
    let (mut routed, mut wrong) = (0, 0);
    for _ in 0..requests {
        let (authority, path, method, canary) = request(count, &mut rng);
        let mut head = RequestHead::new(method, &authority, &path);
        if canary {
            head.headers.set("x-canary", b"1").map_err(|error| anyhow!("{error:?}"))?;
        }
        let asked = ringway_config::Asked { head: &head, source: None, random: 0 };
        let got = table.find(asked).and_then(|at| table.route(at)).and_then(|route| route.name.as_deref());
        let wanted = naive(&oracle, &authority, &path, &head.method, canary);
        routed += u64::from(wanted.is_some());
        wrong += u64::from(got != wanted);
    }
    Ok((table.len(), [requests, routed, wrong]))
}

fn compiled(oracle: &[VirtualHost]) -> Result<Arc<RouteTable>> {
    let virtual_hosts: Vec<Value> = oracle.iter().map(VirtualHost::json).collect();
    let config = json!({
        "listeners": [{
            "name": "web", "address": "127.0.0.1:1", "protocol": "http1", "routes": { "virtual_hosts": virtual_hosts },
        }],
        "clusters": [{ "name": "app", "endpoints": ["127.0.0.1:2"] }],
    });
    let snapshot = compile("sim", &config.to_string(), &CATALOG, None).map_err(|error| anyhow!("{error}"))?;
    let chain = snapshot.listeners.first().and_then(|listener| listener.chains.first()).context("no listener")?;
    match &chain.service {
        Service::Streams { routes, .. } => Ok(Arc::clone(routes)),
        Service::Raw { .. } => anyhow::bail!("no routes"),
    }
}

fn request(count: usize, rng: &mut Rng) -> (String, String, Method, bool) {
    let at = rng.below(count + count / 10 + 1);
    let name = match rng.below(5) {
        0 => format!("service-{at}.mesh.example.com"),
        1 => format!("Service-{at}.Mesh.Example.com:8080"),
        2 => format!("a{}.tenant-{at}.example.com", rng.below(3)),
        3 => format!("b.shop-{at}.example.com:443"),
        _ => format!("edge-{at}.example.{}", if rng.one_in(2) { "org" } else { "net" }),
    };
    let word = *rng.pick(&["api", "static", "reports", "v", "healthz", "apix"]);
    let number = rng.below(6);
    let path = match rng.below(5) {
        0 => format!("/{word}-{number}"),
        1 => format!("/{word}-{number}/items/{}", rng.below(100)),
        2 => format!("/{word}-{number}x"),
        3 => format!("/reports-{number}/20{}{}", rng.below(10), rng.below(10)),
        _ => format!("/{word}-{number}/?page={}", rng.below(9)),
    };
    let method = rng.pick(&[Method::GET, Method::GET, Method::POST]).clone();
    (name, path, method, rng.one_in(4))
}

impl VirtualHost {
    fn new(at: usize, rng: &mut Rng) -> Self {
        let mut domains = vec![format!("service-{at}.mesh.example.com")];
        for (odds, domain) in [
            (2, format!("*.tenant-{at}.example.com")),
            (3, format!("a1.tenant-{at}.example.com")),
            (3, format!("*.shop-{at}.example.com")),
            (2, format!("edge-{at}.*")),
            (4, format!("edge-{at}.example.org")),
        ] {
            if rng.one_in(odds) {
                domains.push(domain);
            }
        }
        if at == 0 {
            domains.push("*.example.com".to_owned());
        }
        let routes = 1 + rng.below(12);
        Self { domains, routes: (0..routes).map(|route| Route::new(format!("{at}/{route}"), rng)).collect() }
    }

    fn json(&self) -> Value {
        json!({ "domains": self.domains, "routes": self.routes.iter().map(Route::json).collect::<Vec<_>>() })
    }

    /// How well a name without a port fits: the kind of the domain, then its length.
    fn fit(&self, host: &str) -> Option<(u8, usize)> {
        let fit = |domain: &String| {
            if let Some(suffix) = domain.strip_prefix('*') {
                (host.ends_with(suffix) && host.len() > suffix.len()).then_some((1, suffix.len()))
            } else if let Some(prefix) = domain.strip_suffix('*') {
                (host.starts_with(prefix) && host.len() > prefix.len()).then_some((0, prefix.len()))
            } else {
                (host == domain).then_some((2, host.len()))
            }
        };
        self.domains.iter().filter_map(fit).max()
    }
}

impl Route {
    fn new(name: String, rng: &mut Rng) -> Self {
        let word = *rng.pick(&["api", "static", "reports", "v", "healthz"]);
        let path = format!("/{word}-{}", rng.below(6));
        let rule = match rng.below(8) {
            0 | 1 => Rule::Exact(path),
            2 | 3 => Rule::Prefix(path),
            4 | 5 => Rule::Segments(path),
            6 => Rule::Report(format!("/reports-{}/", rng.below(6))),
            _ => Rule::Prefix("/".to_owned()),
        };
        Self { name, rule, method: rng.one_in(5).then_some(Method::POST), canary: rng.one_in(6) }
    }

    fn json(&self) -> Value {
        let (key, value) = match &self.rule {
            Rule::Exact(path) => ("path", path.clone()),
            Rule::Prefix(path) => ("prefix", path.clone()),
            Rule::Segments(path) => ("path_separated_prefix", path.clone()),
            Rule::Report(path) => ("safe_regex", format!("{path}[0-9]{{4}}")),
        };
        let methods: Vec<&str> = self.method.iter().map(Method::as_str).collect();
        let headers = if self.canary { json!([{ "name": "x-canary", "exact": "1" }]) } else { json!([]) };
        let matches = json!({ key: value, "methods": methods, "headers": headers });
        json!({ "name": self.name, "match": matches, "route": { "cluster": "app" } })
    }

    fn matches(&self, path: &str, method: &Method, canary: bool) -> bool {
        let fits = match &self.rule {
            Rule::Exact(wanted) => path == wanted,
            Rule::Prefix(wanted) => path.starts_with(wanted.as_str()),
            Rule::Segments(wanted) => {
                path.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Rule::Report(wanted) => path
                .strip_prefix(wanted.as_str())
                .is_some_and(|year| year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit())),
        };
        fits && self.method.as_ref().is_none_or(|wanted| wanted == method) && (canary || !self.canary)
    }
}

/// The name of the route, found by looking at every domain and at every route.
fn naive<'a>(
    oracle: &'a [VirtualHost],
    authority: &str,
    target: &str,
    method: &Method,
    canary: bool,
) -> Option<&'a str> {
    let name = authority.to_ascii_lowercase();
    let name = name.split(':').next().unwrap_or_default();
    let best = oracle.iter().filter_map(|host| Some((host.fit(name)?, host)));
    let (_, host) = best.max_by_key(|(fit, _)| *fit)?;
    let path = target.split('?').next().unwrap_or_default();
    host.routes.iter().find(|route| route.matches(path, method, canary)).map(|route| route.name.as_str())
}
