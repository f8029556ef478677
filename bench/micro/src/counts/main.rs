//! Instructions per operation of what every request passes through: heads, routing, picking a host. Instructions do
//! not depend on what else the machine does, so a change of a few percent shows at once.

#![forbid(unsafe_code)]

mod baseline;
mod callgrind;
mod cases;
mod machine;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use baseline::{Baseline, Line, THRESHOLD};
use cases::CASES;

/// The allocator of the product: its instructions count.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: ringway-counts                  count under callgrind, compare with the baseline; fails when a case got worse
       ringway-counts --accept         make what is counted the new baseline
       ringway-counts run CASE TIMES   do a case, for a profiler of your own; the cases are:";

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("ringway-counts: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => return check(),
        ["--accept"] => accept()?,
        ["run", name, times] => {
            let case = CASES.iter().find(|case| case.name == *name);
            let case = case.with_context(|| format!("there is no case `{name}`; --help names them"))?;
            (case.run)(times.parse().with_context(|| format!("{times} is not a number"))?)?;
        }
        ["-h" | "--help"] => {
            println!("{USAGE}");
            CASES.iter().for_each(|case| println!("  {:32} {}", case.name, case.what));
        }
        other => bail!("unknown arguments `{}`; see --help", other.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts all cases and prints them beside the baseline, if that is of a machine like this one.
fn check() -> Result<ExitCode> {
    let file = file();
    let machine = machine::describe()?;
    let baseline = Baseline::read(&file)?;
    let unlike = match &baseline {
        None => Some(format!("there is no {}", file.display())),
        Some(baseline) => baseline.unlike(&machine),
    };
    let baseline = baseline.filter(|_| unlike.is_none()).unwrap_or_default();
    println!("{:32} {:>12} {:>10} {:>8}", "case", "instructions", "baseline", "change");
    let mut worse = Vec::new();
    for case in CASES {
        let counted = callgrind::count(case)?;
        let line = baseline.compare(case.name, counted);
        println!("{:32} {counted:>12.1} {}", case.name, line.text());
        if matches!(line, Line::Known { worse: true, .. }) {
            worse.push(case.name);
        }
    }
    if let Some(reason) = unlike {
        println!("not compared: {reason}");
    }
    if worse.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("more than {THRESHOLD} % over the baseline: {}; if that is meant: --accept", worse.join(", "));
    Ok(ExitCode::FAILURE)
}

fn accept() -> Result<()> {
    let mut baseline = Baseline::new(machine::describe()?);
    for case in CASES {
        let counted = callgrind::count(case)?;
        println!("{:32} {counted:>12.1}", case.name);
        baseline.set(case.name, counted);
    }
    baseline.write(&file())?;
    println!("written to {}", file().display());
    Ok(())
}

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
}
