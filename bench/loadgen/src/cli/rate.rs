//! Rates as they are written.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::plan::duration;
use crate::schedule::Shape;

/// `1000`, `poisson:1000`, `100..1000`, or `100:10s,200:10s`; a ramp takes all of `whole`.
pub(super) fn parse(text: &str, whole: Duration) -> Result<Shape> {
    if let Some(rate) = text.strip_prefix("poisson:") {
        return Ok(Shape::Poisson(positive(rate)?));
    }
    if let Some((from, to)) = text.split_once("..") {
        return Ok(Shape::Ramp { from: positive(from)?, to: positive(to)?, over: whole });
    }
    if !text.contains(':') {
        return Ok(Shape::Constant(positive(text)?));
    }
    let step = |part: &str| -> Result<(f64, Duration)> {
        let (rate, span) = part.split_once(':').with_context(|| format!("`{part}` has no duration; try 100:10s"))?;
        Ok((positive(rate)?, duration(span).map_err(anyhow::Error::msg)?))
    };
    Ok(Shape::Steps(text.split(',').map(step).collect::<Result<_>>()?))
}

/// A number of requests per second.
pub(super) fn positive(text: &str) -> Result<f64> {
    let rate: f64 = text.trim().parse().with_context(|| format!("`{text}` is no rate; try 1000"))?;
    if !(0.001..=1e9).contains(&rate) {
        bail!("a rate must be from 0.001 to 1e9 requests per second, not {text}");
    }
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_mistakes() {
        let second = Duration::from_secs(1);
        let parse = |text| parse(text, second);
        assert_eq!(parse("1e3").unwrap(), Shape::Constant(1000.0));
        assert_eq!(parse("poisson:5").unwrap(), Shape::Poisson(5.0));
        assert_eq!(parse("1..9").unwrap(), Shape::Ramp { from: 1.0, to: 9.0, over: second });
        assert_eq!(parse("1:1s,2:1000ms").unwrap(), Shape::Steps(vec![(1.0, second), (2.0, second)]));
        for text in ["", "0", "-1", "x", "1:", "1:1s,2", "inf", "poisson:"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
