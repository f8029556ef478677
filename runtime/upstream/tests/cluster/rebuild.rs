//! What a change of configuration or endpoints keeps.

use std::rc::Rc;

use ringway_upstream::balance::{LeastRequest, RoundRobin};
use ringway_upstream::{AcquireError, BreakerLimits, CloseCause, Cluster, ClusterParams, HostParams, Reuse, Want};

use crate::net::Mode;
use crate::world::{IDLE_TIMEOUT, World, address, balancer, complete, hosts, limited, params};

#[test]
fn hosts_that_stay_keep_connections_counts_and_usability() {
    let world = World::new();
    let old = world.cluster(params([1, 2]));
    world.exchange(&old);
    let busy = world.lease(&old);
    let second = world.lease(&old);
    complete(second);
    old.set_usable(&address(2), false);
    assert_eq!(world.tally.members.get(), (2, 1));
    let new = old.with_hosts(hosts([3, 2, 1]));
    assert_eq!(world.tally.members.get(), (3, 2));
    let kept = &new.hosts()[2];
    assert!(Rc::ptr_eq(kept, &old.hosts()[0]));
    assert_eq!((kept.active(), kept.report().requests_total, new.hosts()[1].is_usable()), (1, 3, false));
    let lease = world.ask_host(&new, kept, Reuse::Allowed).lease();
    assert!(lease.is_reused());
    assert_eq!(kept.active(), 2);
    drop(old);
    complete(busy);
    complete(lease);
    assert_eq!(kept.active(), 0, "a lease of the old view counts in the new one");
    assert_eq!(world.tally.opened.get(), 2);
}

#[test]
fn balancers_of_the_new_view_see_what_the_old_one_began() {
    let world = World::new();
    let of = |hosts| ClusterParams { hosts, balancer: balancer::<LeastRequest>(), ..params([]) };
    let old = world.cluster(of(hosts([1])));
    let busy = world.lease(&old);
    let new = Cluster::rebuild(Some(&old), of(hosts([1, 2])), world.services());
    for _ in 0..20 {
        assert_eq!(new.pick(Want::default()).unwrap().address(), &address(2));
    }
    complete(busy);
    assert!((0..50).any(|_| new.pick(Want::default()).unwrap().address() == &address(1)));
}

#[test]
fn hosts_that_leave_close_idle_connections_now_and_busy_ones_when_done() {
    let world = World::new();
    let old = world.cluster(params([1]));
    let (busy, idle) = (world.lease(&old), world.lease(&old));
    complete(idle);
    let new = old.with_hosts(hosts([2]));
    assert_eq!(world.net.open.get(), 1);
    // A request that began with the old view still gets through.
    let late = world.lease(&old);
    assert!(!late.is_reused());
    complete(busy);
    complete(late);
    assert_eq!(world.net.open.get(), 0);
    assert_eq!(world.tally.closed(CloseCause::Drained), 3);
    drop((old, new));
    world.assert_quiet();
}

#[test]
fn a_connection_under_way_when_its_host_leaves_still_serves_who_waits() {
    let world = World::new();
    world.net.mode.set(Mode::Hold);
    let old = world.cluster(params([1]));
    let mut ask = world.ask(&old, Reuse::Allowed);
    world.env.run();
    let new = old.with_hosts(Vec::new());
    assert!(matches!(new.pick(Want::default()), Err(AcquireError::NoHealthyHost)));
    assert_eq!(world.tally.none_healthy.get(), 1);
    world.net.settle_one(true);
    world.env.run();
    complete(ask.lease());
    assert_eq!(world.net.open.get(), 0);
}

#[test]
fn a_change_of_transport_uses_no_old_connection() {
    let world = World::new();
    let old = world.cluster(params([1]));
    let (busy, idle) = (world.lease(&old), world.lease(&old));
    complete(idle);
    let new = Cluster::rebuild(Some(&old), ClusterParams { transport: 1, ..params([1]) }, world.services());
    assert!(!world.lease(&new).is_reused());
    complete(busy);
    assert_eq!(world.tally.closed(CloseCause::Drained), 2);
    assert_eq!(world.net.open.get(), 1, "the new one is kept");
}

#[test]
fn new_settings_hold_for_connections_of_before() {
    let world = World::new();
    let old = world.cluster(params([1]));
    world.exchange(&old);
    world.env.run();
    let shorter = ClusterParams { idle_timeout: Some(IDLE_TIMEOUT / 4), ..old.params().clone() };
    let _new = Cluster::rebuild(Some(&old), shorter, world.services());
    world.env.advance(IDLE_TIMEOUT / 4);
    assert_eq!(world.net.open.get(), 0);
}

#[test]
fn limits_go_on_across_views() {
    let world = World::new();
    let params = limited(10, 10, 2);
    let old = world.cluster(params.clone());
    let leases = [world.lease(&old), world.lease(&old)];
    let new = Cluster::rebuild(Some(&old), params.clone(), world.services());
    assert!(matches!(world.ask(&new, Reuse::Allowed).error(), AcquireError::Overflow(_)));
    leases.into_iter().for_each(complete);
    complete(world.lease(&new));
    // Other limits: what was taken of the old ones goes back to the old ones.
    let held = world.lease(&new);
    let other = ClusterParams { limits: BreakerLimits::new(10, 10, 1, 1), ..params.clone() };
    let newest = Cluster::rebuild(Some(&new), other.clone(), world.services());
    let lease = world.lease(&newest);
    complete(held);
    complete(lease);
    drop((old, new, newest));
    world.assert_quiet();
    for limit in [&params.limits, &other.limits] {
        assert_eq!(limit.requests.left(), limit.requests.limit());
        assert_eq!(limit.connections.left(), limit.connections.limit());
        assert_eq!(limit.pending.left(), limit.pending.limit());
    }
}

#[test]
fn an_unchanged_host_set_keeps_its_turn() {
    let world = World::new();
    let first = world.cluster(ClusterParams { balancer: balancer::<RoundRobin>(), ..params([1, 2, 3]) });
    let mut view = first;
    let mut picked = Vec::new();
    for _ in 0..6 {
        picked.push(view.pick(Want::default()).unwrap().address().clone());
        view = Cluster::rebuild(Some(&view), view.params().clone(), world.services());
    }
    assert_eq!(picked[..3], picked[3..]);
    picked[..3].sort_by_key(ToString::to_string);
    assert_eq!(picked[..3], [address(1), address(2), address(3)]);
}

#[test]
fn entries_of_one_address_are_one_host() {
    let world = World::new();
    let heavy = HostParams { weight: 3, ..HostParams::new(address(1)) };
    let cluster = world.cluster(ClusterParams {
        hosts: vec![heavy, HostParams::new(address(2)), HostParams::new(address(1))],
        ..params([])
    });
    let weights: Vec<_> = cluster.report().iter().map(|host| host.weight).collect();
    assert_eq!(weights, [4, 1]);
}

#[test]
fn a_cluster_that_goes_closes_its_connections() {
    let world = World::new();
    let cluster = world.cluster(params([1, 2]));
    let busy = world.lease(&cluster);
    world.exchange(&cluster);
    cluster.drain();
    assert_eq!(world.net.open.get(), 1);
    complete(busy);
    assert_eq!(world.net.open.get(), 0);
    drop(cluster);
    world.assert_quiet();
}
