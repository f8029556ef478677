//! A configuration with 10,000 routes is replaced ten times per second under load (Ringway only).
//!
//! Every version carries its number as a route, so the harness asks the proxy itself whether a swap took effect.
//! The baseline writes the same bytes to a file that nobody watches: what differs is the swap alone.

mod writer;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::traffic::{GET_1K, Traffic};
use super::{FRESH_ROUNDS, Scenario, mib, processes};
use crate::bench::{Bench, Entrant, Instance};
use crate::launch;
use crate::load::Load;
use crate::message::{self, HOST};
use crate::metric::{self, Metric};
use crate::peers::{Mode, Site, ringway};
use crate::procfs;
use crate::rounds::{self, Row};
use crate::stats::Sample;
use writer::{Files, Writer};

pub(crate) const SWAP_10K_ROUTES: Swap = Swap { hosts: 1_000, routes_per_host: 10, connections: 64 };

pub(crate) struct Swap {
    hosts: usize,
    routes_per_host: usize,
    connections: usize,
}

const PERIOD: Duration = Duration::from_millis(100);
/// Time under load after which the worker is the thread that used most CPU.
const TELL_THREADS_APART: Duration = Duration::from_millis(300);

impl Scenario for Swap {
    fn name(&self) -> &'static str {
        "swap-10k-routes"
    }

    fn about(&self) -> String {
        format!(
            "HTTP/1.1, 1 KB replies, {} connections; the file with {} virtual hosts of {} routes each is replaced every {} ms. \
             The worker is pinned to the proxy core, all other threads to the load core. Each round a fresh process.",
            self.connections,
            self.hosts,
            self.routes_per_host,
            PERIOD.as_millis()
        )
    }

    fn columns(&self) -> &'static [&'static Metric] {
        &[
            &metric::P99_RATIO,
            &metric::BASE_P99_US,
            &metric::P99_US,
            &metric::RATE,
            &metric::ERRORS,
            &metric::SWAPS_WRITTEN,
            &metric::SWAPS_MISSED,
            &metric::CONTROL_MS,
            &metric::RSS_MIB,
        ]
    }

    fn primary(&self) -> &'static Metric {
        &metric::P99_RATIO
    }

    fn run(&self, bench: &Bench) -> Result<Vec<Row>> {
        let rounds = bench.options.rounds.min(FRESH_ROUNDS);
        let ringway = processes(bench, Mode::Http).into_iter().filter(|(name, _)| *name == "ringway").collect();
        let round = |entrant: &mut &Entrant| self.round(bench, entrant);
        Ok(rounds::interleave(rounds, ringway, self.primary(), || bench.message_ns(), round))
    }
}

impl Swap {
    fn round(&self, bench: &Bench, entrant: &Entrant) -> Result<Sample> {
        let cores = [bench.options.proxy_core, bench.options.load_core];
        let mut files = None;
        let mut instance = bench.launch(entrant, Mode::Http, &cores, None, |site| {
            let made = Files::new(&self.template(site), &site.dir)?;
            made.write_live(0)?;
            files = Some(made);
            Ok(())
        })?;
        let files = files.context("no configuration was prepared")?;
        Traffic::H1(GET_1K).check(bench, instance.target)?;
        let mut load = Load::start(GET_1K.plan(bench, instance.target)?, self.connections)?;
        let worker = self.place_threads(bench, &instance, &mut load)?;
        load.run(bench.options.warm_up)?;

        let watch = bench.watch(&instance.pids())?;
        let decoys = Writer::start(files.clone(), instance.target, PERIOD, false);
        let base = load.run(bench.options.window)?;
        decoys.stop()?;
        let control = control_ns(&instance, worker);
        let writer = Writer::start(files, instance.target, PERIOD, true);
        let with = load.run(bench.options.window)?;
        let swaps = writer.stop()?;
        let control = control_ns(&instance, worker).saturating_sub(control);
        let disturbed = watch.end(&bench.own(&instance.pids()))?;
        instance.check_alive()?;

        let note = base.first_error.clone().or(with.first_error.clone());
        let mut sample = Sample::new(disturbed, note);
        let (base_p99, p99) = (base.latency_us(0.99), with.latency_us(0.99));
        sample.set(&metric::P99_RATIO, p99 / base_p99);
        sample.set(&metric::BASE_P99_US, base_p99);
        sample.set(&metric::P99_US, p99);
        sample.set(&metric::RATE, with.rate());
        sample.set(&metric::ERRORS, (base.errors + with.errors) as f64);
        sample.set(&metric::SWAPS_WRITTEN, f64::from(swaps.written));
        sample.set(&metric::SWAPS_MISSED, f64::from(swaps.missed));
        sample.set(&metric::CONTROL_MS, control as f64 / 1e6 / f64::from(swaps.written.max(1)));
        sample.set(&metric::RSS_MIB, mib(instance.rss()));
        Ok(sample)
    }

    /// Pins the worker to the proxy core and the other threads to the load core. Returns the worker's thread id.
    fn place_threads(&self, bench: &Bench, instance: &Instance, load: &mut Load) -> Result<u32> {
        load.run(TELL_THREADS_APART)?;
        let threads = procfs::threads(&instance.pids());
        let worker = threads.iter().max_by_key(|t| t.cpu_ns).context("the proxy has no threads")?.tid;
        for thread in &threads {
            let core = if thread.tid == worker { bench.options.proxy_core } else { bench.options.load_core };
            launch::pin_thread(Some(thread.tid), &[core]).with_context(|| format!("thread {:?}", thread.name))?;
        }
        Ok(worker)
    }

    /// The configuration with [`writer::NUMBER`] where the version's number goes.
    fn template(&self, site: &Site) -> String {
        let mut hosts = String::new();
        for host in 0..self.hosts {
            let domain = if host == self.hosts / 2 { HOST.to_owned() } else { format!("service-{host}.test") };
            // Writing into a String cannot fail.
            writeln!(hosts, "        - domains: [\"{domain}\"]\n          routes:").unwrap_or_default();
            let own = domain == HOST;
            let numbered = self.routes_per_host - if own { 3 } else { 1 };
            if own {
                let (probe, number) = (message::PROBE, writer::NUMBER);
                hosts.push_str(&route("path", &format!("{probe}{number}"), "app"));
                hosts.push_str(&route("prefix", probe, "nowhere"));
            }
            for path in 0..numbered {
                hosts.push_str(&route("prefix", &format!("/api/v{path}/"), "app"));
            }
            hosts.push_str(&route("prefix", "/", "app"));
        }
        // Port 1 on loopback refuses: a version that is not in force answers with an error.
        ringway::config(site, &hosts) + "  - { name: nowhere, protocol: http1, endpoints: [\"127.0.0.1:1\"] }\n"
    }
}

fn route(kind: &str, path: &str, cluster: &str) -> String {
    format!("            - {{ match: {{ {kind}: \"{path}\" }}, route: {{ cluster: {cluster} }} }}\n")
}

fn control_ns(instance: &Instance, worker: u32) -> u64 {
    procfs::threads(&instance.pids()).iter().filter(|t| t.tid != worker).map(|t| t.cpu_ns).sum()
}

/// The live file of the configuration in the directory of an instance.
fn live_file(dir: &Path) -> std::path::PathBuf {
    dir.join(ringway::CONFIG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers;

    #[test]
    fn the_template_has_as_many_routes_as_it_says() {
        let site = peers::tests::site(Mode::Http, Path::new("/x"));
        let text = SWAP_10K_ROUTES.template(&site);
        assert_eq!(text.matches("match:").count(), 10_000);
        assert_eq!(text.matches(writer::NUMBER).count(), 1);
        assert_eq!(text.matches(&format!("\"{HOST}\"")).count(), 1);
    }
}
