//! From a cluster's endpoints to its hosts.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use ringway_api::Address;
use ringway_config::raw::{DnsDiscovery, DnsFamily};
use ringway_config::{Cluster, Endpoint, Target, raw};
use ringway_upstream::{HostParams, Locality};

use super::endpoints::EndpointFiles;

/// What is found out of the endpoints of a snapshot, outside its text.
#[derive(Default)]
pub(crate) struct Resolved {
    /// The endpoints that stand in files.
    pub(crate) files: EndpointFiles,
    /// The addresses of names.
    pub(crate) names: Addresses,
    /// By what the single host of a name is known whose addresses come and go: the first that it ever had.
    pub(crate) logical: HashMap<(String, u16), SocketAddr>,
}

/// Addresses by name and port.
pub(crate) type Addresses = HashMap<(String, u16), Arc<[SocketAddr]>>;

impl Resolved {
    /// Takes new addresses.
    pub(crate) fn set_names(&mut self, names: Addresses) {
        self.logical.retain(|name, _| names.contains_key(name));
        for (name, addresses) in &names {
            if let Some(first) = addresses.first() {
                self.logical.entry(name.clone()).or_insert(*first);
            }
        }
        self.names = names;
    }
}

/// A cluster's hosts as this process sees them; none of a name that is not resolved.
pub(super) fn of(cluster: &Cluster, node: &raw::Node, resolved: &Resolved) -> Vec<HostParams> {
    let mut hosts = all(cluster, resolved);
    if let (true, Some(here)) = (cluster.raw.locality_failover, &node.locality) {
        for host in &mut hosts {
            // Envoy's numbers end at 127; ours may be four times that, which nobody sees.
            host.priority = host.priority * 4 + distance(here, host.locality.as_deref());
        }
    }
    hosts
}

/// How many hosts a cluster has in each locality.
pub(super) fn by_locality(cluster: &Cluster, resolved: &Resolved) -> Vec<(Locality, u32)> {
    let mut counts: BTreeMap<Locality, u32> = BTreeMap::new();
    for host in all(cluster, resolved) {
        if let Some(locality) = &host.locality {
            *counts.entry(Locality::clone(locality)).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}

/// A locality as hosts have it.
pub(super) fn locality(raw: &raw::Locality) -> Locality {
    let part = |part: &String| part.as_str().into();
    Locality { region: part(&raw.region), zone: part(&raw.zone), sub_zone: part(&raw.sub_zone) }
}

/// 0 in the same place, then of the same zone, of the same region, elsewhere.
fn distance(here: &raw::Locality, there: Option<&Locality>) -> u32 {
    let Some(there) = there else { return 3 };
    match (*here.region == *there.region, *here.zone == *there.zone, *here.sub_zone == *there.sub_zone) {
        (true, true, true) => 0,
        (true, true, false) => 1,
        (true, false, _) => 2,
        (false, ..) => 3,
    }
}

fn all(cluster: &Cluster, resolved: &Resolved) -> Vec<HostParams> {
    let mut hosts = Vec::new();
    for endpoint in resolved.files.of(cluster) {
        match &endpoint.target {
            Target::Address(address) => hosts.push(host(address.clone(), Vec::new(), endpoint, None)),
            Target::Name { host: name, port } => {
                let key = (name.clone(), *port);
                let known = resolved.names.get(&key);
                let name = Arc::<str>::from(name.as_str());
                if cluster.raw.dns == DnsDiscovery::Logical {
                    let addresses = known.map(|known| one(known, cluster.raw.dns_family)).unwrap_or_default();
                    if let Some(first) = resolved.logical.get(&key).filter(|_| !addresses.is_empty()) {
                        let stands = host(Address::Ip(*first), Vec::new(), endpoint, Some(&name));
                        hosts.push(HostParams { reached_at: addresses.into(), ..stands });
                    }
                    continue;
                }
                let chosen = choose(known.map_or(&[][..], |known| known), cluster.raw.dns_family);
                hosts.extend(chosen.into_iter().map(|(first, others)| {
                    let others = others.into_iter().map(Address::Ip).collect();
                    host(Address::Ip(first), others, endpoint, Some(&name))
                }));
            }
        }
    }
    hosts
}

fn host(address: Address, alternates: Vec<Address>, endpoint: &Endpoint, name: Option<&Arc<str>>) -> HostParams {
    let locality = endpoint.locality.as_ref().map(|raw| Arc::new(locality(raw)));
    HostParams {
        alternates,
        weight: endpoint.weight,
        name: name.cloned(),
        priority: endpoint.priority,
        locality,
        metadata: endpoint.metadata.clone(),
        ..HostParams::new(address)
    }
}

/// The addresses of the one host that a name stands for, those of the preferred family first.
fn one(known: &[SocketAddr], family: DnsFamily) -> Vec<Address> {
    let wanted = |address: &&SocketAddr| match family {
        DnsFamily::V4 => address.is_ipv4(),
        DnsFamily::V6 => address.is_ipv6(),
        DnsFamily::Auto | DnsFamily::All => true,
    };
    let (v6, v4): (Vec<_>, Vec<_>) = known.iter().filter(wanted).partition(|address| address.is_ipv6());
    v6.into_iter().chain(v4).copied().map(Address::Ip).collect()
}

/// The hosts that a name's addresses make: of each the first address, and those to fall back to.
fn choose(known: &[SocketAddr], family: DnsFamily) -> Vec<(SocketAddr, Vec<SocketAddr>)> {
    let (v4, v6): (Vec<_>, Vec<_>) = known.iter().copied().partition(SocketAddr::is_ipv4);
    let alone = |addresses: Vec<SocketAddr>| addresses.into_iter().map(|address| (address, Vec::new())).collect();
    match family {
        DnsFamily::All => alone(known.to_vec()),
        DnsFamily::V4 => alone(v4),
        DnsFamily::V6 => alone(v6),
        DnsFamily::Auto if v6.is_empty() => alone(v4),
        DnsFamily::Auto => {
            // Nobody knows which of them are one machine. Dealt out, none is left over and none is everybody's.
            let hosts = v6.len();
            let fall_back = |at: usize| match v4.get(at) {
                Some(_) => v4.iter().skip(at).step_by(hosts).copied().collect(),
                None => v4.iter().cycle().nth(at).copied().into_iter().collect(),
            };
            v6.into_iter().enumerate().map(|(at, first)| (first, fall_back(at))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(known: &[&str], family: DnsFamily) -> String {
        let known: Vec<SocketAddr> = known.iter().map(|text| text.parse().unwrap()).collect();
        let join = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let hosts = choose(&known, family).into_iter().map(|(first, others)| {
            if others.is_empty() { first.to_string() } else { format!("{first} or {}", join(&others)) }
        });
        hosts.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn both_families_of_one_name_are_one_host() {
        let local = ["127.0.0.1:80", "[::1]:80"];
        assert_eq!(chosen(&local, DnsFamily::Auto), "[::1]:80 or 127.0.0.1:80");
        assert_eq!(chosen(&local, DnsFamily::All), "127.0.0.1:80, [::1]:80");
        assert_eq!(chosen(&local, DnsFamily::V4), "127.0.0.1:80");
        assert_eq!(chosen(&local, DnsFamily::V6), "[::1]:80");
    }

    #[test]
    fn a_logical_name_is_one_host_whatever_it_resolves_to() {
        let text = "clusters: [{ name: a, dns: logical, endpoints: ['host:80'] }]";
        let snapshot = ringway_config::compile("x", text, &super::super::CATALOG, None).unwrap();
        let mut resolved = Resolved::default();
        let mut told = Vec::new();
        for answer in [&["10.0.0.1:80", "[fd00::1]:80"][..], &["10.0.0.2:80"], &[]] {
            let answer: Arc<[SocketAddr]> = answer.iter().map(|text| text.parse().unwrap()).collect();
            resolved.set_names(HashMap::from([(("host".to_owned(), 80), answer)]));
            let hosts = of(&snapshot.clusters[0], &snapshot.raw.node, &resolved);
            told.push(
                hosts.iter().map(|host| format!("{} at {:?}", host.address, host.reached_at.len())).collect::<Vec<_>>(),
            );
        }
        assert_eq!(told, [vec!["10.0.0.1:80 at 2"], vec!["10.0.0.1:80 at 1"], vec![]]);
    }

    #[test]
    fn near_hosts_come_first() {
        let text = "node: { locality: { region: eu, zone: one, sub_zone: x } }\n\
                    clusters: [{ name: a, locality_failover: true, endpoints: [\
                    { address: '10.0.0.1:80', locality: { region: eu, zone: one, sub_zone: x } }, \
                    { address: '10.0.0.2:80', locality: { region: eu, zone: one } }, \
                    { address: '10.0.0.3:80', locality: { region: eu, zone: two } }, \
                    { address: '10.0.0.4:80', locality: { region: us, zone: one } }, '10.0.0.5:80', \
                    { address: '10.0.0.6:80', priority: 1, locality: { region: eu, zone: two } }] }]";
        let snapshot = ringway_config::compile("x", text, &super::super::CATALOG, None).unwrap();
        let hosts = of(&snapshot.clusters[0], &snapshot.raw.node, &Resolved::default());
        assert_eq!(hosts.iter().map(|host| host.priority).collect::<Vec<_>>(), [0, 1, 2, 3, 3, 6]);
    }

    #[test]
    fn names_of_one_family_have_a_host_for_every_address() {
        for family in [DnsFamily::Auto, DnsFamily::V4, DnsFamily::All] {
            assert_eq!(chosen(&["10.0.0.1:80", "10.0.0.2:80"], family), "10.0.0.1:80, 10.0.0.2:80");
        }
        for family in [DnsFamily::Auto, DnsFamily::V6, DnsFamily::All] {
            assert_eq!(chosen(&["[fd00::1]:80"], family), "[fd00::1]:80");
        }
        assert_eq!(chosen(&["[fd00::1]:80"], DnsFamily::V4), "");
        assert_eq!(chosen(&[], DnsFamily::Auto), "");
    }

    #[test]
    fn addresses_to_fall_back_to_are_dealt_out() {
        let (a, b, c, x, y) = ("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "[fd00::1]:1", "[fd00::2]:1");
        assert_eq!(chosen(&[a, b, c, x, y], DnsFamily::Auto), format!("{x} or {a} {c}, {y} or {b}"));
        assert_eq!(chosen(&[a, x, y], DnsFamily::Auto), format!("{x} or {a}, {y} or {a}"));
    }
}
