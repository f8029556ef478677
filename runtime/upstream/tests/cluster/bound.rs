//! Connections that belong to one downstream connection each.

use std::rc::Rc;

use ringway_api::{ConnCx, ConnInfo, Env};
use ringway_upstream::{AcquireError, Cluster, ClusterParams};

use crate::world::*;

fn bound(of: impl IntoIterator<Item = u8>) -> ClusterParams {
    ClusterParams { bound: Some("app".into()), ..params(of) }
}

fn owner(world: &World) -> Rc<ConnCx> {
    Rc::new(ConnCx::new(ConnInfo::new(1, address(9), address(8)), Rc::clone(&world.env) as Rc<dyn Env>))
}

#[test]
fn requests_of_one_owner_take_turns_where_a_connection_carries_one() {
    let world = World::new();
    let cluster = world.cluster(bound([1, 2]));
    let owner = owner(&world);
    let (mut first, mut second) = (world.ask_bound(&cluster, &owner), world.ask_bound(&cluster, &owner));
    world.env.run();
    let lease = first.lease();
    second.poll();
    assert!(!second.is_ready(), "it waits");
    assert_eq!(world.tally.pending.get(), 1);
    complete(lease);
    world.env.run();
    complete(second.lease());
    assert_eq!(world.tally.open.get(), 1);
    drop((owner, first, second, cluster));
    world.assert_quiet();
}

#[test]
fn a_request_that_is_cancelled_leaves_the_connection_to_the_next() {
    let world = World::new();
    let cluster = world.cluster(bound([1]));
    let owner = owner(&world);
    drop(world.ask_bound(&cluster, &owner));
    world.env.run();
    let mut next = world.ask_bound(&cluster, &owner);
    complete(next.lease());
    assert_eq!((world.tally.open.get(), world.tally.pending.get()), (1, 0));
    drop((owner, next, cluster));
    world.assert_quiet();
}

#[test]
fn an_owner_that_goes_while_it_connects_leaves_nothing() {
    let world = World::new();
    let cluster = world.cluster(bound([1]));
    let owner = owner(&world);
    drop(world.ask_bound(&cluster, &owner));
    drop(owner);
    drop(cluster);
    world.assert_quiet();
}

#[test]
fn owners_are_asked_to_end_when_their_host_leaves() {
    let world = World::new();
    let cluster = world.cluster(bound([1, 2]));
    let owners = [owner(&world), owner(&world)];
    let with_first = owners.each_ref().map(|owner| {
        let mut ask = world.ask_bound(&cluster, owner);
        world.env.run();
        let lease = ask.lease();
        let with_first = *lease.host().address() == address(1);
        complete(lease);
        with_first
    });
    let rest = Cluster::rebuild(Some(&cluster), bound([2]), world.services());
    assert_eq!(owners.each_ref().map(|owner| owner.is_draining()), with_first);
    assert!(with_first[0] != with_first[1]);
    drop((owners, cluster, rest));
    world.assert_quiet();
}

#[test]
fn the_peers_end_is_the_owners() {
    let world = World::new();
    let cluster = world.cluster(bound([1]));
    let owner = owner(&world);
    let mut ask = world.ask_bound(&cluster, &owner);
    world.env.run();
    complete(ask.lease());
    world.net.conn(0).close();
    world.env.run();
    assert!(owner.is_draining());
    let mut late = world.ask_bound(&cluster, &owner);

    assert!(matches!(late.error(), AcquireError::BoundEnded { .. }));
    drop((owner, ask, late, cluster));
    world.assert_quiet();
}
