//! `ringway-sim`: runs the simulation, prints what it found, and says whether what must hold does.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ringway_sim::{PARTS, Part, Run};
use serde_json::{Map, Value, json};

/// Simulates a mesh in virtual time around Ringway's router, balancers, limits, outlier detection and retries. The same
/// seed gives the same output on every machine.
#[derive(Parser)]
#[command(name = "ringway-sim", version)]
struct Args {
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulate a tenth of it or less.
    #[arg(long)]
    small: bool,
    /// Fail when a bound is broken.
    #[arg(long)]
    check: bool,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the plots, as SVG, to this folder.
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    /// What to simulate; everything when nothing is named.
    #[arg(value_name = "PART", value_parser = PARTS.iter().map(|part| part.name).collect::<Vec<_>>())]
    parts: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ringway-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// False when a bound is broken that must hold.
fn run(args: &Args) -> Result<bool> {
    let wanted = |name: &str| args.parts.is_empty() || args.parts.iter().any(|part| part == name);
    let run = Run { seed: args.seed, small: args.small };
    let (mut figures, mut checks, mut broken) = (Map::new(), Vec::new(), 0);
    for spec in PARTS.iter().filter(|spec| wanted(spec.name)) {
        let part = (spec.run)(run).with_context(|| format!("{}: {}", spec.name, spec.what))?;
        println!("{}", part.text());
        broken += part.checks.iter().filter(|check| !check.holds()).count();
        checks.extend(part.checks.iter().map(|check| format!("{}: {}", spec.name, check.text())));
        if let Some(folder) = &args.plots {
            draw(&part, folder)?;
        }
        figures.insert(spec.name.to_owned(), part.json());
    }
    println!("## Bounds\n\n{}", checks.join("\n"));
    if let Some(file) = &args.json {
        let all = json!({ "seed": args.seed, "small": args.small, "parts": Value::Object(figures) });
        let text = serde_json::to_string_pretty(&all)? + "\n";
        fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    println!("\n{} bounds, {broken} broken; seed {}", checks.len(), args.seed);
    Ok(broken == 0 || !args.check)
}

fn draw(part: &Part, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for plot in &part.plots {
        let file = folder.join(format!("{}.svg", plot.name));
        let svg = plot.svg();
        ensure!(!svg.contains("NaN"), "{}: something is no number", plot.name);
        fs::write(&file, svg).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
