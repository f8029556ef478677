//! Counts the instructions of a case by running it under callgrind.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cases::Case;

/// How often a case is run: the difference of two runs is free of what begins and ends each.
const FEW: u64 = 500;
const MANY: u64 = 4500;
/// The only function whose instructions, and those of what it calls, are collected: [`crate::cases::measured`].
const MEASURED: &str = "*cases::measured*";

/// Instructions per operation.
pub(crate) fn count(case: &Case) -> Result<f64> {
    let (least, most) = (FEW / case.rarer, MANY / case.rarer);
    let (few, many) = (total(case, least)?, total(case, most)?);
    ensure!(many > few, "{}: {few} instructions for {least} operations, {many} for {most}", case.name);
    Ok((many - few) as f64 / (most - least) as f64)
}

fn total(case: &Case, times: u64) -> Result<u64> {
    let out = std::env::temp_dir().join(format!("ringway-counts-{}.out", std::process::id()));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={MEASURED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["run", case.name, &times.to_string()])
        .output()
        .context("cannot run valgrind")?;
    if !output.status.success() {
        bail!("{}: {}: {}", case.name, output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let counted = read(&out).with_context(|| case.name.to_owned())?;
    std::fs::remove_file(&out)?;
    ensure!(counted > 0, "{}: nothing was collected; does the program have its symbols?", case.name);
    Ok(counted)
}

fn read(out: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(out).with_context(|| format!("cannot read {}", out.display()))?;
    sum(&text).with_context(|| format!("{} has no totals", out.display()))
}

/// The instructions in a callgrind output file.
fn sum(text: &str) -> Option<u64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("totals:"));
    lines.map(|line| line.trim().parse().ok()).next_back()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_are_found() {
        assert_eq!(sum("events: Ir\nsummary: 5\n\nfn=(1) main\n1 7\n\ntotals: 123456\n"), Some(123_456));
        assert_eq!(sum("events: Ir\n"), None);
        assert_eq!(sum("totals: many\n"), None);
    }
}
