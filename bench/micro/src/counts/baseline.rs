//! What the cases took when somebody last looked and agreed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::machine::{Machine, difference};

/// Percent over the baseline that are put up with.
pub(crate) const THRESHOLD: f64 = 2.0;
/// Fewer instructions than this are no change, whatever they are in percent.
const SMALL: f64 = 2.0;

/// The contents of the baseline file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    /// What it was counted with and on.
    machine: Machine,
    /// Instructions per operation.
    cases: BTreeMap<String, f64>,
}

/// How a case compares.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    /// The baseline does not have it.
    New,
    Known {
        before: f64,
        percent: f64,
        worse: bool,
    },
}

impl Baseline {
    pub(crate) fn new(machine: Machine) -> Self {
        Self { machine, cases: BTreeMap::new() }
    }

    /// Reads it, if there is one.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is not a baseline", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Why its numbers say nothing about this machine's.
    pub(crate) fn unlike(&self, here: &Machine) -> Option<String> {
        difference(&self.machine, here)
    }

    pub(crate) fn compare(&self, case: &str, counted: f64) -> Line {
        let Some(&before) = self.cases.get(case) else { return Line::New };
        let percent = (counted - before) / before * 100.0;
        Line::Known { before, percent, worse: percent > THRESHOLD && counted - before > SMALL }
    }

    pub(crate) fn set(&mut self, case: &str, counted: f64) {
        self.cases.insert(case.to_owned(), (counted * 10.0).round() / 10.0);
    }
}

impl Line {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::New => format!("{:>10}", "none"),
            Self::Known { before, percent, worse } => {
                format!("{before:>10.1} {percent:>+7.1}%{}", if *worse { "  worse" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_worse_and_less_is_not() {
        let mut baseline = Baseline::default();
        baseline.set("a", 1000.04);
        baseline.set("b", 10.0);
        for (case, counted, is_worse) in
            [("a", 1019.0, false), ("a", 1021.0, true), ("a", 500.0, false), ("b", 11.9, false), ("b", 12.1, true)]
        {
            let line = baseline.compare(case, counted);
            assert!(matches!(line, Line::Known { worse, .. } if worse == is_worse), "{case} {counted} {line:?}");
        }
        assert_eq!(baseline.compare("new", 1e9), Line::New);
    }

    #[test]
    fn it_is_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        assert!(Baseline::read(&path).unwrap().is_none());
        let machine = Machine::from([("cpu".to_owned(), "avx2".to_owned())]);
        let mut baseline = Baseline::new(machine.clone());
        baseline.set("a", 1.26);
        baseline.write(&path).unwrap();
        let again = Baseline::read(&path).unwrap().unwrap();
        assert_eq!((again.unlike(&machine), again.cases), (None, BTreeMap::from([("a".to_owned(), 1.3)])));
        fs::write(&path, "{}").unwrap();
        assert!(Baseline::read(&path).is_err());
    }

    #[test]
    fn the_committed_one_has_every_case() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.json");
        let baseline = Baseline::read(&path).unwrap().unwrap();
        let names: Vec<&str> = baseline.cases.keys().map(String::as_str).collect();
        let mut wanted: Vec<&str> = crate::cases::CASES.iter().map(|case| case.name).collect();
        wanted.sort_unstable();
        assert_eq!(names, wanted);
    }
}
