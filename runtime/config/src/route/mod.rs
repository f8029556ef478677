//! The compiled route table: a virtual host by name, then the first route that matches.

mod field;
mod host;
mod index;
mod matcher;

use std::sync::Arc;
use std::time::Duration;

use ringway_api::RequestHead;

use crate::snapshot::Filter;

pub(crate) use field::{Condition, FieldMatcher};
pub(crate) use host::{Domain, Hosts};
pub(crate) use index::Index;
pub(crate) use matcher::{Label, PathMatch, RouteMatcher};

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
    pub(crate) routes: Vec<Route>,
    pub(crate) index: Index,
}

/// A route.
#[derive(Debug)]
pub struct Route {
    /// Its name in logs.
    pub name: Option<Arc<str>>,
    /// How long the response may take, from the end of the request.
    pub timeout: Option<Duration>,
    /// The most a gRPC call's own deadline may be.
    pub call_timeout: Option<Duration>,
    /// Protocols that requests may upgrade to, in lower case.
    pub upgrades: Arc<[Box<str>]>,
    /// Close a tunnel in which nothing has moved for this long.
    pub tunnel_idle_timeout: Option<Duration>,
    /// What it says of filters, by index into [`RouteTable::filters`].
    pub filters: Option<u32>,
    pub(crate) matcher: RouteMatcher,
    pub(crate) clusters: Clusters,
}

/// The cluster or clusters of a route, by index into the snapshot's.
#[derive(Debug)]
pub(crate) enum Clusters {
    One(u32),
    /// Upper ends of each cluster's share, and the clusters; the last end is the sum.
    Weighted(Vec<(u64, u32)>),
}

impl RouteTable {
    /// The first route of the request's virtual host that matches.
    pub fn find(&self, head: &RequestHead) -> Option<&Route> {
        let host = self.virtual_hosts.get(self.hosts.find(head.authority())?)?;
        host.find(head)
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

impl VirtualHost {
    pub(crate) fn new(routes: Vec<Route>) -> Self {
        let index = Index::new(routes.iter().map(|route| &route.matcher));
        Self { routes, index }
    }

    fn find(&self, head: &RequestHead) -> Option<&Route> {
        let path = head.path();
        let found =
            self.index.first(path, |at| self.routes.get(at).is_some_and(|route| route.matcher.matches(head, path)))?;
        self.routes.get(found)
    }
}

impl Route {
    /// The cluster for a request, by random bits.
    pub fn pick(&self, random: u64) -> usize {
        match &self.clusters {
            Clusters::One(cluster) => *cluster as usize,
            Clusters::Weighted(shares) => {
                let sum = shares.last().map_or(1, |(end, _)| *end).max(1);
                // The high bits of the product: unbiased enough for any sum of weights.
                let point = ((u128::from(random) * u128::from(sum)) >> 64) as u64;
                let at = shares.partition_point(|(end, _)| *end <= point);
                shares.get(at).map_or(usize::MAX, |(_, cluster)| *cluster as usize)
            }
        }
    }
}

#[cfg(test)]
mod tests;
