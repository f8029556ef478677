//! Which filter chain a connection belongs to.

use std::net::IpAddr;

use ipnet::IpNet;
use ringway_api::Address;

use crate::raw::{SourceType, Transport};

/// Picks a filter chain by what is known of a connection before it is served.
///
/// Conditions are looked at one after the other, in Envoy's order: destination port, destination address, server
/// name, transport protocol, application protocols, source type, source address, source port. At each, the chains
/// that match most specifically stay; one without the condition matches least.
#[derive(Debug, Default)]
pub struct ChainMatcher {
    pub(crate) chains: Vec<Conditions>,
}

/// What is known of a connection.
#[derive(Clone, Copy)]
pub struct ConnFacts<'a> {
    /// Where it was made to.
    pub local: &'a Address,
    /// Where it comes from.
    pub peer: &'a Address,
    /// How it begins.
    pub transport: Transport,
    /// The server name asked for, in lower case.
    pub server_name: Option<&'a str>,
    /// Whether an application protocol is offered.
    pub offers: &'a dyn Fn(&str) -> bool,
}

/// The conditions of one chain. Empty and `None` match everything.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Conditions {
    pub(crate) destination_port: Option<u16>,
    pub(crate) destinations: Vec<IpNet>,
    pub(crate) server_names: Vec<ServerName>,
    pub(crate) transport: Option<Transport>,
    pub(crate) application_protocols: Vec<String>,
    pub(crate) source_type: Option<SourceType>,
    pub(crate) sources: Vec<IpNet>,
    pub(crate) source_ports: Vec<u16>,
}

/// A condition on the server name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerName {
    Exact(String),
    /// With its dot in front: every name that ends so.
    Suffix(String),
}

/// How well a condition matches: more is more specific, 0 is a condition that is not there.
type Rank = u32;

/// The rank of something that was asked for and is there.
const MATCHED: Rank = 1;

impl ChainMatcher {
    /// The index of the chain for a connection.
    pub fn find(&self, facts: &ConnFacts<'_>) -> Option<usize> {
        let mut left: Vec<usize> = (0..self.chains.len()).collect();
        for rank in RANKS {
            let ranked = |at: &usize| self.chains.get(*at).and_then(|chain| rank(chain, facts));
            let best = left.iter().filter_map(ranked).max()?;
            left.retain(|at| ranked(at) == Some(best));
        }
        left.first().copied()
    }

    /// Why each chain takes a connection or does not, for people, in their order.
    pub fn explain(&self, facts: &ConnFacts<'_>) -> Vec<Fit> {
        let mut fits: Vec<Option<Fit>> = self.chains.iter().map(|_| None).collect();
        for (rank, key) in RANKS.iter().zip(KEYS) {
            let ranks: Vec<_> = self.chains.iter().map(|chain| rank(chain, facts)).collect();
            let left = fits.iter().zip(&ranks).filter(|(fit, _)| fit.is_none());
            let best = left.filter_map(|(_, rank)| *rank).max();
            for (fit, rank) in fits.iter_mut().zip(ranks).filter(|(fit, _)| fit.is_none()) {
                *fit = match rank {
                    None => Some(Fit::Unmet(key)),
                    rank if rank == best => None,
                    Some(_) => Some(Fit::LessSpecific(key)),
                };
            }
        }
        let found = self.find(facts);
        let last = |(at, fit): (usize, Option<Fit>)| {
            fit.unwrap_or(if Some(at) == found { Fit::Chosen } else { Fit::LaterOfEqual })
        };
        fits.into_iter().enumerate().map(last).collect()
    }

    /// Whether a connection's first bytes must be seen to decide.
    pub fn needs_first_bytes(&self) -> bool {
        self.chains.iter().any(|chain| {
            !chain.server_names.is_empty() || chain.transport.is_some() || !chain.application_protocols.is_empty()
        })
    }

    /// Whether there is one chain and it takes every connection.
    pub fn is_unconditional(&self) -> bool {
        matches!(self.chains.as_slice(), [only] if *only == Conditions::default())
    }

    /// How many chains there are.
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }
}

/// How a chain fits a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It takes it.
    Chosen,
    /// This condition, by its key, is not met.
    Unmet(&'static str),
    /// By this condition another one fits better.
    LessSpecific(&'static str),
    /// One before it fits as well.
    LaterOfEqual,
}

/// The conditions, as configurations name them.
const KEYS: [&str; 8] = [
    "destination_port",
    "prefix_ranges",
    "server_names",
    "transport_protocol",
    "application_protocols",
    "source_type",
    "source_prefix_ranges",
    "source_ports",
];

/// The rank of each condition, in order; `None` where it is not met.
const RANKS: [fn(&Conditions, &ConnFacts<'_>) -> Option<Rank>; 8] = [
    |chain, facts| equal(chain.destination_port, facts.local.ip().map(|ip| ip.port())),
    |chain, facts| network(&chain.destinations, facts.local),
    |chain, facts| server_name(&chain.server_names, facts.server_name),
    |chain, facts| equal(chain.transport, Some(facts.transport)),
    |chain, facts| any(&chain.application_protocols, |wanted| (facts.offers)(wanted)),
    |chain, facts| {
        let source = if is_local(facts) { SourceType::SameIpOrLoopback } else { SourceType::External };
        equal(chain.source_type, Some(source))
    },
    |chain, facts| network(&chain.sources, facts.peer),
    |chain, facts| {
        let port = facts.peer.ip().map(|ip| ip.port());
        any(&chain.source_ports, |wanted| port == Some(*wanted))
    },
];

fn equal<T: PartialEq>(wanted: Option<T>, there: Option<T>) -> Option<Rank> {
    match wanted {
        None => Some(0),
        wanted => (wanted == there).then_some(MATCHED),
    }
}

fn any<T>(wanted: &[T], holds: impl Fn(&T) -> bool) -> Option<Rank> {
    if wanted.is_empty() { Some(0) } else { wanted.iter().any(holds).then_some(MATCHED) }
}

fn network(wanted: &[IpNet], address: &Address) -> Option<Rank> {
    if wanted.is_empty() {
        return Some(0);
    }
    let ip = canonical(address.ip()?.ip());
    let holds = wanted.iter().filter(|net| net.contains(&ip));
    holds.map(|net| MATCHED + Rank::from(net.prefix_len())).max()
}

fn server_name(wanted: &[ServerName], asked: Option<&str>) -> Option<Rank> {
    if wanted.is_empty() {
        return Some(0);
    }
    let asked = asked?;
    let rank = |name: &ServerName| match name {
        ServerName::Exact(name) => (name == asked).then_some(Rank::MAX),
        ServerName::Suffix(suffix) => asked.ends_with(suffix.as_str()).then_some(MATCHED + suffix.len() as Rank),
    };
    wanted.iter().filter_map(rank).max()
}

/// From this host: unix sockets, loopback, or the address it was made to.
fn is_local(facts: &ConnFacts<'_>) -> bool {
    match (facts.peer.ip(), facts.local.ip()) {
        (Some(peer), Some(local)) => {
            let peer = canonical(peer.ip());
            peer.is_loopback() || peer == canonical(local.ip())
        }
        _ => true,
    }
}

/// IPv4 addresses are IPv4 addresses however they arrive.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(local: &'a Address, peer: &'a Address, name: Option<&'a str>) -> ConnFacts<'a> {
        let transport = if name.is_some() { Transport::Tls } else { Transport::RawBuffer };
        ConnFacts { local, peer, transport, server_name: name, offers: &|_| false }
    }

    fn address(text: &str) -> Address {
        Address::Ip(text.parse().unwrap())
    }

    #[test]
    fn the_more_specific_name_wins_and_no_name_is_least() {
        let named = |name| Conditions { server_names: vec![name], ..Conditions::default() };
        let matcher = ChainMatcher {
            chains: vec![
                Conditions::default(),
                named(ServerName::Suffix(".example.com".into())),
                named(ServerName::Suffix(".a.example.com".into())),
                named(ServerName::Exact("www.example.com".into())),
            ],
        };
        let (local, peer) = (address("10.0.0.1:443"), address("10.0.0.2:5000"));
        for (name, expected) in [
            (None, 0),
            (Some("example.com"), 0),
            (Some("x.example.com"), 1),
            (Some("x.a.example.com"), 2),
            (Some("www.example.com"), 3),
        ] {
            assert_eq!(matcher.find(&facts(&local, &peer, name)), Some(expected), "{name:?}");
        }
        assert!(matcher.needs_first_bytes());
    }

    #[test]
    fn conditions_count_in_their_order() {
        let matcher = ChainMatcher {
            chains: vec![
                Conditions { source_ports: vec![5000], ..Conditions::default() },
                Conditions { destinations: vec!["10.0.0.0/8".parse().unwrap()], ..Conditions::default() },
                Conditions { destinations: vec!["10.0.0.0/24".parse().unwrap()], ..Conditions::default() },
                Conditions { destination_port: Some(443), source_ports: vec![6000], ..Conditions::default() },
                Conditions { source_type: Some(SourceType::SameIpOrLoopback), ..Conditions::default() },
            ],
        };
        let find = |local: &str, peer: &str| matcher.find(&facts(&address(local), &address(peer), None));
        assert_eq!(find("192.0.2.1:80", "192.0.2.9:5000"), Some(0));
        assert_eq!(find("10.1.0.1:80", "192.0.2.9:5000"), Some(1));
        assert_eq!(find("10.0.0.1:80", "192.0.2.9:5000"), Some(2));
        assert_eq!(find("[::ffff:10.0.0.1]:80", "192.0.2.9:5000"), Some(2));
        // The port comes first, and then there is no way back.
        assert_eq!(find("10.0.0.1:443", "192.0.2.9:6000"), Some(3));
        assert_eq!(find("10.0.0.1:443", "192.0.2.9:5000"), None);
        assert_eq!(find("192.0.2.1:80", "127.0.0.1:9"), Some(4));
        assert!(!matcher.needs_first_bytes());
    }

    #[test]
    fn chains_are_told_why_they_do_not_take_a_connection() {
        let matcher = ChainMatcher {
            chains: vec![
                Conditions { destination_port: Some(80), ..Conditions::default() },
                Conditions { sources: vec!["10.0.0.0/8".parse().unwrap()], ..Conditions::default() },
                Conditions { sources: vec!["10.0.0.0/24".parse().unwrap()], ..Conditions::default() },
                Conditions { sources: vec!["10.0.0.0/24".parse().unwrap()], ..Conditions::default() },
            ],
        };
        let (local, peer) = (address("10.0.0.1:443"), address("10.0.0.2:5000"));
        let fits = matcher.explain(&facts(&local, &peer, None));
        let (port, source) = ("destination_port", "source_prefix_ranges");
        assert_eq!(fits, [Fit::Unmet(port), Fit::LessSpecific(source), Fit::Chosen, Fit::LaterOfEqual]);
    }

    #[test]
    fn offered_protocols_are_a_condition() {
        let h2 = Conditions { application_protocols: vec!["h2".into()], ..Conditions::default() };
        let matcher = ChainMatcher { chains: vec![h2] };
        let (local, peer) = (address("10.0.0.1:443"), address("10.0.0.2:5000"));
        let offering = |offers| matcher.find(&ConnFacts { offers, ..facts(&local, &peer, Some("a")) });
        assert_eq!(offering(&|name| name == "h2"), Some(0));
        assert_eq!(offering(&|name| name == "http/1.1"), None);
    }
}
