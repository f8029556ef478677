use std::sync::atomic::AtomicUsize;

use super::*;

const EVERYTHING: PassiveParams = PassiveParams {
    outliers: true,
    consecutive_5xx: 5,
    consecutive_gateway_failure: 3,
    consecutive_local_origin_failure: 2,
    split_local_origin: false,
    immediate_fail: false,
};

fn host(workers: usize) -> (Arc<HostHealth>, Arc<HealthBell>, Arc<AtomicUsize>) {
    let woken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&woken);
    let bell = HealthBell::new(move || {
        counted.fetch_add(1, Relaxed);
    });
    (HostHealth::new(workers, Arc::clone(&bell)), bell, woken)
}

#[test]
fn a_row_of_failures_is_one_row_over_all_workers() {
    let (health, bell, woken) = host(4);
    for worker in 0..4 {
        health.record(&EVERYTHING, worker, Outcome::Answered(500));
    }
    assert!(!bell.take());
    health.record(&EVERYTHING, 1, Outcome::Answered(500));
    assert!(bell.take());
    let signals = health.take_signals();
    assert!(signals.contains(HealthSignals::FAILURES_5XX));
    assert!(!signals.contains(HealthSignals::GATEWAY_FAILURES), "500 is no gateway failure");
    assert_eq!(woken.load(Relaxed), 1);
    assert_eq!(health.totals()[0], Totals { successes: 0, failures: 5 });
}

#[test]
fn a_success_anywhere_ends_the_row() {
    let (health, bell, _) = host(2);
    for _ in 0..10 {
        for _ in 0..4 {
            health.record(&EVERYTHING, 0, Outcome::Answered(500));
        }
        health.record(&EVERYTHING, 1, Outcome::Answered(404));
    }
    assert!(!bell.take());
    assert_eq!(health.totals()[0], Totals { successes: 10, failures: 40 });
}

#[test]
fn the_control_plane_is_woken_once_per_row() {
    let (health, bell, woken) = host(1);
    for _ in 0..50 {
        health.record(&EVERYTHING, 0, Outcome::Answered(503));
    }
    // Once for the gateway failures; the bell was not heard yet when the 5xx were enough.
    assert_eq!(woken.load(Relaxed), 1);
    assert!(bell.take());
    let signals = health.take_signals();
    assert!(signals.contains(HealthSignals::GATEWAY_FAILURES) && signals.contains(HealthSignals::FAILURES_5XX));
    health.reset_streaks(HealthSignals::STREAKS);
    for _ in 0..2 {
        health.record(&EVERYTHING, 0, Outcome::Answered(503));
    }
    assert!(!bell.take());
}

#[test]
fn failures_of_this_side_count_as_statuses_unless_told_apart() {
    let cases = [
        // Outcome, what it counts as when not told apart: external successes and failures, gateway failures.
        (Outcome::Connected, (1, 0), false),
        (Outcome::ConnectFailed, (0, 1), true),
        (Outcome::TimedOut, (0, 1), true),
        (Outcome::Malformed, (0, 1), false),
        (Outcome::Answered(200), (1, 0), false),
        (Outcome::Answered(504), (0, 1), true),
        (Outcome::Answered(599), (0, 1), false),
    ];
    for (outcome, (successes, failures), gateway) in cases {
        let (health, ..) = host(1);
        let params = PassiveParams { consecutive_gateway_failure: 1, ..EVERYTHING };
        health.record(&params, 0, outcome);
        assert_eq!(health.totals(), [Totals { successes, failures }, Totals::default()], "{outcome:?}");
        assert_eq!(health.take_signals().contains(HealthSignals::GATEWAY_FAILURES), gateway, "{outcome:?}");

        let (health, ..) = host(1);
        let split = PassiveParams { split_local_origin: true, ..EVERYTHING };
        health.record(&split, 0, outcome);
        health.record(&split, 0, outcome);
        let local = matches!(outcome, Outcome::ConnectFailed | Outcome::TimedOut);
        let counted = if local { (0, 2) } else { (2, 0) };
        assert_eq!((health.totals()[1].successes, health.totals()[1].failures), counted, "{outcome:?}");
        assert_eq!(health.take_signals().contains(HealthSignals::LOCAL_ORIGIN_FAILURES), local, "{outcome:?}");
    }
}

#[test]
fn a_threshold_of_zero_is_never_reached() {
    let (health, bell, _) = host(1);
    let params = PassiveParams { outliers: true, ..PassiveParams::default() };
    for _ in 0..100 {
        health.record(&params, 0, Outcome::Answered(503));
    }
    assert!(!bell.take());
}

#[test]
fn flags_are_shown_as_envoy_shows_them() {
    let (health, ..) = host(1);
    assert_eq!(health.flags().to_string(), "healthy");
    assert!(!health.set(HealthFlags::PENDING_ACTIVE_HC, true), "pending alone keeps nobody away");
    assert!(health.is_usable());
    assert!(health.set(HealthFlags::FAILED_ACTIVE_HC, true));
    assert!(!health.set(HealthFlags::FAILED_OUTLIER_CHECK, true), "it could not be picked before");
    assert_eq!(health.flags().to_string(), "/failed_active_hc/failed_outlier_check/pending_active_hc");
    assert!(!health.set(HealthFlags::FAILED_ACTIVE_HC | HealthFlags::PENDING_ACTIVE_HC, false));
    assert!(health.set(HealthFlags::FAILED_OUTLIER_CHECK, false));
    assert!(health.is_usable());
}
