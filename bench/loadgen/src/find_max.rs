//! The highest rate at which a service keeps its promises, by search.

use crate::assertion::Condition;
use crate::run::Summary;

/// How the search is done.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Requests per second to begin with.
    pub from: f64,
    /// Never tried above this.
    pub most: f64,
    /// Ends once the bounds are this close, as a part of the rate.
    pub precision: f64,
    /// Runs at each rate; most of them decide.
    pub trials: usize,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Found {
    /// The highest rate that held, requests per second; 0 when none did.
    pub holds: f64,
    /// The lowest rate that did not; `None` when the search ended at its limit.
    pub fails: Option<f64>,
    /// Every rate that was tried, in order.
    pub tried: Vec<Trial>,
}

/// One rate that was tried.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Trial {
    /// Requests per second.
    pub rate: f64,
    /// Runs in which the objectives held.
    pub good: usize,
    /// Runs.
    pub of: usize,
}

/// Rates below this are not tried.
const LEAST: f64 = 1.0;
/// A bound for searches that never settle.
const MAX_STEPS: usize = 64;

/// Doubles the rate until it fails, or halves it until it holds, then halves the distance. `holds` makes one run.
///
/// # Errors
/// Those of `holds`.
pub fn search<E>(how: Search, mut holds: impl FnMut(f64) -> Result<bool, E>) -> Result<Found, E> {
    let mut found = Found { holds: 0.0, fails: None, tried: Vec::new() };
    let mut rate = how.from.min(how.most);
    for _ in 0..MAX_STEPS {
        let trial = repeat(rate, how.trials, &mut holds)?;
        if trial.good * 2 > trial.of {
            found.holds = rate;
        } else {
            found.fails = Some(rate);
        }
        found.tried.push(trial);
        rate = match found.fails {
            None if found.holds >= how.most => break,
            None => (found.holds * 2.0).min(how.most),
            Some(fails) if found.holds == 0.0 => fails / 2.0,
            Some(fails) if fails - found.holds <= how.precision * fails => break,
            Some(fails) => (found.holds + fails) / 2.0,
        };
        if rate < LEAST {
            break;
        }
    }
    Ok(found)
}

/// Whether all objectives held in a run, and the rate was reached: what was not sent was not served.
pub fn kept(summary: &Summary, objectives: &[Condition]) -> bool {
    let reached = summary.asked.is_none_or(|asked| summary.rate() >= 0.99 * asked);
    reached && summary.total.unsent == 0 && objectives.iter().all(|objective| objective.holds(summary).0)
}

/// Runs until most have agreed.
fn repeat<E>(rate: f64, trials: usize, holds: &mut impl FnMut(f64) -> Result<bool, E>) -> Result<Trial, E> {
    let mut trial = Trial { rate, good: 0, of: 0 };
    while trial.of < trials && trial.good * 2 <= trials && (trial.of - trial.good) * 2 <= trials {
        trial.good += usize::from(holds(rate)?);
        trial.of += 1;
    }
    Ok(trial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const HOW: Search = Search { from: 100.0, most: 1e6, precision: 0.02, trials: 3 };

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
        }
        let found = find(HOW, |_| 1e9);
        assert_eq!((found.holds, found.fails), (1e6, None), "ends at the limit");
        assert_eq!(find(HOW, |_| 0.0).holds, 0.0);
    }

    #[test]
    fn a_single_bad_run_does_not_decide() {
        let found = find(HOW, |count| if count % 5 == 0 { 0.0 } else { 10_000.0 });
        assert!(found.holds > 9_700.0, "{found:?}");
    }
}
