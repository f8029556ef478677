//! Reuse, closing, waiting.

use std::num::NonZeroU32;
use std::time::Duration;

use ringway_api::{ConnectError, ResponseFlag};
use ringway_upstream::{AcquireError, CloseCause, ClusterParams, Lease, Reuse};

use crate::net::Mode;
use crate::world::{CONNECT_TIMEOUT, IDLE_TIMEOUT, World, address, complete, params, request};

#[test]
fn a_connection_is_used_again() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    let lease = world.lease(&cluster);
    assert!(!lease.is_reused());
    assert_eq!(lease.conn().info.peer, address(1));
    complete(lease);
    let lease = world.ask(&cluster, Reuse::Allowed).lease();
    assert!(lease.is_reused(), "at the first poll, without a task");
    complete(lease);
    assert_eq!((world.tally.opened.get(), world.net.conn(0).served.get()), (1, 2));
    assert!(size_of::<Lease>() <= 32);
    drop(cluster);
    world.assert_quiet();
    assert_eq!(world.tally.closed(CloseCause::Drained), 1);
}

#[test]
fn the_newest_idle_connection_is_used_first() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    let leases: Vec<_> = (0..3).map(|_| world.lease(&cluster)).collect();
    leases.into_iter().for_each(complete);
    for _ in 0..5 {
        world.exchange(&cluster);
    }
    let served: Vec<_> = world.net.conns().iter().map(|conn| conn.served.get()).collect();
    assert_eq!(served, [1, 1, 6]);
}

#[test]
fn a_lease_that_opened_nothing_leaves_the_connection_as_it_was() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    drop(world.lease(&cluster));
    drop(world.lease(&cluster));
    assert_eq!(world.tally.opened.get(), 1);
}

#[test]
fn an_exchange_cut_short_ends_its_connection() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    let mut lease = world.lease(&cluster);
    let exchange = lease.open(request());
    drop(exchange);
    drop(lease);
    assert_eq!(world.net.open.get(), 0);
    assert_eq!(world.tally.closed(CloseCause::Spent), 1);
}

#[test]
fn idle_connections_that_their_peer_closed_go_at_once() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    let leases: Vec<_> = (0..100).map(|_| world.lease(&cluster)).collect();
    leases.into_iter().for_each(complete);
    world.env.run();
    let polled = |world: &World| world.net.conns().iter().map(|conn| conn.idle_polls.get()).sum::<usize>();
    let before = polled(&world);
    world.net.conn(7).close();
    world.net.conn(50).close();
    world.env.run();
    assert_eq!(world.net.open.get(), 98);
    assert_eq!(world.tally.closed(CloseCause::PeerClosed), 2);
    assert_eq!(polled(&world) - before, 2, "the others are left alone");
}

#[test]
fn a_connection_closed_in_the_same_turn_is_not_handed_out() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    let leases: Vec<_> = (0..2).map(|_| world.lease(&cluster)).collect();
    leases.into_iter().for_each(complete);
    world.env.run();
    world.net.conn(1).close();
    // No task has run since.
    let lease = world.ask(&cluster, Reuse::Allowed).lease();
    assert_eq!(lease.conn().info.id, 1);
    drop(lease);
    world.env.run();
    assert_eq!(world.net.open.get(), 1);
}

#[test]
fn a_connection_closed_while_in_use_is_not_kept() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    let lease = world.lease(&cluster);
    world.net.conn(0).close();
    complete(lease);
    assert_eq!(world.net.open.get(), 0);
}

#[test]
fn a_wake_for_nothing_closes_nothing() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    world.exchange(&cluster);
    world.env.run();
    for _ in 0..3 {
        world.net.conn(0).wake();
        world.env.run();
    }
    assert_eq!(world.net.open.get(), 1);
    world.net.conn(0).close();
    world.env.run();
    assert_eq!(world.net.open.get(), 0, "still watched");
}

#[test]
fn idle_connections_end_after_the_idle_timeout_oldest_first() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    let (one, two) = (world.lease(&cluster), world.lease(&cluster));
    complete(one);
    world.env.advance(IDLE_TIMEOUT / 2);
    complete(two);
    world.env.advance(IDLE_TIMEOUT / 2 - Duration::from_millis(1));
    assert_eq!(world.net.open.get(), 2);
    world.env.advance(Duration::from_millis(1));
    assert_eq!(world.net.open.get(), 1);
    world.env.advance(IDLE_TIMEOUT / 2);
    assert_eq!(world.net.open.get(), 0);
    assert_eq!(world.tally.closed(CloseCause::IdleTimeout), 2);
    // And again after the pool was empty.
    world.exchange(&cluster);
    world.env.advance(IDLE_TIMEOUT);
    assert_eq!(world.tally.closed(CloseCause::IdleTimeout), 3);
}

#[test]
fn use_moves_the_idle_timeout_and_does_not_wake_the_janitor() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    world.exchange(&cluster);
    world.env.run();
    let before = world.env.polls.get();
    for _ in 0..IDLE_TIMEOUT.as_secs() * 2 {
        world.env.advance(Duration::from_secs(1));
        (0..10).for_each(|_| complete(world.ask(&cluster, Reuse::Allowed).lease()));
    }
    assert_eq!((world.net.open.get(), world.tally.opened.get()), (1, 1));
    assert!(world.env.polls.get() - before <= 4, "one look per idle timeout, not per request");
    let lease = world.lease(&cluster);
    world.env.advance(IDLE_TIMEOUT * 3);
    assert_eq!(world.net.open.get(), 1, "in use is not idle");
    complete(lease);
    world.env.advance(IDLE_TIMEOUT);
    assert_eq!(world.net.open.get(), 0);
}

#[test]
fn without_an_idle_timeout_connections_stay() {
    let world = World::new();
    let cluster = world.cluster(ClusterParams { idle_timeout: None, ..params([1]) });
    world.exchange(&cluster);
    world.env.advance(Duration::from_secs(1_000_000));
    assert_eq!(world.net.open.get(), 1);
}

#[test]
fn a_connection_ends_after_its_share_of_requests() {
    let world = World::new();
    let cluster = world.cluster(ClusterParams { max_requests_per_connection: NonZeroU32::new(3), ..params([1]) });
    (0..7).for_each(|_| world.exchange(&cluster));
    let served: Vec<_> = world.net.conns().iter().map(|conn| conn.served.get()).collect();
    assert_eq!(served, [3, 3, 1]);
    assert_eq!(world.tally.closed(CloseCause::MaxRequests), 2);
    assert_eq!(world.net.open.get(), 1);
}

#[test]
fn a_multiplexed_connection_is_shared_up_to_its_slots() {
    let world = World::new();
    world.net.slots.set(3);
    let cluster = world.cluster(ClusterParams { expected_slots: NonZeroU32::new(3).unwrap(), ..params([1]) });
    let mut asks: Vec<_> = (0..4).map(|_| world.ask(&cluster, Reuse::Allowed)).collect();
    world.env.run();
    let mut leases: Vec<_> = asks.iter_mut().map(|ask| ask.lease()).collect();
    assert_eq!(world.tally.opened.get(), 2, "three requests on one, the fourth on another");
    let exchanges: Vec<_> = leases.iter_mut().map(|lease| lease.open(request())).collect();
    assert_eq!(world.net.conn(0).used() + world.net.conn(1).used(), 4);
    world.env.advance(IDLE_TIMEOUT * 2);
    assert_eq!(world.net.open.get(), 2, "connections with anything under way are not idle");
    for mut exchange in exchanges {
        assert!(exchange.poll_head(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready());
    }
    drop(leases);
    world.env.advance(IDLE_TIMEOUT);
    assert_eq!(world.net.open.get(), 0);
}

#[test]
fn a_connection_that_takes_fewer_than_expected_gets_company() {
    let world = World::new();
    let cluster = world.cluster(ClusterParams { expected_slots: NonZeroU32::new(3).unwrap(), ..params([1]) });
    let mut asks: Vec<_> = (0..3).map(|_| world.ask(&cluster, Reuse::Allowed)).collect();
    world.net.mode.set(Mode::Hold);
    world.env.run();
    assert_eq!(world.net.held(), 1, "one is expected to do");
    world.net.mode.set(Mode::Accept);
    world.net.settle_one(true);
    world.env.run();
    let leases: Vec<_> = asks.iter_mut().map(|ask| ask.lease()).collect();
    assert_eq!((leases.len(), world.tally.opened.get()), (3, 3));
}

#[test]
fn those_who_wait_are_served_in_order() {
    let world = World::new();
    world.net.mode.set(Mode::Hold);
    let cluster = world.cluster(params([1]));
    let mut asks: Vec<_> = (0..3).map(|_| world.ask(&cluster, Reuse::Allowed)).collect();
    world.env.run();
    assert_eq!((world.net.held(), world.tally.pending.get(), cluster.hosts()[0].active()), (3, 3, 3));
    for at in 0..3 {
        world.net.settle_one(true);
        world.env.run();
        let ready: Vec<_> = asks.iter_mut().map(|ask| ask.is_ready()).collect();
        assert_eq!(ready, [true, at >= 1, at >= 2]);
    }
    drop(asks);
    assert_eq!((world.tally.pending.get(), cluster.hosts()[0].active()), (0, 0));
}

#[test]
fn a_returned_connection_goes_to_the_next_in_line_and_the_new_one_becomes_idle() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    let busy = world.lease(&cluster);
    world.net.mode.set(Mode::Hold);
    let mut ask = world.ask(&cluster, Reuse::Allowed);
    world.env.run();
    complete(busy);
    let lease = ask.lease();
    assert!(lease.is_reused());
    world.net.settle_one(true);
    world.env.run();
    assert_eq!(cluster.report()[0].connections_idle, 1);
    complete(lease);
}

#[test]
fn a_cancelled_request_leaves_its_connection_to_others() {
    let world = World::new();
    world.net.mode.set(Mode::Hold);
    let cluster = world.cluster(params([1]));
    let ask = world.ask(&cluster, Reuse::Allowed);
    world.env.run();
    drop(ask);
    assert_eq!((world.tally.pending.get(), cluster.hosts()[0].active()), (0, 0));
    assert_eq!(world.tally.cancelled.get(), 1);
    world.net.settle_one(true);
    world.env.run();
    let lease = world.ask(&cluster, Reuse::Allowed).lease();
    assert_eq!(world.net.attempts.get(), 1);
    drop(lease);
}

#[test]
fn a_connection_granted_to_a_request_that_goes_away_reaches_the_next() {
    let world = World::new();
    world.net.mode.set(Mode::Hold);
    let cluster = world.cluster(params([1]));
    let (first, mut second) = (world.ask(&cluster, Reuse::Allowed), world.ask(&cluster, Reuse::Allowed));
    world.env.run();
    world.net.settle_one(true);
    world.env.run();
    // Granted to the first, which has not run since.
    drop(first);
    assert_eq!(second.lease().conn().info.id, 1);
}

#[test]
fn connecting_and_waiting_end_at_the_connect_timeout() {
    let world = World::new();
    world.net.mode.set(Mode::Hold);
    let cluster = world.cluster(params([1]));
    let mut ask = world.ask(&cluster, Reuse::Allowed);
    world.env.advance(CONNECT_TIMEOUT - Duration::from_millis(1));
    assert!(!ask.is_ready());
    world.env.advance(Duration::from_millis(1));
    let error = ask.error();
    assert!(matches!(&error, AcquireError::Connect { cause: ConnectError::Timeout, .. }), "{error:?}");
    assert_eq!((error.host(), error.flag()), (Some(&address(1)), ResponseFlag::UpstreamConnectionFailure));
    assert_eq!((world.tally.timed_out.get(), world.tally.pending_failed.get()), (1, 1));
    assert_eq!(world.tally.cancelled.get(), 0, "nobody gave it up");
    assert_eq!(cluster.report()[0].connect_failures, 1);
    drop(cluster);
    world.assert_quiet();
}

#[test]
fn a_handshake_that_hangs_ends_at_the_connect_timeout() {
    let world = World::new();
    let mut services = world.services();
    services.factory = std::rc::Rc::new(|stream, _| {
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(stream);
            Err(ringway_api::ConnError::new(ringway_api::Blame::Upstream, "never"))
        })
    });
    let cluster = ringway_upstream::Cluster::rebuild(None, params([1]), services);
    let mut ask = world.ask(&cluster, Reuse::Allowed);
    world.env.run();
    assert_eq!(world.net.open.get(), 1);
    world.env.advance(CONNECT_TIMEOUT);
    assert!(matches!(ask.error(), AcquireError::Connect { cause: ConnectError::Timeout, .. }));
    assert_eq!(world.net.open.get(), 0);
}

#[test]
fn a_refused_connection_fails_one_request() {
    let world = World::new();
    world.net.mode.set(Mode::Hold);
    let cluster = world.cluster(params([1]));
    let mut asks: Vec<_> = (0..2).map(|_| world.ask(&cluster, Reuse::Allowed)).collect();
    world.env.run();
    world.net.settle_one(false);
    world.env.run();
    assert!(matches!(asks[0].error(), AcquireError::Connect { cause: ConnectError::Failed(_), .. }));
    assert!(!asks[1].is_ready());
    world.net.settle_one(true);
    world.env.run();
    drop(asks[1].lease());
    assert_eq!((world.tally.failed.get(), world.tally.opened.get()), (1, 1));
}

#[test]
fn a_fresh_connection_is_not_one_that_was_idle() {
    let world = World::new();
    let cluster = world.cluster(params([1]));
    world.exchange(&cluster);
    let mut ask = world.ask(&cluster, Reuse::Fresh);
    assert!(!ask.is_ready());
    world.env.run();
    let lease = ask.lease();
    assert!(!lease.is_reused());
    assert_eq!((lease.conn().info.id, world.net.open.get()), (2, 2));
}

#[test]
fn a_worker_that_ends_leaves_nothing_waiting() {
    let world = World::new();
    world.net.mode.set(Mode::Hold);
    let cluster = world.cluster(params([1]));
    let mut ask = world.ask(&cluster, Reuse::Allowed);
    world.env.run();
    world.env.abandon_tasks();
    assert!(matches!(ask.error(), AcquireError::Handshake { .. }));
    drop((ask, cluster));
    world.assert_quiet();
}
