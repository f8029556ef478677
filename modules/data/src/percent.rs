//! A share of requests.

use schemars::JsonSchema;
use serde::Deserialize;

/// A share of requests in percent, from `0` to `100`, exact to a ten-thousandth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
#[schemars(with = "f64")]
pub struct Percent(u32);

/// Parts that all requests are.
const WHOLE: u32 = 1_000_000;

impl Percent {
    /// Every request.
    pub const ALL: Self = Self(WHOLE);

    /// Whether a request is in, by random bits that are its own.
    pub(crate) fn hits(self, random: u64) -> bool {
        random % u64::from(WHOLE) < u64::from(self.0)
    }

    /// As a fraction of one.
    pub(crate) fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }
}

impl Default for Percent {
    fn default() -> Self {
        Self::ALL
    }
}

impl TryFrom<f64> for Percent {
    type Error = String;

    fn try_from(percent: f64) -> Result<Self, String> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(format!("{percent} is no percentage from 0 to 100"));
        }
        Ok(Self((percent * f64::from(WHOLE / 100)).round() as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_bounded() {
        let hits = |percent: f64| {
            let percent = Percent::try_from(percent).unwrap();
            (0..1_000_000).filter(|random| percent.hits(*random)).count()
        };
        assert_eq!((hits(0.0), hits(0.0001), hits(12.5), hits(100.0)), (0, 1, 125_000, 1_000_000));
        for wrong in [-1.0, 100.1, f64::NAN, f64::INFINITY] {
            assert!(Percent::try_from(wrong).is_err(), "{wrong}");
        }
    }
}
