use std::sync::atomic::AtomicU64;
use std::thread;

use proptest::prelude::*;

use super::*;

#[test]
fn a_limit_within_another_takes_of_both() {
    let (wide, narrow) = (SharedLimit::new(3, 1), SharedLimit::new(2, 1));
    let whole = wide.worker();
    let part = narrow.worker_within(&whole);
    let held: Vec<_> = std::iter::from_fn(|| Permit::of(&part)).collect();
    assert_eq!((held.len(), wide.left(), narrow.left()), (2, 1, 0));
    let last = Permit::of(&whole);
    assert!(last.is_some() && Permit::of(&whole).is_none());
    drop(held);
    assert_eq!((wide.left(), narrow.left()), (2, 2));
    let both = [Permit::of(&whole), Permit::of(&whole)];
    assert!(Permit::of(&part).is_none(), "the wider one is used up");
    drop((both, last));
    assert_eq!((wide.left(), narrow.left()), (3, 2));
}

#[test]
fn small_limits_are_exact_across_workers() {
    let shared = SharedLimit::new(3, 2);
    assert_eq!(shared.error(), 0);
    let (one, two) = (shared.worker(), shared.worker());
    assert!(one.try_acquire() && two.try_acquire() && two.try_acquire());
    assert!(!one.try_acquire() && !two.try_acquire());
    one.release();
    assert!(two.try_acquire(), "a unit that one worker gave back is there for the other");
    assert!(!one.try_acquire());
}

#[test]
fn zero_refuses_everything() {
    assert!(!SharedLimit::new(0, 2).worker().try_acquire());
}

#[test]
fn large_limits_touch_the_shared_count_once_per_batch() {
    let shared = SharedLimit::new(1024, 2);
    assert_eq!(shared.error(), 16);
    let worker = shared.worker();
    assert!(worker.try_acquire());
    assert_eq!(shared.left(), 1016);
    for _ in 0..1000 {
        assert!(worker.try_acquire());
        assert_eq!(shared.left(), 1016);
        worker.release();
    }
    worker.release();
    worker.settle();
    assert_eq!(shared.left(), 1016, "touched since the last time: kept");
    worker.settle();
    assert_eq!(shared.left(), 1024);
}

#[test]
fn a_worker_that_ends_returns_its_batch() {
    let shared = SharedLimit::new(4096, 1);
    let worker = shared.worker();
    let permit = Permit::of(&worker);
    drop(worker);
    assert!(shared.left() < 4096);
    drop(permit);
    assert_eq!(shared.left(), 4096);
}

#[test]
fn a_resize_counts_what_is_in_use() {
    let shared = SharedLimit::new(4, 1);
    let worker = shared.worker();
    assert!((0..4).all(|_| worker.try_acquire()));
    shared.resize(2);
    worker.release();
    worker.release();
    assert!(!worker.try_acquire(), "two are still in use");
    worker.release();
    assert!(worker.try_acquire());
    assert!(!worker.try_acquire());
    shared.resize(3);
    assert!(worker.try_acquire());
}

#[test]
fn threads_never_exceed_the_limit_and_err_by_no_more_than_stated() {
    const CORES: usize = 4;
    for limit in [5, 1024, 10_000] {
        let shared = SharedLimit::new(limit, CORES);
        let (in_use, highest) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for core in 0..CORES {
                let (shared, in_use, highest) = (&shared, &in_use, &highest);
                scope.spawn(move || {
                    let worker = shared.worker();
                    let mut held = 0;
                    let mut random = core as u64 + 1;
                    for _ in 0..200_000 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        if random >> 63 == 0 || held == 0 {
                            if worker.try_acquire() {
                                held += 1;
                                let now = in_use.fetch_add(1, Ordering::SeqCst) + 1;
                                highest.fetch_max(now, Ordering::SeqCst);
                            }
                        } else {
                            in_use.fetch_sub(1, Ordering::SeqCst);
                            worker.release();
                            held -= 1;
                        }
                    }
                    in_use.fetch_sub(held, Ordering::SeqCst);
                    (0..held).for_each(|_| worker.release());
                });
            }
        });
        assert!(highest.into_inner() <= u64::from(limit));
        assert_eq!(shared.left(), u64::from(limit), "everything came back");
    }
}

proptest! {
    /// Whatever workers did before, what can be taken now is the limit less what is held, less the stated error.
    #[test]
    fn a_refusal_is_never_earlier_than_stated(
        limit in 1u32..5000,
        steps in prop::collection::vec((0usize..3, any::<bool>(), 1usize..300), 1..40),
    ) {
        let shared = SharedLimit::new(limit, 3);
        let workers = [shared.worker(), shared.worker(), shared.worker()];
        let mut held = [0u64; 3];
        for (at, take, times) in steps {
            for _ in 0..times {
                if take {
                    let granted = workers[at].try_acquire();
                    held[at] += u64::from(granted);
                    let total: u64 = held.iter().sum();
                    prop_assert!(total <= u64::from(limit));
                    if !granted {
                        prop_assert!(total + shared.error() >= u64::from(limit));
                    }
                } else if held[at] > 0 {
                    workers[at].release();
                    held[at] -= 1;
                }
            }
        }
        for (worker, held) in workers.iter().zip(held) {
            (0..held).for_each(|_| worker.release());
        }
        drop(workers);
        prop_assert_eq!(shared.left(), u64::from(limit));
    }
}
