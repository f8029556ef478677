//! One host's checks, one after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::Address;
use ringway_config::{HealthCheck, HealthCheckKind};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::dial::{Dial, Socket};
use super::grpc::GrpcProbe;
use super::http::{HttpConn, HttpProbe};
use super::rpc::RpcProbe;
use super::tcp::TcpProbe;
use super::{CheckFailure, ClusterCheck, HostTarget, Memory, Report, Shared};

pub(super) struct Session {
    cluster: Arc<str>,
    address: Address,
    check: Arc<HealthCheck>,
    has_traffic: Arc<dyn Fn() -> bool + Send + Sync>,
    dial: Dial,
    probe: Probe,
    memory: Arc<Memory>,
    random: u64,
}

/// What is asked, with the connection that is kept for the next time.
enum Probe {
    Http(HttpProbe, Option<HttpConn>),
    Grpc(GrpcProbe, Option<HttpConn>),
    Tcp(TcpProbe, Option<Box<dyn Socket>>),
    Rpc(RpcProbe, Option<Box<dyn Socket>>),
}

impl Session {
    pub(super) fn new(
        cluster: &Arc<str>,
        how: &ClusterCheck,
        target: &HostTarget,
        memory: Arc<Memory>,
        seed: u64,
    ) -> Self {
        let secure = how.secure.as_ref().map(|secure| secure.host(&target.address, target.name.as_deref()));
        let scheme = if secure.is_some() { "https" } else { "http" };
        let authority =
            |said: &Option<String>| said.as_deref().or(target.name.as_deref()).unwrap_or(cluster).to_owned();
        let probe = match &how.check.kind {
            HealthCheckKind::Http { method, path, host, headers, expected, retriable, http2 } => {
                let (method, path, authority) = (method.clone(), path.clone(), authority(host));
                let (headers, expected, retriable) = (headers.clone(), expected.clone(), retriable.clone());
                let http2 = *http2;
                Probe::Http(HttpProbe { method, path, authority, scheme, headers, expected, retriable, http2 }, None)
            }
            HealthCheckKind::Grpc { service, authority: said } => {
                Probe::Grpc(GrpcProbe { service: service.clone(), authority: authority(said), scheme }, None)
            }
            HealthCheckKind::Tcp { send, receive } => {
                Probe::Tcp(TcpProbe { send: send.clone(), receive: receive.clone() }, None)
            }
            HealthCheckKind::Rpc(heartbeat) => Probe::Rpc(RpcProbe { heartbeat: *heartbeat, last: 0 }, None),
        };
        Self {
            cluster: Arc::clone(cluster),
            address: target.address.clone(),
            check: Arc::clone(&how.check),
            has_traffic: Arc::clone(&how.has_traffic),
            dial: Dial { address: asked(&target.address, how.check.port), preamble: Arc::clone(&how.preamble), secure },
            probe,
            memory,
            random: seed,
        }
    }

    /// Checks until it is dropped.
    pub(super) async fn run(mut self, shared: Arc<Shared>) {
        let first = self.jitter(self.check.initial_jitter);
        sleep(first).await;
        loop {
            let outcome = {
                // Waiting for one's turn is not the host's fault: the time runs from here.
                let Ok(_turn) = shared.permits.acquire().await else { return };
                self.ask().await
            };
            if !self.tell(&shared, outcome).await {
                return;
            }
            let pause = match (self.has_traffic)() {
                true if self.memory.judge().is_healthy() => self.check.interval,
                true => self.check.unhealthy_interval,
                false => self.check.no_traffic_interval,
            };
            let next = Instant::now() + pause + self.jitter(self.check.interval_jitter);
            let memory = Arc::clone(&self.memory);
            loop {
                tokio::select! {
                    () = sleep_until(next) => break,
                    () = memory.immediate.notified() => {
                        if !self.tell(&shared, Err(CheckFailure::Immediate)).await {
                            return;
                        }
                    }
                }
            }
        }
    }

    async fn ask(&mut self) -> Result<(), CheckFailure> {
        if !self.check.reuse_connection {
            self.probe.close();
        }
        let outcome = timeout(self.check.timeout, self.probe.check(&self.dial)).await;
        if !self.check.reuse_connection {
            self.probe.close();
        }
        outcome.unwrap_or_else(|_| {
            self.probe.close();
            Err(CheckFailure::Network(format!("no answer within {} ms", self.check.timeout.as_millis())))
        })
    }

    /// Tells an outcome; false when nobody listens any more.
    async fn tell(&mut self, shared: &Shared, outcome: Result<(), CheckFailure>) -> bool {
        let (healthy, changed) = {
            let mut judge = self.memory.judge();
            let heard = outcome.as_ref().copied();
            let changed = judge.hear(heard, self.check.healthy_threshold, self.check.unhealthy_threshold);
            (judge.is_healthy(), changed)
        };
        let (cluster, address) = (Arc::clone(&self.cluster), self.address.clone());
        let sent = shared.reports.send(Report { cluster, address, outcome, healthy, changed }).await;
        shared.told.notify_one();
        sent.is_ok()
    }

    /// A random span up to this one (splitmix64: repeatable, not secret).
    pub(super) fn jitter(&mut self, most: Duration) -> Duration {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        most.mul_f64((z >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// Where checks connect to.
fn asked(host: &Address, port: Option<u16>) -> Address {
    match (host, port) {
        (Address::Ip(ip), Some(port)) => Address::Ip(SocketAddr::new(ip.ip(), port)),
        (host, _) => host.clone(),
    }
}

impl Probe {
    async fn check(&mut self, dial: &Dial) -> Result<(), CheckFailure> {
        match self {
            Self::Http(probe, kept) => probe.check(dial, kept).await,
            Self::Grpc(probe, kept) => probe.check(dial, kept).await,
            Self::Tcp(probe, kept) => probe.check(dial, kept).await,
            Self::Rpc(probe, kept) => probe.check(dial, kept).await,
        }
    }

    fn close(&mut self) {
        match self {
            Self::Http(_, kept) | Self::Grpc(_, kept) => *kept = None,
            Self::Tcp(_, kept) | Self::Rpc(_, kept) => *kept = None,
        }
    }
}
