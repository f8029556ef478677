use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Ten hosts, what was counted of each, and a clock.
struct World {
    detector: Detector<u32>,
    totals: Vec<[Totals; 2]>,
    now: Time,
    events: Vec<OutlierEvent<u32>>,
}

impl World {
    fn new(hosts: u32, config: OutlierConfig) -> Self {
        let mut detector = Detector::new(config, 7);
        detector.set_hosts((0..hosts).map(|host| (host, Default::default())));
        let totals = vec![Default::default(); hosts as usize];
        Self { detector, totals, now: Time(0), events: Vec::new() }
    }

    fn count(&mut self, host: usize, successes: u64, failures: u64) {
        let [external, _] = &mut self.totals[host];
        external.successes += successes;
        external.failures += failures;
    }

    fn row(&mut self, host: u32, cause: OutlierCause) -> Vec<OutlierEvent<u32>> {
        self.detector.failed_in_a_row(self.now, &host, cause, &mut self.events);
        std::mem::take(&mut self.events)
    }

    /// An interval later.
    fn interval(&mut self) -> Vec<OutlierEvent<u32>> {
        self.now = self.now + self.detector.config().interval;
        let totals = &self.totals;
        self.detector.interval(self.now, |host| totals[*host as usize], &mut self.events);
        std::mem::take(&mut self.events)
    }

    fn intervals(&mut self, count: usize) -> Vec<OutlierEvent<u32>> {
        (0..count).flat_map(|_| self.interval()).collect()
    }
}

fn ejected(host: u32, cause: OutlierCause, seconds: u32, times: u32) -> OutlierEvent<u32> {
    let what = OutlierAction::Ejected { cause, span: SECOND * seconds, enforced: true, times };
    OutlierEvent { host, what }
}

fn unejected(host: u32, seconds: u32) -> OutlierEvent<u32> {
    OutlierEvent { host, what: OutlierAction::Unejected { after: SECOND * seconds } }
}

use OutlierCause::{Consecutive5xx, ConsecutiveGatewayFailure, FailurePercentage, LocalOriginSuccessRate, SuccessRate};

#[test]
fn an_ejected_host_comes_back_after_its_time() {
    let mut world = World::new(10, OutlierConfig::default());
    assert_eq!(world.row(3, Consecutive5xx), [ejected(3, Consecutive5xx, 30, 1)]);
    assert!(world.detector.is_ejected(&3));
    assert_eq!(world.row(3, Consecutive5xx), [], "it is out already");
    assert_eq!(world.intervals(2), []);
    assert_eq!(world.interval(), [unejected(3, 30)]);
    assert!(!world.detector.is_ejected(&3));
    assert_eq!(world.row(77, Consecutive5xx), [], "it has left");
}

#[test]
fn ejections_grow_to_a_limit_and_shrink_while_a_host_is_well() {
    let mut world = World::new(10, OutlierConfig::default());
    // Ejected again and again as soon as it is back: 30 s, 60 s ... 300 s, 300 s.
    for times in 1..=12_u32 {
        let seconds = (30 * times).min(300);
        assert_eq!(world.row(0, Consecutive5xx), [ejected(0, Consecutive5xx, seconds, times)]);
        let back = world.intervals(seconds as usize / 10);
        assert_eq!(back, [unejected(0, seconds)], "ejection {times}");
    }
    // Four quiet intervals take four steps back: ten times 30 s, less four, plus one.
    assert_eq!(world.intervals(4), []);
    assert_eq!(world.row(0, Consecutive5xx), [ejected(0, Consecutive5xx, 210, 13)]);
    world.intervals(21);
    assert_eq!(world.intervals(100), []);
    assert_eq!(world.row(0, Consecutive5xx), [ejected(0, Consecutive5xx, 30, 14)], "as if for the first time");
}

#[test]
fn a_share_of_hosts_may_be_ejected_and_one_always() {
    // Hosts, percentage, how many may be out.
    for (hosts, percent, most) in
        [(1, 10, 1), (3, 10, 1), (10, 10, 1), (20, 10, 2), (10, 50, 5), (10, 100, 10), (4, 0, 1)]
    {
        let mut world = World::new(hosts, OutlierConfig { max_ejection_percent: percent, ..Default::default() });
        let events: Vec<_> = (0..hosts).flat_map(|host| world.row(host, Consecutive5xx)).collect();
        let out = events.iter().filter(|event| matches!(event.what, OutlierAction::Ejected { .. })).count();
        assert_eq!((out, world.detector.ejections_active()), (most, most), "{hosts} hosts, {percent} %");
        assert_eq!(events.len(), hosts as usize, "the others are told of as overflow");
    }
}

#[test]
fn what_is_not_enforced_is_told_and_ejects_nobody() {
    let mut world = World::new(10, OutlierConfig::default());
    let what =
        OutlierAction::Ejected { cause: ConsecutiveGatewayFailure, span: Duration::ZERO, enforced: false, times: 0 };
    assert_eq!(world.row(1, ConsecutiveGatewayFailure), [OutlierEvent { host: 1, what }]);
    assert!(!world.detector.is_ejected(&1));

    let half = OutlierConfig { enforcing_consecutive_5xx: 50, max_ejection_percent: 100, ..Default::default() };
    let mut world = World::new(1000, half);
    (0..1000).for_each(|host| drop(world.row(host, Consecutive5xx)));
    assert!((400..600).contains(&world.detector.ejections_active()), "{}", world.detector.ejections_active());
}

#[test]
fn a_success_rate_far_below_the_mean_is_an_outlier() {
    let mut world = World::new(6, OutlierConfig::default());
    for host in 0..5 {
        world.count(host, 99, 1);
    }
    world.count(5, 60, 40);
    assert_eq!(world.interval(), [ejected(5, SuccessRate, 30, 1)]);
    assert_eq!(world.detector.success_rates(&5), [Some(60.0), None]);
    world.interval();
    assert_eq!(world.detector.success_rates(&5), [None; 2]);
    // What happened in the interval before is not held against anybody again.
    assert_eq!(world.interval(), []);
    assert_eq!(world.interval(), [unejected(5, 30)]);
}

#[test]
fn rates_need_hosts_and_requests() {
    let quiet = |hosts: u32, requests: u64, config: OutlierConfig| {
        let mut world = World::new(hosts, config);
        for host in 0..hosts as usize - 1 {
            world.count(host, requests, 0);
        }
        world.count(hosts as usize - 1, 0, requests);
        world.interval()
    };
    let usual = OutlierConfig::default();
    assert_eq!(quiet(4, 1000, usual), [], "four hosts are too few");
    assert_eq!(quiet(5, 49, usual), [], "49 requests are too few");
    assert_eq!(quiet(5, 100, usual).first(), Some(&ejected(4, SuccessRate, 30, 1)));
    let percentage = OutlierConfig { enforcing_success_rate: 0, enforcing_failure_percentage: 100, ..usual };
    let events = quiet(5, 50, percentage);
    assert_eq!(events, [ejected(4, FailurePercentage, 30, 1)], "too few for rates, enough for percentages");
}

#[test]
fn equal_hosts_are_no_outliers() {
    let mut world = World::new(10, OutlierConfig::default());
    for _ in 0..20 {
        for host in 0..10 {
            world.count(host, 50, 50);
        }
        assert_eq!(world.interval(), [], "all are as bad as the others");
    }
}

#[test]
fn failures_of_this_side_have_rates_of_their_own() {
    let config = OutlierConfig { split_external_local_origin_errors: true, ..Default::default() };
    let mut world = World::new(6, config);
    for (host, [external, local]) in world.totals.iter_mut().enumerate() {
        external.successes = 200;
        local.successes = 200;
        if host == 2 {
            local.failures = 150;
        }
    }
    assert_eq!(world.interval(), [ejected(2, LocalOriginSuccessRate, 30, 1)]);
}

#[test]
fn a_successful_check_lets_a_host_back_if_it_may() {
    for may in [true, false] {
        let config = OutlierConfig { successful_active_health_check_uneject_host: may, ..Default::default() };
        let mut world = World::new(3, config);
        world.row(1, Consecutive5xx);
        world.now = world.now + SECOND;
        let mut events = Vec::new();
        world.detector.health_check_passed(world.now, &1, &mut events);
        assert_eq!(events, if may { vec![unejected(1, 1)] } else { vec![] });
    }
}

#[test]
fn hosts_that_stay_keep_their_history_and_those_that_leave_make_room() {
    let mut world = World::new(3, OutlierConfig::default());
    world.row(0, Consecutive5xx);
    let totals = Totals { successes: 1000, failures: 1000 };
    world.detector.set_hosts([0, 1, 9].map(|host| (host, [totals; 2])));
    assert!(world.detector.is_ejected(&0));
    assert!(matches!(world.row(1, Consecutive5xx)[..], [OutlierEvent { what: OutlierAction::Overflow { .. }, .. }]));
    world.detector.set_hosts([1, 9].map(|host| (host, [totals; 2])));
    assert_eq!(world.detector.ejections_active(), 0);
    assert_eq!(world.row(1, Consecutive5xx), [ejected(1, Consecutive5xx, 30, 1)]);
    world.detector.release_all(world.now + SECOND, &mut world.events);
    assert_eq!(world.events, [unejected(1, 1)]);
}

#[test]
fn a_shorter_ejection_holds_for_those_who_are_out() {
    let mut world = World::new(3, OutlierConfig::default());
    world.row(0, Consecutive5xx);
    assert_eq!(world.interval(), []);
    world.detector.configure(OutlierConfig { base_ejection_time: SECOND, ..OutlierConfig::default() });
    assert_eq!(world.interval(), [unejected(0, 20)]);
}

#[test]
fn jitter_is_added_to_each_ejection() {
    let config =
        OutlierConfig { max_ejection_time_jitter: 10 * SECOND, max_ejection_percent: 100, ..OutlierConfig::default() };
    let mut world = World::new(50, config);
    let spans: Vec<_> = (0..50)
        .flat_map(|host| world.row(host, Consecutive5xx))
        .map(|event| match event.what {
            OutlierAction::Ejected { span, .. } => span,
            _ => Duration::ZERO,
        })
        .collect();
    assert!(spans.iter().all(|span| (30 * SECOND..=40 * SECOND).contains(span)), "{spans:?}");
    assert!(spans.iter().collect::<std::collections::HashSet<_>>().len() > 40);
}

/// What must hold whatever happens: not too many are out, nobody for longer than allowed, and events tell all of it.
#[test]
fn the_rules_hold_under_any_schedule() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut pick = move |below: u64| dice.next() % below;
        let hosts = 1 + pick(30) as u32;
        let config = OutlierConfig {
            max_ejection_percent: pick(101) as u32,
            max_ejection_time: SECOND * (30 + pick(200) as u32),
            max_ejection_time_jitter: SECOND * pick(20) as u32,
            enforcing_consecutive_gateway_failure: pick(101) as u32,
            enforcing_failure_percentage: 100,
            ..OutlierConfig::default()
        };
        let most = ((hosts * config.max_ejection_percent / 100) as usize).max(1);
        let longest = config.max_ejection_time + config.max_ejection_time_jitter + config.interval;
        let mut world = World::new(hosts, config);
        let mut out: HashMap<u32, Time> = HashMap::new();
        for _ in 0..400 {
            let mut events = match pick(4) {
                0 => world.interval(),
                1 => world.row(pick(u64::from(hosts)) as u32, ConsecutiveGatewayFailure),
                2 => world.row(pick(u64::from(hosts)) as u32, Consecutive5xx),
                _ => {
                    world.count(pick(u64::from(hosts)) as usize, pick(200), pick(200));
                    Vec::new()
                }
            };
            for OutlierEvent { host, what } in events.drain(..) {
                match what {
                    OutlierAction::Ejected { enforced: true, .. } => {
                        assert!(out.insert(host, world.now).is_none(), "seed {seed}: {host} was out already");
                    }
                    OutlierAction::Unejected { after } => {
                        let since = out.remove(&host).unwrap();
                        assert_eq!(world.now.since(since), after, "seed {seed}");
                        assert!(after >= config.base_ejection_time.min(longest), "seed {seed}: {after:?}");
                    }
                    OutlierAction::Ejected { .. } => assert!(!out.contains_key(&host), "seed {seed}"),
                    OutlierAction::Overflow { .. } => assert!(out.len() >= most, "seed {seed}: there was room"),
                }
            }
            assert!(out.len() <= most, "seed {seed}: {} of {hosts} are out", out.len());
            assert_eq!(world.detector.ejections_active(), out.len(), "seed {seed}");
            for (host, since) in &out {
                assert!(world.detector.is_ejected(host));
                assert!(world.now.since(*since) <= longest, "seed {seed}: {host} is forgotten");
            }
        }
    }
}
