//! What limits that workers lease from refuse too early, against the bound that is stated: batch x workers.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use http::Method;
use ringway_api::{
    Action, Body, DynFilter, Env, FilterCx, FilterSpec, FilterStats, Limit, Request, RequestHead, SharedLimit,
    StreamCx, Time,
};
use ringway_filters::LocalRateLimit;
use ringway_testkit::{Rng, Sim, test_conn};
use serde_json::json;

use crate::mesh::{Conduct, Fleet, Load, Mesh, config, host_names};
use crate::report::Figure;
use crate::{Part, Run, Table};

const WORKERS: [usize; 4] = [1, 4, 16, 64];

/// Limits of units in use, token buckets, and the limit of a cluster in whole workers.
pub fn run(run: Run) -> Result<Part> {
    let mut part = Part::new("Limits over workers: what is refused too early");
    units(run, &mut part);
    buckets(run, &mut part)?;
    breaker(run, &mut part)?;
    Ok(part)
}

fn units(run: Run, part: &mut Part) {
    let columns = ["limit", "workers", "stated error", "refused early by", "the same, at worst", "granted beyond"];
    let mut table = Table::new("Units in use (circuit breakers)", columns);
    for limit in [16, 1_024, 10_000, 100_000] {
        for workers in WORKERS {
            let stated = SharedLimit::new(limit, workers).error();
            let (usual, beyond) = churn(limit, workers, run.size(2_000_000, 100_000), run.seed);
            let worst = hoarded(limit, workers);
            let figures = [workers as u64, stated, usual, worst, beyond].map(Figure::count);
            table.row(limit.to_string(), figures);
            let what = format!("limit of {limit} over {workers} workers");
            part.at_most(format!("{what}: refused early"), usual.max(worst) as f64, stated as f64);
            part.at_most(format!("{what}: granted beyond"), beyond as f64, 0.0);
        }
    }
    part.tables.push(table);
}

/// Units come and go at random, one worker has half of them, the demand swings around the limit: how many units were free
/// at a refusal at most, and how many too many were granted.
fn churn(limit: u32, workers: usize, steps: u64, seed: u64) -> (u64, u64) {
    let shared = SharedLimit::new(limit, workers);
    let parts: Vec<Rc<Limit>> = (0..workers).map(|_| shared.worker()).collect();
    let mut held = vec![0_u64; workers];
    let (mut rng, mut used, mut early, mut beyond) = (Rng::new(seed), 0_u64, 0_u64, 0_u64);
    let limit = u64::from(limit);
    let swing = (limit * 3).max(64);
    for step in 0..steps {
        let worker = if rng.one_in(2) { 0 } else { rng.below(workers) };
        let (Some(part), Some(held)) = (parts.get(worker), held.get_mut(worker)) else { continue };
        // Twice as many come as go, then the other way round.
        let comes = rng.below(3) != 0;
        if comes == (step / swing % 2 == 0) {
            if part.try_acquire() {
                *held += 1;
                used += 1;
                beyond = beyond.max(used.saturating_sub(limit));
            } else {
                early = early.max(limit - used.min(limit));
            }
        } else if *held > 0 {
            part.release();
            *held -= 1;
            used -= 1;
        }
        if step % 50_000 == 0 {
            parts.iter().for_each(|part| part.settle());
        }
    }
    (early, beyond)
}

/// The worst there is: all but one worker hold on to as much as they may without using it.
fn hoarded(limit: u32, workers: usize) -> u64 {
    let shared = SharedLimit::new(limit, workers);
    let parts: Vec<Rc<Limit>> = (0..workers).map(|_| shared.worker()).collect();
    let Some((first, others)) = parts.split_first() else { return 0 };
    for part in others {
        let taken = (0..limit / workers as u32).filter(|_| part.try_acquire()).count();
        (0..taken).for_each(|_| part.release());
        // A release gives half a batch back when it has more than one: a taker of a whole batch keeps the most.
        if part.try_acquire() {
            part.release();
        }
    }
    let mut used = 0;
    while first.try_acquire() {
        used += 1;
    }
    u64::from(limit) - used
}

fn buckets(run: Run, part: &mut Part) -> Result<()> {
    let columns =
        ["per second", "workers", "stated error", "short at twice the rate", "refused early", "granted beyond"];
    let mut table = Table::new("Token buckets (local_rate_limit); the last two at worst", columns);
    for rate in [100_u32, 10_000, 100_000] {
        for workers in WORKERS {
            let off = fill(rate, workers, run.size(5, 1), run.seed)?;
            let batch = (u64::from(rate) / (64 * workers as u64)).max(1);
            let stated = if batch == 1 { 0 } else { batch * workers as u64 };
            let figures = [off.short, off.early, off.beyond].map(Figure::count);
            table.row(rate.to_string(), [workers as u64, stated].map(Figure::count).into_iter().chain(figures));
            for (what, by) in [("short", off.short), ("refused early", off.early), ("granted beyond", off.beyond)] {
                // One more: time is cut into whole tokens.
                let what = format!("{rate} per second over {workers} workers: {what}");
                part.at_most(what, by as f64, stated as f64 + 1.0);
            }
        }
    }
    part.tables.push(table);
    Ok(())
}

/// What a bucket was off by.
struct Off {
    /// Tokens too few, while more are asked for than there are.
    short: i64,
    /// Tokens too few of a full bucket when one worker asks for all and the others have leases they do not use.
    early: i64,
    /// Tokens beyond the burst and what was filled in, in any span of time.
    beyond: i64,
}

/// A bucket of `rate` tokens that fills within a second, over workers.
struct Bucket {
    sim: Sim,
    rate: i64,
    filters: Vec<Rc<dyn DynFilter>>,
    cx: StreamCx,
    granted: i64,
    /// Of what was granted ahead of what was filled in: the least so far, and the greatest rise from there.
    lowest: i64,
    rise: i64,
}

impl Bucket {
    fn new(rate: u32, workers: usize, seed: u64) -> Result<Self> {
        let spec = FilterSpec::of::<LocalRateLimit>();
        let options = (spec.compile)(json!({ "token_bucket": { "max_tokens": rate, "fill_interval": "1s" } }))
            .map_err(anyhow::Error::msg)?;
        let sim = Sim::new(seed);
        let filter = |_| {
            let cx = FilterCx { env: sim.env(), stats: FilterStats::new(spec.stats.len()), workers };
            (spec.build)(options.clone(), None, cx).context("options of another filter")
        };
        let filters = (0..workers).map(filter).collect::<Result<_>>()?;
        let cx = StreamCx::new(test_conn(&sim));
        Ok(Self { sim, rate: rate.into(), filters, cx, granted: 0, lowest: 0, rise: 0 })
    }

    /// Asks for a token.
    fn ask(&mut self, worker: usize, filled: i64) -> bool {
        let Some(filter) = self.filters.get(worker) else { return false };
        let mut request = Request { head: RequestHead::new(Method::GET, "a", "/"), body: Body::Empty };
        let granted = matches!(Rc::clone(filter).stream().on_request(&mut request, &self.cx), Action::Continue);
        self.lowest = self.lowest.min(self.granted - filled);
        self.granted += i64::from(granted);
        self.rise = self.rise.max(self.granted - filled - self.lowest);
        granted
    }

    /// Tokens filled in until `now`, of a bucket that began full at `began`.
    fn filled(&self, began: Time) -> i64 {
        let nanos = self.sim.now().since(began).as_nanos() as i64;
        nanos * self.rate / 1_000_000_000
    }
}

fn fill(rate: u32, workers: usize, seconds: u64, seed: u64) -> Result<Off> {
    let mut bucket = Bucket::new(rate, workers, seed)?;
    let (began, mut rng) = (bucket.sim.now(), Rng::new(seed));
    // Twice the rate, half of it on one worker, and all of it on few workers for a tenth of a second now and then.
    let gap = Duration::from_nanos(500_000_000 / u64::from(rate));
    for at in 0..2 * u64::from(rate) * seconds {
        let few = at / (u64::from(rate) / 5).max(1) % 2 == 1;
        let among = if few { workers.div_ceil(4) } else { workers };
        let worker = if rng.one_in(2) { 0 } else { rng.below(among) };
        bucket.ask(worker, bucket.filled(began));
        bucket.sim.advance(gap);
    }
    let short = bucket.rate + bucket.filled(began) - bucket.granted;
    // All workers lease from a full bucket, and one asks for all there is.
    let pause = Duration::from_secs(2);
    bucket.sim.advance(pause);
    let before = bucket.granted;
    (0..workers).for_each(|worker| _ = bucket.ask(worker, bucket.filled(began)));
    while bucket.ask(0, bucket.filled(began)) {}
    let early = bucket.rate - (bucket.granted - before);
    // The bucket is full again, the leases are still there, and all ask for all there is.
    bucket.sim.advance(pause);
    for worker in 0..workers {
        while bucket.ask(worker, bucket.filled(began)) {}
    }
    Ok(Off { short, early, beyond: bucket.rise - bucket.rate })
}

/// A cluster whose hosts do not answer, and half as many requests again as its limit allows.
fn breaker(run: Run, part: &mut Part) -> Result<()> {
    let columns = ["max_requests", "workers", "stated error", "let through", "refused"];
    let mut table = Table::new("A cluster's limit on requests, in whole workers", columns);
    for (limit, workers) in run.size([(200, 4), (2_048, 4), (2_048, 16)], [(64, 2), (200, 4), (512, 4)]) {
        let cluster = json!({
            "name": "app",
            "endpoints": Fleet::endpoints(0..10),
            "limits": { "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": limit },
        });
        let second = Duration::from_secs(1);
        let fleet = Fleet::new(10, 1, second, second, run.seed, Box::new(|_, _| Conduct::Hang));
        let config = config(10, &[cluster], &json!({ "timeout": "0" }));
        let mesh = Mesh::new(workers, run.seed, &config, None, fleet)?;
        let load = Load {
            rate: f64::from(limit) * 1.5,
            from: Duration::ZERO,
            until: Duration::from_secs(1),
            hosts: host_names(10, 0, 1),
        };
        let answers = mesh.send(load, run.seed);
        mesh.advance(Duration::from_secs(2));
        let (through, stated) = (mesh.fleet.tries().len(), mesh.request_limit("app")?.error());
        let refused = answers.borrow().iter().filter(|answer| answer.status == 503).count();
        table.row(
            limit.to_string(),
            [Figure::count(mesh.workers()), Figure::count(stated), Figure::count(through), Figure::count(refused)],
        );
        let what = format!("max_requests {limit} over {workers} workers");
        part.at_most(format!("{what}: let through"), through as f64, f64::from(limit));
        part.at_least(format!("{what}: let through"), through as f64, f64::from(limit) - stated as f64);
    }
    part.tables.push(table);
    Ok(())
}
