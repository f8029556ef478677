//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ringway_config::{compile, json_schema};
use ringway_io::Executor;

use crate::control::{CATALOG, check_files};
use crate::explain::{self, AskedFor};
use crate::tapping::{self, RecordArgs, TapArgs};
use crate::top::{self, TopArgs};
use crate::{demo, run};

/// A modular network runtime and sidecar proxy on io_uring.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a proxy in the foreground. SIGTERM drains and ends it, SIGHUP reads the file again.
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// What runs the tasks of a worker.
        #[arg(long, value_enum, default_value_t)]
        executor: ExecutorArg,
    },
    /// Check a configuration and say what is wrong with it.
    Check(ConfigFile),
    /// Say what would become of a request, and why: listener, chain, route, filters, cluster, hosts.
    Explain {
        #[command(flatten)]
        from: Source,
        #[command(flatten)]
        asked: AskedFor,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what goes through a running process, each second. Ctrl-C ends it.
    Top(TopArgs),
    /// Print the requests of a running process as they end.
    Tap(TapArgs),
    /// Write the requests of a running process into a file that can be played again.
    Record(RecordArgs),
    /// Print the JSON Schema of configurations.
    Schema,
    /// Run a proxy in front of upstreams of its own, with traffic, to look at. Ctrl-C ends it.
    Demo(demo::DemoArgs),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file (YAML or JSON).
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    path: PathBuf,
}

/// A configuration, or a process that runs one.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Source {
    /// The configuration file (YAML or JSON).
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    path: Option<PathBuf>,
    /// The admin address of a running process.
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum ExecutorArg {
    /// The run queue of Ringway's engine.
    #[default]
    Native,
    /// glommio.
    Glommio,
}

impl Cli {
    pub(crate) fn execute(self) -> Result<()> {
        match self.command {
            Command::Run { config, executor } => run::run(&config.path, executor.into()),
            Command::Check(config) => check(&config),
            Command::Explain { from, asked, json } => explained(&from, &asked, json),
            Command::Top(args) => top::run(&args),
            Command::Tap(args) => tapping::tap(&args),
            Command::Record(args) => tapping::record(&args),
            Command::Schema => {
                println!("{}", serde_json::to_string_pretty(&json_schema(&CATALOG))?);
                Ok(())
            }
            Command::Demo(args) => demo::run(&args),
        }
    }
}

fn explained(from: &Source, asked: &AskedFor, json: bool) -> Result<()> {
    let answer = match (&from.path, from.admin) {
        (Some(path), _) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
            let snapshot = compile(&name, &text, &CATALOG, None).map_err(|error| anyhow!("{error}"))?;
            let explanation = explain::explain(&snapshot, asked)?;
            if json { serde_json::to_string_pretty(&explanation)? + "\n" } else { explain::text(&explanation) }
        }
        (None, Some(admin)) => {
            let format = if json { "json" } else { "text" };
            let body = serde_json::to_string(asked)?;
            crate::admin::client::post(admin, &format!("/explain?format={format}"), &body)?
        }
        (None, None) => return Err(anyhow!("say -c FILE or --admin IP:PORT")),
    };
    print!("{answer}");
    Ok(())
}

fn check(config: &ConfigFile) -> Result<()> {
    let path = config.path.display().to_string();
    let text = std::fs::read_to_string(&config.path).with_context(|| format!("cannot read {path}"))?;
    let snapshot = compile(&path, &text, &CATALOG, None).map_err(|error| anyhow!("{error}"))?;
    check_files(&snapshot).with_context(|| path.clone())?;
    let (listeners, clusters) = (snapshot.listeners.len(), snapshot.clusters.len());
    println!("{path}: ok ({listeners} listeners, {} routes, {clusters} clusters)", snapshot.route_count());
    Ok(())
}

impl From<ExecutorArg> for Executor {
    fn from(arg: ExecutorArg) -> Self {
        match arg {
            ExecutorArg::Native => Self::Native,
            ExecutorArg::Glommio => Self::Glommio,
        }
    }
}
