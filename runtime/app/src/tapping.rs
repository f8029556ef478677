//! `ringway tap` and `ringway record`: the requests of a running process as they end.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use ringway_config::raw::LogFilter;

use crate::admin::client;
use crate::control::TapAsked;

/// Which requests, and how many.
#[derive(Args, Clone, Debug)]
pub(crate) struct TapArgs {
    /// The admin address of the process.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Which requests, as JSON: a filter as access logs have them, `{"status_code": {"op": "ge", "value": 500}}`.
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// End after so many requests.
    #[arg(long, default_value_t = 1000)]
    limit: u64,
    /// End after so many seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Into which file.
#[derive(Args, Clone, Debug)]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    tap: TapArgs,
    /// The file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Prints requests as they end.
///
/// # Errors
/// What the process says.
pub(crate) fn tap(args: &TapArgs) -> Result<()> {
    let mut out = std::io::stdout().lock();
    follow(args, false, |lines| {
        out.write_all(lines)?;
        Ok(out.flush()?)
    })
}

/// Writes requests into a file that can be played again.
///
/// # Errors
/// What the process says, or why the file cannot be written.
pub(crate) fn record(args: &RecordArgs) -> Result<()> {
    let path = args.out.display();
    let file = File::create(&args.out).with_context(|| format!("cannot write {path}"))?;
    let mut file = BufWriter::new(file);
    let mut count = 0;
    follow(&args.tap, true, |lines| {
        count += lines.iter().filter(|byte| **byte == b'\n').count();
        file.write_all(lines).with_context(|| format!("cannot write {path}"))
    })?;
    file.flush().with_context(|| format!("cannot write {path}"))?;
    eprintln!("ringway: {count} requests in {path}");
    Ok(())
}

fn follow(args: &TapArgs, record: bool, take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let filter = args.filter.as_deref().map(serde_json::from_str::<LogFilter>).transpose().context("--filter")?;
    let asked = TapAsked { filter, limit: args.limit, seconds: args.seconds, record };
    client::follow(args.admin, "/tap", &serde_json::to_string(&asked)?, take)
}
