//! Hosts that nobody configured.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::{Address, ConnCx, ConnInfo, Env, RequestHead};
use ringway_upstream::{AcquireError, Cluster, ClusterParams, Host, OriginalDestination, Want};

use crate::net::Stream;
use crate::world::*;

const KEEP: Duration = Duration::from_secs(5);

fn original(max_hosts: usize) -> ClusterParams {
    let original = OriginalDestination { header: Some("x-to".into()), port: None, keep: KEEP, max_hosts };
    ClusterParams { original: Some(Arc::new(original)), ..params([]) }
}

fn host(cluster: &Rc<Cluster<Stream>>, to: u8) -> Rc<Host> {
    let to = address(to);
    cluster.pick(Want { destination: Some(&to), ..Want::default() }).unwrap()
}

fn exchange(world: &World, cluster: &Rc<Cluster<Stream>>, to: u8) {
    let mut ask = world.ask_host(cluster, &host(cluster, to), ringway_upstream::Reuse::Allowed);
    world.env.run();
    complete(ask.lease());
}

#[test]
fn connections_of_a_destination_are_kept_until_nobody_has_come_for_long() {
    let world = World::new();
    let cluster = world.cluster(original(8));
    exchange(&world, &cluster, 1);
    exchange(&world, &cluster, 2);
    world.env.advance(KEEP / 2);
    exchange(&world, &cluster, 1);
    assert_eq!((world.tally.open.get(), cluster.report().len()), (2, 2));
    world.env.advance(KEEP / 2);
    cluster.settle();
    world.env.run();
    let known: Vec<Address> = cluster.report().into_iter().map(|host| host.address).collect();
    assert_eq!((world.tally.open.get(), known), (1, vec![address(1)]));
    let next = Cluster::rebuild(Some(&cluster), original(8), world.services());
    exchange(&world, &next, 1);
    assert_eq!(world.tally.opened.get(), 2, "they go on in the next view");
    let rest = Cluster::rebuild(Some(&next), params([3]), world.services());
    world.env.run();
    assert_eq!((world.tally.open.get(), rest.report().len()), (0, 1), "and end where there are no such hosts");
    drop((cluster, next, rest));
    world.assert_quiet();
}

#[test]
fn who_was_not_used_for_longest_makes_room_and_who_is_in_use_does_not() {
    let world = World::new();
    let cluster = world.cluster(original(2));
    let mut ask = world.ask_host(&cluster, &host(&cluster, 1), ringway_upstream::Reuse::Allowed);
    world.env.run();
    let lease = ask.lease();
    world.env.advance(Duration::from_millis(1));
    exchange(&world, &cluster, 2);
    exchange(&world, &cluster, 3);
    world.env.run();
    let known: Vec<Address> = cluster.report().into_iter().map(|host| host.address).collect();
    assert_eq!(known, [address(1), address(3)]);
    let mut other = world.ask_host(&cluster, &host(&cluster, 3), ringway_upstream::Reuse::Allowed);
    world.env.run();
    let busy = other.lease();
    let to = address(4);
    let refused = cluster.pick(Want { destination: Some(&to), ..Want::default() });
    assert!(matches!(refused, Err(AcquireError::NoHealthyHost)));
    assert!(matches!(cluster.pick(Want::default()), Err(AcquireError::NoHealthyHost)), "nowhere to go");
    complete(lease);
    complete(busy);
    cluster.drain();
    drop((ask, other, cluster));
    world.assert_quiet();
}

#[test]
fn a_destination_is_named_or_restored_and_never_ourselves() {
    let world = World::new();
    let conn = |restored| {
        let info = ConnInfo { restored, ..ConnInfo::new(1, address(9), address(8)) };
        ConnCx::new(info, Rc::clone(&world.env) as Rc<dyn Env>)
    };
    let head = |value: &str| {
        let mut head = RequestHead::default();
        head.headers.append("X-To", value.as_bytes()).unwrap();
        head
    };
    let by = |header: Option<&str>, port| OriginalDestination {
        header: header.map(Into::into),
        port,
        keep: KEEP,
        max_hosts: 1,
    };
    let (direct, redirected) = (conn(false), conn(true));
    let ip = |text: &str| Some(Address::Ip(text.parse().unwrap()));
    assert_eq!(by(None, None).of(&redirected, None), Some(address(9)));
    assert_eq!(by(None, None).of(&direct, None), None, "it would come back");
    assert_eq!(by(None, Some(81)).of(&direct, None), ip("10.0.0.9:81"));
    assert_eq!(by(None, Some(80)).of(&direct, None), None);
    let named = by(Some("x-to"), None);
    assert_eq!(named.of(&direct, Some(&head("10.1.1.1:90"))), ip("10.1.1.1:90"));
    assert_eq!(named.of(&redirected, Some(&RequestHead::default())), Some(address(9)));
    for wrong in ["", "name:80", "10.1.1.1", "10.1.1.1:0", "0.0.0.0:80", "10.1.1.1:99999"] {
        assert_eq!(named.of(&redirected, Some(&head(wrong))), None, "{wrong}");
    }
    assert_eq!(by(None, None).of(&redirected, Some(&head("10.1.1.1:90"))), Some(address(9)), "nobody asked for it");
}
