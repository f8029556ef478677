//! Interleaved rounds: every peer once per round, so that what drifts drifts for all.

use anyhow::Result;

use crate::metric::Metric;
use crate::stats::{self, Sample};

/// A round whose primary figure is above this times the peer's median is repeated once.
const OUTLIER: f64 = 1.25;

/// The rounds of one peer, or why it has none.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) peer: &'static str,
    pub(crate) outcome: Result<Vec<Sample>, String>,
}

/// Runs `measure` for each of `entrants` in each of `rounds`, then repeats disturbed rounds once. An entrant whose
/// measurement fails is out, with the reason in its row.
pub(crate) fn interleave<E>(
    rounds: usize,
    entrants: Vec<(&'static str, Result<E, String>)>,
    primary: &Metric,
    mut measure: impl FnMut(&mut E) -> Result<Sample>,
) -> Vec<Row> {
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
    for (row, entrant) in &mut entrants {
        for round in to_repeat(row, primary) {
            run_one(row, entrant, round, &mut measure);
        }
    }
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
            Some(old) => *old = sample,
            None => samples.push(sample),
        },
        Err(why) => {
            row.outcome = Err(format!("failed in round {}: {why:#}", round + 1));
            *entrant = None;
        }
    }
}

/// The disturbed rounds of `row`, which now say so.
fn to_repeat(row: &mut Row, primary: &Metric) -> Vec<usize> {
    let Ok(samples) = &mut row.outcome else { return Vec::new() };
    for outlier in stats::outliers(samples, primary, OUTLIER) {
        if let Some(sample) = samples.get_mut(outlier) {
            sample.disturbed.get_or_insert_with(|| format!("more than {OUTLIER} x the median"));
        }
    }
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
        let rows = interleave(3, entrants, &CPU_US, |name| {
            order.push(*name);
            calls_of_a += u32::from(*name == 'a');
            Ok(sample(if *name == 'a' && calls_of_a == 2 { 20.0 } else { 10.0 }))
        });
        assert_eq!(order, ['a', 'b', 'a', 'b', 'a', 'b', 'a']);
        let of_a = rows[0].outcome.as_ref().unwrap();
        assert!(of_a.iter().all(|s| s.value(&CPU_US) == Some(10.0) && s.disturbed.is_none()));
        assert_eq!(rows[2].outcome.as_ref().unwrap_err(), "not here");
    }

    #[test]
    fn one_failure_ends_one_peer_only() {
        let rows = interleave(2, vec![("a", Ok(1)), ("b", Ok(2))], &CPU_US, |n| {
            if *n == 1 { anyhow::bail!("reset") } else { Ok(sample(1.0)) }
        });
        assert!(rows[0].outcome.as_ref().unwrap_err().contains("round 1: reset"));
        assert_eq!(rows[1].outcome.as_ref().unwrap().len(), 2);
    }
}
