//! Clusters that stand in for others.

use std::time::Duration;

use ringway_testkit::NetMode;

use crate::world::{Does, World, address, answer};

fn world(on: &str, cluster: &str, script: impl Fn(usize) -> Does + 'static) -> World {
    let route = format!("timeout: 10s, fallback_cluster: {{ name: shadow, on: [{on}] }}");
    World::new(&route, cluster, move |number, _| script(number))
}

/// Whether the next request goes to the other cluster.
fn falls_back(world: &World) -> bool {
    let before = world.seen().len();
    assert!(world.get().starts_with("HTTP/1.1 200 "));
    world.seen().get(before).is_some_and(|seen| seen.host == address("10.0.2.1:80"))
}

#[test]
fn hosts_that_cannot_be_connected_to_have_a_stand_in_until_they_are_tried_again() {
    let world = world("connect_failure", "", |_| answer(200, ""));
    world.net.set_mode(NetMode::Refuse);
    // One of each host.
    assert!(world.get().starts_with("HTTP/1.1 503 "));
    assert!(world.get().starts_with("HTTP/1.1 503 "));
    world.net.set_mode(NetMode::Accept);
    assert!(falls_back(&world));
    assert_eq!(world.stat(|stats| stats.upstream_rq_fallback.value()), 1);
    world.sim.block_on(world.sim.sleep(Duration::from_secs(2)));
    assert!(!falls_back(&world));
}

#[test]
fn a_full_cluster_has_a_stand_in_where_that_is_wanted() {
    for wanted in [true, false] {
        let on = if wanted { "no_healthy_upstream, overflow" } else { "no_healthy_upstream" };
        let world = world(on, "limits: { max_requests: 1 }", |number| match number {
            0 => Does::Hang,
            _ => answer(200, ""),
        });
        let mut busy = world.connect();
        world.sim.block_on(async {
            busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            world.sim.sleep(Duration::from_millis(1)).await;
        });
        if wanted {
            assert!(falls_back(&world));
        } else {
            assert!(world.get().starts_with("HTTP/1.1 503 "));
        }
    }
}
