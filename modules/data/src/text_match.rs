//! Conditions on a text, as options state them.

use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

/// A condition on a text. Case counts.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextMatchConfig {
    /// It is this.
    Exact(String),
    /// It begins with this.
    Prefix(String),
    /// It ends with this.
    Suffix(String),
    /// This is in it.
    Contains(String),
    /// All of it matches this regular expression.
    #[serde(alias = "safe_regex")]
    Regex(String),
}

/// A [`TextMatchConfig`] that has been checked.
#[derive(Clone, Debug)]
pub(crate) enum TextMatch {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<[u8]>),
    Regex(Regex),
}

/// The most memory that a compiled expression may take, in bytes.
const REGEX_LIMIT: usize = 1 << 20;

impl TextMatch {
    /// # Errors
    /// What is wrong with the condition.
    pub(crate) fn compile(config: TextMatchConfig) -> Result<Self, String> {
        let bytes = |text: String| text.into_bytes().into_boxed_slice();
        Ok(match config {
            TextMatchConfig::Exact(text) => Self::Exact(bytes(text)),
            // An empty one would fit everything: `regex: ".*"` says so in plain words.
            TextMatchConfig::Prefix(text) | TextMatchConfig::Suffix(text) | TextMatchConfig::Contains(text)
                if text.is_empty() =>
            {
                return Err("an empty text fits everything".to_owned());
            }
            TextMatchConfig::Prefix(text) => Self::Prefix(bytes(text)),
            TextMatchConfig::Suffix(text) => Self::Suffix(bytes(text)),
            TextMatchConfig::Contains(text) => Self::Contains(bytes(text)),
            TextMatchConfig::Regex(text) => {
                // The text alone first: `a)(b` is no expression, but would be one between parentheses.
                Regex::new(&text).map_err(|error| format!("regex: {error}"))?;
                let whole = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(REGEX_LIMIT).build();
                Self::Regex(whole.map_err(|error| format!("regex: {error}"))?)
            }
        })
    }

    /// All of a list.
    ///
    /// # Errors
    /// What is wrong with the first that is, and which it is.
    pub(crate) fn compile_all(option: &str, list: Vec<TextMatchConfig>) -> Result<Box<[Self]>, String> {
        let compiled = list
            .into_iter()
            .enumerate()
            .map(|(at, config)| Self::compile(config).map_err(|error| format!("{option}[{at}]: {error}")));
        compiled.collect()
    }

    pub(crate) fn fits(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => text == &**wanted,
            Self::Prefix(wanted) => text.starts_with(wanted),
            Self::Suffix(wanted) => text.ends_with(wanted),
            Self::Contains(wanted) => memchr::memmem::find(text, wanted).is_some(),
            Self::Regex(wanted) => wanted.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_fit_what_they_say() {
        let regex = |text: &str| TextMatchConfig::Regex(text.to_owned());
        for (config, fits, not) in [
            (TextMatchConfig::Exact("ab".into()), "ab", "abc"),
            (TextMatchConfig::Prefix("ab".into()), "abc", "xab"),
            (TextMatchConfig::Suffix("ab".into()), "xab", "abc"),
            (TextMatchConfig::Contains("ab".into()), "xabc", "axb"),
            (regex("a|b+"), "bb", "ab"),
        ] {
            let compiled = TextMatch::compile(config).unwrap();
            assert!(compiled.fits(fits.as_bytes()) && !compiled.fits(not.as_bytes()), "{compiled:?}");
        }
        for bad in [regex("("), regex("a)(b"), TextMatchConfig::Prefix(String::new())] {
            assert!(TextMatch::compile(bad).is_err());
        }
    }
}
