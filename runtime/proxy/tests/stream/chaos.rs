//! Requests of every kind to hosts that do anything: nothing is left over, nothing is mixed up.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ringway_api::Io;
use ringway_testkit::Rng;

use crate::world::{Does, World, after, response};

const ROUTES: [&str; 4] = [
    "timeout: 3s, retry: { on: [5xx], attempts: 3, per_try_timeout: 300ms, buffer_limit: 20KiB }",
    "timeout: 3s, retry: { on: [5xx], attempts: 3, per_try_timeout: 100ms, hedge_on_per_try_timeout: true, \
     host_selection: [previous_hosts] }, mirror: [{ cluster: shadow, fraction: 50 }]",
    "timeout: 1s, retry: { on: [reset, retriable-status-codes], retriable_status_codes: [503], attempts: 2, \
     per_try_idle_timeout: 200ms, rate_limited_back_off: {} }",
    "timeout: 2s, mirror: [{ cluster: shadow }]",
];

#[test]
fn whatever_hosts_and_clients_do_nothing_is_left_over() {
    for seed in 0..60 {
        run(seed);
    }
}

fn run(seed: u64) {
    let hosts = RefCell::new(Rng::new(seed));
    let limits = ["", "limits: { max_retries: 2, max_requests: 6, max_connections: 3, pending_timeout: 50ms }"];
    let (route, limits) = (ROUTES[seed as usize % 4], limits[seed as usize / 4 % 2]);
    let world = World::new(route, limits, move |_, seen| {
        // Content says how long it is: one try's is never another's.
        let length: usize = seen.field("x-length").unwrap().parse().unwrap();
        assert!(seen.body == content(length), "seed {seed}: {} of {length} bytes", seen.body.len());
        let mut rng = hosts.borrow_mut();
        let wait = if rng.one_in(3) { rng.below(400) as u64 } else { 0 };
        match rng.below(8) {
            0 => Does::Hang,
            1 => Does::Close,
            2 | 3 => after(wait, 503, ""),
            4 => after(wait, 503, "Retry-After: 1\r\n"),
            _ => after(wait, 200, ""),
        }
    });
    let rng = Rc::new(RefCell::new(Rng::new(!seed)));
    let mut clients = Vec::new();
    for _ in 0..20 {
        let (mut client, sim, rng) = (world.connect(), world.sim.clone(), Rc::clone(&rng));
        clients.push(world.sim.spawn_with_result(async move {
            let draw = |most: u64| rng.borrow_mut().below(most as usize) as u64;
            sim.sleep(Duration::from_millis(draw(500))).await;
            let length = if draw(2) == 0 { 0 } else { draw(40_000) as usize };
            let method = if length == 0 { "GET" } else { "POST" };
            let head =
                format!("{method} / HTTP/1.1\r\nHost: a\r\nX-Length: {length}\r\nContent-Length: {length}\r\n\r\n");
            client.send(head).await.unwrap();
            for piece in content(length).chunks(7000) {
                if draw(3) == 0 {
                    sim.sleep(Duration::from_millis(draw(50))).await;
                }
                if draw(60) == 0 {
                    client.abort();
                    return None;
                }
                if client.send(piece).await.is_err() {
                    break;
                }
            }
            Some(response(&mut client).await)
        }));
    }
    world.sim.advance(Duration::from_secs(120));
    for client in clients {
        let outcome = client.borrow_mut().take();
        let response = outcome.unwrap_or_else(|| panic!("seed {seed}: a client still waits"));
        if let Some(response) = response {
            let known =
                ["200", "502", "503", "504"].iter().any(|status| response.starts_with(&format!("HTTP/1.1 {status}")));
            assert!(known, "seed {seed}: {response}");
        }
    }
    assert_eq!(world.stat(|stats| stats.upstream_rq_active.value() as u64), 0, "seed {seed}: requests");
    assert_eq!(world.stat(|stats| stats.upstream_rq_pending_active.value() as u64), 0, "seed {seed}: waiting");
    assert_eq!(world.stat(|stats| stats.upstream_rq_replay_bytes.value() as u64), 0, "seed {seed}: kept bytes");
    assert_eq!(world.limits.retries.active(), 0, "seed {seed}: retries");
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ length as u8).collect()
}
