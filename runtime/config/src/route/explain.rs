//! Why a request gets the route that it gets, for people. What is asked is asked of the matchers that requests are routed by.

use super::{Asked, Clusters, Forward, RouteAt, RouteTable};

/// How a table routes a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// The place of its virtual host among the configuration's; `None` if no domain fits.
    pub virtual_host: Option<usize>,
    /// Routes that were passed over, by their places among the virtual host's, and the first condition of each that is not
    /// met; the last 20 of them.
    pub passed_over: Vec<(usize, String)>,
    /// How many more there were.
    pub not_shown: usize,
    /// The route that takes it.
    pub route: Option<usize>,
    /// Where that is.
    pub at: Option<RouteAt>,
    /// The share of such requests that it takes, in percent, where chance decides.
    pub chance: Option<f64>,
}

/// So many routes that do not match are told.
const PASSED_OVER: usize = 20;

/// Where a route sends requests.
#[derive(Clone, Debug, PartialEq)]
pub enum Destinations<'a> {
    /// To clusters, by index into the snapshot's, each with its share in percent.
    Clusters(Vec<(usize, f64)>),
    /// To the cluster that this field names.
    Header(&'a str),
}

impl RouteTable {
    /// How it routes a request. Costs a look at every route before the one that matches.
    pub fn explain(&self, asked: Asked<'_>) -> Routing {
        let virtual_host = self.hosts.find(asked.head.authority());
        let at = self.find(asked);
        let route = at.map(|at| at.route as usize);
        let routes = virtual_host.and_then(|host| self.virtual_hosts.get(host)).map_or(&[][..], |host| &host.routes);
        let path = asked.head.path();
        let before = routes.get(..route.unwrap_or(routes.len())).unwrap_or_default();
        let not_shown = before.len().saturating_sub(PASSED_OVER);
        let unmet = |(at, route): (usize, &super::Route)| Some((at, route.matcher.unmet(asked, path)?));
        let passed_over = before.iter().enumerate().skip(not_shown).filter_map(unmet).collect();
        let chance = route.and_then(|route| routes.get(route)?.matcher.chance());
        Routing { virtual_host, passed_over, not_shown, route, at, chance }
    }
}

impl Forward {
    /// Where requests go.
    pub fn destinations(&self) -> Destinations<'_> {
        match &self.clusters {
            Clusters::One(cluster) => Destinations::Clusters(vec![(*cluster as usize, 100.0)]),
            Clusters::Header(name) => Destinations::Header(name),
            Clusters::Weighted(shares) => {
                let sum = shares.last().map_or(1, |share| share.end).max(1) as f64;
                let starts = std::iter::once(0).chain(shares.iter().map(|share| share.end));
                let each = shares.iter().zip(starts);
                let share =
                    each.map(|(share, start)| (share.cluster as usize, (share.end - start) as f64 / sum * 100.0));
                Destinations::Clusters(share.collect())
            }
        }
    }
}
