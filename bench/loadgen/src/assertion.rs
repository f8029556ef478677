//! Conditions on a run, such as `p99>5ms` or `errors<0.1%`.

use anyhow::{Context, Result, bail};

use crate::run::Summary;

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    figure: Figure,
    above: bool,
    or_equal: bool,
    value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    /// In microseconds, at a quantile.
    Latency(f64),
    Mean,
    Errors,
    ErrorShare,
    Rate,
}

impl Condition {
    /// Reads conditions separated by commas: `pNN`, `max` or `mean` with a time (`us`, `ms`, `s`), `errors` with a
    /// count or a percentage, `rate` with requests per second; `<`, `<=`, `>` or `>=` between.
    ///
    /// # Errors
    /// What cannot be read, and what would do.
    pub fn parse_all(text: &str) -> Result<Vec<Self>> {
        text.split(',').map(|part| Self::parse(part.trim())).collect()
    }

    fn parse(text: &str) -> Result<Self> {
        let at = text.find(['<', '>']).with_context(|| format!("`{text}` has no < or >; try p99>5ms"))?;
        let (name, rest) = text.split_at(at);
        let above = rest.starts_with('>');
        let rest = rest.get(1..).unwrap_or_default();
        let (or_equal, value) = rest.strip_prefix('=').map_or((false, rest), |rest| (true, rest));
        let (name, value) = (name.trim(), value.trim());
        let share = value.strip_suffix('%');
        let (figure, value) = match name {
            "max" => (Figure::Latency(1.0), micros(value)?),
            "mean" => (Figure::Mean, micros(value)?),
            "errors" => match share {
                Some(percent) => (Figure::ErrorShare, number(percent)? / 100.0),
                None => (Figure::Errors, number(value)?),
            },
            "rate" => (Figure::Rate, number(value)?),
            _ => {
                let percent = name.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok());
                let percent = percent.filter(|percent| (0.0..=100.0).contains(percent)).with_context(|| {
                    format!("unknown figure `{name}`; known are p50, p99 and so on, max, mean, errors, rate")
                })?;
                (Figure::Latency(percent / 100.0), micros(value)?)
            }
        };
        Ok(Self { text: text.to_owned(), figure, above, or_equal, value })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is true of a run, and the figure that was found.
    pub fn holds(&self, summary: &Summary) -> (bool, String) {
        let (found, shown) = match self.figure {
            Figure::Latency(quantile) => {
                let us = summary.latency_us(quantile);
                (us, crate::report::time(us))
            }
            Figure::Mean => {
                let us = summary.total.latency.mean() / 1e3;
                (us, crate::report::time(us))
            }
            Figure::Errors => {
                let count = summary.total.failed() + summary.total.unsent;
                (count as f64, count.to_string())
            }
            Figure::ErrorShare => (summary.error_share(), format!("{:.3} %", 100.0 * summary.error_share())),
            Figure::Rate => (summary.rate(), format!("{:.1}/s", summary.rate())),
        };
        let equal = self.or_equal && found == self.value;
        (equal || if self.above { found > self.value } else { found < self.value }, shown)
    }
}

fn number(text: &str) -> Result<f64> {
    let value: f64 = text.trim().parse().with_context(|| format!("`{text}` is no number"))?;
    if !value.is_finite() || value < 0.0 {
        bail!("`{text}` is no number from 0 up");
    }
    Ok(value)
}

fn micros(text: &str) -> Result<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let found = units.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, factor)));
    let (digits, factor) = found.with_context(|| format!("`{text}` is no time; try 5ms"))?;
    Ok(number(digits)? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;

    #[test]
    fn conditions_and_mistakes() {
        let mut total = Tally { completed: 100, sent: 100, ..Tally::default() };
        (0..100).for_each(|at| total.latency.saturating_record(at * 100_000));
        total.fail("status 500".into());
        let summary = Summary {
            total,
            seconds: Vec::new(),
            elapsed: 1.0,
            within: 100,
            messages: Default::default(),
            asked: None,
            threads: 1,
            warnings: Vec::new(),
        };
        for (text, expected) in [
            ("p50>4ms", true),
            ("p50>6ms", false),
            ("p99.9 < 0.1s", true),
            ("errors>0", true),
            ("errors<1%", false),
            ("errors<=1%", true),
            ("rate>=100", true),
            ("mean<1us", false),
        ] {
            let found = Condition::parse_all(text).unwrap();
            assert_eq!(found[0].holds(&summary).0, expected, "{text}");
        }
        for (text, word) in [("p99", "no <"), ("p99>5", "no time"), ("speed>1", "speed"), ("errors>x", "number")] {
            assert!(format!("{:#}", Condition::parse_all(text).unwrap_err()).contains(word), "{text}");
        }
    }
}
