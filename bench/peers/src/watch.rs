//! Notices when something else used the two cores during a round.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::procfs::{self, CoreTicks};
use crate::stats::Disturbance;

/// Steal above this share of a core spoils a round.
const MAX_STEAL: f64 = 0.02;
/// CPU of processes that are not part of the measurement above this share of a core spoils a round. Sampling by
/// ticks and the kernel's own threads stay well below it.
const MAX_FOREIGN: f64 = 0.08;
/// USER_HZ, the unit of /proc/stat on every architecture that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// The state of the cores and of our own processes when a window began.
#[derive(Debug)]
pub(crate) struct Watch {
    cores: Vec<usize>,
    began: Instant,
    ticks: Vec<CoreTicks>,
    own_ns: u64,
}

impl Watch {
    /// Begins to watch `cores`, on which `own` are the processes that belong to the measurement.
    pub(crate) fn begin(cores: &[usize], own: &[u32]) -> Result<Self> {
        let ticks = cores.iter().map(|core| procfs::core_ticks(*core)).collect::<Result<_>>()?;
        Ok(Self { cores: cores.to_vec(), began: Instant::now(), ticks, own_ns: procfs::cpu_ns(own) })
    }

    /// Why the time since then was disturbed, if it was.
    pub(crate) fn end(self, own: &[u32]) -> Result<Option<Disturbance>> {
        let elapsed = self.began.elapsed();
        let own = Duration::from_nanos(procfs::cpu_ns(own).saturating_sub(self.own_ns));
        let mut delta = CoreTicks::default();
        for (core, before) in self.cores.iter().zip(&self.ticks) {
            let now = procfs::core_ticks(*core)?;
            delta.busy += now.busy.saturating_sub(before.busy);
            delta.steal += now.steal.saturating_sub(before.steal);
        }
        Ok(judge(delta, own, elapsed))
    }
}

fn judge(delta: CoreTicks, own: Duration, elapsed: Duration) -> Option<Disturbance> {
    let share = |ticks: u64| TICK.as_secs_f64() * ticks as f64 / elapsed.as_secs_f64();
    let steal = share(delta.steal);
    let foreign = share(delta.busy) - own.as_secs_f64() / elapsed.as_secs_f64();
    if steal > MAX_STEAL {
        Some(Disturbance::Steal(steal))
    } else if foreign > MAX_FOREIGN {
        Some(Disturbance::Others(foreign))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judgement() {
        let second = Duration::from_secs(1);
        let ticks = |busy, steal| CoreTicks { busy, steal, idle: 0 };
        assert_eq!(judge(ticks(100, 0), second, second), None);
        assert_eq!(judge(ticks(100, 2), second, second), None);
        assert_eq!(judge(ticks(100, 3), second, second), Some(Disturbance::Steal(0.03)));
        assert_eq!(judge(ticks(150, 0), second, second), Some(Disturbance::Others(0.5)));
        assert_eq!(judge(ticks(90, 0), second, second), None);
    }
}
