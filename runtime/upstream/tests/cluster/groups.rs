//! Priorities, localities, panic, subsets and slow starts.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::{Address, Metadata};
use ringway_upstream::balance::{Random, RoundRobin};
use ringway_upstream::{
    AcquireError, Cluster, ClusterParams, Fallback, Grouping, HostParams, Locality, SlowStart, Subsets, Want, ZoneAware,
};

use crate::net::Stream;
use crate::world::{World, address, balancer, params};

fn host(number: u8) -> HostParams {
    HostParams::new(address(number))
}

fn at_priority(number: u8, priority: u32) -> HostParams {
    HostParams { priority, ..host(number) }
}

/// How often each host is picked of a thousand times.
fn shares(cluster: &Cluster<Stream>, want: Want<'_>) -> HashMap<Address, u32> {
    let mut shares = HashMap::new();
    for _ in 0..1000 {
        *shares.entry(cluster.pick(want).unwrap().address().clone()).or_default() += 1;
    }
    shares
}

fn share(cluster: &Cluster<Stream>, hosts: impl IntoIterator<Item = u8>) -> u32 {
    let shares = shares(cluster, Want::default());
    hosts.into_iter().filter_map(|number| shares.get(&address(number))).sum()
}

fn ill(cluster: &Cluster<Stream>, hosts: impl IntoIterator<Item = u8>) {
    hosts.into_iter().for_each(|number| cluster.set_usable(&address(number), false));
}

fn with(hosts: Vec<HostParams>, grouping: Grouping) -> ClusterParams {
    ClusterParams { hosts, grouping: Arc::new(grouping), balancer: balancer::<Random>(), ..params([]) }
}

#[test]
fn a_priority_that_cannot_take_its_load_shares_it_with_the_next() {
    let world = World::new();
    let hosts = (1..=10).map(|number| at_priority(number, 0)).chain((11..=20).map(|number| at_priority(number, 1)));
    let cluster = world.cluster(with(hosts.collect(), Grouping::default()));
    assert_eq!(share(&cluster, 1..=10), 1000);
    // 80 % of the hosts with 140 % is more than enough.
    ill(&cluster, 1..=2);
    assert_eq!(share(&cluster, 1..=10), 1000);
    // 50 %: 70 % of the load.
    ill(&cluster, 3..=5);
    let first = share(&cluster, 1..=10);
    assert!((650..750).contains(&first), "{first}");
    assert_eq!(share(&cluster, 1..=5), 0);
    ill(&cluster, 6..=10);
    assert_eq!(share(&cluster, 11..=20), 1000);
    assert_eq!(world.tally.panics.get(), 0);
}

#[test]
fn too_few_healthy_hosts_are_panic() {
    let world = World::new();
    let cluster = world.cluster(with((1..=4).map(host).collect(), Grouping::default()));
    ill(&cluster, 1..=2);
    assert_eq!(share(&cluster, 1..=2), 0, "half is not less than half");
    assert_eq!(world.tally.panics.get(), 0);
    ill(&cluster, [3]);
    let all = share(&cluster, 1..=3);
    assert!((650..850).contains(&all), "{all}");
    assert_eq!(world.tally.panics.get(), 1000);
    ill(&cluster, [4]);
    assert!(cluster.pick(Want::default()).is_ok());
    let failing = Grouping { fail_on_panic: true, ..Grouping::default() };
    let cluster = world.cluster(with((1..=4).map(host).collect(), failing));
    ill(&cluster, 1..=2);
    assert_eq!(share(&cluster, 1..=2), 0);
    ill(&cluster, [3]);
    let panics = world.tally.panics.get();
    assert!(matches!(cluster.pick(Want::default()), Err(AcquireError::NoHealthyHost)));
    assert_eq!(world.tally.panics.get(), panics + 1);
    let strict = with((1..=4).map(host).collect(), Grouping { panic_percent: 0, ..Grouping::default() });
    let cluster = world.cluster(strict);
    ill(&cluster, 1..=4);
    assert!(matches!(cluster.pick(Want::default()), Err(AcquireError::NoHealthyHost)));
}

#[test]
fn localities_have_their_weights_and_less_when_they_are_ill() {
    let world = World::new();
    let zone = |zone: &str| Locality { zone: zone.into(), ..Locality::default() };
    let of = |number, name| HostParams { locality: Some(Arc::new(zone(name))), ..host(number) };
    let hosts: Vec<_> = (1..=2).map(|number| of(number, "a")).chain((3..=10).map(|number| of(number, "b"))).collect();
    let weights = vec![(zone("a"), 3), (zone("b"), 1)];
    let cluster = world.cluster(with(hosts.clone(), Grouping { locality_weights: weights, ..Grouping::default() }));
    let first = share(&cluster, 1..=2);
    assert!((700..800).contains(&first), "{first}");
    // Half of a is 70 % of its weight: 2.1 of 3.1.
    ill(&cluster, [1]);
    let first = share(&cluster, 1..=2);
    assert!((620..740).contains(&first), "{first}");
    // Without weights localities do not count.
    let cluster = world.cluster(with(hosts, Grouping::default()));
    let first = share(&cluster, 1..=2);
    assert!((150..250).contains(&first), "{first}");
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

fn versions(fallback: Fallback) -> ClusterParams {
    let of = |number, pairs: &[(&str, &str)]| HostParams { metadata: Some(Arc::new(metadata(pairs))), ..host(number) };
    let hosts = vec![
        of(1, &[("version", "1"), ("stage", "prod")]),
        of(2, &[("version", "2"), ("stage", "prod")]),
        of(3, &[("version", "2"), ("stage", "dev")]),
        host(4),
    ];
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).into()).collect();
    let selectors = vec![keys(&["version"]), keys(&["stage", "version"])];
    with(hosts, Grouping { subsets: Some(Subsets { selectors, fallback }), ..Grouping::default() })
}

#[test]
fn subsets_are_chosen_by_metadata() {
    let world = World::new();
    let picked = |cluster: &Cluster<Stream>, pairs: &[(&str, &str)]| -> Vec<u8> {
        let wanted = metadata(pairs);
        let want = Want { metadata: Some(&wanted), ..Want::default() };
        if cluster.pick(want).is_err() {
            return Vec::new();
        }
        let shares = shares(cluster, want);
        (1..=4).filter(|number| shares.contains_key(&address(*number))).collect()
    };
    let cluster = world.cluster(versions(Fallback::None));
    assert_eq!(picked(&cluster, &[("version", "1")]), [1]);
    assert_eq!(picked(&cluster, &[("version", "2")]), [2, 3]);
    assert_eq!(picked(&cluster, &[("version", "2"), ("stage", "dev")]), [3]);
    assert!(picked(&cluster, &[("version", "3")]).is_empty());
    assert!(picked(&cluster, &[("stage", "dev")]).is_empty(), "no selector has this key alone");
    assert!(
        matches!(cluster.pick(Want::default()), Err(AcquireError::NoHealthyHost)),
        "nothing in particular is nothing"
    );
    let cluster = world.cluster(versions(Fallback::Any));
    assert_eq!(picked(&cluster, &[("version", "3")]), [1, 2, 3, 4]);
    let cluster = world.cluster(versions(Fallback::Default(Arc::new(metadata(&[("stage", "prod")])))));
    assert_eq!(picked(&cluster, &[("version", "3")]), [1, 2]);
    assert_eq!(shares(&cluster, Want::default()).len(), 2);
    // Hosts are the same ones in every subset: what happens to them counts everywhere.
    ill(&cluster, [2]);
    assert_eq!(picked(&cluster, &[("version", "2")]), [3]);
}

#[test]
fn new_hosts_start_slowly() {
    let world = World::new();
    let slow_start = Some(SlowStart { window: Duration::from_secs(100), aggression: 1.0, least: 0.1 });
    let grouping = Grouping { slow_start, ..Grouping::default() };
    let begun = world.cluster(with(vec![host(1)], grouping.clone()));
    let cluster = begun.with_hosts(vec![host(1), host(2)]);
    let new = |cluster: &Rc<Cluster<Stream>>| share(cluster, [2]);
    // A tenth beside a whole one.
    assert!((50..140).contains(&new(&cluster)), "{}", new(&cluster));
    world.env.advance(Duration::from_secs(50));
    assert!((280..390).contains(&new(&cluster)), "{}", new(&cluster));
    world.env.advance(Duration::from_secs(50));
    assert!((440..560).contains(&new(&cluster)), "{}", new(&cluster));
    // Well again is new again; those that were there from the beginning were never new.
    cluster.set_usable(&address(1), false);
    cluster.set_usable(&address(1), true);
    assert!((860..950).contains(&new(&cluster)), "{}", new(&cluster));
}

#[test]
fn what_stays_keeps_its_place_when_rules_change() {
    let world = World::new();
    let first = world.cluster(ClusterParams {
        balancer: balancer::<RoundRobin>(),
        ..with(vec![host(1), host(2)], Grouping::default())
    });
    ill(&first, [1]);
    let second =
        Cluster::rebuild(Some(&first), with(vec![host(1), at_priority(2, 1)], Grouping::default()), world.services());
    assert_eq!(share(&second, [2]), 1000);
    assert!(Rc::ptr_eq(&first.hosts()[0], &second.hosts()[0]));
}

fn zone(name: &str) -> Locality {
    Locality { zone: name.into(), ..Locality::default() }
}

/// Hosts from 1 on: so many in each of these zones.
fn zoned(counts: &[(&str, u8)]) -> Vec<HostParams> {
    let zones = counts.iter().flat_map(|(name, count)| (0..*count).map(move |_| Arc::new(zone(name))));
    zones.zip(1..).map(|(locality, number)| HostParams { locality: Some(locality), ..host(number) }).collect()
}

fn aware(hosts: Vec<HostParams>, senders: &[(&str, u32)], share: f64) -> ClusterParams {
    let senders = senders.iter().map(|(name, count)| (zone(name), *count)).collect();
    let zone_aware = Some(ZoneAware { local: zone("a"), senders, min_hosts: 6, share });
    with(hosts, Grouping { zone_aware, ..Grouping::default() })
}

/// That `share` is about `percent` of a thousand.
fn about(share: u32, percent: u32) {
    assert!(share.abs_diff(percent * 10) < 50, "{share} and not {percent} %");
}

#[test]
fn requests_stay_in_their_zone_as_far_as_it_can_take_them() {
    let world = World::new();
    // The zone has the share of the hosts that it has of the senders, or more.
    let cluster = world.cluster(aware(zoned(&[("a", 6), ("b", 6)]), &[("a", 5), ("b", 5)], 1.0));
    assert_eq!(share(&cluster, 1..=6), 1000);
    // Half of the senders, a quarter of the hosts: half of its requests stay, the rest goes where there is room.
    let cluster = world.cluster(aware(zoned(&[("a", 3), ("b", 6), ("c", 3)]), &[("a", 2), ("b", 1), ("c", 1)], 1.0));
    about(share(&cluster, 1..=3), 50);
    assert_eq!(share(&cluster, 10..=12), 0, "c has the hosts that it needs itself");
    // Only a part of the requests is to care.
    let cluster = world.cluster(aware(zoned(&[("a", 6), ("b", 6)]), &[("a", 5), ("b", 5)], 0.5));
    about(share(&cluster, 1..=6), 75);
}

#[test]
fn zones_do_not_count_when_there_are_few_hosts_or_none_near() {
    let world = World::new();
    let cluster = world.cluster(aware(zoned(&[("a", 2), ("b", 2)]), &[("a", 5), ("b", 5)], 1.0));
    about(share(&cluster, 1..=2), 50);
    let cluster = world.cluster(aware(zoned(&[("a", 6), ("b", 10)]), &[("a", 5), ("b", 5)], 1.0));
    ill(&cluster, 1..=6);
    assert_eq!(share(&cluster, 7..=16), 1000);
    let cluster = world.cluster(aware(zoned(&[("b", 6), ("c", 6)]), &[("a", 5), ("b", 5)], 1.0));
    about(share(&cluster, 1..=6), 50);
}

#[test]
fn priorities_that_were_tried_are_avoided_while_others_are_well() {
    let world = World::new();
    let hosts = vec![at_priority(1, 0), at_priority(2, 0), at_priority(3, 1), at_priority(4, 2)];
    let cluster = world.cluster(with(hosts, Grouping::default()));
    let tried = [Rc::clone(&cluster.hosts()[0]), Rc::clone(&cluster.hosts()[2])];
    let want = |avoid_priorities| Want { tried: &tried, avoid_priorities, ..Want::default() };
    let of = |want| shares(&cluster, want).len();
    let share = |want, number| shares(&cluster, want).get(&address(number)).copied().unwrap_or(0);
    assert_eq!((share(want(0), 3) + share(want(0), 4), of(want(0))), (0, 2));
    about(share(want(1), 3), 50);
    assert_eq!(share(want(2), 4), 1000);
    // When nothing else is well, they will do.
    ill(&cluster, [4]);
    assert_eq!(of(want(2)), 2);
}
