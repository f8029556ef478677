//! The raw pump: bytes both ways between each accepted connection and one of its own to the upstream, as a state
//! machine written by hand on the engine's ring. No tasks, no timers, no protocol: what is left is the kernel's work,
//! the floor that a proxy is measured against.

#![forbid(unsafe_code)]

mod pairs;

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd};

use anyhow::{Context, Result, bail};
use ringway_io::ring::{Completion, Ring, RingConfig};
use socket2::{Domain, SockAddr, Socket, Type};

use pairs::{Kind, Pairs, Side, Token};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let (mut listen, mut upstream) = (None, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--listen" => listen = Some(value.parse()?),
            "--upstream" => upstream = Some(value.parse()?),
            _ => bail!("usage: pump --listen IP:PORT --upstream IP:PORT"),
        }
    }
    let (Some(listen), Some(upstream)) = (listen, upstream) else {
        bail!("usage: pump --listen IP:PORT --upstream IP:PORT")
    };
    run(listen, upstream)
}

fn run(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let listener = listener(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let mut ring = Ring::new(&RingConfig::default()).context("cannot make a ring")?;
    ring.accept(listener.as_raw_fd(), Token::accept());
    let mut pairs = Pairs::default();
    let mut completions: Vec<Completion> = Vec::new();
    loop {
        pairs.feed_starved(&mut ring);
        ring.enter(true, None)?;
        ring.reap(|completion| completions.push(completion));
        for completion in completions.drain(..) {
            let token = Token::read(completion.token);
            match token.kind {
                Kind::Accept => {
                    if let Ok(fd) = completion.result {
                        begin(&mut ring, &mut pairs, fd as i32, upstream);
                    }
                    if !completion.more {
                        ring.accept(listener.as_raw_fd(), Token::accept());
                    }
                }
                Kind::Connect => pairs.connected(&mut ring, token, completion.result.is_ok()),
                Kind::Recv => pairs.received(&mut ring, token, completion),
                Kind::Send => pairs.sent(&mut ring, token, completion.result.is_ok()),
                Kind::Fin => pairs.finished(&mut ring, token),
            }
        }
    }
}

fn listener(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Inherited by accepted sockets.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket)
}

/// Makes a pair of an accepted connection and a new one to the upstream.
fn begin(ring: &mut Ring, pairs: &mut Pairs, downstream: i32, upstream: SocketAddr) {
    let socket = Socket::new(Domain::for_address(upstream), Type::STREAM, None);
    let socket = socket.and_then(|socket| socket.set_tcp_nodelay(true).map(|()| socket));
    match socket {
        Ok(socket) => {
            let fd = socket.into_raw_fd();
            let token = pairs.insert(downstream, fd);
            ring.connect(fd, &SockAddr::from(upstream), token.with(Kind::Connect, Side::Up).pack());
        }
        // Out of descriptors: this connection is given up, the others go on.
        Err(_) => ring.close(downstream),
    }
}
