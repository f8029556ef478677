//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::catalog::Catalog;
use crate::peers::Places;

pub(crate) const HELP: &str = "\
ringway-bench-peers: proxies side by side, pinned, in interleaved rounds

usage: ringway-bench-peers [run] [options]    measure and print Markdown
       ringway-bench-peers setup              install the peers that can be installed here
       ringway-bench-peers list               name the peers and the scenarios

  --scenario A,B       these scenarios only (may be repeated; default: all)
  --peers A,B          these peers only (default: all)
  --peer-file FILE     a proxy of your own, described as in examples/peer.yaml (may be repeated)
  --scenario-file FILE a closed loop of your own, described as in examples/scenario.yaml (may be repeated)
  --rounds N           interleaved rounds (default 5; scenarios that start each proxy anew take at most 3)
  --seconds S          measured seconds of a round (default 3)
  --warm-up S          seconds before them (default 1)
  --md FILE            write the Markdown here too
  --plots DIR          draw each scenario's main figure into this folder, as SVG
  --json FILE          write every round as JSON
  --proxy-core N       core of the proxy (default 0)
  --load-core N        core of the client and the upstream (default 1)
  --ringway FILE       the ringway binary (default: beside this one)
  --pump FILE          the pump binary (default: beside this one)
  --peers-dir DIR      where `setup` installs (default: .peers of this crate)
  --nice N             scheduling priority of the whole run, -20 to 19: a negative one keeps other work of
                       a busy machine away from the figures, and starves it meanwhile (default: unchanged)
  --cgroup DIR         memory cgroup (v1 or v2) in which groups for the proxies may be made
                       (default: this process's own, if cgroup v2 lets it)
";

/// What the user asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Run(Box<Options>),
    Setup(Places),
    List(Catalog),
    Help,
}

/// Options of a run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) catalog: Catalog,
    pub(crate) scenarios: Vec<String>,
    pub(crate) peers: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) window: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) plots: Option<PathBuf>,
    pub(crate) proxy_core: usize,
    pub(crate) load_core: usize,
    pub(crate) niceness: Option<i32>,
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) places: Places,
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Request> {
    let mut args = args.into_iter().peekable();
    let command = args.next_if(|a| !a.starts_with('-')).unwrap_or_else(|| "run".into());
    let mut given = Vec::new();
    while let Some(flag) = args.next() {
        if matches!(flag.as_str(), "-h" | "--help") {
            return Ok(Request::Help);
        }
        let value = args.next().with_context(|| format!("{flag} needs a value; see --help"))?;
        given.push((flag, value));
    }
    // Names may be those of files, wherever these stand.
    let mut catalog = Catalog::built_in()?;
    for (flag, value) in &given {
        match flag.as_str() {
            "--peer-file" => catalog.add_peer(value.as_ref())?,
            "--scenario-file" => catalog.add_scenario(value.as_ref())?,
            _ => {}
        }
    }
    let mut options = Options::default_for(&std::env::current_exe()?, catalog);
    for (flag, value) in &given {
        options.set(flag, value).with_context(|| format!("{flag} {value}"))?;
    }
    match command.as_str() {
        "run" => Ok(Request::Run(Box::new(options))),
        "setup" => Ok(Request::Setup(options.places)),
        "list" => Ok(Request::List(options.catalog)),
        "help" => Ok(Request::Help),
        other => bail!("unknown command {other:?}: run, setup, list or help"),
    }
}

impl Options {
    fn default_for(program: &std::path::Path, catalog: Catalog) -> Self {
        let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let places = Places {
            local: PathBuf::from(here).join(".peers"),
            built: program.parent().map(PathBuf::from).unwrap_or_default(),
            ringway: None,
            pump: None,
        };
        Self {
            scenarios: catalog.scenarios.iter().map(|s| s.name().to_owned()).collect(),
            peers: catalog.peers.iter().map(|p| p.name().to_owned()).collect(),
            catalog,
            rounds: 5,
            window: Duration::from_secs(3),
            warm_up: Duration::from_secs(1),
            markdown: None,
            json: None,
            plots: None,
            proxy_core: 0,
            load_core: 1,
            niceness: None,
            cgroup: None,
            places,
        }
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<()> {
        match flag {
            "--scenario" | "--scenarios" => {
                self.scenarios = names(value, self.catalog.scenarios.iter().map(|s| s.name()))?
            }
            "--peers" => self.peers = names(value, self.catalog.peers.iter().map(|p| p.name()))?,
            "--peer-file" | "--scenario-file" => {}
            "--rounds" => self.rounds = value.parse::<usize>()?.clamp(1, 1000),
            "--seconds" => self.window = seconds(value)?,
            "--warm-up" => self.warm_up = seconds(value)?,
            "--md" => self.markdown = Some(value.into()),
            "--plots" => self.plots = Some(value.into()),
            "--json" => self.json = Some(value.into()),
            "--proxy-core" => self.proxy_core = value.parse()?,
            "--load-core" => self.load_core = value.parse()?,
            "--ringway" => self.places.ringway = Some(value.into()),
            "--pump" => self.places.pump = Some(value.into()),
            "--peers-dir" => self.places.local = value.into(),
            "--nice" => self.niceness = Some(value.parse::<i32>()?.clamp(-20, 19)),
            "--cgroup" => self.cgroup = Some(value.into()),
            _ => bail!("unknown option; see --help"),
        }
        Ok(())
    }
}

/// The names in `list`, each of which must be in `known`.
fn names(list: &str, known: impl Iterator<Item = &'static str>) -> Result<Vec<String>> {
    let known: Vec<&str> = known.collect();
    let named: Vec<String> = list.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect();
    match named.iter().find(|n| !known.contains(&n.as_str())) {
        Some(unknown) => bail!("{unknown:?} is none of {}", known.join(", ")),
        None => Ok(named),
    }
}

fn seconds(value: &str) -> Result<Duration> {
    let time = Duration::try_from_secs_f64(value.parse()?)?;
    if time > Duration::from_secs(600) {
        bail!("more than 600 seconds");
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Result<Request> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn defaults_and_options() {
        let Ok(Request::Run(options)) = request("") else { panic!("a run") };
        assert_eq!((options.rounds, options.scenarios.len()), (5, options.catalog.scenarios.len()));
        let line = "run --peers direct,nginx --scenario h1-1k-c64 --rounds 2 --seconds 0.5 --pump /x/pump";
        let Ok(Request::Run(options)) = request(line) else { panic!("a run") };
        assert_eq!(options.peers, ["direct", "nginx"]);
        assert_eq!((options.rounds, options.window), (2, Duration::from_millis(500)));
        assert_eq!(options.places.pump, Some("/x/pump".into()));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [
            ("fly", "fly"),
            ("--peers ngin", "ngin"),
            ("--rounds x", "--rounds"),
            ("--rounds", "needs a value"),
            ("--seconds 1e9", "600"),
            ("--seconds -1", "--seconds"),
            ("--color yes", "--color"),
        ] {
            let error = format!("{:#}", request(line).unwrap_err());
            assert!(error.contains(word), "{line}: {error}");
        }
    }

    #[test]
    fn commands() {
        assert!(matches!(request("list"), Ok(Request::List(_))));
        assert!(matches!(request("setup --peers-dir /x"), Ok(Request::Setup(_))));
        assert!(matches!(request("run -h"), Ok(Request::Help)));
    }
}
