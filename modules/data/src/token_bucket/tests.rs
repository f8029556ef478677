use ringway_testkit::Rng;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn rate(max: u32, fill: u32, interval: u64) -> Rate {
    let config = TokenBucketConfig { max_tokens: max, tokens_per_fill: Some(fill), fill_interval: Millis(interval) };
    Rate::compile(&config).unwrap()
}

#[test]
fn a_bucket_starts_full_and_fills_evenly_up_to_its_size() {
    let mut now = Time(7_000_000_000);
    let lease = Arc::new(TokenBucket::new(rate(3, 2, 1000), 4, now)).lease();
    let count = |now| (0..10).filter(|_| lease.try_take(now)).count();
    assert_eq!(count(now), 3);
    now = now + 499 * MS;
    assert_eq!(count(now), 0);
    assert_eq!(lease.quota(now), Quota { max: 3, remaining: 0, reset: 1500 * MS });
    now = now + MS;
    assert_eq!(count(now), 1);
    now = now + 3600 * 1000 * MS;
    assert_eq!(lease.quota(now), Quota { max: 3, remaining: 3, reset: Duration::ZERO });
    assert_eq!(count(now), 3);
}

#[test]
fn a_worker_whose_clock_is_behind_takes_nothing_twice() {
    let early = Time(10_000_000_000);
    let bucket = Arc::new(TokenBucket::new(rate(2, 1, 100), 2, early));
    let (one, two) = (bucket.lease(), bucket.lease());
    let late = early + 50 * MS;
    assert!(one.try_take(late) && one.try_take(late) && !one.try_take(late));
    assert!(!two.try_take(early) && !two.try_take(Time(0)));
    assert!(two.try_take(early + 100 * MS) && !one.try_take(late + 50 * MS));
}

#[test]
fn a_worker_that_rests_gives_its_lease_back() {
    let now = Time(5_000_000_000);
    let bucket = Arc::new(TokenBucket::new(rate(64_000, 1, 1_000_000), 2, now));
    assert!(bucket.error() > 0, "workers lease several at once");
    let (rests, works) = (bucket.lease(), bucket.lease());
    assert!(rests.try_take(now));
    rests.settle();
    rests.settle();
    assert_eq!((0..70_000).filter(|_| works.try_take(now)).count(), 63_999);
    // One that works keeps what it has.
    let bucket = Arc::new(TokenBucket::new(rate(64_000, 1, 1_000_000), 2, now));
    let lease = bucket.lease();
    for _ in 0..10 {
        assert!(lease.try_take(now));
        lease.settle();
    }
    assert!(lease.quota(now).remaining == 63_990);
}

/// Any number of workers, with clocks that are a little apart, asking at random: what is granted fits a bucket that is larger
/// by the stated error, and where there is always demand, it is all that a bucket smaller by that much would grant.
#[test]
fn leases_are_off_by_no_more_than_they_say() {
    let mut rng = Rng::new(11);
    for (max, fill, workers) in
        [(10, 10, 2), (127, 50, 2), (128, 1000, 2), (1000, 1000, 4), (100_000, 3000, 8), (64_000, 64_000, 64)]
    {
        let rate = rate(max, fill, 1000);
        let mut now = Time(5_000_000_000);
        let bucket = Arc::new(TokenBucket::new(rate, workers, now));
        let leases: Vec<_> = (0..workers).map(|_| bucket.lease()).collect();
        let error = bucket.error();
        assert!(error <= u64::from(max) / 64, "at most a 64th");
        assert!(u64::from(max) >= 128 * workers as u64 || error == 0, "small ones are exact");
        let per_ms = f64::from(fill) / 1000.0;
        let (mut level, mut granted, mut elapsed) = ((u64::from(max) + error) as f64, 0_u64, 0_u64);
        for step in 0..3000 {
            // Quiet spells, then more demand than there is.
            let span = if rng.one_in(50) { rng.below(2000) as u64 } else { rng.below(3) as u64 };
            now = now + span as u32 * MS;
            elapsed += span;
            level = (level + span as f64 * per_ms).min((u64::from(max) + error) as f64);
            for _ in 0..rng.below(max as usize / 10 + 20) {
                if rng.pick(&leases).try_take(now) {
                    granted += 1;
                    level -= 1.0;
                }
            }
            assert!(level > -1.0, "{max} {fill} {workers}: {level} after {step} steps");
        }
        // Now everybody takes what there is.
        let left: usize = leases.iter().map(|lease| (0..=max).take_while(|_| lease.try_take(now)).count()).sum();
        granted += left as u64;
        let most = u64::from(max) + error + elapsed * u64::from(fill) / 1000;
        assert!(granted <= most, "{granted} of {most}");
    }
}

#[test]
fn steady_demand_gets_all_there_is() {
    for workers in [1, 2, 16] {
        let mut now = Time(0);
        let bucket = Arc::new(TokenBucket::new(rate(10_000, 10_000, 1000), workers, now));
        let leases: Vec<_> = (0..workers).map(|_| bucket.lease()).collect();
        let mut granted = 0_u64;
        for _ in 0..1000 {
            now = now + MS;
            granted += leases.iter().map(|lease| (0..15).filter(|_| lease.try_take(now)).count() as u64).sum::<u64>();
        }
        let (least, most) = (if workers == 1 { 15_000 } else { 20_000 - bucket.error() }, 20_000);
        assert!((least..=most).contains(&granted), "{workers}: {granted}");
    }
}

#[test]
fn what_a_worker_leaves_goes_back() {
    let now = Time(0);
    let bucket = Arc::new(TokenBucket::new(rate(1000, 1, 1000), 1, now));
    let lease = bucket.lease();
    assert!(lease.try_take(now));
    drop(lease);
    let lease = bucket.lease();
    assert_eq!((0..2000).filter(|_| lease.try_take(now)).count(), 999);
}

#[test]
fn reservations_are_served_at_the_rate_in_order() {
    let now = Time(9_000_000_000);
    let bucket = TokenBucket::new(Rate::per_second(1000, 100).unwrap(), 2, now);
    let waits: Vec<_> = (0..5).map(|_| bucket.reserve(50, now).as_millis()).collect();
    assert_eq!(waits, [0, 0, 50, 100, 150]);
    // After a rest, it is the burst again and no more.
    let later = now + 60_000 * MS;
    assert_eq!(bucket.reserve(100, later), Duration::ZERO);
    assert_eq!(bucket.reserve(1, later), MS);
}

#[test]
fn keys_have_buckets_of_their_own_and_the_fullest_makes_room() {
    let mut now = Time(1_000_000);
    let keyed = KeyedBuckets::new(rate(2, 1, 1000), 5, now);
    assert_eq!(keyed.capacity(), 8, "rounded up to a set");
    let take = |key: u32, now| keyed.try_take(key, now);
    for key in 0..8 {
        assert!(take(key, now).granted && take(key, now).granted && !take(key, now).granted);
        now = now + MS;
    }
    // No room: the one that was used the longest ago goes, with a debt that is forgotten.
    let ninth = take(8, now);
    assert!(ninth.granted && ninth.evicted, "{ninth:?}");
    assert!(!take(1, now).granted && !take(7, now).granted, "others are as they were");
    // What is full again goes without a loss.
    now = now + 10_000 * MS;
    let tenth = take(9, now);
    assert!(tenth.granted && !tenth.evicted);
    assert_eq!(tenth.quota, Quota { max: 2, remaining: 1, reset: 1000 * MS });
}

#[test]
fn a_flood_of_keys_stays_in_its_memory() {
    let now = Time(0);
    let keyed = KeyedBuckets::new(rate(1, 1, 1000), 64, now);
    let evicted = (0..10_000).filter(|key| keyed.try_take(key, now).evicted).count();
    assert!(evicted >= 10_000 - 64, "{evicted}");
    assert_eq!(keyed.capacity(), 64);
}

#[test]
fn rates_are_checked() {
    let compile = |max, fill, interval| {
        Rate::compile(&TokenBucketConfig { max_tokens: max, tokens_per_fill: fill, fill_interval: Millis(interval) })
    };
    assert_eq!(compile(5, None, 1000), Ok(Rate { max: 5, fill: 5, interval: SECOND }));
    assert!(compile(0, Some(1), 1000).is_err() && compile(1, Some(0), 1000).is_err() && compile(1, None, 0).is_err());
    assert!(compile(1, Some(u32::MAX), 1).is_err());
    assert!(Rate::per_second(0, 1).is_err());
}

#[test]
fn threads_take_no_more_than_there_is() {
    let now = Time(0);
    for max in [100, 10_000] {
        let bucket = Arc::new(TokenBucket::new(rate(max, 1, 3_600_000), 4, now));
        let keyed = KeyedBuckets::new(rate(max, 1, 3_600_000), 8, now);
        assert!(keyed.try_take("key", now).granted);
        let taken: Vec<(usize, usize)> = std::thread::scope(|scope| {
            let take = || {
                let lease = bucket.lease();
                let leased = (0..max).filter(|_| lease.try_take(now)).count();
                (leased, (0..max).filter(|_| keyed.try_take("key", now).granted).count())
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let leased: usize = taken.iter().map(|(leased, _)| leased).sum();
        assert!((u64::from(max) - bucket.error()..=u64::from(max)).contains(&(leased as u64)), "{leased} of {max}");
        assert_eq!(taken.iter().map(|(_, keyed)| keyed).sum::<usize>(), max as usize - 1);
    }
}
