//! The raw pump: bytes both ways between each accepted connection and one of its own to the upstream, as a state
//! machine written by hand on the engine's ring. No tasks, no timers, no protocol: what is left is the kernel's work,
//! the floor that a proxy is measured against.

#![forbid(unsafe_code)]

mod acceptor;
mod args;
mod pairs;
mod token;

use std::io::Write;

use anyhow::{Context, Result};
use ringway_io::ring::{Completion, Ring, RingConfig};
use rustix::thread::{CpuSet, sched_setaffinity};

use acceptor::Acceptor;
use args::Args;
use pairs::Pairs;
use token::{Kind, Token};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let args = Args::parse(std::env::args().skip(1))?;
    if let Some(cpu) = args.cpu {
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        sched_setaffinity(None, &cpus).with_context(|| format!("cannot run on CPU {cpu}"))?;
    }
    let mut ring = Ring::new(&RingConfig::default()).context("cannot make a ring")?;
    let acceptor = Acceptor::bind(args.listen, args.upstream)?;
    writeln!(std::io::stdout(), "listening on {}", acceptor.address()?)?;
    run(&mut ring, acceptor)
}

fn run(ring: &mut Ring, mut acceptor: Acceptor) -> Result<()> {
    let mut pairs = Pairs::default();
    let mut completions: Vec<Completion> = Vec::new();
    acceptor.arm(ring);
    loop {
        pairs.feed_starved(ring);
        ring.enter(true, acceptor.patience())?;
        ring.reap(|completion| completions.push(completion));
        let quiet = completions.is_empty();
        for completion in completions.drain(..) {
            let token = Token::unpack(completion.token);
            match token.kind {
                Kind::Accept => acceptor.accepted(ring, &mut pairs, &completion),
                Kind::Connect => pairs.connected(ring, token, completion.result.is_ok()),
                Kind::Recv => pairs.received(ring, token, completion),
                Kind::Send => pairs.sent(ring, token, completion.result.is_ok()),
                Kind::Fin => pairs.finished(ring, token),
            }
        }
        acceptor.resume(ring, pairs.open(), quiet);
    }
}
