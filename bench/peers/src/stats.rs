//! Medians and spreads of rounds.

use std::collections::BTreeMap;
use std::fmt;

use crate::metric::{ERRORS, Metric};

/// What one round of one peer measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    values: BTreeMap<&'static str, f64>,
    /// Time of the fixed work around this round; 0 if not taken.
    pub(crate) message_ns: f64,
    /// Why this round is not to be trusted, if so.
    pub(crate) disturbed: Option<Disturbance>,
    /// A remark for the reader, such as the first error of the round.
    pub(crate) note: Option<String>,
}

impl Sample {
    pub(crate) fn new(disturbed: Option<Disturbance>, note: Option<String>) -> Self {
        Self { disturbed, note, ..Self::default() }
    }

    pub(crate) fn set(&mut self, metric: &Metric, value: f64) {
        self.values.insert(metric.key, value);
    }

    /// Takes this round's place of `old`, but not its errors away: a failed request stays one.
    pub(crate) fn replacing(mut self, old: &Self) -> Self {
        if let Some(errors) = old.value(&ERRORS).filter(|e| *e > 0.0) {
            let own = self.value(&ERRORS).unwrap_or(0.0);
            self.set(&ERRORS, own + errors);
            self.note = self.note.or_else(|| old.note.clone());
        }
        self
    }

    pub(crate) fn value(&self, metric: &Metric) -> Option<f64> {
        self.values.get(metric.key).copied()
    }
}

/// Why a round is not to be trusted; shares and excesses are fractions of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Disturbance {
    /// Of the cores, by the hypervisor.
    Steal(f64),
    /// Of the cores, by processes that are not part of the measurement.
    Others(f64),
    /// How much longer the fixed work took.
    SlowCore(f64),
    /// The main figure is more than so many times its median.
    Outlier(f64),
}

impl Disturbance {
    /// The worst of each kind.
    pub(crate) fn worst(of: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut kinds: Vec<Self> = Vec::new();
        for one in of {
            match kinds.iter_mut().find(|k| std::mem::discriminant(*k) == std::mem::discriminant(&one)) {
                Some(known) if known.extent() >= one.extent() => {}
                Some(known) => *known = one,
                None => kinds.push(one),
            }
        }
        kinds
    }

    fn extent(self) -> f64 {
        let (Self::Steal(extent) | Self::Others(extent) | Self::SlowCore(extent) | Self::Outlier(extent)) = self;
        extent
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steal(share) => write!(f, "steal {:.0} %", share * 100.0),
            Self::Others(share) => write!(f, "other processes {:.0} %", share * 100.0),
            Self::SlowCore(excess) => write!(f, "a core {:.0} % slower", excess * 100.0),
            Self::Outlier(ratio) => write!(f, "more than {ratio:.2} x the median"),
        }
    }
}

/// Median and range of one metric over rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// Summary of `values`, or nothing if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted.len() / 2;
        let high = *sorted.get(upper)?;
        let low = if sorted.len().is_multiple_of(2) { *sorted.get(upper - 1)? } else { high };
        Some(Self { median: (low + high) / 2.0, min, max })
    }
}

/// The figure that stands for all rounds: the median, or the worst one for metrics that ask for it.
pub(crate) fn overall(samples: &[Sample], metric: &Metric) -> Option<f64> {
    summarise(samples, metric).map(|s| if metric.worst { s.max } else { s.median })
}

/// Summary of `metric` over the rounds that have it.
pub(crate) fn summarise(samples: &[Sample], metric: &Metric) -> Option<Summary> {
    Summary::of(samples.iter().filter_map(|s| s.value(metric)))
}

/// Rounds whose `metric` is more than `factor` times the median of all rounds.
pub(crate) fn outliers(samples: &[Sample], metric: &Metric, factor: f64) -> Vec<usize> {
    let Some(summary) = summarise(samples, metric) else { return Vec::new() };
    let limit = summary.median * factor;
    let above = |s: &Sample| s.value(metric).is_some_and(|v| v > limit && limit > 0.0);
    samples.iter().enumerate().filter(|(_, s)| above(s)).map(|(i, _)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::CPU_US;

    fn samples(values: &[f64]) -> Vec<Sample> {
        let one = |v: &f64| {
            let mut s = Sample::default();
            s.set(&CPU_US, *v);
            s
        };
        values.iter().map(one).collect()
    }

    #[test]
    fn median_of_odd_even_and_none() {
        assert_eq!(Summary::of([3.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Summary::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Summary::of([]), None);
        assert_eq!(Summary::of([f64::NAN, 1.0]).unwrap().max, 1.0);
    }

    #[test]
    fn the_worst_of_each_kind_counts() {
        use Disturbance::{Others, Steal};
        assert_eq!(Disturbance::worst([Steal(0.1), Others(0.2), Steal(0.3), Steal(0.2)]), [Steal(0.3), Others(0.2)]);
    }

    #[test]
    fn errors_of_one_round_are_not_hidden_by_the_median() {
        let mut rounds = samples(&[1.0, 2.0, 9.0]);
        rounds[1].set(&ERRORS, 7.0);
        rounds[0].set(&ERRORS, 0.0);
        rounds[2].set(&ERRORS, 0.0);
        assert_eq!((overall(&rounds, &ERRORS), overall(&rounds, &CPU_US)), (Some(7.0), Some(2.0)));
    }

    #[test]
    fn outliers_are_above_the_factor_only() {
        assert_eq!(outliers(&samples(&[10.0, 10.5, 13.0, 9.0, 10.0]), &CPU_US, 1.25), vec![2]);
        assert!(outliers(&samples(&[10.0, 12.4]), &CPU_US, 1.25).is_empty());
        assert!(outliers(&samples(&[0.0, 0.0]), &CPU_US, 1.25).is_empty());
        assert!(outliers(&[], &CPU_US, 1.25).is_empty());
    }
}
