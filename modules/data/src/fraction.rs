//! Shares of requests, as options state them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};

/// A share of requests in percent, 0 to 100, with a resolution of one in a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent {
    of_a_million: u32,
}

impl Percent {
    /// All of them.
    pub const ALL: Self = Self { of_a_million: 1_000_000 };

    /// Whether this request is one of them, by random bits.
    pub(crate) fn takes(self, random: impl FnOnce() -> u64) -> bool {
        match self.of_a_million {
            0 => false,
            1_000_000 => true,
            share => random() % 1_000_000 < u64::from(share),
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let percent = f64::deserialize(from)?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(D::Error::custom(format!("{percent} is no percentage: it must be within 0 and 100")));
        }
        Ok(Self { of_a_million: (percent * 10_000.0).round() as u32 })
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 100 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_taken() {
        let read = |text: &str| serde_json::from_str::<Percent>(text);
        assert_eq!(read("100").unwrap(), Percent::ALL);
        let share = read("0.5").unwrap();
        assert!(share.takes(|| 4_999) && !share.takes(|| 5_000) && share.takes(|| 1_000_000));
        assert!(!read("0").unwrap().takes(|| 0));
        assert!(read("100.1").is_err() && read("-1").is_err());
    }
}
