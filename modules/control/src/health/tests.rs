//! Checks of real servers on ports of their own.

mod frames;
mod http;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use ringway_api::Address;
use ringway_config::{HealthCheck, HealthCheckKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A checker, and what it tells.
struct World {
    checker: HealthChecker,
    told: Arc<Notify>,
}

impl World {
    fn new() -> Self {
        let told = Arc::new(Notify::new());
        Self { checker: HealthChecker::new(1, Arc::clone(&told)), told }
    }

    /// One host is checked so.
    fn checking(kind: HealthCheckKind, address: impl Into<Address>) -> Self {
        let mut world = Self::new();
        world.checker.set("app", how(check(kind)), [host(address)]);
        world
    }

    async fn report(&mut self) -> Report {
        let reported = async {
            loop {
                match self.checker.try_report() {
                    Some(report) => return report,
                    None => self.told.notified().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reported).await.unwrap()
    }

    /// The next outcomes: what is thought of the host, and why not.
    async fn outcomes(&mut self, count: usize) -> Vec<String> {
        let mut outcomes = Vec::new();
        for _ in 0..count {
            outcomes.push(match self.report().await.outcome {
                Ok(()) => "ok".to_owned(),
                Err(CheckFailure::Network(reason)) => format!("network: {reason}"),
                Err(CheckFailure::Unhealthy(reason)) => reason,
                Err(CheckFailure::Immediate) => "immediate".to_owned(),
            });
        }
        outcomes
    }
}

fn check(kind: HealthCheckKind) -> HealthCheck {
    HealthCheck {
        timeout: Duration::from_secs(10),
        interval: 5 * MS,
        interval_jitter: Duration::ZERO,
        initial_jitter: Duration::ZERO,
        unhealthy_interval: 5 * MS,
        no_traffic_interval: Duration::from_secs(3600),
        unhealthy_threshold: 2,
        healthy_threshold: 2,
        reuse_connection: true,
        port: None,
        kind,
    }
}

fn how(check: HealthCheck) -> ClusterCheck {
    ClusterCheck { check: Arc::new(check), secure: None, preamble: Arc::default(), has_traffic: Arc::new(|| true) }
}

fn host(address: impl Into<Address>) -> HostTarget {
    HostTarget { address: address.into(), name: None }
}

fn tcp(send: &[u8], receive: &[&[u8]]) -> HealthCheckKind {
    HealthCheckKind::Tcp { send: send.to_vec(), receive: receive.iter().map(|part| part.to_vec()).collect() }
}

/// A server that does this with each connection; its address, and how many connections there were.
async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> (std::net::SocketAddr, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Relaxed);
            tokio::spawn(serve(stream));
        }
    });
    (address, count)
}

/// Reads so many bytes and then says something, again and again.
async fn echoing(mut stream: TcpStream, asked: usize, says: &'static [&'static [u8]]) {
    let mut bytes = vec![0; asked];
    while stream.read_exact(&mut bytes).await.is_ok() {
        for part in says {
            stream.write_all(part).await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_connection_may_be_all_that_is_asked_for() {
    let (address, count) = server(|stream| async move { drop(stream) }).await;
    let mut world = World::checking(tcp(b"", &[]), address);
    assert_eq!(world.outcomes(3).await, ["ok"; 3]);
    assert!(count.load(Relaxed) >= 3, "nothing is learned from a connection that was there before");
}

#[tokio::test]
async fn another_port_may_be_asked() {
    let (address, _) = server(|stream| async move { drop(stream) }).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut world = World::new();
    let other = HealthCheck { port: Some(address.port()), ..check(tcp(b"", &[])) };
    world.checker.set("app", how(other), [host(gone)]);
    let report = world.report().await;
    assert_eq!((report.address, report.outcome), (Address::Ip(gone), Ok(())));
}

#[tokio::test]
async fn bytes_are_looked_for_in_order_however_they_arrive() {
    let (address, count) = server(|stream| echoing(stream, 4, &[b"xPO", b"NGyyy", b"!"])).await;
    let mut world = World::checking(tcp(b"PING", &[b"PONG", b"!"]), address);
    assert_eq!(world.outcomes(3).await, ["ok"; 3]);
    assert_eq!(count.load(Relaxed), 1, "the connection is kept");

    let (address, _) = server(|mut stream| async move {
        stream.write_all(b"!PONG").await.unwrap();
    })
    .await;
    let mut world = World::checking(tcp(b"PING", &[b"PONG", b"!"]), address);
    let outcome = world.outcomes(1).await.remove(0);
    assert!(outcome.starts_with("network: "), "{outcome}");
}

#[tokio::test]
async fn a_talkative_host_costs_no_memory() {
    let (address, _) = server(|mut stream| async move {
        let much = vec![b'x'; 1 << 20];
        for _ in 0..8 {
            if stream.write_all(&much).await.is_err() {
                return;
            }
        }
        stream.write_all(b"END").await.ok();
        drop(stream.read(&mut [0]).await);
    })
    .await;
    let mut world = World::checking(tcp(b"?", &[b"xEND"]), address);
    assert_eq!(world.outcomes(1).await, ["ok"]);
}

#[tokio::test]
async fn silence_is_a_failure_of_the_network_and_takes_several() {
    let (address, _) = server(|mut stream| async move { drop(stream.read(&mut [0; 64]).await) }).await;
    let mut world = World::new();
    let slow = HealthCheck { timeout: 30 * MS, ..check(tcp(b"PING", &[b"PONG"])) };
    world.checker.set("app", how(slow), [host(address)]);
    let report = world.report().await;
    assert!(matches!(report.outcome, Err(CheckFailure::Network(_))), "{report:?}");
    assert!(!report.healthy && !report.changed);
}

#[tokio::test]
async fn what_is_known_of_a_host_outlives_a_change_of_its_checks() {
    let (address, _) = server(|stream| async move { drop(stream) }).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut world = World::checking(tcp(b"", &[]), address);
    assert!(world.report().await.changed);
    // The same host with other checks, which fail: it takes two in a row, as before.
    let other = HealthCheck { unhealthy_threshold: 3, ..check(tcp(b"PING", &[b"PONG"])) };
    world.checker.set("app", how(other), [host(address), host(gone)]);
    let mut healthy = Vec::new();
    while healthy.len() < 3 {
        let report = world.report().await;
        if report.address == Address::Ip(address) && report.outcome.is_err() {
            healthy.push((report.healthy, report.changed));
        }
    }
    assert_eq!(healthy, [(true, false), (true, false), (false, true)]);
    // A host that leaves is not asked any more, and a cluster neither.
    world.checker.set("app", how(check(tcp(b"", &[]))), [host(address)]);
    world.checker.retain(|cluster| cluster != "app");
    world.checker.fail_immediately("app", &Address::Ip(address));
    while world.checker.try_report().is_some() {}
    for _ in 0..20 {
        tokio::time::sleep(MS).await;
        assert!(world.checker.try_report().is_none(), "nobody is checked any more");
    }
}

#[tokio::test]
async fn a_response_to_a_request_takes_a_host_out_between_checks() {
    let (address, _) = server(|stream| async move { drop(stream) }).await;
    let mut world = World::new();
    let rare = HealthCheck { interval: Duration::from_secs(3600), ..check(tcp(b"", &[])) };
    world.checker.set("app", how(rare), [host(address)]);
    assert!(world.report().await.healthy);
    world.checker.fail_immediately("app", &Address::Ip(address));
    let report = world.report().await;
    assert_eq!((report.outcome, report.healthy, report.changed), (Err(CheckFailure::Immediate), false, true));
}

#[tokio::test]
async fn connections_begin_as_those_of_the_cluster() {
    /// Stands for TLS: writes what it was told to offer.
    struct Marks;

    impl SecureFor for Marks {
        fn host(&self, _: &Address, name: Option<&str>) -> Secure {
            let name = name.unwrap_or("?").to_owned();
            Arc::new(move |mut socket, alpn| {
                let mark = format!("<{name} {alpn:?}>");
                Box::pin(async move {
                    socket.write_all(mark.as_bytes()).await?;
                    Ok(socket)
                })
            })
        }
    }

    let (address, _) = server(|mut stream| async move {
        let mut bytes = vec![0; b"PROXY<name []>hi".len()];
        stream.read_exact(&mut bytes).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    })
    .await;
    let mut world = World::new();
    let how = ClusterCheck {
        secure: Some(Arc::new(Marks)),
        preamble: b"PROXY"[..].into(),
        ..how(check(tcp(b"hi", &[b"PROXY<name []>hi"])))
    };
    world.checker.set("app", how, [HostTarget { name: Some("name".into()), ..host(address) }]);
    assert_eq!(world.outcomes(1).await, ["ok"]);
}

#[tokio::test]
async fn a_thousand_hosts_are_not_asked_all_at_once() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = Arc::clone(&most);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (open, most) = (Arc::clone(&open), Arc::clone(&highest));
            tokio::spawn(async move {
                most.fetch_max(open.fetch_add(1, Relaxed) + 1, Relaxed);
                tokio::time::sleep(5 * MS).await;
                // Before the answer, which makes room for the next.
                open.fetch_sub(1, Relaxed);
                stream.write_all(b"!").await.ok();
            });
        }
    });
    let address = |at: u32| std::net::SocketAddr::from((std::net::Ipv4Addr::from_bits(0x7f01_0000 + at), port));
    let mut world = World::new();
    let once = HealthCheck { interval: Duration::from_secs(3600), ..check(tcp(b"", &[b"!"])) };
    world.checker.set("app", how(once), (1..=1000).map(|at| host(address(at))));
    for _ in 0..1000 {
        assert!(world.report().await.healthy);
    }
    let most = most.load(Relaxed);
    assert!(most <= MOST_IN_FLIGHT, "{most} at once");
}

#[test]
fn jitter_is_spread_and_bounded() {
    let target = host("127.0.0.1:1".parse::<std::net::SocketAddr>().unwrap());
    let mut session = Session::new(&"app".into(), &how(check(tcp(b"", &[]))), &target, Arc::default(), 5);
    let spans: Vec<_> = (0..1000).map(|_| session.jitter(Duration::from_secs(1))).collect();
    assert!(spans.iter().all(|span| *span < Duration::from_secs(1)));
    for tenth in 0..10 {
        let within = |span: &&Duration| span.as_millis() / 100 == tenth;
        assert!((50..150).contains(&spans.iter().filter(within).count()), "{tenth}");
    }
    assert_eq!(session.jitter(Duration::ZERO), Duration::ZERO);
}
