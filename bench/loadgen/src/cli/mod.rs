//! The command line.

mod find_max;
mod plan;
mod rate;

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use find_max::{FindMax, find_max};

use crate::assertion::Condition;
use crate::run::{Second, Summary, probe, run};
use crate::worker::Plan;
use crate::{report, report::time};

/// What a run that went wrong exits with, and one whose `--fail-if` came true.
const BROKEN: u8 = 1;
const FAILED: u8 = 2;

/// A load generator for HTTP/1.1, HTTP/2, gRPC, Dubbo, bolt and TCP.
#[derive(Debug, Parser)]
#[command(name = "ringway-bench", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    load: Option<Load>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find the highest rate at which objectives are kept.
    FindMax(FindMax),
}

/// What a load is made of.
#[derive(Debug, clap::Args)]
struct Load {
    /// http, https, h2c, h2, grpc, grpcs, dubbo, bolt or tcp, then host, port and path.
    url: String,
    /// Connections, in all threads together.
    #[arg(short, long, default_value_t = 64)]
    connections: usize,
    /// Threads.
    #[arg(short, long, default_value_t = 1)]
    threads: usize,
    /// What is measured, such as 30s, 500ms or 5m; without, 10s, or as long as the recording.
    #[arg(short, long, value_parser = plan::duration)]
    duration: Option<Duration>,
    /// Load before that which is not measured.
    #[arg(long, default_value = "1s", value_parser = plan::duration)]
    warmup: Duration,
    /// Requests per second; without, the next request follows the last reply. 1000; poisson:1000; 100..1000, growing;
    /// 100:10s,200:10s, in steps.
    #[arg(short, long)]
    rate: Option<String>,
    /// The most that a reply may take.
    #[arg(long, default_value = "10s", value_parser = plan::duration)]
    timeout: Duration,
    /// The method.
    #[arg(short = 'X', long)]
    method: Option<String>,
    /// A header as `Name: value`; may be given often.
    #[arg(short = 'H', long = "header")]
    headers: Vec<String>,
    /// The body.
    #[arg(long, conflicts_with = "body_file")]
    body: Option<String>,
    /// The body, from a file.
    #[arg(long)]
    body_file: Option<PathBuf>,
    /// Paths to ask for in turn instead of the URL's, one per line.
    #[arg(long)]
    paths: Option<PathBuf>,
    /// A unix socket to connect to; the URL's host is still asked for.
    #[arg(long)]
    unix: Option<PathBuf>,
    /// HTTP/2 for http and https.
    #[arg(long)]
    http2: bool,
    /// Requests at a time on each connection of HTTP/2, gRPC, Dubbo and bolt.
    #[arg(short = 'm', long, default_value_t = 1)]
    streams: usize,
    /// Messages that each call of gRPC sends: more than 1 for client-streaming and bidirectional calls.
    #[arg(long, default_value_t = 1)]
    grpc_messages: u32,
    /// Each message of a bidirectional call waits for one of the server's; without, they are sent as fast as they go.
    #[arg(long)]
    grpc_ping_pong: bool,
    /// Messages that the server must send in each call: calls with others count as errors.
    #[arg(long)]
    grpc_replies: Option<u32>,
    /// Requests after which a connection is closed and another opened.
    #[arg(long)]
    requests_per_connection: Option<u64>,
    /// Between a reply and the next request of the connection, without a rate.
    #[arg(long, default_value = "0ms", value_parser = plan::duration)]
    think: Duration,
    /// Believe any certificate.
    #[arg(short = 'k', long)]
    insecure: bool,
    /// A file of authorities to believe instead of the machine's.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// The name to ask for and to verify with TLS.
    #[arg(long)]
    sni: Option<String>,
    /// Recorded traffic, a JSON object per line, at its own times; --header replaces what was recorded.
    #[arg(long, conflicts_with_all = ["rate", "body", "body_file", "paths", "method"])]
    replay: Option<PathBuf>,
    /// How much faster to replay.
    #[arg(long, default_value_t = 1.0, requires = "replay")]
    speed: f64,
    /// What makes the exit code 2, such as 'p99>5ms,errors>0'.
    #[arg(long)]
    fail_if: Option<String>,
    /// How standard output looks.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Also write the report as a page to this file.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Also write the report as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also write a line per second to this file.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Of everything random: the same seed makes the same requests.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// No line of progress.
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For reading.
    #[default]
    Text,
    /// For programs.
    Json,
    /// A line per second.
    Csv,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (&cli.command, &cli.load) {
        (Some(Command::FindMax(find)), _) => find_max(find),
        (None, Some(load)) => measure(load),
        (None, None) => Err(anyhow::anyhow!("a URL is needed; see ringway-bench --help")),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringway-bench: {error:#}");
            ExitCode::from(BROKEN)
        }
    }
}

fn measure(load: &Load) -> Result<ExitCode> {
    let conditions = load.fail_if.as_deref().map(Condition::parse_all).transpose().context("--fail-if")?;
    let plan = plan::plan(load)?;
    probe(&plan).with_context(|| load.url.clone())?;
    let live = !load.quiet && std::io::stderr().is_terminal();
    let mut at = 0;
    let summary = run(&plan, |second| {
        at += 1;
        if live {
            progress(at, second);
        }
    });
    if live {
        eprint!("\r\x1b[K");
    }
    let summary = summary.with_context(|| load.url.clone())?;
    write_reports(load, &title(load, &plan), &summary)?;
    let mut code = ExitCode::SUCCESS;
    for condition in conditions.iter().flatten() {
        let (holds, found) = condition.holds(&summary);
        if holds {
            eprintln!("ringway-bench: failed: {} ({found})", condition.text());
            code = ExitCode::from(FAILED);
        }
    }
    Ok(code)
}

fn progress(at: usize, second: &Second) {
    let (p50, p99) = (time(second.p50_us), time(second.p99_us));
    eprint!("\r\x1b[K{at:>4} s  {}/s  p50 {p50}  p99 {p99}  errors {}", second.completed, second.errors);
}

fn title(load: &Load, plan: &Plan) -> String {
    let protocol = plan.protocol.name();
    let tls = if plan.tls.is_some() { " over TLS" } else { "" };
    format!("{}: {protocol}{tls}, {} connections, {} threads", load.url, plan.connections, plan.threads)
}

fn write_reports(load: &Load, title: &str, summary: &Summary) -> Result<()> {
    let pretty = || serde_json::to_string_pretty(&report::json(title, summary)).map(|text| text + "\n");
    let shown = match load.output {
        Output::Text => report::text(title, summary),
        Output::Json => pretty()?,
        Output::Csv => report::csv(summary),
    };
    std::io::stdout().write_all(shown.as_bytes())?;
    if load.output != Output::Text {
        summary.warnings.iter().for_each(|warning| eprintln!("ringway-bench: warning: {warning}"));
    }
    if let Some(path) = &load.json {
        fs::write(path, pretty()?).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &load.csv {
        fs::write(path, report::csv(summary)).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &load.html {
        fs::write(path, report::html(title, summary)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
