//! One of three hosts dies, stalls or slows down under load, and comes back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::traffic::GET_1K;
use super::{FRESH_ROUNDS, Scenario, processes};
use crate::bench::{Bench, Entrant, UPSTREAM};
use crate::certificate::Certificate;
use crate::launch::{self, Program, Running};
use crate::load::{Load, Window};
use crate::message::{self, HOST, SERVED_DIGITS};
use crate::metric::{self, Metric};
use crate::peers::Mode;
use crate::rounds::{self, Row};
use crate::scratch::ScratchDir;
use crate::stats::Sample;
use crate::upstream::Addresses;

pub(crate) const KILLED: Failure = Failure { kind: Kind::Killed, connections: 32 };
pub(crate) const STALLED: Failure = Failure { kind: Kind::Stalled, connections: 32 };
pub(crate) const SLOWED: Failure = Failure { kind: Kind::Slowed, connections: 32 };

/// How long the host is as it should not be, and how long it is watched after that.
const ILL: Duration = Duration::from_secs(4);
/// How long a host may take to say what it has served.
const ASK_PATIENCE: Duration = Duration::from_secs(5);
/// What is looked at as one.
const SLICE: Duration = Duration::from_millis(100);
/// A slowed host works for the first of these spans, then not for the second.
const DUTY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(40));
/// A slice with a higher p99 than this many times that of the time before is not back to normal.
const NORMAL: f64 = 4.0;

pub(crate) struct Failure {
    kind: Kind,
    connections: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Killed,
    Stalled,
    Slowed,
}

/// Three hosts, each a process.
struct Hosts {
    dir: ScratchDir,
    running: Vec<(Addresses, Running)>,
    slowing: Option<Slowing>,
}

/// Stops a process and lets it go on, in turn.
struct Slowing {
    over: Sender<()>,
    thread: JoinHandle<()>,
}

impl Scenario for Failure {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Killed => "host-killed",
            Kind::Stalled => "host-stalled",
            Kind::Slowed => "host-slowed",
        }
    }

    fn about(&self) -> String {
        let what = match self.kind {
            Kind::Killed => "is killed (SIGKILL), and started again",
            Kind::Stalled => "is stopped (SIGSTOP), and goes on",
            Kind::Slowed => "works for 10 ms of every 50 ms only, and then as before",
        };
        format!(
            "{} connections, closed loop, 1 KB replies from three hosts by least requests; two retries on another host, 250 \
             ms for each try; hosts checked every 500 ms and ejected after 5 failures. After 2 s one host {what} after {} s. \
             Recovery is the time from the failure to the last 100 ms with an error or with a p99 above {NORMAL} times that \
             of before. Tries are what hosts have seen from the failure to {} s after it, retries and health checks \
             included.",
            self.connections,
            ILL.as_secs(),
            2 * ILL.as_secs()
        )
    }

    fn columns(&self) -> &'static [&'static Metric] {
        &[
            &metric::ERRORS,
            &metric::RECOVERY_MS,
            &metric::RATE_KEPT,
            &metric::TRIES,
            &metric::BASE_P99_US,
            &metric::P99_US,
            &metric::WORST_MS,
            &metric::ERRORS_BACK,
        ]
    }

    fn primary(&self) -> &'static Metric {
        &metric::RECOVERY_MS
    }

    fn run(&self, bench: &Bench) -> Result<Vec<Row>> {
        let rounds = bench.options.rounds.min(FRESH_ROUNDS);
        let round = |entrant: &mut &Entrant| self.round(bench, entrant);
        Ok(rounds::interleave(rounds, processes(bench, Mode::Three), self.primary(), || bench.message_ns(), round))
    }
}

impl Failure {
    fn round(&self, bench: &Bench, entrant: &Entrant) -> Result<Sample> {
        let mut hosts = Hosts::start(bench)?;
        let mut instance = bench.launch(entrant, Mode::Three, &[bench.options.proxy_core], None, |site| {
            site.hosts = hosts.addresses();
            Ok(())
        })?;
        // A fresh proxy has not checked its hosts yet.
        std::thread::sleep(Duration::from_secs(1));
        let mut load = Load::start(GET_1K.plan(bench, instance.target)?, self.connections)?;
        load.run(bench.options.warm_up)?;
        let base = load.run(Duration::from_secs(2))?;
        anyhow::ensure!(base.errors == 0, "errors before the failure: {:?}", base.first_error);

        let limit_us = NORMAL * base.latency_us(0.99);
        let before = hosts.served()?;
        hosts.fail(self.kind)?;
        let (ill, recovery) = watch(&mut load, limit_us)?;
        hosts.heal(bench)?;
        let (back, _) = watch(&mut load, limit_us)?;
        // One that was started again counts from zero.
        let tries: u64 =
            hosts.served()?.iter().zip(before).map(|(now, was)| now.checked_sub(was).unwrap_or(*now)).sum();
        let asked = ill.completed + ill.errors + back.completed + back.errors;
        instance.check_alive()?;

        let mut sample = Sample::new(None, ill.first_error.clone().or(back.first_error.clone()));
        sample.set(&metric::ERRORS, ill.errors as f64);
        sample.set(&metric::ERRORS_BACK, back.errors as f64);
        sample.set(&metric::RECOVERY_MS, recovery.as_secs_f64() * 1e3);
        sample.set(&metric::RATE_KEPT, 100.0 * ill.rate() / base.rate());
        sample.set(&metric::TRIES, tries as f64 / asked.max(1) as f64);
        sample.set(&metric::BASE_P99_US, base.latency_us(0.99));
        sample.set(&metric::P99_US, ill.latency_us(0.99));
        sample.set(&metric::WORST_MS, ill.latency_us(1.0) / 1e3);
        Ok(sample)
    }
}

/// Runs the load for [`ILL`], slice by slice: all of it as one window, and the end of the last slice that was not as before.
fn watch(load: &mut Load, limit_us: f64) -> Result<(Window, Duration)> {
    let begun = Instant::now();
    let mut all: Option<Window> = None;
    let mut recovered = Duration::ZERO;
    while begun.elapsed() < ILL {
        let slice = load.run(SLICE)?;
        if slice.errors > 0 || slice.completed == 0 || slice.latency_us(0.99) > limit_us {
            recovered = begun.elapsed();
        }
        match &mut all {
            None => all = Some(slice),
            Some(all) => all.add(&slice)?,
        }
    }
    Ok((all.context("no slice")?, recovered))
}

impl Hosts {
    fn start(bench: &Bench) -> Result<Self> {
        let mut hosts = Self { dir: ScratchDir::new("hosts")?, running: Vec::new(), slowing: None };
        for _ in 0..3 {
            let addresses = Addresses::free(hosts.dir.path().to_owned())?;
            let running = hosts.serve(bench, &addresses)?;
            hosts.running.push((addresses, running));
        }
        Ok(hosts)
    }

    fn serve(&self, bench: &Bench, addresses: &Addresses) -> Result<Running> {
        let dir = self.dir.path().join(addresses.http.port().to_string());
        std::fs::create_dir_all(&dir)?;
        Certificate::generate(&dir, HOST)?;
        let addresses = Addresses { dir: dir.clone(), ..addresses.clone() };
        // One that was killed leaves its socket behind.
        let _none_before = std::fs::remove_file(addresses.unix());
        let args = std::iter::once(UPSTREAM.into()).chain(addresses.to_args());
        let program = Program::new::<std::ffi::OsString>(std::env::current_exe()?, args);
        let mut running = Running::start(&program, &[bench.options.load_core], None, dir.join("log"))?;
        running.wait_for(addresses.http).context("a host")?;
        Ok(running)
    }

    fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.running.iter().map(|(addresses, _)| addresses.http).collect()
    }

    /// What each has served so far.
    fn served(&self) -> Result<Vec<u64>> {
        let ask = |address| -> Result<u64> {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(ASK_PATIENCE))?;
            stream.write_all(&message::get(HOST, message::SERVED))?;
            let mut answer = Vec::new();
            let number = loop {
                let mut bytes = [0; 512];
                let got = stream.read(&mut bytes)?;
                anyhow::ensure!(got > 0, "a host does not say what it has served");
                answer.extend_from_slice(bytes.get(..got).unwrap_or_default());
                let text = std::str::from_utf8(&answer).unwrap_or_default();
                if let Some((_, number)) = text.split_once("\r\n\r\n").filter(|(_, n)| n.len() == SERVED_DIGITS) {
                    break number.parse()?;
                }
            };
            Ok(number)
        };
        self.addresses().into_iter().map(ask).collect()
    }

    /// Makes the first host ill.
    fn fail(&mut self, kind: Kind) -> Result<()> {
        let (_, first) = self.running.first().context("no host")?;
        match kind {
            Kind::Killed => first.kill(),
            Kind::Stalled => first.pause(),
            Kind::Slowed => self.slowing = Some(Slowing::begin(first.pids())),
        }
        Ok(())
    }

    /// Makes it well again.
    fn heal(&mut self, bench: &Bench) -> Result<()> {
        if let Some(slowing) = self.slowing.take() {
            slowing.end();
        }
        let (addresses, mut first) = self.running.remove(0);
        first.resume();
        if first.check_alive().is_err() {
            first = self.serve(bench, &addresses)?;
        }
        self.running.insert(0, (addresses, first));
        Ok(())
    }
}

impl Slowing {
    fn begin(pids: Vec<u32>) -> Self {
        let (over, told) = channel();
        let thread = std::thread::spawn(move || {
            loop {
                launch::resume(&pids);
                if told.recv_timeout(DUTY.0) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                launch::pause(&pids);
                let ended = told.recv_timeout(DUTY.1) != Err(RecvTimeoutError::Timeout);
                if ended {
                    return launch::resume(&pids);
                }
            }
        });
        Self { over, thread }
    }

    fn end(self) {
        drop(self.over);
        // It cannot have panicked: it only sends signals.
        let _ended = self.thread.join();
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if let Some(slowing) = self.slowing.take() {
            slowing.end();
        }
        // A stopped process does not hear that it should end.
        self.running.iter().for_each(|(_, running)| running.resume());
    }
}
