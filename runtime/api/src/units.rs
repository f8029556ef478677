//! Human units of the configuration: `250ms`, `64KiB`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A duration with a resolution of one millisecond, written `250ms`, `5s`, `2m`, `1h` (or `0`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// A number of bytes, written `512`, `16KiB`, `1MiB`, `2GiB` (powers of 1024) or `kB`, `MB`, `GB` (powers of 1000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl Millis {
    /// As a [`Duration`].
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// As a [`Duration`], or `None` for zero, which means "no limit" wherever a limit may be switched off.
    pub fn limit(self) -> Option<Duration> {
        (self.0 > 0).then(|| self.duration())
    }

    /// Reads `250ms`, `1.5s`, `2m`, `1h`, `0`.
    ///
    /// # Errors
    /// A sentence that says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let units = [("ms", 1.0), ("s", 1e3), ("m", 6e4), ("h", 3.6e6), ("d", 8.64e7)];
        scaled(text, &units, "a duration such as 250ms, 5s, 2m or 1h").map(Self)
    }
}

impl ByteSize {
    /// The number of bytes as `usize`, at most `usize::MAX`.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Reads `512`, `16KiB`, `1MB`.
    ///
    /// # Errors
    /// A sentence that says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        const K: f64 = 1024.0;
        let units = [
            ("KiB", K),
            ("MiB", K * K),
            ("GiB", K * K * K),
            ("kB", 1e3),
            ("MB", 1e6),
            ("GB", 1e9),
            ("B", 1.0),
            ("", 1.0),
        ];
        scaled(text, &units, "a size such as 512, 16KiB or 1MiB").map(Self)
    }
}

/// Reads a non-negative number followed by one of `units`; a bare `0` needs no unit.
fn scaled(text: &str, units: &[(&str, f64)], wanted: &str) -> Result<u64, String> {
    let refuse = || format!("`{text}` is not {wanted}");
    let text = text.trim();
    if text == "0" {
        return Ok(0);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(refuse)?.1;
    let value = number.parse::<f64>().map_err(|_| refuse())? * factor;
    // Exactly representable well past every sensible limit; anything larger is a slip of the pen.
    if value > 9e15 { Err(refuse()) } else { Ok(value.round() as u64) }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms % 3_600_000 == 0 && ms > 0 => write!(f, "{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 && ms > 0 => write!(f, "{}m", ms / 60_000),
            ms if ms % 1000 == 0 => write!(f, "{}s", ms / 1000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b if b >= 1 << 30 && b % (1 << 30) == 0 => write!(f, "{}GiB", b >> 30),
            b if b >= 1 << 20 && b % (1 << 20) == 0 => write!(f, "{}MiB", b >> 20),
            b if b >= 1 << 10 && b % (1 << 10) == 0 => write!(f, "{}KiB", b >> 10),
            b => write!(f, "{b}"),
        }
    }
}

/// Text or a bare number, as YAML gives either.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u64),
    Text(String),
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

macro_rules! human_unit {
    ($type:ident, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::parse(&Scalar::deserialize(from)?.text()).map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "integer"], "pattern": $pattern })
            }
        }
    };
}

human_unit!(Millis, r"^(0|[0-9.]+ ?(ms|s|m|h|d))$");
human_unit!(ByteSize, r"^[0-9.]+ ?(B|KiB|MiB|GiB|kB|MB|GB)?$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_and_print() {
        for (text, ms) in [("250ms", 250), ("1.5s", 1500), ("2m", 120_000), ("1h", 3_600_000), ("0", 0)] {
            assert_eq!(Millis::parse(text), Ok(Millis(ms)));
        }
        for (text, bytes) in [("512", 512), ("16KiB", 16384), ("1 MiB", 1 << 20), ("2kB", 2000)] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)));
        }
        for bad in ["5", "-1s", "s", "1.2.3s", "", "99999999999h"] {
            assert!(Millis::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Millis(90_000).to_string(), "90s");
        assert_eq!(ByteSize(61440).to_string(), "60KiB");
        assert_eq!(Millis::parse(&Millis(90_000).to_string()), Ok(Millis(90_000)));
    }
}
