//! How fast the proxy core is right now: a fixed piece of work, timed.
//!
//! On shared hardware a core's speed changes by tens of percent without any steal time. A round on a slow core is
//! told from a slow proxy by this.

use anyhow::{Result, anyhow};
use rustix::time::{ClockId, clock_gettime};

use crate::launch;

/// Larger than the usual second-level cache, so that the neighbours' use of the shared one shows.
const WORDS: usize = 512 * 1024;
const PASSES: usize = 4;

/// CPU nanoseconds that the fixed work takes on `core`: the quickest of a few passes.
pub(crate) fn work_ns(core: usize) -> Result<f64> {
    let worker = std::thread::spawn(move || -> Result<f64> {
        launch::pin(&[core])?;
        let mut words: Vec<u32> = (0..WORDS as u32).collect();
        let passes = (0..PASSES).map(|_| pass(&mut words));
        Ok(passes.fold(f64::INFINITY, f64::min))
    });
    worker.join().map_err(|_| anyhow!("the calibration thread panicked"))?
}

fn pass(words: &mut [u32]) -> f64 {
    let began = cpu_ns();
    let mut carry = 1_u32;
    for word in words.iter_mut() {
        carry = carry.wrapping_mul(0x9E37_79B1).rotate_left(7) ^ *word;
        *word = carry;
    }
    std::hint::black_box(carry);
    cpu_ns() - began
}

fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_takes_time() {
        let ns = work_ns(0).unwrap();
        assert!(ns > 1_000.0 && ns < 1e10, "{ns}");
    }
}
