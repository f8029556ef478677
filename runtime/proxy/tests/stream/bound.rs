//! Upstream connections that belong to one downstream connection each.

use std::time::Duration;

use ringway_telemetry::ClusterStats;
use ringway_testkit::{MemoryIo, NetMode};

use crate::world::{Does, World, answer, response};

const BOUND: &str = "connection_pool: bound";

fn get(world: &World, client: &mut MemoryIo) -> String {
    world.sim.block_on(async {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        response(client).await
    })
}

fn is_closed(world: &World, client: &mut MemoryIo) -> bool {
    world.sim.block_on(async { matches!(client.recv().await, Ok(None) | Err(_)) })
}

fn active(stats: &ClusterStats) -> u64 {
    stats.upstream_cx_active.value() as u64
}

#[test]
fn each_downstream_connection_has_one_of_its_own() {
    let world = World::new("timeout: 10s", BOUND, |_, _| answer(200, ""));
    let mut clients = [world.connect(), world.connect(), world.connect()];
    for _ in 0..4 {
        for client in &mut clients {
            assert!(get(&world, client).starts_with("HTTP/1.1 200 "));
        }
    }
    let seen = world.seen();
    for number in 0..3 {
        let mut hosts = seen.iter().skip(number).step_by(3).map(|seen| seen.host.clone());
        let first = hosts.next().unwrap();
        assert!(hosts.all(|host| host == first), "client {number} stays with its host");
    }
    assert_ne!(seen[0].host, seen[1].host, "and the balancer chooses it");
    assert_eq!((world.stat(|stats| stats.upstream_cx_total.value()), world.stat(active)), (3, 3));
    drop(clients);
    world.sim.block_on(world.sim.sleep(Duration::from_secs(1)));
    assert_eq!(world.stat(active), 0, "they end with their owners");
}

#[test]
fn a_host_that_closes_ends_the_downstream_connection_too() {
    // In the middle of a request, and with a response.
    for does in [|| Does::Close, || answer(200, "Connection: close\r\n")] {
        let world =
            World::new("timeout: 10s", BOUND, move |number, _| if number == 1 { does() } else { answer(200, "") });
        let mut client = world.connect();
        assert!(get(&world, &mut client).starts_with("HTTP/1.1 200 "));
        let second = get(&world, &mut client);
        assert!(second.starts_with("HTTP/1.1 503 ") || second.starts_with("HTTP/1.1 200 "), "{second}");
        assert!(is_closed(&world, &mut client));
        assert_eq!((world.seen().len(), world.stat(active)), (2, 0), "nothing was sent again");
    }
}

#[test]
fn a_connection_that_does_not_come_about_binds_nothing() {
    let world = World::new("timeout: 10s", BOUND, |_, _| answer(200, ""));
    let mut client = world.connect();
    world.net.set_mode(NetMode::Refuse);
    assert!(get(&world, &mut client).starts_with("HTTP/1.1 503 "));
    world.net.set_mode(NetMode::Accept);
    assert!(get(&world, &mut client).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_retry_of_a_failed_connect_may_go_to_another_host_and_no_other() {
    let route = "timeout: 10s, retry: { on: [connect-failure, 5xx], attempts: 3, back_off: { base_interval: 1ms } }";
    let world = World::new(route, BOUND, |number, _| answer(if number == 0 { 503 } else { 200 }, ""));
    let mut client = world.connect();
    assert!(get(&world, &mut client).starts_with("HTTP/1.1 200 "));
    let seen = world.seen();
    assert_eq!((seen.len(), &seen[0].host), (2, &seen[1].host), "a bound request stays with its host");
    assert_eq!(world.stat(|stats| stats.upstream_cx_total.value()), 1);
}

#[test]
fn bound_connections_count_in_the_limits() {
    let world =
        World::new("timeout: 10s", "connection_pool: bound, limits: { max_connections: 1 }", |_, _| answer(200, ""));
    let (mut first, mut second) = (world.connect(), world.connect());
    assert!(get(&world, &mut first).starts_with("HTTP/1.1 200 "));
    assert!(get(&world, &mut second).starts_with("HTTP/1.1 503 "));
    assert_eq!(world.stat(|stats| stats.upstream_cx_overflow.value()), 1);
    drop(first);
    world.sim.block_on(world.sim.sleep(Duration::from_millis(1)));
    assert!(get(&world, &mut second).starts_with("HTTP/1.1 200 "));
}
