//! The compiled route table: a virtual host by name, then the first route that matches.

mod action;
mod explain;
mod field;
mod host;
mod index;
mod matcher;
mod template;

use std::net::IpAddr;
use std::sync::Arc;

use ringway_api::{Metadata, RequestHead};

use crate::snapshot::Filter;

pub(crate) use action::{Clusters, Weighted};
pub use action::{
    DirectResponse, Edit, Edits, FallbackCluster, Forward, HashKey, HashPolicy, HostRewrite, Mirror, PathRewrite,
    Redirect, Rewrite, RouteAction, Template, Value,
};
pub use explain::{Destinations, Routing};
pub(crate) use field::{Condition, TextKind};
pub use field::{FieldMatcher, cookie, parameter};
pub(crate) use host::{Domain, Hosts};
pub(crate) use index::Index;
pub(crate) use matcher::{Label, More, PathMatch, RouteMatcher};
pub(crate) use template::PathTemplate;

/// A compiled route table.
#[derive(Debug)]
pub struct RouteTable {
    pub(crate) hosts: Hosts,
    pub(crate) virtual_hosts: Vec<VirtualHost>,
    /// What some routes say of filters; routes name them by index.
    pub filters: Vec<RouteFilters>,
}

/// What a route says of filters, with what its virtual host does.
#[derive(Debug)]
pub struct RouteFilters {
    /// Where it is said; by this it is known again.
    pub name: Arc<str>,
    /// Filters with options of their own, in order.
    pub filters: Vec<Filter>,
    /// Filters of the chain that are left out.
    pub disabled: Vec<Box<str>>,
}

/// The routes of some domains.
#[derive(Debug)]
pub struct VirtualHost {
    /// Its name in logs.
    pub name: Option<Box<str>>,
    pub(crate) routes: Vec<Route>,
    pub(crate) index: Index,
}

/// A route.
#[derive(Debug)]
pub struct Route {
    /// Its name in logs.
    pub name: Option<Box<str>>,
    /// What it says of filters, by index into [`RouteTable::filters`].
    pub filters: Option<u32>,
    /// What it does.
    pub action: RouteAction,
    /// Changes to fields, of the route, its virtual host and the table, in this order.
    pub edits: [Option<Arc<Edits>>; 3],
    /// Metadata that hosts must have.
    pub metadata: Option<Arc<Metadata>>,
    pub(crate) matcher: RouteMatcher,
}

/// What of a request routes look at.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// The client's address, if it has one.
    pub source: Option<IpAddr>,
    /// Random bits, for matches by chance.
    pub random: u64,
}

/// Where a route is in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteAt {
    host: u32,
    route: u32,
}

/// The choice among a route's clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picked<'a> {
    /// The cluster at this index of the snapshot's; of those with weights, which one it is.
    Cluster(usize, Option<u16>),
    /// The cluster of this name.
    Named(&'a [u8]),
    /// The request does not say which.
    Nothing,
}

impl RouteTable {
    /// The first route of the request's virtual host that matches.
    pub fn find(&self, asked: Asked<'_>) -> Option<RouteAt> {
        let host = self.hosts.find(asked.head.authority())?;
        let route = self.virtual_hosts.get(host)?.find(asked)?;
        Some(RouteAt { host: host as u32, route: route as u32 })
    }

    /// The virtual host of a place of this table.
    pub fn virtual_host(&self, at: RouteAt) -> Option<&VirtualHost> {
        self.virtual_hosts.get(at.host as usize)
    }

    /// The route at a place of this table.
    pub fn route(&self, at: RouteAt) -> Option<&Route> {
        self.virtual_hosts.get(at.host as usize)?.routes.get(at.route as usize)
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.virtual_hosts.iter().map(|host| host.routes.len()).sum()
    }

    /// True when there is no route.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl RouteFilters {
    /// The filters of its requests, in order: those of the chain with their places there, but for those that it leaves out
    /// or has options of its own for, and its own.
    pub fn over<'a>(&'a self, chain: &'a [Filter]) -> impl Iterator<Item = (Option<usize>, &'a Filter)> {
        let own = |name: &str| self.filters.iter().find(|filter| filter.spec.name == name);
        let is_wanted = |name: &str| !self.disabled.iter().any(|disabled| **disabled == *name);
        let usual = chain.iter().enumerate().filter(move |(_, filter)| is_wanted(filter.spec.name));
        let usual = usual.map(move |(at, filter)| match own(filter.spec.name) {
            Some(own) => (None, own),
            None => (Some(at), filter),
        });
        let is_further = move |filter: &&Filter| !chain.iter().any(|other| other.spec.name == filter.spec.name);
        usual.chain(self.filters.iter().filter(is_further).map(|filter| (None, filter)))
    }
}

impl VirtualHost {
    pub(crate) fn new(name: Option<&str>, routes: Vec<Route>) -> Self {
        let index = Index::new(routes.iter().map(|route| &route.matcher));
        Self { name: name.map(Into::into), routes, index }
    }

    fn find(&self, asked: Asked<'_>) -> Option<usize> {
        let path = asked.head.path();
        self.index.first(path, |at| self.routes.get(at).is_some_and(|route| route.matcher.matches(asked, path)))
    }
}

impl Route {
    /// How its requests are sent, if they are.
    pub fn forward(&self) -> Option<&Forward> {
        match &self.action {
            RouteAction::Forward(forward) => Some(forward),
            RouteAction::Redirect(_) | RouteAction::Direct(_) => None,
        }
    }

    /// Changes to fields, in the order in which they are made: those of the chosen cluster, of the route, of its virtual
    /// host, of the table.
    pub fn edits(&self, weighted: Option<u16>) -> impl Iterator<Item = &Edits> {
        let chosen = self.forward().and_then(|forward| forward.weighted(weighted?)?.edits.as_deref());
        chosen.into_iter().chain(self.edits.iter().filter_map(|edits| edits.as_deref()))
    }

    /// Whether [`edits`](Self::edits) may have any.
    pub fn has_edits(&self, weighted: Option<u16>) -> bool {
        self.edits(weighted).next().is_some()
    }

    /// Metadata that hosts must have: what the chosen cluster says of it, with what the route says.
    pub fn metadata(&self, weighted: Option<u16>) -> Option<&Arc<Metadata>> {
        let chosen = self.forward().and_then(|forward| forward.weighted(weighted?)?.metadata.as_ref());
        chosen.or(self.metadata.as_ref())
    }
}

impl Forward {
    /// The cluster for a request, by random bits.
    pub fn pick<'a>(&'a self, head: &'a RequestHead, random: u64) -> Picked<'a> {
        match &self.clusters {
            Clusters::One(cluster) => Picked::Cluster(*cluster as usize, None),
            Clusters::Weighted(shares) => {
                let sum = shares.last().map_or(1, |share| share.end).max(1);
                // The high bits of the product: unbiased enough for any sum of weights.
                let point = ((u128::from(random) * u128::from(sum)) >> 64) as u64;
                let at = shares.partition_point(|share| share.end <= point);
                match shares.get(at) {
                    Some(share) => Picked::Cluster(share.cluster as usize, Some(at as u16)),
                    None => Picked::Nothing,
                }
            }
            Clusters::Header(name) => head.headers.first(name).map_or(Picked::Nothing, Picked::Named),
        }
    }

    fn weighted(&self, at: u16) -> Option<&Weighted> {
        match &self.clusters {
            Clusters::Weighted(shares) => shares.get(usize::from(at)),
            Clusters::One(_) | Clusters::Header(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
