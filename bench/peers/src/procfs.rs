//! Figures of processes and cores, read from `/proc`.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

/// The process `root` and all its descendants, `root` first.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| Some((pid, parent_in_stat(&read(pid, "stat")?)?)))
        .collect();
    descendants(root, &parents)
}

/// CPU time of `pids` in nanoseconds, all threads.
pub(crate) fn cpu_ns(pids: &[u32]) -> u64 {
    threads(pids).iter().map(|t| t.cpu_ns).sum()
}

/// Resident memory of `pids` in bytes.
pub(crate) fn rss_bytes(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| rss_in_status(&read(*pid, "status")?)).sum()
}

/// One thread of a process.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) tid: u32,
    pub(crate) name: String,
    pub(crate) cpu_ns: u64,
}

/// The threads of `pids` that live now. One that ends takes its CPU time with it.
pub(crate) fn threads(pids: &[u32]) -> Vec<Thread> {
    let of_process = |pid: &u32| {
        let pid = *pid;
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        tasks.filter_map(move |task| {
            let tid: u32 = task.file_name().to_str()?.parse().ok()?;
            let name = read(pid, &format!("task/{tid}/comm"))?.trim_end().to_owned();
            let cpu_ns = run_time_in_schedstat(&read(pid, &format!("task/{tid}/schedstat"))?)?;
            Some(Thread { tid, name, cpu_ns })
        })
    };
    pids.iter().flat_map(of_process).collect()
}

/// What one core did since boot, in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreTicks {
    pub(crate) busy: u64,
    pub(crate) idle: u64,
    pub(crate) steal: u64,
}

/// Ticks of core `core` since boot.
pub(crate) fn core_ticks(core: usize) -> Result<CoreTicks> {
    let text = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    core_in_stat(&text, core).with_context(|| format!("/proc/stat has no core {core}"))
}

fn read(pid: u32, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).ok()
}

fn descendants(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut seen = BTreeSet::from([root]);
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        next += 1;
        for (pid, _) in parents.iter().filter(|(_, p)| *p == parent) {
            if seen.insert(*pid) {
                found.push(*pid);
            }
        }
    }
    found
}

/// proc(5), field 4; the name before it may hold spaces and parentheses.
fn parent_in_stat(text: &str) -> Option<u32> {
    let (_, after_name) = text.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn run_time_in_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn rss_in_status(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn core_in_stat(text: &str, core: usize) -> Option<CoreTicks> {
    let name = format!("cpu{core}");
    let mut fields = text.lines().map(str::split_ascii_whitespace).find_map(|mut line| {
        let first = line.next()?;
        (first == name).then_some(line)
    })?;
    let mut next = || fields.next().and_then(|f| f.parse::<u64>().ok());
    let (user, nice, system) = (next()?, next()?, next()?);
    let (idle, iowait) = (next()?, next()?);
    let (irq, softirq) = (next()?, next()?);
    let steal = next()?;
    Some(CoreTicks { busy: user + nice + system + irq + softirq, idle: idle + iowait, steal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_name_full_of_traps() {
        assert_eq!(parent_in_stat("42 (a (b) c) 7) S 17 42 42 0"), Some(17));
        assert_eq!(parent_in_stat("42 no name"), None);
    }

    #[test]
    fn descendants_come_from_the_whole_tree() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (9, 8), (1, 0)];
        assert_eq!(descendants(2, &parents), vec![2, 3, 4]);
        assert_eq!(descendants(7, &parents), vec![7]);
        assert_eq!(descendants(1, &[(1, 1)]), vec![1]);
    }

    #[test]
    fn status_and_schedstat() {
        assert_eq!(rss_in_status("Name:\tx\nVmRSS:\t    2048 kB\nThreads: 1\n"), Some(2048 * 1024));
        assert_eq!(rss_in_status("Name:\tx\n"), None);
        assert_eq!(run_time_in_schedstat("634445 12 3\n"), Some(634_445));
        assert_eq!(run_time_in_schedstat(""), None);
    }

    #[test]
    fn core_line_is_found_by_its_whole_name() {
        let text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu10 1 2 3 4 5 6 7 8 0 0\ncpu1 10 1 5 100 2 1 3 4 0 0\n";
        assert_eq!(core_in_stat(text, 1), Some(CoreTicks { busy: 20, idle: 102, steal: 4 }));
        assert_eq!(core_in_stat(text, 2), None);
    }

    #[test]
    fn this_process_has_memory_and_threads() {
        let pids = tree(std::process::id());
        assert!(rss_bytes(&pids) > 0);
        assert!(threads(&pids).iter().any(|t| t.tid == std::process::id()));
    }
}
