//! A run: its threads, what they tell, and what to think of it.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::codec::{Call, Messages};
use crate::schedule::Shape;
use crate::tally::Tally;
use crate::worker::{Plan, Told, Worker};

/// Rows of the heat map: powers of 2 of a microsecond, so that the last begins above half a minute.
pub const ROWS: usize = 26;
/// CPU of a generator's thread from which on it may have been what limits the rate.
const BUSY: f64 = 0.9;
/// The generator's own delay at the 99th percentile that is worth a warning, in nanoseconds.
const LATE: u64 = 1_000_000;
/// Open files besides connections: rings, reports, standard streams.
const OTHER_DESCRIPTORS: u64 = 64;
/// A reached rate below this part of the asked one is told.
const SHORT: f64 = 0.99;

/// One second of a run.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Second {
    /// Requests that were completed.
    pub completed: u64,
    /// Errors.
    pub errors: u64,
    /// Messages of gRPC's calls, which may go on over many seconds.
    pub messages: Messages,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// The 99th percentile in microseconds.
    pub p99_us: f64,
    /// The largest in microseconds.
    pub max_us: f64,
    /// Requests by power of two of their latency in microseconds.
    pub heat: Vec<u64>,
}

/// What a run has shown.
#[derive(Debug)]
pub struct Summary {
    /// Everything that was counted.
    pub total: Tally,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// Seconds that were measured.
    pub elapsed: f64,
    /// Requests that were completed within them.
    pub within: u64,
    /// Messages of gRPC's calls within them.
    pub messages: Messages,
    /// Requests per second that were asked for, where there is a rate.
    pub asked: Option<f64>,
    /// The generator's threads.
    pub threads: usize,
    /// What to know before believing the figures.
    pub warnings: Vec<String>,
}

/// Does one request: that the target is there and speaks the protocol.
///
/// # Errors
/// What was wrong, in words.
pub fn probe(plan: &Plan) -> Result<()> {
    let plan = Plan {
        shape: Shape::Closed,
        connections: 1,
        threads: 1,
        streams: 1,
        duration: plan.timeout.max(Duration::from_millis(100)),
        warmup: Duration::ZERO,
        most: 1,
        call: Call { messages: 1, ping_pong: false, ..plan.call },
        ..plan.clone()
    };
    let total = launch(&plan, |_| ())?.total;
    match total.main_error() {
        // An answer is an answer: whether it is the right one is for the run to count.
        Some(why) if total.completed == 0 => bail!("the first request failed: {why}"),
        _ if total.completed == 0 => bail!("the first request failed: no reply"),
        _ => Ok(()),
    }
}

/// Makes the load and waits for its end; `progress` sees each second once it is over.
///
/// # Errors
/// The kernel's, or that not one request was completed.
pub fn run(plan: &Plan, progress: impl FnMut(&Second)) -> Result<Summary> {
    let Gathered { total, seconds, within, messages } = launch(plan, progress)?;
    let elapsed = plan.duration.as_secs_f64();
    if total.completed == 0 {
        bail!("not one request was completed: {}", total.main_error().unwrap_or("no reply came"));
    }
    let whole = (plan.warmup + plan.duration).as_secs_f64();
    let asked = plan.shape.intended(whole).zip(plan.shape.intended(plan.warmup.as_secs_f64()));
    let asked = asked.map(|(all, before)| (all - before) / plan.duration.as_secs_f64());
    let mut summary =
        Summary { total, seconds, elapsed, within, messages, asked, threads: plan.threads, warnings: Vec::new() };
    summary.warnings = warnings(&summary);
    Ok(summary)
}

impl Summary {
    /// Completed requests per second.
    pub fn rate(&self) -> f64 {
        self.within as f64 / self.elapsed
    }

    /// Messages of gRPC's calls per second, sent and received.
    pub fn message_rates(&self) -> [f64; 2] {
        [self.messages.sent, self.messages.received].map(|count| count as f64 / self.elapsed)
    }

    /// Requests sent per second, whether they were answered or not.
    pub fn sent_rate(&self) -> f64 {
        self.total.sent as f64 / self.elapsed
    }

    /// Latency at a quantile from 0 to 1, in microseconds.
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.total.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    /// CPU of the generator per completed request, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.total.cpu as f64 / 1e3 / self.within.max(1) as f64
    }

    /// The part of the generator's threads' time that was spent on a CPU.
    pub fn busy(&self) -> f64 {
        self.total.cpu as f64 / 1e9 / self.elapsed / self.threads as f64
    }

    /// Errors per request, from 0 to 1.
    pub fn error_share(&self) -> f64 {
        let failed = self.total.failed() + self.total.unsent;
        failed as f64 / (self.total.sent + self.total.unsent).max(1) as f64
    }
}

fn warnings(summary: &Summary) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(asked) = summary.asked.filter(|asked| summary.rate() < asked * SHORT) {
        let short = 100.0 * (1.0 - summary.rate() / asked);
        all.push(format!("reached {:.0} of {asked:.0} requests/s, {short:.1} % less than asked", summary.rate()));
    }
    if summary.total.unopened > 0 {
        all.push(format!("{} connections were not open yet when the load began", summary.total.unopened));
    }
    if summary.total.unsent > 0 {
        let count = summary.total.unsent;
        all.push(format!(
            "{count} requests were due and never sent, for no connection was free: their latency is not in the figures"
        ));
    }
    if summary.busy() > BUSY {
        all.push(format!(
            "the generator was busy {:.0} % of the time and may be what limited the figures: use more threads (-t)",
            100.0 * summary.busy()
        ));
    }
    let late = summary.total.lateness.value_at_quantile(0.99);
    if late > LATE {
        all.push(format!(
            "the generator sent late by {:.1} ms at the 99th percentile: latencies include it; it had too little CPU",
            late as f64 / 1e6
        ));
    }
    all
}

/// What the threads have told.
#[derive(Default)]
struct Gathered {
    total: Tally,
    seconds: Vec<Second>,
    /// Within the seconds that are measured.
    within: u64,
    messages: Messages,
}

/// As many descriptors as the connections need, if the limit can be raised so far.
fn reserve_descriptors(connections: usize) -> Result<()> {
    let needed = connections as u64 + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    // No limit is no number.
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(most) = limit.maximum.filter(|most| *most < needed) {
        bail!(
            "{connections} connections need {needed} open files, and this process may have {most} \
             (the hard limit; see `ulimit -Hn`)"
        );
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum })
        .with_context(|| format!("cannot raise the limit of open files to {needed}"))
}

fn launch(plan: &Plan, mut progress: impl FnMut(&Second)) -> Result<Gathered> {
    reserve_descriptors(plan.connections)?;
    let ready = Barrier::new(plan.threads);
    let (to, from) = channel();
    thread::scope(|scope| {
        let handles: Vec<_> = (0..plan.threads)
            .map(|index| {
                let (to, ready) = (to.clone(), &ready);
                scope.spawn(move || match Worker::new(plan.clone(), index) {
                    Ok(worker) => worker.run(ready, &to),
                    Err(error) => {
                        ready.wait();
                        Err(error)
                    }
                })
            })
            .collect();
        drop(to);
        let told = gather(plan, &from, &mut progress);
        for handle in handles {
            handle.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        Ok(told)
    })
}

fn gather(plan: &Plan, from: &Receiver<Told>, progress: &mut impl FnMut(&Second)) -> Gathered {
    let mut all = Gathered::default();
    // Threads tell of the same second at about the same time: few are open at a time.
    let mut open: BTreeMap<usize, (usize, Tally)> = BTreeMap::new();
    for Told { interval, tally } in from {
        all.total.add(&tally);
        let Some(interval) = interval else { continue };
        all.within += tally.completed;
        all.messages.add(tally.messages);
        let (told, sum) = open.entry(interval).or_default();
        *told += 1;
        sum.add(&tally);
        if *told == plan.threads {
            let second = Second::of(sum);
            open.remove(&interval);
            progress(&second);
            all.seconds.push(second);
        }
    }
    all
}

impl Second {
    fn of(tally: &Tally) -> Self {
        let at = |quantile| tally.latency.value_at_quantile(quantile) as f64 / 1e3;
        let mut heat = vec![0; ROWS];
        for step in tally.latency.iter_recorded() {
            let row = (step.value_iterated_to() / 1_000).max(1).ilog2() as usize;
            if let Some(cell) = heat.get_mut(row.min(ROWS - 1)) {
                *cell += step.count_since_last_iteration();
            }
        }
        let max_us = tally.latency.max() as f64 / 1e3;
        let (completed, errors, messages) = (tally.completed, tally.failed(), tally.messages);
        Self { completed, errors, messages, p50_us: at(0.5), p99_us: at(0.99), max_us, heat }
    }
}
