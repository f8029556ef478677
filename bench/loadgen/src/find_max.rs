//! The highest rate at which a service keeps its promises, by search, and how sure that is.

mod binomial;
#[cfg(test)]
mod tests;

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
    /// Further runs at each of the bounds that were found, for the confidence; 0 for none.
    pub confirm: usize,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Found {
    /// The highest rate that held, requests per second; 0 when none did.
    pub holds: f64,
    /// The lowest rate that did not; `None` when the search ended at its limit.
    pub fails: Option<f64>,
    /// The least confidence, from 0 to 1, with which the capacity (the rate that half of all runs hold) is between the
    /// two; `None` when that was not shown.
    pub confidence: Option<f64>,
    /// What the runs that confirm say of `holds` and of `fails`.
    pub holds_share: Option<Share>,
    /// Of `fails`.
    pub fails_share: Option<Share>,
    /// Every rate that was tried, in order.
    pub tried: Vec<Trial>,
}

/// The share of runs that hold at a rate.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Share {
    /// Runs that held.
    pub good: usize,
    /// Runs.
    pub of: usize,
    /// The share of all runs that would hold is at least this, with 95 % confidence (Clopper-Pearson).
    pub least: f64,
    /// At most this, with 95 % confidence.
    pub most: f64,
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
    /// Whether these runs are those that confirm: what was tried for the search is not counted again.
    pub confirms: bool,
}

/// Rates below this are not tried.
const LEAST: f64 = 1.0;
/// A bound for searches that never settle.
const MAX_STEPS: usize = 64;
/// Rates that are tried for each bound until one is decided.
const MAX_CONFIRMED: usize = 6;

/// Doubles the rate until it fails, or halves it until it holds, then halves the distance; then confirms both bounds,
/// and moves them apart as long as their runs do not agree. `holds` makes one run.
///
/// # Errors
/// Those of `holds`.
pub fn search<E>(how: Search, mut holds: impl FnMut(f64) -> Result<bool, E>) -> Result<Found, E> {
    let mut found =
        Found { holds: 0.0, fails: None, confidence: None, holds_share: None, fails_share: None, tried: Vec::new() };
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
    if how.confirm > 0 && found.holds > 0.0 {
        let tests = confirm(how, &mut found, &mut holds)?;
        if found.holds_share.is_some() && found.fails.is_some() == found.fails_share.is_some() {
            // Each of the tests may have been wrong, whichever they were (Bonferroni).
            let risk = binomial::at_least(binomial::decisive(how.confirm), how.confirm, 0.5);
            found.confidence = Some((1.0 - tests as f64 * risk).max(0.0));
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
    let mut trial = Trial { rate, good: 0, of: 0, confirms: false };
    while trial.of < trials && trial.good * 2 <= trials && (trial.of - trial.good) * 2 <= trials {
        trial.good += usize::from(holds(rate)?);
        trial.of += 1;
    }
    Ok(trial)
}

/// Tries the bounds anew. Those of the search were the luckiest of many, so its runs are no evidence for them.
fn confirm<E>(how: Search, found: &mut Found, holds: &mut impl FnMut(f64) -> Result<bool, E>) -> Result<usize, E> {
    let mut tests = 0;
    let (mut rate, mut step) = (found.holds, how.precision);
    while tests < MAX_CONFIRMED && found.holds_share.is_none() && rate >= LEAST {
        judge(how, rate, found, holds)?;
        tests += 1;
        rate *= 1.0 - step.min(0.5);
        step *= 2.0;
    }
    if found.holds_share.is_none() {
        // Nothing was confirmed: what is left is the best that most runs held and that was not refuted.
        let below = |trial: &&Trial| trial.good * 2 > trial.of && found.fails.is_none_or(|fails| trial.rate < fails);
        found.holds = found.tried.iter().filter(below).map(|trial| trial.rate).fold(0.0, f64::max);
        return Ok(tests);
    }
    let Some(mut rate) = found.fails else { return Ok(tests) };
    step = how.precision;
    for _ in 0..MAX_CONFIRMED {
        if found.fails_share.is_some() {
            break;
        }
        judge(how, rate, found, holds)?;
        tests += 1;
        if found.fails_share.is_none() && rate >= how.most {
            // Nothing above it is tried: there is no upper bound.
            found.fails = None;
            break;
        }
        rate = (rate * (1.0 + step)).min(how.most);
        step *= 2.0;
    }
    if found.fails_share.is_none() {
        let above = |trial: &&Trial| trial.good * 2 <= trial.of && trial.rate > found.holds;
        found.fails = found.tried.iter().filter(above).map(|trial| trial.rate).reduce(f64::min);
    }
    Ok(tests)
}

/// Makes the runs of one test, and sets the bound that they decide, if they do.
fn judge<E>(
    how: Search,
    rate: f64,
    found: &mut Found,
    holds: &mut impl FnMut(f64) -> Result<bool, E>,
) -> Result<(), E> {
    let of = how.confirm;
    let mut good = 0;
    for _ in 0..of {
        good += usize::from(holds(rate)?);
    }
    found.tried.push(Trial { rate, good, of, confirms: true });
    let (least, most) = binomial::interval(good, of);
    let share = Some(Share { good, of, least, most });
    let decisive = binomial::decisive(of);
    if good >= decisive {
        (found.holds, found.holds_share) = (rate, share);
    } else if of - good >= decisive {
        (found.fails, found.fails_share) = (Some(rate), share);
    }
    Ok(())
}
