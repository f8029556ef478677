//! Errors that show the place and say what to do.

use std::fmt;

use crate::locate;

/// An error in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or what else the text came from.
    pub origin: String,
    /// Line and column, from 1, when known.
    pub place: Option<(usize, usize)>,
    /// The line's text.
    pub line: String,
    /// Where in the configuration, such as `listeners[0].routes`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What may have been meant.
    pub suggestion: Option<String>,
}

/// A fault at a path; it gets its place when it is reported.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

impl Fault {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), suggestion: None }
    }

    /// Suggests the nearest of `known` to `word`.
    pub(crate) fn near<'k>(mut self, word: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        self.suggestion = nearest(word, known);
        self
    }
}

impl ConfigError {
    pub(crate) fn at_path(origin: &str, text: &str, fault: Fault) -> Self {
        let place = locate::place_of(text, &fault.path);
        let line = place.and_then(|(line, _)| text.lines().nth(line - 1)).unwrap_or_default().to_owned();
        let Fault { path, message, suggestion } = fault;
        Self { origin: origin.into(), place, line, path, message, suggestion }
    }

    pub(crate) fn of_yaml(origin: &str, text: &str, error: &serde_saphyr::Error) -> Self {
        let place = error.location().and_then(|at| {
            let line = usize::try_from(at.line()).ok()?;
            Some((line, usize::try_from(at.column()).ok()?))
        });
        let line = place.and_then(|(line, _)| text.lines().nth(line - 1)).unwrap_or_default().to_owned();
        let full = error.without_snippet().to_string();
        let message = full.lines().next().unwrap_or_default();
        let message = message.split(" at line ").next().unwrap_or(message).trim_start_matches("error: ").to_owned();
        let path = place.map(|place| locate::path_of(text, place)).unwrap_or_default();
        let suggestion = unknown_key(&message).and_then(|(word, known)| nearest(word, known));
        Self { origin: origin.into(), place, line, path, message, suggestion }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: ", self.origin)?,
            None => write!(f, "{}: ", self.origin)?,
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean `{suggestion}`?")?;
        }
        if let Some((line, column)) = self.place {
            let number = line.to_string();
            let shown: String = self.line.chars().take(160).collect();
            write!(f, "\n {number} | {shown}")?;
            if column <= 161 {
                write!(f, "\n {:width$} | {:>column$}", "", "^", width = number.len())?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The unknown word and the known ones in serde's message about an unknown field or variant.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    if !message.contains("unknown field") && !message.contains("unknown variant") {
        return None;
    }
    let word = message.split('`').nth(1)?;
    let list = message.split_once("expected ")?.1.trim_start_matches("one of ");
    Some((word, list.split([',', '`', ' ']).filter(|name| !name.is_empty() && *name != "or").collect()))
}

/// The nearest of `known` to `word`, when it is near enough to be a slip.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let limit = (word.chars().count() / 3).max(1) + 1;
    let best = known.into_iter().map(|other| (distance(word, other), other)).min()?;
    (best.0 <= limit).then(|| best.1.to_owned())
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (place, cb) in row.iter_mut().skip(1).zip(&b) {
            let cost = (diagonal + usize::from(ca != *cb)).min(left + 1).min(*place + 1);
            diagonal = std::mem::replace(place, cost);
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(nearest("clutser", ["cluster", "route"]).as_deref(), Some("cluster"));
        assert_eq!(nearest("zebra", ["cluster", "route"]), None);
    }
}
