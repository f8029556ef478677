//! Interleaved rounds: every peer once per round, so that what drifts drifts for all.

use anyhow::Result;

use crate::metric::Metric;
use crate::stats::{self, Disturbance, Sample};

/// A round whose primary figure is above this times the peer's median is repeated once.
const OUTLIER: f64 = 1.25;

/// The rounds of one peer, or why it has none.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) peer: &'static str,
    pub(crate) outcome: Result<Vec<Sample>, String>,
}

/// A round in which the fixed work took this much longer than in the quickest round is disturbed.
const SLOW_CORE: f64 = 1.2;

/// Runs `measure` for each of `entrants` in each of `rounds`, then repeats disturbed rounds once. An entrant whose
/// measurement fails is out, with the reason in its row. `calibrate` times the fixed work.
pub(crate) fn interleave<E>(
    rounds: usize,
    entrants: Vec<(&'static str, Result<E, String>)>,
    primary: &Metric,
    mut calibrate: impl FnMut() -> Result<f64>,
    mut measure: impl FnMut(&mut E) -> Result<Sample>,
) -> Vec<Row> {
    let mut measure = |entrant: &mut E| -> Result<Sample> {
        let before = calibrate()?;
        let mut sample = measure(entrant)?;
        sample.message_ns = before.max(calibrate()?);
        Ok(sample)
    };
    let mut entrants: Vec<(Row, Option<E>)> = entrants
        .into_iter()
        .map(|(peer, entrant)| match entrant {
            Ok(entrant) => (Row { peer, outcome: Ok(Vec::new()) }, Some(entrant)),
            Err(why) => (Row { peer, outcome: Err(why) }, None),
        })
        .collect();
    for round in 0..rounds {
        for (row, entrant) in &mut entrants {
            run_one(row, entrant, round, &mut measure);
        }
    }
    judge(entrants.iter_mut().map(|(row, _)| row), primary);
    for (row, entrant) in &mut entrants {
        for round in disturbed(row) {
            run_one(row, entrant, round, &mut measure);
        }
    }
    judge(entrants.iter_mut().map(|(row, _)| row), primary);
    entrants.into_iter().map(|(row, _)| row).collect()
}

/// Measures round `round` of `row`: the next one, or one that is replaced.
fn run_one<E>(
    row: &mut Row,
    entrant: &mut Option<E>,
    round: usize,
    measure: &mut impl FnMut(&mut E) -> Result<Sample>,
) {
    let (Ok(samples), Some(running)) = (&mut row.outcome, entrant.as_mut()) else { return };
    match measure(running) {
        Ok(sample) => match samples.get_mut(round) {
            Some(old) => *old = sample.replacing(old),
            None => samples.push(sample),
        },
        Err(why) => {
            row.outcome = Err(format!("failed in round {}: {why:#}", round + 1));
            *entrant = None;
        }
    }
}

/// Marks the rounds that ran on a slow core, and those far above their peer's median.
fn judge<'a>(rows: impl Iterator<Item = &'a mut Row>, primary: &Metric) {
    let mut rows: Vec<&mut Vec<Sample>> = rows.filter_map(|row| row.outcome.as_mut().ok()).collect();
    let quickest = rows.iter().flat_map(|s| s.iter()).map(|s| s.message_ns).fold(f64::INFINITY, f64::min);
    for samples in &mut rows {
        let outliers = stats::outliers(samples, primary, OUTLIER);
        for (index, sample) in samples.iter_mut().enumerate() {
            let slowness = sample.message_ns / quickest;
            if slowness > SLOW_CORE {
                sample.disturbed.get_or_insert(Disturbance::SlowCore(slowness - 1.0));
            } else if outliers.contains(&index) {
                sample.disturbed.get_or_insert(Disturbance::Outlier(OUTLIER));
            }
        }
    }
}

fn disturbed(row: &Row) -> Vec<usize> {
    let samples = row.outcome.as_deref().unwrap_or_default();
    samples.iter().enumerate().filter(|(_, s)| s.disturbed.is_some()).map(|(i, _)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::CPU_US;

    fn sample(value: f64) -> Sample {
        let mut sample = Sample::default();
        sample.set(&CPU_US, value);
        sample
    }

    #[test]
    fn peers_alternate_and_the_outlier_is_repeated_once() {
        let mut order = Vec::new();
        let mut calls_of_a = 0;
        let entrants = vec![("a", Ok('a')), ("b", Ok('b')), ("c", Err("not here".to_owned()))];
        let rows = interleave(
            3,
            entrants,
            &CPU_US,
            || Ok(1.0),
            |name| {
                order.push(*name);
                calls_of_a += u32::from(*name == 'a');
                Ok(sample(if *name == 'a' && calls_of_a == 2 { 20.0 } else { 10.0 }))
            },
        );
        assert_eq!(order, ['a', 'b', 'a', 'b', 'a', 'b', 'a']);
        let of_a = rows[0].outcome.as_ref().unwrap();
        assert!(of_a.iter().all(|s| s.value(&CPU_US) == Some(10.0) && s.disturbed.is_none()));
        assert_eq!(rows[2].outcome.as_ref().unwrap_err(), "not here");
    }

    #[test]
    fn one_failure_ends_one_peer_only() {
        let rows = interleave(
            2,
            vec![("a", Ok(1)), ("b", Ok(2))],
            &CPU_US,
            || Ok(1.0),
            |n| {
                if *n == 1 { anyhow::bail!("reset") } else { Ok(sample(1.0)) }
            },
        );
        assert!(rows[0].outcome.as_ref().unwrap_err().contains("round 1: reset"));
        assert_eq!(rows[1].outcome.as_ref().unwrap().len(), 2);
    }

    #[test]
    fn a_slow_core_is_seen_and_the_round_repeated() {
        let mut work = [1.0, 1.0, 1.0, 1.3, 1.0, 1.0].into_iter();
        let mut calls = 0;
        let rows = interleave(
            2,
            vec![("a", Ok(()))],
            &CPU_US,
            || Ok(work.next().unwrap()),
            |()| {
                calls += 1;
                Ok(sample(f64::from(calls)))
            },
        );
        assert_eq!(calls, 3);
        let samples = rows[0].outcome.as_ref().unwrap();
        assert_eq!(samples[1].value(&CPU_US), Some(3.0));
        // 3 is more than 1.25 times the median of 1 and 3: marked, but not repeated again.
        assert_eq!(samples[1].disturbed, Some(Disturbance::Outlier(OUTLIER)));
    }
}
