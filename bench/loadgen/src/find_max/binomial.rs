//! What a number of good runs out of some says of the share of all runs that would be.

/// The risk of each end of an interval.
const RISK: f64 = 0.05;
const HALVINGS: usize = 60;

/// The chance of `good` or more out of `of`, if each is good with chance `share`.
pub(super) fn at_least(good: usize, of: usize, share: f64) -> f64 {
    (good..=of).map(|count| exactly(count, of, share)).sum::<f64>().clamp(0.0, 1.0)
}

/// The interval of Clopper and Pearson (1934), with a risk of 5 % at each end.
pub(super) fn interval(good: usize, of: usize) -> (f64, f64) {
    // Where so many are just about too many, and where they are just about too few.
    let least = if good == 0 { 0.0 } else { solve(|share| at_least(good, of, share) < RISK) };
    let most = if good >= of { 1.0 } else { solve(|share| 1.0 - at_least(good + 1, of, share) > RISK) };
    (least, most)
}

/// The fewest of `of` that are unlikely if half of all are good; all of them where no number is.
pub(super) fn decisive(of: usize) -> usize {
    (0..=of).find(|good| at_least(*good, of, 0.5) <= RISK).unwrap_or(of)
}

fn exactly(count: usize, of: usize, share: f64) -> f64 {
    let ways = (1..=count).map(|step| (of - count + step) as f64 / step as f64).product::<f64>();
    ways * share.powi(count as i32) * (1.0 - share).powi((of - count) as i32)
}

/// Where something that is true of small shares ends being so.
fn solve(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        for (good, of, least, most) in [
            (0, 5, 0.0, 0.4507),
            (5, 5, 0.5493, 1.0),
            (4, 5, 0.3426, 0.9898),
            (5, 10, 0.2224, 0.7776),
            (95, 100, 0.8977, 0.9801),
        ] {
            let found = interval(good, of);
            assert!((found.0 - least).abs() < 2e-4 && (found.1 - most).abs() < 2e-4, "{good} of {of}: {found:?}");
        }
    }

    #[test]
    fn few_runs_decide_nothing_by_themselves() {
        assert_eq!([1, 3, 4, 5, 8, 10].map(decisive), [1, 3, 4, 5, 7, 9]);
        assert!((at_least(5, 5, 0.5) - 0.03125).abs() < 1e-12);
        assert!((at_least(0, 7, 0.3) - 1.0).abs() < 1e-12);
    }
}
