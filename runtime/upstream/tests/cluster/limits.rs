//! Circuit breakers.

use ringway_api::ResponseFlag;
use std::time::Duration;

use ringway_upstream::{
    AcquireError, Breaker, CloseCause, Cluster, ClusterParams, HostLimits, HostParams, Reuse, SharedLimit,
};

use crate::net::Mode;
use crate::world::{CONNECT_TIMEOUT, World, address, complete, hosts, limited, params, request};

#[test]
fn past_the_limit_on_connections_requests_wait_for_a_free_one() {
    let world = World::new();
    let cluster = world.cluster(limited(2, 10, 100));
    let (one, two) = (world.lease(&cluster), world.lease(&cluster));
    let mut third = world.ask(&cluster, Reuse::Allowed);
    world.env.run();
    assert!(!third.is_ready());
    assert_eq!((world.tally.opened.get(), world.tally.connection_overflow.get()), (2, 1));
    complete(one);
    complete(third.lease());
    complete(two);
    assert_eq!(world.tally.opened.get(), 2);
}

#[test]
fn a_connection_that_ends_makes_room_for_one_who_waits() {
    let world = World::new();
    let cluster = world.cluster(limited(1, 10, 100));
    let lease = world.lease(&cluster);
    let mut waiting = world.ask(&cluster, Reuse::Allowed);
    world.net.conn(0).close();
    complete(lease);
    world.env.run();
    let lease = waiting.lease();
    assert!(!lease.is_reused());
    assert_eq!(world.net.open.get(), 1);
}

#[test]
fn the_place_of_a_connection_that_ended_is_free_at_once() {
    let world = World::new();
    let cluster = world.cluster(limited(2, 10, 100));
    let (mut dying, _busy) = (world.lease(&cluster), world.lease(&cluster));
    let mut waiting = world.ask(&cluster, Reuse::Allowed);
    drop(dying.open(request()));
    drop(dying);
    world.env.run();
    drop(waiting.lease());
    assert_eq!((world.tally.opened.get(), world.net.open.get()), (3, 2));
}

#[test]
fn the_place_of_a_failed_attempt_goes_to_the_next_in_line() {
    let world = World::new();
    let cluster = world.cluster(limited(2, 10, 100));
    let _busy = world.lease(&cluster);
    world.net.mode.set(Mode::Hold);
    let mut asks: Vec<_> = (0..2).map(|_| world.ask(&cluster, Reuse::Allowed)).collect();
    world.env.run();
    assert_eq!(world.net.held(), 1);
    world.net.settle_one(false);
    world.env.run();
    assert!(matches!(asks[0].error(), AcquireError::Connect { .. }));
    world.net.settle_one(true);
    world.env.run();
    drop(asks[1].lease());
}

#[test]
fn who_waits_too_long_behind_the_limit_is_told_so() {
    let world = World::new();
    let cluster = world.cluster(limited(1, 10, 100));
    let _busy = world.lease(&cluster);
    let mut waiting = world.ask(&cluster, Reuse::Allowed);
    world.env.advance(CONNECT_TIMEOUT);
    let error = waiting.error();
    assert!(matches!(error, AcquireError::PendingTimeout { .. }));
    assert_eq!(error.flag(), ResponseFlag::UpstreamOverflow);
}

#[test]
fn too_many_who_wait_are_refused_at_once() {
    let world = World::new();
    world.net.mode.set(Mode::Hold);
    let cluster = world.cluster(limited(10, 2, 100));
    let waiting: Vec<_> = (0..2).map(|_| world.ask(&cluster, Reuse::Allowed)).collect();
    let error = world.ask(&cluster, Reuse::Allowed).error();
    assert!(matches!(error, AcquireError::Overflow(Breaker::Pending)));
    assert_eq!((error.flag(), error.host()), (ResponseFlag::UpstreamOverflow, None));
    assert_eq!(world.tally.pending_overflow.get(), 1);
    drop(waiting);
    assert!(!world.ask(&cluster, Reuse::Allowed).is_ready(), "there is room in the line again");
}

#[test]
fn too_many_requests_are_refused_at_once() {
    let world = World::new();
    let cluster = world.cluster(limited(10, 10, 2));
    let leases = [world.lease(&cluster), world.lease(&cluster)];
    assert!(matches!(world.ask(&cluster, Reuse::Allowed).error(), AcquireError::Overflow(Breaker::Requests)));
    leases.into_iter().for_each(complete);
    complete(world.lease(&cluster));
}

#[test]
fn the_limit_on_requests_holds_for_those_who_waited() {
    let world = World::new();
    world.net.mode.set(Mode::Hold);
    let cluster = world.cluster(limited(10, 10, 1));
    let mut asks: Vec<_> = (0..2).map(|_| world.ask(&cluster, Reuse::Allowed)).collect();
    world.env.run();
    (0..2).for_each(|_| world.net.settle_one(true));
    world.env.run();
    let lease = asks[0].lease();
    assert!(matches!(asks[1].error(), AcquireError::Overflow(Breaker::Requests)));
    complete(lease);
}

#[test]
fn a_fresh_connection_takes_the_place_of_an_idle_one_at_the_limit() {
    let world = World::new();
    let cluster = world.cluster(limited(1, 10, 100));
    world.exchange(&cluster);
    let mut fresh = world.ask(&cluster, Reuse::Fresh);
    world.env.run();
    assert!(!fresh.lease().is_reused());
    assert_eq!(world.tally.closed(CloseCause::MadeRoom), 1);
    assert_eq!(world.net.open.get(), 1);
}

#[test]
fn a_returned_connection_makes_room_for_a_fresh_one() {
    let world = World::new();
    let cluster = world.cluster(limited(1, 10, 100));
    let busy = world.lease(&cluster);
    let mut fresh = world.ask(&cluster, Reuse::Fresh);
    world.env.run();
    assert!(!fresh.is_ready());
    complete(busy);
    world.env.run();
    assert!(!fresh.lease().is_reused());
    assert_eq!(world.net.open.get(), 1);
}

#[test]
fn a_host_without_a_connection_gets_one_past_the_limit() {
    let world = World::new();
    let cluster = world.cluster(ClusterParams { hosts: hosts([1, 2]), ..limited(1, 10, 100) });
    let one = world.lease(&cluster);
    let mut two = world.ask_host(&cluster, &cluster.hosts()[1], Reuse::Allowed);
    world.env.run();
    let two = two.lease();
    assert_eq!(world.net.open.get(), 2);
    let mut three = world.ask_host(&cluster, &cluster.hosts()[1], Reuse::Allowed);
    world.env.run();
    assert!(!three.is_ready(), "but no second one");
    complete(two);
    complete(three.lease());
    complete(one);
}

/// Two hosts, the first with these limits.
fn with_host_limits(connections: Option<&SharedLimit>, requests: Option<&SharedLimit>) -> ClusterParams {
    let limits = HostLimits { connections: connections.cloned(), requests: requests.cloned() };
    let first = HostParams { limits, ..HostParams::new(address(1)) };
    ClusterParams { hosts: vec![first, HostParams::new(address(2))], ..params([]) }
}

#[test]
fn a_host_has_limits_of_its_own_and_others_are_free() {
    let (connections, requests) = (SharedLimit::new(2, 1), SharedLimit::new(3, 1));
    let world = World::new();
    let cluster = world.cluster(with_host_limits(Some(&connections), None));
    let held = [world.lease(&cluster), world.lease(&cluster)];
    let mut third = world.ask(&cluster, Reuse::Allowed);
    world.env.run();
    assert!(!third.is_ready());
    let mut other = world.ask_host(&cluster, &cluster.hosts()[1], Reuse::Allowed);
    world.env.run();
    drop(other.lease());
    held.into_iter().for_each(complete);
    drop(third.lease());

    let cluster = world.cluster(with_host_limits(None, Some(&requests)));
    let held: Vec<_> = (0..3).map(|_| world.lease(&cluster)).collect();
    let mut refused = world.ask(&cluster, Reuse::Allowed);
    assert!(matches!(refused.error(), AcquireError::Overflow(Breaker::Requests)));
    assert_eq!(requests.left(), 0);
    held.into_iter().for_each(complete);
    (0..2).for_each(|_| cluster.settle());
    assert_eq!((requests.left(), cluster.params().limits.requests.left()), (3, 1024));
}

#[test]
fn limits_of_hosts_come_and_go_with_requests_under_way() {
    let world = World::new();
    let requests = SharedLimit::new(1, 1);
    let cluster = world.cluster(with_host_limits(None, Some(&requests)));
    let limits = cluster.params().limits.clone();
    let lease = world.lease(&cluster);
    let free = Cluster::rebuild(
        Some(&cluster),
        ClusterParams { limits: limits.clone(), ..with_host_limits(None, None) },
        world.services(),
    );
    let more = world.lease(&free);
    let again = Cluster::rebuild(
        Some(&free),
        ClusterParams { limits: limits.clone(), ..with_host_limits(None, Some(&requests)) },
        world.services(),
    );
    assert_eq!(requests.left(), 0, "the first is still under way");
    drop(lease);
    assert_eq!(requests.left(), 1);
    let held = world.lease(&again);
    assert_eq!(requests.left(), 0);
    drop((held, more));
    (0..2).for_each(|_| again.settle());
    assert_eq!((requests.left(), limits.requests.left()), (1, 1024));
}

#[test]
fn waiting_in_line_has_a_time_limit_of_its_own() {
    let world = World::new();
    let pending_timeout = Duration::from_millis(100);
    let cluster = world.cluster(ClusterParams { pending_timeout, ..limited(1, 10, 100) });
    let _busy = world.lease(&cluster);
    let mut waiting = world.ask(&cluster, Reuse::Allowed);
    world.env.advance(pending_timeout - Duration::from_millis(1));
    assert!(!waiting.is_ready());
    world.env.advance(Duration::from_millis(2));
    assert!(matches!(waiting.error(), AcquireError::PendingTimeout { .. }));

    // A connection that takes longer than that is not given up: the next request has it.
    let cluster = world.cluster(ClusterParams { pending_timeout, ..limited(2, 10, 100) });
    world.net.mode.set(Mode::Hold);
    let mut waiting = world.ask(&cluster, Reuse::Allowed);
    world.env.advance(Duration::from_millis(200));
    assert!(matches!(waiting.error(), AcquireError::PendingTimeout { .. }));
    assert_eq!(world.net.held(), 1);
}
