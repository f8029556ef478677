//! Route tables.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use regex::bytes::{Regex, RegexBuilder};
use ringway_api::Millis;

use super::{Catalog, filter};
use crate::error::Fault;
use crate::raw;
use crate::route::{
    Clusters, Condition, Domain, FieldMatcher, Hosts, Label, PathMatch, Route, RouteFilters, RouteMatcher, RouteTable,
    VirtualHost,
};
use crate::snapshot::Cluster;

/// Envoy's default.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long a tunnel may be idle; as Envoy's TCP proxy.
const TUNNEL_IDLE: Duration = Duration::from_secs(3600);
/// Bytes a compiled regular expression may take.
const REGEX_SIZE: usize = 1 << 20;

pub(super) fn compile(
    raw: &raw::Routes,
    catalog: &Catalog,
    clusters: &[Arc<Cluster>],
    indices: &HashMap<&str, usize>,
    path: &str,
) -> Result<RouteTable, Fault> {
    let mut hosts = Hosts::default();
    let mut virtual_hosts = Vec::with_capacity(raw.virtual_hosts.len());
    let mut filters = Vec::new();
    for (at, host) in raw.virtual_hosts.iter().enumerate() {
        let path = format!("{path}.virtual_hosts[{at}]");
        if host.domains.is_empty() {
            return Err(Fault::new(format!("{path}.domains"), "at least one domain is needed; `*` matches all"));
        }
        for (index, domain) in host.domains.iter().enumerate() {
            let path = || format!("{path}.domains[{index}]");
            let parsed = Domain::parse(domain).map_err(|error| Fault::new(path(), error))?;
            if !hosts.insert(&parsed, at) {
                return Err(Fault::new(path(), format!("`{domain}` is given twice in this table")));
            }
        }
        let of_host = filter::of_routes(&host.filters, &host.disable_filters, None, catalog, &path)?;
        let of_host = of_host.map(|of_host| add(&mut filters, of_host));
        let mut routes = Vec::with_capacity(host.routes.len());
        for (index, raw) in host.routes.iter().enumerate() {
            // The path is only made when something is wrong: there may be many thousand routes.
            let route = route(raw, clusters, indices);
            let mut route = route.map_err(|(key, mut fault)| {
                fault.path = format!("{path}.routes[{index}].{key}");
                fault
            })?;
            route.filters = of_host;
            if !raw.filters.is_empty() || !raw.disable_filters.is_empty() {
                let path = format!("{path}.routes[{index}]");
                let around = of_host.and_then(|at| filters.get(at as usize));
                let own = filter::of_routes(&raw.filters, &raw.disable_filters, around, catalog, &path)?;
                route.filters = own.map(|own| add(&mut filters, own)).or(of_host);
            }
            routes.push(route);
        }
        virtual_hosts.push(VirtualHost::new(routes));
    }
    Ok(RouteTable { hosts, virtual_hosts, filters })
}

fn add(all: &mut Vec<RouteFilters>, one: RouteFilters) -> u32 {
    all.push(one);
    all.len() as u32 - 1
}

/// The index of a cluster.
pub(super) fn cluster_index(name: &str, indices: &HashMap<&str, usize>, path: &str) -> Result<usize, Fault> {
    indices
        .get(name)
        .copied()
        .ok_or_else(|| Fault::new(path, format!("no cluster named `{name}`")).near(name, indices.keys().copied()))
}

type Keyed = (String, Fault);

fn fault(key: impl Into<String>, message: impl Into<String>) -> Keyed {
    (key.into(), Fault::new("", message))
}

fn route(raw: &raw::Route, clusters: &[Arc<Cluster>], indices: &HashMap<&str, usize>) -> Result<Route, Keyed> {
    let find = |name: &str, key: &str| {
        let index = cluster_index(name, indices, "").map_err(|fault| (key.to_owned(), fault))?;
        if clusters.get(index).is_some_and(|cluster| cluster.is_raw()) && !raw.matches.connect {
            let message = format!("cluster `{name}` is `tcp` and carries no requests but `CONNECT`");
            return Err(fault(key, message));
        }
        Ok(index as u32)
    };
    let clusters = match (&raw.route.cluster, raw.route.weighted_clusters.as_slice()) {
        (Some(name), []) => Clusters::One(find(name, "route.cluster")?),
        (None, weighted @ [_, ..]) => {
            let mut end = 0;
            let mut shares = Vec::with_capacity(weighted.len());
            for (at, cluster) in weighted.iter().enumerate() {
                end += u64::from(cluster.weight);
                shares.push((end, find(&cluster.name, &format!("route.weighted_clusters[{at}].name"))?));
            }
            if end == 0 {
                return Err(fault("route.weighted_clusters", "at least one weight must be more than 0"));
            }
            Clusters::Weighted(shares)
        }
        (Some(_), _) => return Err(fault("route", "`cluster` and `weighted_clusters` exclude each other")),
        (None, []) => return Err(fault("route", "`cluster` or `weighted_clusters` is needed")),
    };
    let timeout = raw.route.timeout.map_or(Some(TIMEOUT), |timeout| timeout.limit());
    let tunnel_idle_timeout = raw.route.tunnel_idle_timeout.map_or(Some(TUNNEL_IDLE), |timeout| timeout.limit());
    let token = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    if let Some(at) = raw.route.upgrades.iter().position(|name| !token(name)) {
        return Err(fault(format!("route.upgrades[{at}]"), "must be the name of a protocol, such as `websocket`"));
    }
    Ok(Route {
        name: raw.name.as_deref().map(Arc::from),
        timeout,
        // A call's own deadline is only cut by what was written down, not by a default made for pages.
        call_timeout: raw.route.timeout.and_then(Millis::limit),
        upgrades: raw.route.upgrades.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
        tunnel_idle_timeout,
        filters: None,
        matcher: matcher(&raw.matches)?,
        clusters,
    })
}

fn matcher(raw: &raw::Match) -> Result<RouteMatcher, Keyed> {
    let case_sensitive = raw.case_sensitive.unwrap_or(true);
    let absolute = |path: &str, key: &str| {
        if path.starts_with('/') {
            Ok(path.to_owned())
        } else {
            Err(fault(key, format!("`{path}` must begin with `/`")))
        }
    };
    let path = match (&raw.prefix, &raw.path, &raw.path_separated_prefix, &raw.safe_regex) {
        (None, None, None, None) if !raw.connect && (raw.service.is_some() || raw.method.is_some()) => {
            call(raw.service.as_deref().unwrap_or("*"), raw.method.as_deref().unwrap_or("*"))?
        }
        _ if raw.service.is_some() || raw.method.is_some() => {
            return Err(fault("match", "`service` and `method` exclude the path matches and `connect`"));
        }
        (None, None, None, None) if raw.connect => PathMatch::Connect,
        _ if raw.connect => return Err(fault("match", "`connect` excludes the path matches")),
        (Some(prefix), None, None, None) => PathMatch::Prefix(absolute(prefix, "match.prefix")?),
        (None, Some(path), None, None) => PathMatch::Exact(absolute(path, "match.path")?),
        (None, None, Some(prefix), None) => {
            let prefix = absolute(prefix, "match.path_separated_prefix")?;
            if prefix.ends_with('/') {
                return Err(fault("match.path_separated_prefix", format!("`{prefix}` must not end with `/`")));
            }
            PathMatch::Segments(prefix)
        }
        (None, None, None, Some(pattern)) => PathMatch::Regex(regex(pattern, case_sensitive, "match.safe_regex")?),
        _ => {
            let message = "exactly one of `prefix`, `path`, `path_separated_prefix` and `safe_regex` is needed, or a \
                           `service` or `method`";
            return Err(fault("match", message));
        }
    };
    let method = |(at, name): (usize, &String)| {
        Method::from_bytes(name.as_bytes())
            .map_err(|_| fault(format!("match.methods[{at}]"), format!("`{name}` is no method")))
    };
    let labels = [(Label::VERSION, &raw.version), (Label::GROUP, &raw.group)];
    let labels = labels.into_iter().filter_map(|(names, wanted)| Some(Label { names, wanted: wanted.clone()? }));
    Ok(RouteMatcher {
        path,
        case_sensitive,
        methods: raw.methods.iter().enumerate().map(method).collect::<Result<_, _>>()?,
        headers: fields(&raw.headers, "match.headers", true)?,
        labels: labels.collect(),
        query: fields(&raw.query_parameters, "match.query_parameters", false)?,
    })
}

/// Calls are `POST /service/method`.
fn call(service: &str, method: &str) -> Result<PathMatch, Keyed> {
    for (key, name) in [("match.service", service), ("match.method", method)] {
        let plain = name.strip_suffix('*').unwrap_or(name);
        if name.is_empty() || plain.bytes().any(|b| !b.is_ascii_graphic() || b"/*?#%".contains(&b)) {
            let message = format!("`{name}` is no name; `*` may stand for its end, or for all of it");
            return Err(fault(key, message));
        }
    }
    Ok(match (service.strip_suffix('*'), method.strip_suffix('*')) {
        (None, None) => PathMatch::Exact(format!("/{service}/{method}")),
        (None, Some(begin)) => PathMatch::Prefix(format!("/{service}/{begin}")),
        (Some(begin), Some("")) => PathMatch::Prefix(format!("/{begin}")),
        (Some(begin), plain) => {
            let (end, plain) = (if plain.is_some() { ".*" } else { "" }, plain.unwrap_or(method));
            let pattern = format!("/{}[^/]*/{}{end}", regex::escape(begin), regex::escape(plain));
            PathMatch::Regex(regex(&pattern, true, "match.service")?)
        }
    })
}

fn fields(raw: &[raw::FieldMatch], key: &str, header: bool) -> Result<Vec<FieldMatcher>, Keyed> {
    raw.iter().enumerate().map(|(at, field)| field_matcher(field, &format!("{key}[{at}]"), header)).collect()
}

fn field_matcher(raw: &raw::FieldMatch, key: &str, header: bool) -> Result<FieldMatcher, Keyed> {
    let token = http::HeaderName::from_bytes(raw.name.as_bytes()).is_ok();
    if raw.name.is_empty() || (header && !token) {
        return Err(fault(format!("{key}.name"), format!("`{}` is no name", raw.name)));
    }
    let texts = [
        raw.exact.as_ref().map(|text| Condition::Exact(text.clone())),
        raw.prefix.as_ref().map(|text| Condition::Prefix(text.clone())),
        raw.suffix.as_ref().map(|text| Condition::Suffix(text.clone())),
        raw.contains.as_ref().map(|text| Condition::Contains(text.clone())),
        raw.present.map(|_| Condition::Present),
    ];
    let mut conditions: Vec<Condition> = texts.into_iter().flatten().collect();
    if let Some(pattern) = &raw.safe_regex {
        conditions.push(Condition::Regex(regex(pattern, true, &format!("{key}.safe_regex"))?));
    }
    if conditions.len() > 1 {
        return Err(fault(
            key,
            "only one of `exact`, `prefix`, `suffix`, `contains`, `safe_regex` and `present` is allowed",
        ));
    }
    let invert = raw.invert != (raw.present == Some(false));
    Ok(FieldMatcher { name: raw.name.clone(), condition: conditions.pop().unwrap_or(Condition::Present), invert })
}

/// A regular expression for a whole text. The crate's take time linear in the text; their size is bounded here.
fn regex(pattern: &str, case_sensitive: bool, key: &str) -> Result<Regex, Keyed> {
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .case_insensitive(!case_sensitive)
        .size_limit(REGEX_SIZE)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            fault(
                key,
                text.lines().last().unwrap_or("not a regular expression").trim_start_matches("error: ").to_owned(),
            )
        })
}
