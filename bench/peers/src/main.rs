//! Side-by-side measurements of Ringway and its peers: proxies pinned to one core, client and upstream to
//! another, rounds interleaved, CPU read from `/proc`. See README.md of this crate.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock and sleeps; no worker runs here")]

mod bars;
mod bench;
mod calibrate;
mod catalog;
mod certificate;
mod cgroup;
mod cli;
mod launch;
mod load;
mod machine;
mod message;
mod metric;
mod peers;
mod procfs;
mod report;
mod rounds;
mod scenarios;
mod scratch;
mod setup;
mod stats;
mod upstream;
mod watch;

use std::ffi::OsString;
use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use bench::Bench;
use cli::{Options, Request};
use machine::Machine;
use report::{Report, Table};
use upstream::Addresses;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match dispatch(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringway-bench-peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: Vec<OsString>) -> Result<()> {
    match args.first().and_then(|a| a.to_str()) {
        Some(launch::EXEC) => return launch::become_program(args.into_iter().skip(1).collect()),
        Some(bench::UPSTREAM) => return upstream::run(&Addresses::parse(args.get(1..).unwrap_or_default())?),
        _ => {}
    }
    let prioritised = args.first().is_some_and(|a| a == launch::PRIORITISED);
    let words = args.iter().skip(usize::from(prioritised)).map(|a| a.to_string_lossy().into_owned());
    match cli::parse(words)? {
        Request::Run(options) => match options.niceness {
            Some(_) if !prioritised => run_in_child(&args),
            Some(niceness) => launch::prioritise(niceness).and_then(|()| run(*options)),
            None => run(*options),
        },
        Request::Setup(places) => {
            setup::run(&places);
            Ok(())
        }
        Request::List(catalog) => {
            catalog.peers.iter().for_each(|p| println!("peer      {}", p.name()));
            catalog.scenarios.iter().for_each(|s| println!("scenario  {:<16} {}", s.name(), s.about()));
            Ok(())
        }
        Request::Help => {
            print!("{}", cli::HELP);
            Ok(())
        }
    }
}

/// Runs in a child that may begin a session of its own: a process that a shell started often may not.
fn run_in_child(args: &[OsString]) -> Result<()> {
    let program = std::env::current_exe()?;
    let status = Command::new(program).arg(launch::PRIORITISED).args(args).status().context("starting the run")?;
    anyhow::ensure!(status.success(), "the run ended with {status}");
    Ok(())
}

fn run(options: Options) -> Result<()> {
    let bench = Bench::start(options.clone())?;
    let method = format!(
        "Proxy on core {}, client and upstream on core {}; up to {} interleaved rounds of {} s after {} s of warm-up; \
         medians (min..max), errors of the worst round{}.",
        options.proxy_core,
        options.load_core,
        options.rounds,
        options.window.as_secs_f64(),
        options.warm_up.as_secs_f64(),
        options.niceness.map(|n| format!("; priority {n}")).unwrap_or_default()
    );
    let peers = bench.peers.iter().map(|e| (e.peer.name(), e.found.clone().map(|f| f.version))).collect();
    let mut report = Report { machine: Machine::here(), method, peers, tables: Vec::new() };
    for scenario in options.catalog.scenarios.iter().filter(|s| options.scenarios.iter().any(|n| n == s.name())) {
        eprintln!("{} ...", scenario.name());
        let rows = scenario.run(&bench).with_context(|| format!("scenario {}", scenario.name()))?;
        let table = Table::new(*scenario, rows);
        eprintln!("{}", report::table_text(&table));
        report.tables.push(table);
        // Written after each scenario, so that an interrupted run keeps what it has.
        write(&options, &report)?;
    }
    print!("{}", report::markdown(&report));
    Ok(())
}

fn write(options: &Options, report: &Report) -> Result<()> {
    if let Some(file) = &options.markdown {
        fs::write(file, report::markdown(report)).with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report::json(report))? + "\n";
        fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(folder) = &options.plots {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        for table in &report.tables {
            let file = folder.join(format!("{}.svg", table.scenario));
            fs::write(&file, report::plot(table, &report.machine))
                .with_context(|| format!("writing {}", file.display()))?;
        }
    }
    Ok(())
}
