use super::*;
use crate::clock::Random;
use std::convert::Infallible;

const HOW: Search = Search { from: 100.0, most: 1e6, precision: 0.02, trials: 3, confirm: 5 };

fn find(how: Search, mut limit: impl FnMut(usize) -> f64) -> Found {
    let mut count = 0;
    search(how, |rate| {
        count += 1;
        Ok::<_, Infallible>(rate <= limit(count))
    })
    .unwrap()
}

#[test]
fn capacities_are_found_from_above_and_below() {
    for limit in [3.0, 70.0, 1_234.0, 98_765.0] {
        let found = find(HOW, |_| limit);
        assert!(found.holds <= limit && found.holds > 0.97 * limit, "{limit}: {found:?}");
        assert!(found.fails.unwrap() > limit);
        let (low, high) = (found.holds_share.unwrap(), found.fails_share.unwrap());
        assert_eq!(((low.good, low.of), (high.good, high.of)), ((5, 5), (0, 5)));
        assert!(low.least > 0.5 && high.most < 0.5, "{found:?}");
        // Two tests, each of which chance passes once in 32 times.
        assert_eq!(found.confidence, Some(1.0 - 2.0 / 32.0));
    }
    let found = find(HOW, |_| 1e9);
    assert_eq!((found.holds, found.fails, found.confidence), (1e6, None, Some(1.0 - 1.0 / 32.0)), "ends at the limit");
    let none = find(HOW, |_| 0.0);
    assert_eq!((none.holds, none.confidence), (0.0, None));
    let found = find(Search { confirm: 0, ..HOW }, |_| 70.0);
    assert_eq!((found.confidence, found.holds_share), (None, None));
}

#[test]
fn a_single_bad_run_of_the_search_does_not_decide() {
    let found = find(HOW, |count| if count % 5 == 0 { 0.0 } else { 10_000.0 });
    // In the confirmation, it does: 4 of 5 may be chance.
    let searched: Vec<_> = found.tried.iter().filter(|trial| !trial.confirms).collect();
    let best = searched.iter().filter(|trial| trial.good * 2 > trial.of).map(|trial| trial.rate).fold(0.0, f64::max);
    assert!(best > 9_700.0, "{found:?}");
    assert_eq!((found.confidence, found.holds_share), (None, None), "{found:?}");
}

#[test]
fn more_runs_confirm_what_is_disturbed_now_and_then() {
    let how = Search { confirm: 10, ..HOW };
    let found = find(how, |count| if count % 10 == 0 { 0.0 } else { 10_000.0 });
    let share = found.holds_share.unwrap();
    assert_eq!((share.good, share.of), (9, 10));
    assert!(share.least > 0.6 && share.most < 1.0, "{share:?}");
    assert!(found.confidence.unwrap() > 0.95, "{found:?}");
}

/// A service that holds less and less often around its capacity, in many searches of different luck.
#[test]
fn the_capacity_is_within_the_bounds_as_often_as_is_said() {
    const CAPACITY: f64 = 10_000.0;
    for (spread, confirm) in [(0.02, 5), (0.1, 5), (0.1, 10), (0.3, 8)] {
        let how = Search { confirm, ..HOW };
        let (mut said, mut told, mut right) = (0.0, 0.0, 0.0);
        for seed in 0..400 {
            let mut random = Random::new(seed);
            let found = search(how, |rate| {
                let share = 1.0 / (1.0 + ((rate / CAPACITY - 1.0) / spread).exp());
                Ok::<_, Infallible>(random.unit() < share)
            })
            .unwrap();
            assert!(found.fails.is_none_or(|fails| fails > found.holds), "{found:?}");
            if let Some(confidence) = found.confidence {
                said += confidence;
                told += 1.0;
                right += f64::from(found.holds <= CAPACITY && found.fails.is_none_or(|fails| fails >= CAPACITY));
            }
        }
        assert!(told > 200.0, "{told} of 400 searches came to a conclusion");
        assert!(right >= said, "{right} right of {told}, {said:.1} said, spread {spread}");
    }
}
