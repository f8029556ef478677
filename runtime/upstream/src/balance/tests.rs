use std::time::Duration;

use proptest::prelude::*;
use ringway_api::{Balancer, BalancerSpec, DynBalancer, HostState, Hosts, Latency, LoadBalancer, PickCx, Time};

use super::*;

const ALL: [BalancerSpec; 6] = [
    BalancerSpec::of::<RoundRobin>(),
    BalancerSpec::of::<LeastRequest>(),
    BalancerSpec::of::<PeakEwma>(),
    BalancerSpec::of::<Random>(),
    BalancerSpec::of::<RingHash>(),
    BalancerSpec::of::<Maglev>(),
];

fn hosts(weights: &[u32]) -> Vec<HostState> {
    weights.iter().zip(1..).map(|(weight, key)| HostState::new(*weight, key)).collect()
}

/// Random bits that a worker would draw: a different number each time.
fn cx(step: usize) -> PickCx {
    PickCx { random: (step as u64).wrapping_mul(0xd134_2543_de82_ef95), ..PickCx::default() }
}

fn seed(worker: u64) -> u64 {
    Draw(worker).below(u64::MAX)
}

fn counts(balancer: &impl LoadBalancer, hosts: &[HostState], picks: usize) -> Vec<usize> {
    let mut counts = vec![0; hosts.len()];
    for step in 0..picks {
        counts[LoadBalancer::pick(balancer, Hosts::all(hosts), cx(step)).unwrap()] += 1;
    }
    counts
}

#[test]
fn round_robin_is_exact_over_every_cycle() {
    for seed in [0, 1, 12_345_678_901, u64::MAX] {
        let equal = hosts(&[1; 4]);
        assert_eq!(
            counts(
                &RoundRobin::build(&RoundRobin::compile(Default::default()).unwrap(), Hosts::all(&equal), seed),
                &equal,
                400
            ),
            [100; 4]
        );
        let weighted = hosts(&[5, 1, 1]);
        let balancer =
            RoundRobin::build(&RoundRobin::compile(Default::default()).unwrap(), Hosts::all(&weighted), seed);
        for _ in 0..100 {
            assert_eq!(counts(&balancer, &weighted, 7), [5, 1, 1]);
        }
    }
}

#[test]
fn weighted_turns_are_spread_and_do_not_come_in_bursts() {
    let hosts = hosts(&[4, 2, 1]);
    let balancer = RoundRobin::build(&RoundRobin::compile(Default::default()).unwrap(), Hosts::all(&hosts), 0);
    let picks: Vec<_> =
        (0..700).map(|step| LoadBalancer::pick(&balancer, Hosts::all(&hosts), cx(step)).unwrap()).collect();
    // Host 0 has 4 of 7 turns: no two others stand between, and never three of its own in a row.
    assert!(picks.windows(3).all(|run| run.contains(&0) && run != [0, 0, 0]), "{picks:?}");
}

#[test]
fn weights_without_a_small_common_multiple_stay_true() {
    let weights = [4_294_967_291, 4_294_967_279, 2_147_483_647];
    let hosts = hosts(&weights);
    let counts = counts(
        &RoundRobin::build(&RoundRobin::compile(Default::default()).unwrap(), Hosts::all(&hosts), 99),
        &hosts,
        500_000,
    );
    for (count, expected) in counts.iter().zip([200_000, 200_000, 100_000]) {
        assert!(count.abs_diff(expected) <= 2, "{counts:?}");
    }
}

#[test]
fn workers_start_at_different_hosts() {
    for weights in [&[1, 1, 1, 1, 1][..], &[3, 2, 1, 1, 2]] {
        let hosts = hosts(weights);
        let mut first: Vec<_> = (0..40)
            .filter_map(|worker| {
                let view = Hosts::all(&hosts);
                LoadBalancer::pick(&RoundRobin::build(&(), view, seed(worker)), view, cx(0))
            })
            .collect();
        first.sort_unstable();
        first.dedup();
        assert!(first.len() >= 3, "{first:?}");
    }
}

#[test]
fn the_neighbour_of_an_unusable_host_gets_no_double_share() {
    let equal = hosts(&[1; 4]);
    equal[1].usable.set(false);
    assert_eq!(
        counts(
            &RoundRobin::build(&RoundRobin::compile(Default::default()).unwrap(), Hosts::all(&equal), 0),
            &equal,
            300
        ),
        [100, 0, 100, 100]
    );
    let weighted = hosts(&[3, 3, 2, 1]);
    weighted[1].usable.set(false);
    let balancer = RoundRobin::build(&RoundRobin::compile(Default::default()).unwrap(), Hosts::all(&weighted), 0);
    assert_eq!(counts(&balancer, &weighted, 600), [300, 0, 200, 100]);
}

#[test]
fn a_host_that_comes_back_catches_up_on_nothing() {
    let hosts = hosts(&[2, 1, 1]);
    let balancer = RoundRobin::build(&RoundRobin::compile(Default::default()).unwrap(), Hosts::all(&hosts), 0);
    hosts[0].usable.set(false);
    counts(&balancer, &hosts, 1000);
    hosts[0].usable.set(true);
    let back = counts(&balancer, &hosts, 8);
    assert!((3..=5).contains(&back[0]), "{back:?}");
    let settled = counts(&balancer, &hosts, 400);
    assert!(settled[0].abs_diff(200) <= 1, "{settled:?}");
}

#[test]
fn least_request_prefers_what_has_less_under_way() {
    let hosts = hosts(&[1; 8]);
    hosts[3].active.set(1000);
    let balancer = LeastRequest::build(&LeastRequest::compile(Default::default()).unwrap(), Hosts::all(&hosts), 0);
    assert_eq!(counts(&balancer, &hosts, 1000)[3], 0, "always beaten by the second choice");
    hosts[3].active.set(0);
    hosts.iter().enumerate().filter(|(at, _)| *at != 3).for_each(|(_, host)| host.active.set(5));
    let drawn = counts(&balancer, &hosts, 8000)[3];
    // In the pair with probability 1 - (7/8 * 6/7) = 1/4.
    assert!((1800..2200).contains(&drawn), "{drawn}");
}

#[test]
fn least_request_of_two_hosts_always_takes_the_less_busy_one() {
    let hosts = hosts(&[1, 1]);
    let balancer = LeastRequest::build(&LeastRequest::compile(Default::default()).unwrap(), Hosts::all(&hosts), 0);
    hosts[0].active.set(1);
    assert_eq!(counts(&balancer, &hosts, 100), [0, 100]);
    hosts[0].active.set(0);
    let even = counts(&balancer, &hosts, 10_000);
    assert!(even[0].abs_diff(5000) < 300, "{even:?}");
}

#[test]
fn least_request_divides_weights_by_what_is_under_way() {
    let hosts = hosts(&[2, 1]);
    let balancer = LeastRequest::build(&LeastRequest::compile(Default::default()).unwrap(), Hosts::all(&hosts), 0);
    let free = counts(&balancer, &hosts, 3000);
    assert!(free[0].abs_diff(2000) <= 2, "{free:?}");
    hosts[0].active.set(3);
    // 2 / 4 against 1 / 1.
    let busy = counts(&balancer, &hosts, 3000);
    assert!(busy[0].abs_diff(1000) <= 3, "{busy:?}");
}

#[test]
fn random_follows_the_weights() {
    let equal = hosts(&[1; 4]);
    assert!(
        counts(&Random::build(&Random::compile(Default::default()).unwrap(), Hosts::all(&equal), 0), &equal, 40_000)
            .iter()
            .all(|count| count.abs_diff(10_000) < 500)
    );
    let weighted = hosts(&[1, 2, 7]);
    let drawn = counts(
        &Random::build(&Random::compile(Default::default()).unwrap(), Hosts::all(&weighted), 0),
        &weighted,
        100_000,
    );
    for (count, expected) in drawn.iter().zip([10_000usize, 20_000, 70_000]) {
        assert!(count.abs_diff(expected) < 1000, "{drawn:?}");
    }
}

#[test]
fn random_among_few_usable_hosts_still_follows_the_weights() {
    let hosts = hosts(&[100, 1, 2, 100]);
    hosts[0].usable.set(false);
    hosts[3].usable.set(false);
    let drawn =
        counts(&Random::build(&Random::compile(Default::default()).unwrap(), Hosts::all(&hosts), 0), &hosts, 30_000);
    assert!(drawn[1].abs_diff(10_000) < 700 && drawn[1] + drawn[2] == 30_000, "{drawn:?}");
}

#[test]
fn names_are_those_of_the_configuration() {
    assert_eq!(
        ALL.map(|spec| spec.name),
        ["round_robin", "least_request", "peak_ewma", "random", "ring_hash", "maglev"]
    );
}

proptest! {
    /// Whatever the weights and however hosts come, go and fill up: a pick is usable, and there is one as long as
    /// any host is.
    #[test]
    fn picks_are_usable_and_there_is_one_if_any_host_is(
        weights in prop::collection::vec(prop_oneof![Just(1u32), 1u32..9, any::<u32>()], 0..12),
        seed in any::<u64>(),
        steps in prop::collection::vec((any::<u64>(), any::<prop::sample::Index>(), any::<bool>(), 0u32..50), 1..200),
    ) {
        let hosts = hosts(&weights);
        let view = Hosts::all(&hosts);
        // A ring in which a light host beside a heavy one has its point would be large.
        let small = |spec: BalancerSpec| match spec.name {
            "ring_hash" => (spec.compile)(serde_json::json!({ "maximum_ring_size": 1024 })).unwrap(),
            "maglev" => (spec.compile)(serde_json::json!({ "table_size": 251 })).unwrap(),
            _ => spec.with_defaults().unwrap().options,
        };
        let balancers = ALL.map(|spec| Balancer { spec, options: small(spec) }.build(view, seed).unwrap());
        for (random, at, usable, active) in steps {
            if !hosts.is_empty() {
                let host = &hosts[at.index(hosts.len())];
                host.usable.set(usable);
                host.active.set(active);
            }
            for balancer in &balancers {
                match balancer.pick(view, PickCx { random, ..PickCx::default() }) {
                    Some(index) => prop_assert!(hosts[index].usable.get()),
                    None => prop_assert!(hosts.iter().all(|host| !host.usable.get())),
                }
            }
        }
    }

    /// Over a whole number of cycles every usable host has exactly its share of the turns.
    #[test]
    fn round_robin_shares_are_exact(
        weights in prop::collection::vec(1u32..20, 1..8),
        seed in any::<u64>(),
    ) {
        let hosts = hosts(&weights);
        let cycle: u32 = weights.iter().sum();
        let cycle = if weights.iter().all(|weight| *weight == weights[0]) { weights.len() } else { cycle as usize };
        let balancer = RoundRobin::build(&RoundRobin::compile(Default::default()).unwrap(), Hosts::all(&hosts), seed);
        let counts = counts(&balancer, &hosts, cycle * 3);
        for (count, weight) in counts.iter().zip(&weights) {
            let share = if cycle == weights.len() { 1 } else { *weight as usize };
            prop_assert_eq!(*count, share * 3);
        }
    }
}

/// Where each of many hashes goes.
fn placed<B: LoadBalancer>(config: B::Config, keys: impl Iterator<Item = u64>, picks: u64) -> Vec<u64> {
    let hosts: Vec<_> = keys.map(|key| HostState::new(1, hashing::mix(key, 7))).collect();
    let view = Hosts::all(&hosts);
    let balancer = B::build(&B::compile(config).unwrap(), view, 0);
    let pick = |hash| LoadBalancer::pick(&balancer, view, PickCx { hash: Some(hash), ..PickCx::default() }).unwrap();
    (0..picks).map(|at| hosts[pick(hashing::mix(at, 99))].key).collect()
}

#[test]
fn little_moves_when_a_host_leaves() {
    const HOSTS: u64 = 20;
    const PICKS: u64 = 20_000;
    let moved = |before: Vec<u64>, after: Vec<u64>| {
        let gone = hashing::mix(3, 7);
        let changed = before.iter().zip(&after).filter(|(before, after)| before != after);
        let (lost, others): (Vec<_>, Vec<_>) = changed.partition(|(before, _)| **before == gone);
        (lost.len() as f64 / PICKS as f64, others.len() as f64 / PICKS as f64)
    };
    let without = || (0..HOSTS).filter(|host| *host != 3);
    let ring = RingHashConfig { minimum_ring_size: 4096, ..RingHashConfig::default() };
    let (lost, others) = moved(placed::<RingHash>(ring, 0..HOSTS, PICKS), placed::<RingHash>(ring, without(), PICKS));
    assert!(lost < 0.10 && others < 0.01, "ring: {lost} were its own, {others} others moved");
    let table = MaglevConfig::default();
    let (lost, others) = moved(placed::<Maglev>(table, 0..HOSTS, PICKS), placed::<Maglev>(table, without(), PICKS));
    assert!((0.04..0.06).contains(&lost) && others < 0.03, "maglev: {lost} were its own, {others} others moved");
}

#[test]
fn hashes_are_shared_by_weight() {
    let hosts: Vec<_> =
        [1, 2, 5].into_iter().zip(1..).map(|(weight, key)| HostState::new(weight, hashing::mix(key, 7))).collect();
    let view = Hosts::all(&hosts);
    let check = |balancer: &dyn DynBalancer, name: &str, error: f64| {
        let mut counts = [0_u32; 3];
        for at in 0..80_000 {
            counts[balancer.pick(view, PickCx { hash: Some(hashing::mix(at, 1)), ..PickCx::default() }).unwrap()] += 1;
        }
        for (count, share) in counts.into_iter().zip([1.0, 2.0, 5.0]) {
            let off = f64::from(count) / (10_000.0 * share) - 1.0;
            assert!(off.abs() < error, "{name}: {counts:?}");
        }
    };
    let ring = RingHashConfig { minimum_ring_size: 65_536, ..RingHashConfig::default() };
    check(&RingHash::build(&RingHash::compile(ring).unwrap(), view, 0), "ring", 0.06);
    check(&Maglev::build(&Maglev::compile(MaglevConfig::default()).unwrap(), view, 0), "maglev", 0.03);
}

#[test]
fn a_busy_host_passes_its_hashes_on() {
    let hosts = hosts(&[1; 4]);
    let ring = RingHashConfig { hash_balance_factor: Some(125), ..RingHashConfig::default() };
    let balancer = RingHash::build(&RingHash::compile(ring).unwrap(), Hosts::all(&hosts), 0);
    for under_way in 0..100 {
        let view = Hosts::all(&hosts).with_active(under_way);
        let at = LoadBalancer::pick(&balancer, view, PickCx { hash: Some(42), ..PickCx::default() }).unwrap();
        hosts[at].active.set(hosts[at].active.get() + 1);
    }
    let most = hosts.iter().map(|host| host.active.get()).max().unwrap();
    assert!(most <= 32, "a quarter of 100, and a quarter more: {most}");
    assert!(RingHash::compile(RingHashConfig { hash_balance_factor: Some(99), ..ring }).is_err());
}

#[test]
fn quick_hosts_are_preferred_and_slow_ones_forgiven() {
    let hosts = hosts(&[1; 2]);
    let view = Hosts::all(&hosts);
    let balancer = PeakEwma::build(&PeakEwmaConfig::default(), view, 0);
    let share = |now: u64| {
        let picks = (0..1000).map(|step| PickCx { now: Time(now * 1_000_000_000), ..cx(step) });
        picks.filter(|cx| LoadBalancer::pick(&balancer, view, *cx) == Some(0)).count()
    };
    let answer = |host: usize, millis: u64, now: u64| {
        let latency = &hosts[host].latency;
        let took = Duration::from_millis(millis);
        latency.set(observed(latency.get(), took, Time(now * 1_000_000_000), Duration::from_secs(10)));
    };
    answer(0, 1, 1);
    answer(1, 100, 1);
    assert_eq!(share(1), 1000);
    // Nobody has asked it for long: it is worth another try.
    answer(0, 1, 60);
    assert!(share(60) < 1000);
    // A peak is believed at once, one quick answer is not.
    answer(0, 500, 61);
    answer(1, 1, 61);
    answer(0, 1, 61);
    assert_eq!(share(61), 0);
}

/// Nine hosts answer in 2 ms, far below what a host is taken to need that has not answered yet.
#[test]
fn a_host_that_has_not_answered_yet_is_asked_and_not_by_everybody_at_once() {
    let hosts = hosts(&[1; 10]);
    let known = |host: &HostState| host.latency.set(Latency { nanos: 2e6, at: Time(1) });
    hosts[..9].iter().for_each(known);
    let view = Hosts::all(&hosts);
    let balancer = PeakEwma::build(&PeakEwmaConfig::default(), view, 0);
    let share = || {
        let picks = (0..1000).map(|step| PickCx { now: Time(1), ..cx(step) });
        picks.filter(|cx| LoadBalancer::pick(&balancer, view, *cx) == Some(9)).count()
    };
    // It is one of the two that are drawn in a fifth of all cases.
    assert!((150..250).contains(&share()), "{}", share());
    hosts[9].active.set(1);
    assert_eq!(share(), 0, "its first answer is waited for");
    hosts[9].active.set(0);
    known(&hosts[9]);
    assert!((50..150).contains(&share()), "{}", share());
}

#[test]
fn latencies_decay_as_fast_as_the_options_say() {
    let after_a_second = |decay: u64| {
        let options = serde_json::json!({ "decay": format!("{decay}s") });
        let spec = BalancerSpec::of::<PeakEwma>();
        let balancer = Balancer { spec, options: (spec.compile)(options).unwrap() };
        let second = |at: u64| Time(at * 1_000_000_000);
        let slow = observed(Latency::default(), Duration::from_millis(100), second(1), balancer.latency_decay());
        observed(slow, Duration::from_millis(1), second(2), balancer.latency_decay()).nanos / 1e6
    };
    // 100 ms with what is left of its weight, 1 ms with the rest.
    assert!((after_a_second(1) - 37.4).abs() < 0.1, "{}", after_a_second(1));
    assert!((after_a_second(10) - 90.6).abs() < 0.1, "{}", after_a_second(10));
}

#[test]
fn a_bias_makes_what_is_under_way_count_less() {
    let hosts = hosts(&[1, 2]);
    hosts[1].active.set(3);
    let view = Hosts::all(&hosts);
    let of = |active_request_bias| LeastRequestConfig { active_request_bias, ..LeastRequestConfig::default() };
    let share = |bias| {
        let balancer = LeastRequest::build(&of(bias), view, 0);
        (0..3000).filter(|step| LoadBalancer::pick(&balancer, view, cx(*step)) == Some(1)).count()
    };
    // 2 of 3 by weight; 2 / 4 of 1 + 2 / 4 with its load; 2 / 2 of 1 + 2 / 2 with the root of it.
    for (bias, expected) in [(0.0, 2000), (1.0, 1000), (0.5, 1500)] {
        assert!(share(bias).abs_diff(expected) <= 3, "{bias}: {}", share(bias));
    }
}
