//! Route tables.

use std::collections::HashMap;
use std::sync::Arc;

use super::action::{self, Around, metadata};
use super::edits::edits;
use super::matcher::{Keyed, matcher};
use super::{Catalog, filter};
use crate::error::Fault;
use crate::raw;
use crate::route::{Domain, Edits, Hosts, Route, RouteFilters, RouteTable, VirtualHost};
use crate::snapshot::Cluster;

pub(super) fn compile(
    raw: &raw::Routes,
    catalog: &Catalog,
    clusters: &[Arc<Cluster>],
    indices: &HashMap<&str, usize>,
    path: &str,
) -> Result<RouteTable, Fault> {
    let around = Around { catalog, clusters, indices };
    let at = |path: String| {
        move |(key, mut fault): Keyed| {
            fault.path = format!("{path}.{key}");
            fault
        }
    };
    let of_table = edits(&raw.request_headers, &raw.response_headers, catalog, "").map_err(at(path.to_owned()))?;
    let mut hosts = Hosts::default();
    let mut virtual_hosts = Vec::with_capacity(raw.virtual_hosts.len());
    let mut filters = Vec::new();
    for (index, host) in raw.virtual_hosts.iter().enumerate() {
        let path = format!("{path}.virtual_hosts[{index}]");
        domains(host, index, &mut hosts, &path)?;
        let of_host = edits(&host.request_headers, &host.response_headers, catalog, "").map_err(at(path.clone()))?;
        let around_routes = [of_host, of_table.clone()];
        let its_filters = filter::of_routes(&host.filters, &host.disable_filters, None, catalog, &path)?;
        let its_filters = its_filters.map(|its_filters| add(&mut filters, its_filters));
        let mut routes = Vec::with_capacity(host.routes.len());
        for (index, raw) in host.routes.iter().enumerate() {
            // The path is only made when something is wrong: there may be many thousand routes.
            let route = route(raw, around, &around_routes);
            let mut route = route.map_err(|keyed| at(format!("{path}.routes[{index}]"))(keyed))?;
            route.filters = its_filters;
            if !raw.filters.is_empty() || !raw.disable_filters.is_empty() {
                let path = format!("{path}.routes[{index}]");
                let outer = its_filters.and_then(|at| filters.get(at as usize));
                let own = filter::of_routes(&raw.filters, &raw.disable_filters, outer, catalog, &path)?;
                route.filters = own.map(|own| add(&mut filters, own)).or(its_filters);
            }
            routes.push(route);
        }
        virtual_hosts.push(VirtualHost::new(host.name.as_deref(), routes));
    }
    Ok(RouteTable { hosts, virtual_hosts, filters })
}

/// The index of a cluster.
pub(super) fn cluster_index(name: &str, indices: &HashMap<&str, usize>, path: &str) -> Result<usize, Fault> {
    indices
        .get(name)
        .copied()
        .ok_or_else(|| Fault::new(path, format!("no cluster named `{name}`")).near(name, indices.keys().copied()))
}

fn domains(host: &raw::VirtualHost, at: usize, hosts: &mut Hosts, path: &str) -> Result<(), Fault> {
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
    Ok(())
}

fn add(all: &mut Vec<RouteFilters>, one: RouteFilters) -> u32 {
    all.push(one);
    all.len() as u32 - 1
}

fn route(raw: &raw::Route, around: Around<'_>, outer: &[Option<Arc<Edits>>; 2]) -> Result<Route, Keyed> {
    let matcher = matcher(&raw.matches)?;
    let own = edits(&raw.request_headers, &raw.response_headers, around.catalog, "")?;
    let [of_host, of_table] = outer.clone();
    Ok(Route {
        name: raw.name.as_deref().map(Into::into),
        filters: None,
        action: action::action(raw, &matcher.path, around)?,
        edits: [own, of_host, of_table],
        metadata: raw.route.as_ref().and_then(|action| metadata([&action.metadata_match])),
        matcher,
    })
}
