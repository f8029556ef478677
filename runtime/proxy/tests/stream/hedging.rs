//! Two tries beside each other.

use std::time::Duration;

use ringway_api::Env;

use crate::world::{Does, World, after, answer, response};

const ROUTE: &str = "timeout: 10s, retry: { on: [5xx], attempts: 2, per_try_timeout: 100ms, \
                     hedge_on_per_try_timeout: true, back_off: { base_interval: 1ms } }";

#[test]
fn at_the_per_try_timeout_a_second_try_begins_and_the_first_answer_wins() {
    // The first host answers after 150 ms, the second after 500 ms.
    let world = World::new(ROUTE, "", |number, _| match number {
        0 => after(150, 201, ""),
        _ => after(500, 202, ""),
    });
    let began = world.sim.now();
    assert!(world.get().starts_with("HTTP/1.1 201 "));
    let took = world.sim.now() - began;
    assert!(took.as_millis() == 150, "{took:?}");
    assert_eq!(world.seen().len(), 2);
    assert_eq!(world.stat(|stats| stats.upstream_rq_per_try_timeout.value()), 1);
    assert_eq!(world.stat(|stats| stats.upstream_rq_retry_success.value()), 1);
    // What lost has given its connection back, or up.
    assert_eq!(world.stat(|stats| stats.upstream_rq_active.value() as u64), 0);
}

#[test]
fn a_hedged_try_that_answers_sooner_wins_and_one_that_fails_does_not() {
    let world = World::new(ROUTE, "", |number, _| match number {
        0 => Does::Hang,
        1 => answer(503, ""),
        _ => answer(200, ""),
    });
    assert!(world.get().starts_with("HTTP/1.1 200 "));
    assert_eq!(world.seen().len(), 3);

    let world = World::new(ROUTE, "", |number, _| match number {
        0 => after(300, 200, ""),
        _ => answer(503, ""),
    });
    // Both further tries failed; the first was still worth waiting for.
    assert!(world.get().starts_with("HTTP/1.1 200 "));
    assert_eq!(world.seen().len(), 3);
    assert_eq!(world.stat(|stats| stats.upstream_rq_retry_limit_exceeded.value()), 1);
}

#[test]
fn with_every_try_hanging_the_routes_timeout_ends_it() {
    let world = World::new(ROUTE, "", |_, _| Does::Hang);
    let began = world.sim.now();
    let response = world.get();
    assert!(response.starts_with("HTTP/1.1 504 "), "{response}");
    assert_eq!((world.sim.now() - began).as_secs(), 10);
    assert_eq!(world.seen().len(), 3);
}

#[test]
fn a_call_that_is_still_being_sent_has_one_try_at_a_time() {
    // A call's time runs from its beginning, and so does that of its tries.
    let world = World::new(ROUTE, "", |number, _| answer(if number == 0 { 200 } else { 500 }, ""));
    let mut client = world.connect();
    let got = world.sim.block_on(async {
        let head = "POST /s/m HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 3000\r\n\r\n";
        client.send(head).await.unwrap();
        for _ in 0..3 {
            world.sim.sleep(Duration::from_millis(90)).await;
            client.send([b'x'; 1000]).await.unwrap();
        }
        response(&mut client).await
    });
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    let seen = world.seen();
    assert!(seen.iter().all(|seen| seen.body == [b'x'; 3000]), "whole, or not at all");
}

#[test]
fn a_second_try_that_cannot_begin_does_not_spoil_the_first() {
    // One request may be under way; the second try is refused.
    let world = World::new(ROUTE, "limits: { max_requests: 1 }", |_, _| after(150, 200, ""));
    assert!(world.get().starts_with("HTTP/1.1 200 "));
    assert_eq!(world.seen().len(), 1);
    assert_eq!(world.stat(|stats| stats.upstream_rq_pending_overflow.value()), 1);
}
