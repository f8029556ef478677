//! Copies of requests for other clusters.

use std::time::Duration;

use ringway_telemetry::ClusterStats;

use crate::world::{Does, World, address, answer, response};

const SHADOW: &str = "10.0.2.1:80";

fn shadow_stat(world: &World, read: impl Fn(&ClusterStats) -> u64) -> u64 {
    world.registry.cluster("shadow").blocks().map(read).sum()
}

#[test]
fn a_copy_goes_to_the_mirror_and_its_answer_nowhere() {
    let world = World::new("mirror: [{ cluster: shadow }]", "", |_, seen| {
        answer(if seen.host == address(SHADOW) { 500 } else { 200 }, "")
    });
    assert!(
        world.ask("POST /x HTTP/1.1\r\nHost: shop:8080\r\nContent-Length: 4\r\n\r\nbody").starts_with("HTTP/1.1 200")
    );
    world.sim.run_until_quiet();
    let seen = world.seen();
    let copy = seen.iter().find(|seen| seen.host == address(SHADOW)).unwrap();
    let original = seen.iter().find(|seen| seen.host != address(SHADOW)).unwrap();
    assert_eq!(
        (copy.field("host").unwrap(), original.field("host").unwrap()),
        ("shop-shadow:8080".into(), "shop:8080".into())
    );
    assert_eq!((&*copy.body, &*original.body), (&b"body"[..], &b"body"[..]));
    assert_eq!(copy.field("x-request-id"), original.field("x-request-id"));
    assert_eq!(shadow_stat(&world, |stats| stats.upstream_rq_5xx.value()), 1);
    assert_eq!(shadow_stat(&world, |stats| stats.upstream_rq_mirrored.value()), 1);
}

#[test]
fn a_mirror_that_hangs_costs_nobody_anything_but_its_own_cluster() {
    let world = World::new("timeout: 2s, mirror: [{ cluster: shadow }]", "", |_, seen| {
        if seen.host == address(SHADOW) { Does::Hang } else { answer(200, "") }
    });
    for _ in 0..10 {
        assert!(world.get().starts_with("HTTP/1.1 200"));
    }
    assert_eq!(shadow_stat(&world, |stats| stats.upstream_rq_active.value() as u64), 10);
    world.sim.advance(Duration::from_secs(3));
    assert_eq!(shadow_stat(&world, |stats| stats.upstream_rq_active.value() as u64), 0);
    assert_eq!(shadow_stat(&world, |stats| stats.upstream_rq_timeout.value()), 10);
    assert_eq!(world.stat(|stats| stats.upstream_rq_timeout.value()), 0);
}

#[test]
fn a_share_of_the_requests_is_copied() {
    let world = World::new("mirror: [{ cluster: shadow, fraction: 25 }]", "", |_, _| answer(200, ""));
    (0..1000).for_each(|_| assert!(world.get().starts_with("HTTP/1.1 200")));
    let copies = shadow_stat(&world, |stats| stats.upstream_rq_mirrored.value());
    assert!((200..300).contains(&copies), "{copies}");
    let world = World::new("mirror: [{ cluster: shadow, fraction: 0 }]", "", |_, _| answer(200, ""));
    (0..100).for_each(|_| assert!(world.get().starts_with("HTTP/1.1 200")));
    assert_eq!(world.seen().len(), 100);
}

#[test]
fn content_that_arrives_in_pieces_is_copied_up_to_a_limit() {
    for (size, copied) in [(60 << 10, true), (70 << 10, false)] {
        // The request is retried as well: both keep it.
        let route = "mirror: [{ cluster: shadow }], retry: { on: [5xx], attempts: 1, buffer_limit: 1MiB }";
        let world = World::new(route, "", |number, _| answer(if number == 0 { 503 } else { 200 }, ""));
        let body = vec![b'x'; size];
        let mut client = world.connect();
        let got = world.sim.block_on(async {
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n")).await.unwrap();
            for piece in body.chunks(4000) {
                client.send(piece).await.unwrap();
                world.sim.sleep(Duration::from_millis(1)).await;
            }
            response(&mut client).await
        });
        assert!(got.starts_with("HTTP/1.1 200"), "{got}");
        world.sim.advance(Duration::from_secs(1));
        let copies: Vec<_> = world.seen().into_iter().filter(|seen| seen.host == address(SHADOW)).collect();
        assert_eq!(copies.len(), usize::from(copied));
        assert!(copies.iter().all(|copy| copy.body == body));
        assert_eq!(shadow_stat(&world, |stats| stats.upstream_rq_mirror_overflow.value()), u64::from(!copied));
        assert_eq!(shadow_stat(&world, |stats| stats.upstream_rq_replay_bytes.value() as u64), 0);
        assert_eq!(world.stat(|stats| stats.upstream_rq_replay_bytes.value() as u64), 0);
    }
}
