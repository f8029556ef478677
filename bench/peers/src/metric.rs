//! What a round can measure: the one list of names, units and precisions.

/// One measured quantity. `key` names it in the JSON, `title` heads its column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    /// Digits after the point in the Markdown.
    pub(crate) digits: usize,
    /// The worst round counts, not the median one.
    pub(crate) worst: bool,
}

const fn metric(key: &'static str, title: &'static str, digits: usize) -> Metric {
    Metric { key, title, digits, worst: false }
}

/// CPU microseconds of the proxy (all its processes and threads) per request.
pub(crate) const CPU_US: Metric = metric("cpu_us_per_request", "CPU us/req", 2);
/// The same with the upstream on TCP, where the scenario has it elsewhere.
pub(crate) const TCP_CPU_US: Metric = metric("tcp_cpu_us_per_request", "over TCP", 2);
/// CPU with the upstream on a unix socket over CPU with it on TCP.
pub(crate) const LEG_RATIO: Metric = metric("unix_over_tcp", "unix / TCP", 2);
/// The same of the bare proxy, where the scenario's does more.
pub(crate) const BARE_CPU_US: Metric = metric("bare_cpu_us_per_request", "bare", 2);
/// CPU with the features on over that of the bare proxy.
pub(crate) const FEATURE_RATIO: Metric = metric("features_over_bare", "x bare", 2);
/// Completed requests per second.
pub(crate) const RATE: Metric = metric("requests_per_second", "req/s", 0);
/// Median latency in microseconds, seen by the client.
pub(crate) const P50_US: Metric = metric("p50_us", "p50 us", 0);
/// 99th percentile of the latency in microseconds.
pub(crate) const P99_US: Metric = metric("p99_us", "p99 us", 0);
/// 99.9th percentile of the latency in microseconds.
pub(crate) const P999_US: Metric = metric("p999_us", "p99.9 us", 0);
/// Requests that did not end in a complete, correct reply; those of a repeated round count too.
pub(crate) const ERRORS: Metric = Metric { key: "errors", title: "errors", digits: 0, worst: true };
/// Share of its core that the proxy used, in percent: under 100 the load side was the limit.
pub(crate) const BUSY: Metric = metric("proxy_busy_percent", "busy %", 0);
/// Resident memory of the proxy in MiB at the end of the round.
pub(crate) const RSS_MIB: Metric = metric("rss_mib", "RSS MiB", 1);

/// Requests per second in a closed loop, before the rounds.
pub(crate) const CAPACITY: Metric = metric("capacity_per_second", "capacity req/s", 0);
/// Requests per second that were completed of 50 % of the slowest peer's capacity.
pub(crate) const RATE_50: Metric = metric("half_requests_per_second", "50 %: req/s", 0);
/// Latency at that rate from when requests were due, in microseconds.
pub(crate) const P50_50: Metric = metric("half_p50_us", "p50 us", 0);
/// The same at the 99th percentile.
pub(crate) const P99_50: Metric = metric("half_p99_us", "p99 us", 0);
/// The same at the 99.9th percentile.
pub(crate) const P999_50: Metric = metric("half_p999_us", "p99.9 us", 0);
/// CPU microseconds per request at that rate.
pub(crate) const CPU_50: Metric = metric("half_cpu_us_per_request", "CPU us/req", 2);
/// Requests per second that were completed of 80 % of the slowest peer's capacity.
pub(crate) const RATE_80: Metric = metric("most_requests_per_second", "80 %: req/s", 0);
/// Latency at that rate from when requests were due, in microseconds.
pub(crate) const P50_80: Metric = metric("most_p50_us", "p50 us", 0);
/// The same at the 99th percentile.
pub(crate) const P99_80: Metric = metric("most_p99_us", "p99 us", 0);
/// The same at the 99.9th percentile.
pub(crate) const P999_80: Metric = metric("most_p999_us", "p99.9 us", 0);
/// CPU microseconds per request at that rate.
pub(crate) const CPU_80: Metric = metric("most_cpu_us_per_request", "CPU us/req", 2);

/// Milliseconds from the start of a process to the end of its first reply.
pub(crate) const START_MS: Metric = metric("start_ms", "start ms", 1);
/// CPU milliseconds that this took.
pub(crate) const START_CPU_MS: Metric = metric("start_cpu_ms", "CPU ms", 1);

/// Client connections, where the descriptor limit may lower their number.
pub(crate) const CONNECTIONS: Metric = metric("connections", "connections", 0);
/// Growth of resident memory per idle connection, in bytes.
pub(crate) const IDLE_BYTES: Metric = metric("rss_bytes_per_connection", "RSS B/conn", 0);
/// Growth of the cgroup's charge (kernel memory included) per idle connection, in bytes.
pub(crate) const CGROUP_BYTES: Metric = metric("cgroup_bytes_per_connection", "cgroup B/conn", 0);
/// CPU of the proxy while nothing happens, in percent of one core.
pub(crate) const IDLE_CPU: Metric = metric("idle_cpu_percent", "idle CPU %", 3);
/// Resident memory in MiB before the first connection.
pub(crate) const RSS_BEFORE: Metric = metric("rss_before_mib", "RSS before MiB", 1);
/// Resident memory in MiB with all connections open.
pub(crate) const RSS_OPEN: Metric = metric("rss_open_mib", "RSS open MiB", 1);
/// Resident memory in MiB after all connections were closed.
pub(crate) const RSS_AFTER: Metric = metric("rss_after_mib", "RSS after MiB", 1);

/// Time from a host's failure until everything is as before, in milliseconds.
pub(crate) const RECOVERY_MS: Metric = metric("recovery_ms", "recovery ms", 0);
/// Tries that hosts have seen for each request of the client, during a failure and after it.
pub(crate) const TRIES: Metric = metric("tries_per_request", "tries/req", 3);
/// Requests per second during a failure, in percent of those before.
pub(crate) const RATE_KEPT: Metric = metric("rate_kept_percent", "rate kept %", 0);
/// The longest time a request took, in milliseconds.
pub(crate) const WORST_MS: Metric = metric("worst_ms", "worst ms", 0);
/// Requests that failed after the host had come back.
pub(crate) const ERRORS_BACK: Metric = Metric { key: "errors_after", title: "errors after", digits: 0, worst: true };

/// Growth of resident memory caused by the slow readers, in MiB.
pub(crate) const RSS_GROWTH: Metric = metric("rss_growth_mib", "RSS growth MiB", 1);
/// p99 without the disturbance, in microseconds.
pub(crate) const BASE_P99_US: Metric = metric("base_p99_us", "p99 us before", 0);
/// p99 with the disturbance over p99 without it.
pub(crate) const P99_RATIO: Metric = metric("p99_ratio", "p99 ratio", 2);
/// CPU milliseconds of the threads that are not workers, per swap of the configuration.
pub(crate) const CONTROL_MS: Metric = metric("control_cpu_ms_per_swap", "control CPU ms/swap", 1);
/// Swaps that were not in force when the next one was due.
pub(crate) const SWAPS_MISSED: Metric = Metric { key: "swaps_missed", title: "swaps missed", digits: 0, worst: true };
/// Swaps written.
pub(crate) const SWAPS_WRITTEN: Metric = metric("swaps_written", "swaps written", 0);
