//! Content codings (RFC 9110, section 8.4.1).

use schemars::JsonSchema;
use serde::Deserialize;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// Brotli (RFC 7932).
    Br,
    /// Zstandard (RFC 8878), with the window that RFC 9659 allows.
    Zstd,
}

impl Coding {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Whether this is its name. `x-gzip` is `gzip` (RFC 9110, section 8.4.1.3).
    pub(crate) fn is_named(self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.as_str().as_bytes())
            || (self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip"))
    }

    /// The coding of this name, if it is one of these.
    pub(crate) fn named(name: &[u8], of: &[Self]) -> Option<Self> {
        of.iter().copied().find(|coding| coding.is_named(name))
    }

    /// # Errors
    /// When the list is empty, or names a coding twice.
    pub(crate) fn check(list: &[Self]) -> Result<(), String> {
        if list.is_empty() {
            return Err("codings: name at least one".to_owned());
        }
        let twice = list.iter().enumerate().find(|(at, coding)| list.iter().take(*at).any(|other| other == *coding));
        twice.map_or(Ok(()), |(_, coding)| Err(format!("codings: {} is there twice", coding.as_str())))
    }
}
