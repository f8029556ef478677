//! What the numbers depend on besides the code: only alike machines are compared.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Compilers, C library, valgrind and CPU, each by name.
pub(crate) type Machine = BTreeMap<String, String>;

/// This machine, and this program as it was built.
pub(crate) fn describe() -> Result<Machine> {
    ensure!(!cfg!(debug_assertions), "only an optimised build can be compared: run it with --release");
    let valgrind = first_line("valgrind", "--version")
        .context("valgrind does not run; install it (Debian package `valgrind`): nothing is counted without it")?;
    let or_unknown = |line: Result<String>| line.unwrap_or_else(|_| "unknown".into());
    let parts = [
        ("rustc", env!("RINGWAY_BUILT_BY").to_owned()),
        ("cc", or_unknown(first_line("cc", "--version"))), // builds the allocator
        ("libc", or_unknown(first_line("getconf", "GNU_LIBC_VERSION"))),
        ("valgrind", valgrind),
        ("cpu", features()),
    ];
    Ok(parts.map(|(part, text)| (part.to_owned(), text)).into())
}

/// In what two machines differ, if they do.
pub(crate) fn difference(baseline: &Machine, here: &Machine) -> Option<String> {
    let value = |machine: &Machine, part: &str| machine.get(part).map_or("none", String::as_str).to_owned();
    let parts: std::collections::BTreeSet<_> = baseline.keys().chain(here.keys()).collect();
    let differ = parts.into_iter().map(|part| (part, value(here, part), value(baseline, part)));
    let differ: Vec<_> = differ
        .filter(|(_, here, there)| here != there)
        .map(|(part, here, there)| format!("{part} is `{here}`, the baseline's `{there}`"))
        .collect();
    (!differ.is_empty()).then(|| differ.join("; "))
}

/// The instruction sets that libraries choose their code by, of those that valgrind can run.
fn features() -> String {
    let mut known = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let sets = [
            ("sse4.2", has!("sse4.2")),
            ("popcnt", has!("popcnt")),
            ("lzcnt", has!("lzcnt")),
            ("avx", has!("avx")),
            ("avx2", has!("avx2")),
            ("bmi1", has!("bmi1")),
            ("bmi2", has!("bmi2")),
            ("fma", has!("fma")),
        ];
        known.extend(sets.into_iter().filter(|(_, has)| *has).map(|(set, _)| set));
    }
    known.join(" ")
}

fn first_line(program: &str, arg: &str) -> Result<String> {
    let output = Command::new(program).arg(arg).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {arg}: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let machine =
            |parts: &[(&str, &str)]| parts.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect::<Machine>();
        let here = machine(&[("cpu", "avx2"), ("rustc", "1.95")]);
        assert_eq!(difference(&here, &here), None);
        let reason = difference(&machine(&[("cpu", "avx"), ("rustc", "1.95")]), &here).unwrap();
        assert_eq!(reason, "cpu is `avx2`, the baseline's `avx`");
        let reason = difference(&machine(&[("cpu", "avx2")]), &here).unwrap();
        assert_eq!(reason, "rustc is `1.95`, the baseline's `none`");
    }
}
