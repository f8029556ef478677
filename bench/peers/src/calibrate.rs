//! How fast the proxy core is right now: a fixed piece of work, timed.
//!
//! On shared hardware a core's speed changes by tens of percent without any steal time. A round on a slow core is
//! told from a slow proxy by this. The work is what proxies do most, a kilobyte through a loopback TCP connection:
//! plain arithmetic keeps its speed when the caches that the kernel's network path needs are under pressure.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Context, Result, anyhow};
use rustix::time::{ClockId, clock_gettime};

use crate::launch;

const MESSAGE: usize = 1024;
/// About 20 ms of work.
const MESSAGES: usize = 4_000;

/// CPU nanoseconds that one message takes on `core`, write and read together.
pub(crate) fn message_ns(core: usize) -> Result<f64> {
    let worker = std::thread::spawn(move || -> Result<f64> {
        launch::pin(&[core])?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut from = TcpStream::connect(listener.local_addr()?)?;
        let (mut to, _) = listener.accept()?;
        from.set_nodelay(true)?;
        pass(&mut from, &mut to, MESSAGES / 8)?;
        let began = cpu_ns();
        pass(&mut from, &mut to, MESSAGES)?;
        Ok((cpu_ns() - began) / MESSAGES as f64)
    });
    worker.join().map_err(|_| anyhow!("the calibration thread panicked"))?.context("calibrating")
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, messages: usize) -> Result<()> {
    let mut bytes = [7; MESSAGE];
    for _ in 0..messages {
        from.write_all(&bytes)?;
        to.read_exact(&mut bytes)?;
    }
    Ok(())
}

fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_take_time() {
        let ns = message_ns(0).unwrap();
        assert!(ns > 100.0 && ns < 1e7, "{ns}");
    }
}
