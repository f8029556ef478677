//! From a request to its route.

use std::fmt::Write;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use http::Method;
use ringway_api::{BalancerSpec, ProtocolSpec, RequestHead};
use ringway_config::{Asked, Catalog, RouteTable, Service, compile};
use ringway_http1::Http1;
use ringway_upstream::balance::RoundRobin;

use super::measured;

const CATALOG: Catalog = Catalog {
    protocols: &[ProtocolSpec::of::<Http1>()],
    filters: &[],
    balancers: &[BalancerSpec::of::<RoundRobin>()],
    check_access_log: |_| Ok(()),
    compile_value: |_| Err(String::new()),
};

const ONE: &str = r#"
      - domains: ["*"]
        routes: [{ match: { prefix: / }, route: { cluster: app } }]
"#;

const MIXED: &str = r#"
      - domains: [shop.example.com, "*.shop.example.com"]
        routes:
          - { match: { prefix: /, headers: [{ name: x-canary, exact: "1" }] }, route: { cluster: app } }
          - { match: { path: /healthz, methods: [GET, HEAD] }, route: { cluster: app } }
          - { match: { safe_regex: "/reports/[0-9]{4}" }, route: { cluster: app } }
          - { match: { path_separated_prefix: /api }, route: { cluster: app } }
          - { match: { prefix: / }, route: { cluster: app } }
      - domains: ["*.example.com"]
        routes: [{ match: { prefix: /static/ }, route: { cluster: app } }]
"#;

pub(super) fn one(times: u64) -> Result<()> {
    find(ONE, &[("app.example.com", "/api/v1/items/4711?expand=all".into())], times)
}

pub(super) fn mixed(times: u64) -> Result<()> {
    let requests = [
        ("shop.example.com", "/healthz"),
        ("shop.example.com:8080", "/api/v1/items/4711?expand=all"),
        ("eu.shop.example.com", "/reports/2026"),
        ("Cdn.Example.com", "/static/app.js"),
    ];
    find(MIXED, &requests.map(|(host, path)| (host, path.to_owned())), times)
}

pub(super) fn hundred(times: u64) -> Result<()> {
    let mut host = "\n      - domains: [api.example.com]\n        routes:".to_owned();
    for route in 0..100 {
        write!(host, "\n          - {{ match: {{ prefix: /service-{route}/ }}, route: {{ cluster: app }} }}")?;
    }
    let requests: Vec<_> =
        (0..50).map(|at| ("api.example.com", format!("/service-{}/items/4711", (at * 19 + 7) % 100))).collect();
    find(&host, &requests, times)
}

pub(super) fn ten_thousand(times: u64) -> Result<()> {
    let mut hosts = String::new();
    for host in 0..1000 {
        write!(hosts, "\n      - domains: [\"service-{host}.mesh.example.com\"]\n        routes:")?;
        for route in 0..10 {
            write!(hosts, "\n          - {{ match: {{ prefix: /v{route}/ }}, route: {{ cluster: app }} }}")?;
        }
    }
    let names: Vec<String> = (0..50).map(|at| format!("service-{}.mesh.example.com", at * 19 + 7)).collect();
    let requests: Vec<_> =
        names.iter().enumerate().map(|(at, name)| (name.as_str(), format!("/v{}/items/4711", at % 10))).collect();
    find(&hosts, &requests, times)
}

/// Finds the routes of requests, one after the other.
fn find(virtual_hosts: &str, requests: &[(&str, String)], times: u64) -> Result<()> {
    let table = table(virtual_hosts)?;
    let heads: Vec<_> = requests.iter().map(|(host, path)| RequestHead::new(Method::GET, host, path)).collect();
    for head in &heads {
        ensure!(table.find(asked(head)).is_some(), "no route for {head:?}");
    }
    let mut next = heads.iter().cycle();
    measured(times, || {
        let head = next.next()?;
        let route = table.route(table.find(asked(head))?)?;
        route.forward().map(|forward| forward.pick(head, 0))
    });
    Ok(())
}

fn asked(head: &RequestHead) -> Asked<'_> {
    Asked { head, source: None, random: 0 }
}

fn table(virtual_hosts: &str) -> Result<Arc<RouteTable>> {
    let text = format!(
        "listeners:\n  - name: web\n    address: \"127.0.0.1:1\"\n    protocol: http1\n    routes:\n     \
         virtual_hosts:{virtual_hosts}\nclusters: [{{ name: app, endpoints: [\"127.0.0.1:2\"] }}]\n"
    );
    let snapshot = compile("case", &text, &CATALOG, None).map_err(|error| anyhow::anyhow!("{error}"))?;
    let listener = snapshot.listeners.first().context("no listener")?;
    let chain = listener.chains.first().context("no filter chain")?;
    match &chain.service {
        Service::Streams { routes, .. } => Ok(Arc::clone(routes)),
        Service::Raw { .. } => anyhow::bail!("no routes"),
    }
}
