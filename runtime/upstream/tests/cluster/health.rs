//! What health makes of a cluster's hosts.

use std::sync::Arc;

use ringway_upstream::{
    AcquireError, ClusterParams, HealthBell, HealthFlags, HealthSignals, HostHealth, HostParams, Outcome,
    PassiveParams, Want,
};

use crate::world::{World, address, params};

fn sick(health: &Arc<HostHealth>, host: u8) -> HostParams {
    HostParams { health: Some(Arc::clone(health)), ..HostParams::new(address(host)) }
}

#[test]
fn a_host_is_picked_as_its_health_says_once_the_worker_is_told() {
    let world = World::new();
    let health = HostHealth::new(1, HealthBell::new(|| ()));
    let cluster = world.cluster(ClusterParams { hosts: vec![sick(&health, 1)], ..params([]) });
    assert!(cluster.pick(Want::default()).is_ok());
    assert!(health.set(HealthFlags::FAILED_ACTIVE_HC, true));
    assert!(cluster.pick(Want::default()).is_ok(), "workers are told");
    cluster.sync_health();
    assert!(matches!(cluster.pick(Want::default()), Err(AcquireError::NoHealthyHost)));
    assert_eq!(world.tally.members.get(), (1, 0));
    assert_eq!(cluster.hosts()[0].report().health.to_string(), "/failed_active_hc");

    // A view built meanwhile knows, and a host whose health nobody looks at any more is free.
    let next = cluster.with_hosts(vec![sick(&health, 1), HostParams::new(address(2))]);
    assert_eq!(world.tally.members.get(), (2, 1));
    let free = next.with_hosts(vec![HostParams::new(address(1))]);
    assert_eq!(world.tally.members.get(), (1, 1));
    assert!(free.pick(Want::default()).is_ok());
}

#[test]
fn outcomes_are_counted_where_outliers_are_looked_for() {
    let world = World::new();
    let health = HostHealth::new(1, HealthBell::new(|| ()));
    let of = |passive| ClusterParams { hosts: vec![sick(&health, 1)], passive, ..params([]) };
    let off = world.cluster(of(None));
    let host = Arc::clone(&health);
    off.attempt_ended(&off.hosts()[0], Outcome::Answered(500));
    assert_eq!(host.totals()[0].failures, 0);

    let passive = PassiveParams { outliers: true, consecutive_5xx: 2, ..PassiveParams::default() };
    let on = world.cluster(of(Some(passive)));
    for _ in 0..2 {
        on.attempt_ended(&on.hosts()[0], Outcome::Answered(500));
    }
    assert_eq!(host.totals()[0].failures, 2);
    assert!(host.take_signals().contains(HealthSignals::FAILURES_5XX));
    assert!(!on.heeds_immediate_failure());
    on.fail_immediately(&on.hosts()[0]);
    assert!(host.take_signals().contains(HealthSignals::IMMEDIATE_FAIL));
}
