//! The command line.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use rustix::thread::CpuSet;

const USAGE: &str = "usage: pump --listen IP:PORT --upstream IP:PORT [--cpu N]";

/// What the user asked for.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: SocketAddr,
    /// The CPU to run on; any when none is named.
    pub(crate) cpu: Option<usize>,
}

impl Args {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let (mut listen, mut upstream, mut cpu) = (None, None, None);
        while let Some(arg) = args.next() {
            let value = args.next().with_context(|| format!("{arg} needs a value; {USAGE}"))?;
            let wrong = || format!("{arg} {value}; {USAGE}");
            match arg.as_str() {
                "--listen" => listen = Some(value.parse().with_context(wrong)?),
                "--upstream" => upstream = Some(value.parse().with_context(wrong)?),
                "--cpu" => cpu = Some(value.parse().with_context(wrong)?),
                _ => bail!("unknown option {arg}; {USAGE}"),
            }
        }
        if cpu.is_some_and(|cpu| cpu >= CpuSet::MAX_CPU) {
            bail!("--cpu must be below {}", CpuSet::MAX_CPU);
        }
        match (listen, upstream) {
            (Some(listen), Some(upstream)) => Ok(Self { listen, upstream, cpu }),
            _ => bail!("--listen and --upstream must be given; {USAGE}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_and_mistakes() {
        let args = parse("--listen 127.0.0.1:1 --upstream [::1]:2 --cpu 3").unwrap();
        assert_eq!((args.listen.port(), args.upstream.port(), args.cpu), (1, 2, Some(3)));
        for (line, word) in [
            ("--listen 127.0.0.1:1", "--upstream"),
            ("--listen here:1 --upstream 127.0.0.1:2", "here:1"),
            ("--listen", "needs a value"),
            ("--fast yes", "--fast"),
            ("--listen 127.0.0.1:1 --upstream 127.0.0.1:2 --cpu 99999", "below"),
        ] {
            let error = format!("{:#}", parse(line).unwrap_err());
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
