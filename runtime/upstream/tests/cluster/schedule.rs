//! Random schedules of everything that can happen: whatever the order, nothing leaks.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use ringway_upstream::{BreakerLimits, Cluster, ClusterParams, Reuse, Want};

use crate::net::Mode;
use crate::world::{IDLE_TIMEOUT, World, complete, hosts, params, request};

#[derive(Clone, Debug)]
enum Step {
    Ask { fresh: bool },
    Run,
    Settle { accept: bool },
    Complete(usize),
    CutShort(usize),
    Drop(usize),
    Cancel(usize),
    PeerCloses(usize),
    Wake(usize),
    Pass(Duration),
    Connecting(Mode),
    Hosts(Vec<u8>),
    Transport(u64),
    Unusable(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0usize..8;
    prop_oneof![
        8 => any::<bool>().prop_map(|fresh| Step::Ask { fresh }),
        6 => Just(Step::Run),
        4 => any::<bool>().prop_map(|accept| Step::Settle { accept }),
        6 => at.clone().prop_map(Step::Complete),
        1 => at.clone().prop_map(Step::CutShort),
        2 => at.clone().prop_map(Step::Drop),
        2 => at.clone().prop_map(Step::Cancel),
        3 => at.clone().prop_map(Step::PeerCloses),
        1 => at.prop_map(Step::Wake),
        2 => (0u64..40_000).prop_map(|ms| Step::Pass(Duration::from_millis(ms))),
        1 => prop_oneof![Just(Mode::Accept), Just(Mode::Hold), Just(Mode::Refuse)].prop_map(Step::Connecting),
        1 => prop::collection::vec(1u8..5, 0..4).prop_map(Step::Hosts),
        1 => (0u64..2).prop_map(Step::Transport),
        1 => (1u8..5).prop_map(Step::Unusable),
    ]
}

fn check(slots: usize, connections: u32, most: Option<u32>, steps: Vec<Step>) {
    let world = World::new();
    world.net.slots.set(slots);
    let limits = BreakerLimits::new(connections, 4, 6, 1);
    let mut cluster = world.cluster(ClusterParams {
        limits: limits.clone(),
        max_requests_per_connection: most.and_then(NonZeroU32::new),
        ..params([1, 2])
    });
    let (mut asks, mut leases) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Ask { fresh } => {
                if let Ok(host) = cluster.pick(Want::default()) {
                    assert!(host.is_usable());
                    let reuse = if fresh { Reuse::Fresh } else { Reuse::Allowed };
                    asks.push(world.ask_host(&cluster, &host, reuse));
                }
            }
            Step::Run => world.env.run(),
            Step::Settle { accept } if world.net.held() > 0 => world.net.settle_one(accept),
            Step::Complete(at) if at < leases.len() => complete(leases.swap_remove(at)),
            Step::CutShort(at) if at < leases.len() => {
                let mut lease: ringway_upstream::Lease = leases.swap_remove(at);
                drop(lease.open(request()));
            }
            Step::Drop(at) if at < leases.len() => drop(leases.swap_remove(at)),
            Step::Cancel(at) if at < asks.len() => drop(asks.swap_remove(at)),
            Step::PeerCloses(at) => world.net.conns().iter().rev().skip(at).take(1).for_each(|conn| conn.close()),
            Step::Wake(at) => world.net.conns().iter().rev().skip(at).take(1).for_each(|conn| conn.wake()),
            Step::Pass(span) => world.env.advance(span),
            Step::Connecting(mode) => world.net.mode.set(mode),
            Step::Hosts(list) => cluster = cluster.with_hosts(hosts(list)),
            Step::Transport(transport) => {
                let params = ClusterParams { transport, ..cluster.params().clone() };
                cluster = Cluster::rebuild(Some(&cluster), params, world.services());
            }
            Step::Unusable(host) => {
                let usable = cluster.hosts().iter().find(|known| known.address() == &crate::world::address(host));
                usable.into_iter().for_each(|host| host.set_usable(!host.is_usable()));
            }
            _ => {}
        }
        asks.retain_mut(|ask| match ask.take() {
            Some(Ok(lease)) => {
                leases.push(lease);
                false
            }
            Some(Err(_)) => false,
            None => true,
        });
        assert_eq!(world.tally.requests.get(), leases.len() as i64);
        assert_eq!(world.tally.pending.get(), asks.len() as i64);
        assert!(leases.len() <= 6 && asks.len() <= 4);
        assert_eq!(world.tally.open.get(), world.net.open.get() as i64);
    }
    // Everybody is served or told within the connect timeout, whatever happened before.
    world.env.advance(crate::world::CONNECT_TIMEOUT);
    assert!(asks.iter_mut().all(|ask| ask.is_ready()));
    drop(asks);
    drop(leases);
    let active: u32 = cluster.hosts().iter().map(|host| host.active()).sum();
    assert_eq!(active, 0);
    world.env.advance(IDLE_TIMEOUT + Duration::from_secs(10));
    assert_eq!(world.net.open.get(), 0, "the idle timeout took the rest");
    drop(Rc::clone(&cluster));
    drop(cluster);
    world.assert_quiet();
    for limit in [limits.connections, limits.pending, limits.requests] {
        assert_eq!(limit.left(), limit.limit());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_leaks_under_any_schedule(
        slots in 1usize..3,
        connections in 1u32..5,
        most in prop::option::of(1u32..4),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        check(slots, connections, most, steps);
    }
}
