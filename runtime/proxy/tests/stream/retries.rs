//! Retries.

use std::time::Duration;

use ringway_api::{Env, Io};
use ringway_testkit::NetMode;

use crate::world::{Does, World, after, answer, response};

fn millis(span: Duration) -> u128 {
    span.as_millis()
}

#[test]
fn pauses_grow_are_jittered_and_have_an_end() {
    let route = "timeout: 0, retry: { on: [5xx], attempts: 8, back_off: { base_interval: 100ms, max_interval: 1s } }";
    let mut pauses = vec![Vec::new(); 8];
    let world = World::new(route, "", |_, _| answer(500, ""));
    for _ in 0..200 {
        world.seen.borrow_mut().clear();
        assert!(world.get().starts_with("HTTP/1.1 500 "));
        for (pauses, pair) in pauses.iter_mut().zip(world.seen().windows(2)) {
            pauses.push(millis(pair[1].at - pair[0].at));
        }
    }
    // Uniform below 100 ms, 300 ms, 700 ms, then 1 s.
    for (pauses, most) in pauses.iter().zip([100, 300, 700, 1000, 1000, 1000, 1000, 1000]) {
        let mean = pauses.iter().sum::<u128>() / pauses.len() as u128;
        assert!(pauses.iter().all(|pause| *pause < most), "{pauses:?}");
        assert!((most * 4 / 10..most * 6 / 10).contains(&mean), "{mean} of {most}");
    }
}

#[test]
fn a_pause_that_a_response_asks_for_is_kept_if_it_is_credible() {
    let route = "timeout: 0, retry: { on: [retriable-status-codes], retriable_status_codes: [429], attempts: 1, \
                 rate_limited_back_off: { max_interval: 60s } }";
    for (field, least, most) in [
        ("Retry-After: 10\r\n", 10_000, 15_000),
        ("Retry-After: 100\r\n", 0, 25),
        ("Retry-After: soon\r\n", 0, 25),
        // 20 s after the fake clock's beginning.
        ("x-ratelimit-reset: 1767225620\r\n", 20_000, 30_000),
        ("x-ratelimit-reset: 1\r\n", 0, 25),
    ] {
        let world = World::new(route, "", move |number, _| match number {
            0 => answer(429, field),
            _ => answer(200, ""),
        });
        assert!(world.get().starts_with("HTTP/1.1 200 "));
        let pause = millis(world.seen()[1].at);
        assert!((least..most).contains(&pause), "{field}: {pause} ms");
        let asked = u64::from(least > 0);
        assert_eq!(world.stat(|stats| stats.upstream_rq_retry_backoff_ratelimited.value()), asked);
        assert_eq!(world.stat(|stats| stats.upstream_rq_retry_backoff_exponential.value()), 1 - asked);
    }
}

/// The policy, what the host does first, and whether that is retried.
type Reason = (&'static str, fn() -> Does, bool);

#[test]
fn reasons_are_what_they_say() {
    let closes = |on: &str, does: fn() -> Does| {
        let route = format!(
            "retry: {{ on: [{on}], attempts: 1, retriable_status_codes: [418], \
                             retriable_headers: [{{ name: x-again, exact: \"yes\" }}] }}"
        );
        let world = World::new(&route, "", move |number, _| if number == 0 { does() } else { answer(200, "") });
        let again = world.get().starts_with("HTTP/1.1 200 ");
        assert_eq!(world.seen().len(), 1 + usize::from(again), "{on}");
        again
    };
    let reasons: [Reason; 22] = [
        ("5xx", || answer(500, ""), true),
        ("5xx", || Does::Close, true),
        ("5xx", || answer(404, ""), false),
        ("gateway-error", || answer(502, ""), true),
        ("gateway-error", || answer(504, ""), true),
        ("gateway-error", || answer(500, ""), false),
        ("gateway-error", || Does::Close, true),
        ("reset", || Does::Close, true),
        ("reset", || answer(503, ""), false),
        // The host has read the request.
        ("reset-before-request", || Does::Close, false),
        ("connect-failure", || Does::Close, false),
        ("refused-stream", || Does::Close, false),
        ("retriable-4xx", || answer(409, ""), true),
        ("retriable-4xx", || answer(404, ""), false),
        ("retriable-status-codes", || answer(418, ""), true),
        ("retriable-status-codes", || answer(419, ""), false),
        ("retriable-headers", || answer(201, "X-Again: yes\r\n"), true),
        ("retriable-headers", || answer(201, "X-Again: no\r\n"), false),
        ("envoy-ratelimited", || answer(429, "x-envoy-ratelimited: true\r\n"), true),
        ("5xx", || answer(503, "x-envoy-ratelimited: true\r\n"), false),
        ("5xx", || answer(503, "x-envoy-overloaded: true\r\n"), false),
        ("\"5xx\", unavailable", || answer(200, "grpc-status: 14\r\n"), true),
    ];
    for (at, (on, does, again)) in reasons.into_iter().enumerate() {
        let got = closes(on, does);
        // 201 is no failure: it stays what it was unless it is retried.
        assert_eq!(got, again, "{at}: {on}");
    }
}

#[test]
fn connections_that_fail_are_retried_on_another_host() {
    for (on, again) in [("connect-failure", true), ("reset-before-request", true), ("retriable-4xx", false)] {
        let route = format!("retry: {{ on: [{on}], attempts: 2, host_selection: [previous_hosts] }}");
        let world = World::new(&route, "", |_, _| answer(200, ""));
        world.refuse_connections();
        assert!(world.get().starts_with("HTTP/1.1 503 "));
        assert_eq!(world.net.attempts(), if again { 3 } else { 1 }, "{on}");
    }
    let route = "retry: { on: [5xx], attempts: 3, host_selection: [previous_hosts] }";
    let world = World::new(route, "", |number, _| answer(if number < 1 { 500 } else { 200 }, ""));
    for _ in 0..20 {
        world.seen.borrow_mut().clear();
        assert!(world.get().starts_with("HTTP/1.1 200 "));
        let seen = world.seen();
        assert!(seen.len() == 2 && seen[0].host != seen[1].host, "{seen:?}");
    }
}

#[test]
fn each_try_is_told_what_is_left_of_the_time() {
    let route = "timeout: 10s, retry: { on: [5xx], attempts: 2, per_try_timeout: 8s, include_attempt_count: true }";
    let world = World::new(route, "", |_, _| after(3000, 503, ""));
    assert!(world.get().starts_with("HTTP/1.1 503 "));
    let told = |at: usize, name: &str| world.seen()[at].field(name).unwrap().parse::<u64>().unwrap();
    assert_eq!(told(0, "x-envoy-expected-rq-timeout-ms"), 8000);
    assert!((6900..=7000).contains(&told(1, "x-envoy-expected-rq-timeout-ms")));
    assert!((3800..=4000).contains(&told(2, "x-envoy-expected-rq-timeout-ms")));
    assert_eq!([0, 1, 2].map(|at| told(at, "x-envoy-attempt-count")), [1, 2, 3]);
}

#[test]
fn the_header_can_be_suppressed_and_is_not_there_without_a_timeout_of_the_routes_own() {
    for (route, told) in [("timeout: 5s", true), ("timeout: 5s, suppress_timeout_header: true", false), ("", false)] {
        let world = World::new(route, "", |_, _| answer(200, ""));
        assert!(world.get().starts_with("HTTP/1.1 200 "));
        assert_eq!(world.seen()[0].field("x-envoy-expected-rq-timeout-ms").is_some(), told, "{route}");
    }
}

#[test]
fn no_retry_begins_that_could_not_end_in_time() {
    let route = "timeout: 1s, retry: { on: [retriable-status-codes], retriable_status_codes: [429], attempts: 3, \
                 rate_limited_back_off: {} }";
    let world = World::new(route, "", |_, _| answer(429, "Retry-After: 5\r\n"));
    let began = world.sim.now();
    assert!(world.get().starts_with("HTTP/1.1 429 "), "the answer, rather than a timeout later");
    assert_eq!(world.sim.now(), began);
    assert_eq!(world.seen().len(), 1);
}

#[test]
fn a_try_in_which_nothing_moves_is_given_up() {
    let route = "timeout: 30s, retry: { on: [reset], attempts: 1, per_try_idle_timeout: 2s }";
    let world = World::new(route, "", |number, _| if number == 0 { Does::Hang } else { answer(200, "") });
    let began = world.sim.now();
    assert!(world.get().starts_with("HTTP/1.1 200 "));
    assert_eq!((world.sim.now() - began).as_secs(), 2);
    assert_eq!(world.stat(|stats| stats.upstream_rq_per_try_idle_timeout.value()), 1);

    // Behind the head it is too late for another try; the response is cut.
    let partly = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_owned();
    let world = World::new(route, "", move |_, _| Does::Answer(Duration::ZERO, partly.clone()));
    let mut client = world.connect();
    let got = world.sim.block_on(async {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        client.recv_to_end().await.0
    });
    assert!(got.ends_with(b"half"), "{}", String::from_utf8_lossy(&got));
    assert_eq!(world.seen().len(), 1);
}

#[test]
fn what_waits_for_its_turn_counts_for_the_limit() {
    let route = "timeout: 0, retry: { on: [5xx], attempts: 1, back_off: { base_interval: 1h } }";
    for (limit, most) in [("limits: { max_retries: 5 }", 5), ("retry_budget: { percent: 50, min_concurrency: 2 }", 2)] {
        let world = World::new(route, limit, |number, _| answer(if number < 20 { 503 } else { 200 }, ""));
        let mut clients: Vec<_> = (0..20).map(|_| world.connect()).collect();
        for client in &mut clients {
            world.sim.block_on(async { client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap() });
            world.sim.run_until_quiet();
        }
        // None of them is at a host now, and yet there is no room for more.
        let answered = clients.iter_mut().map(|client| usize::from(!client.recv_now().is_empty())).sum::<usize>();
        assert_eq!(answered, 20 - most, "{limit}");
        assert_eq!(world.stat(|stats| stats.upstream_rq_retry_overflow.value()), 20 - most as u64);
        assert_eq!(world.stat(|stats| stats.upstream_rq_retry.value()), most as u64);
        world.sim.advance(Duration::from_secs(3600));
        assert_eq!(world.seen().len(), 20 + most, "{limit}");
        assert_eq!(world.stat(|stats| stats.upstream_rq_retry_success.value()), most as u64);
    }
}

#[test]
fn a_budget_follows_the_load() {
    let route = "timeout: 0, retry: { on: [5xx], attempts: 1, back_off: { base_interval: 1h } }";
    let budget = "retry_budget: { percent: 20, min_concurrency: 0 }";
    // 50 requests stay at their hosts, then 20 are refused.
    let world = World::new(route, budget, |number, _| if number < 50 { Does::Hang } else { answer(503, "") });
    let mut clients: Vec<_> = (0..70).map(|_| world.connect()).collect();
    for client in &mut clients {
        world.sim.block_on(async { client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap() });
        world.sim.run_until_quiet();
    }
    assert_eq!(world.stat(|stats| stats.upstream_rq_retry.value()), 10);
    assert_eq!(world.stat(|stats| stats.upstream_rq_retry_overflow.value()), 10);
}

#[test]
fn requests_may_ask_for_retries_only_where_the_route_lets_them() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nx-envoy-retry-on: retriable-status-codes,5xx\r\n\
                   x-envoy-max-retries: 3\r\nx-envoy-retriable-status-codes: 404, 405\r\n\r\n";
    let world = World::new("retry: { from_headers: true }", "", |_, _| answer(405, ""));
    assert!(world.ask(request).starts_with("HTTP/1.1 405 "));
    let seen = world.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|seen| !seen.head.to_lowercase().contains("x-envoy-")), "{:?}", seen[0].head);
    for route in ["retry: { on: [reset] }", ""] {
        let world = World::new(route, "", |_, _| answer(405, ""));
        assert!(world.ask(request).starts_with("HTTP/1.1 405 "));
        assert_eq!(world.seen().len(), 1);
        assert!(world.seen()[0].field("x-envoy-retry-on").is_some(), "not ours to take");
    }
}

#[test]
fn retries_of_retries_are_for_those_who_want_them() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nx-envoy-attempt-count: 2\r\n\r\n";
    for (nested, tries) in [("", 1), (", nested: true", 3)] {
        let route = format!("retry: {{ on: [5xx], attempts: 2, include_attempt_count: true{nested} }}");
        let world = World::new(&route, "", |_, _| answer(503, "x-envoy-overloaded: true\r\n"));
        assert!(world.ask(request).starts_with("HTTP/1.1 503 "));
        let counts: Vec<_> = world.seen().iter().map(|seen| seen.field("x-envoy-attempt-count").unwrap()).collect();
        assert_eq!(counts, ["2", "3", "4"][..tries]);
    }
}

#[test]
fn a_body_that_is_still_arriving_is_sent_again_from_its_beginning() {
    let route = "timeout: 10s, retry: { on: [5xx], attempts: 2, buffer_limit: 20KiB }";
    for (size, tries) in [(19 << 10, 3), (21 << 10, 1)] {
        let world = World::new(route, "", |_, _| answer(503, ""));
        let body: String = (0..size).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
        let mut client = world.connect();
        // By chunks, so that its length is no news.
        let status = world.sim.block_on(async {
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n")).await.unwrap();
            for piece in body.as_bytes().chunks(1000) {
                client.send(piece).await.unwrap();
                world.sim.sleep(Duration::from_millis(1)).await;
            }
            response(&mut client).await
        });
        assert!(status.starts_with("HTTP/1.1 503 "));
        let seen = world.seen();
        assert!(seen.len() == tries && seen.iter().all(|seen| seen.body == body.as_bytes()), "{} tries", seen.len());
        assert_eq!(world.stat(|stats| stats.upstream_rq_replay_bytes.value() as u64), 0);
        assert_eq!(world.stat(|stats| stats.upstream_rq_replay_overflow.value()), u64::from(tries == 1));
    }
}

#[test]
fn a_client_that_leaves_takes_the_pause_with_it() {
    let route = "timeout: 0, retry: { on: [5xx], attempts: 1, back_off: { base_interval: 1h } }";
    let world = World::new(route, "limits: { max_retries: 1 }", |_, _| answer(503, ""));
    let mut client = world.connect();
    world.sim.block_on(async { client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap() });
    world.sim.run_until_quiet();
    client.abort();
    world.sim.run_until_quiet();
    drop(client);
    world.sim.advance(Duration::from_secs(3600));
    assert_eq!(world.seen().len(), 1, "nobody waits for it any more");
    // And its place is free.
    let mut next = world.connect();
    world.sim.block_on(async { next.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap() });
    world.sim.advance(Duration::from_secs(3600));
    assert_eq!(world.seen().len(), 3);
}

/// A brown-out: hosts that can serve half of what comes, and everybody retries thrice.
#[test]
fn the_budget_keeps_retries_from_multiplying_the_load() {
    let amplification = |limit: &str| {
        let route = "timeout: 0, retry: { on: [5xx], attempts: 3, back_off: { base_interval: 25ms } }";
        // Every second request of a busy moment fails, and each takes 50 ms.
        let world = World::new(route, limit, |number, _| after(50, if number % 2 == 0 { 503 } else { 200 }, ""));
        let clients: Vec<_> = (0..1000)
            .map(|_| {
                let mut client = world.connect();
                world.sim.block_on(async { client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap() });
                world.sim.advance(Duration::from_millis(1));
                client
            })
            .collect();
        world.sim.advance(Duration::from_secs(2));
        drop(clients);
        world.seen().len() as f64 / 1000.0
    };
    let (bounded, free) = (amplification(""), amplification("limits: { max_retries: 100000 }"));
    // Some 50 requests are under way, 10 of them may be retries, each of which takes some 60 ms.
    assert!((1.05..1.25).contains(&bounded), "{bounded}");
    assert!(free > 1.8, "{free}");
}

#[test]
fn what_is_kept_for_retries_is_bounded_for_all_requests_together() {
    let route = "timeout: 0, retry: { on: [5xx], attempts: 1, back_off: { base_interval: 1h } }";
    let world = World::with_replay_memory(25_000, route, "", |_, _| answer(503, ""));
    let mut clients: Vec<_> = (0..4).map(|_| world.connect()).collect();
    for client in &mut clients {
        world.sim.block_on(async {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n").await.unwrap();
            client.send(vec![b'x'; 10_000]).await.unwrap();
        });
        world.sim.run_until_quiet();
    }
    // Two wait for their turn, two were answered with what there was.
    let answered: usize = clients.iter_mut().map(|client| usize::from(!client.recv_now().is_empty())).sum();
    assert_eq!(answered, 2);
    assert_eq!(world.stat(|stats| stats.upstream_rq_replay_bytes.value() as u64), 20_000);
    assert_eq!(world.stat(|stats| stats.upstream_rq_replay_overflow.value()), 2);
    world.sim.advance(Duration::from_secs(3600));
    assert_eq!(world.seen().len(), 6);
    assert_eq!(world.stat(|stats| stats.upstream_rq_replay_bytes.value() as u64), 0);
}

#[test]
fn time_runs_from_the_end_of_a_request_that_arrives_in_pieces() {
    let tries =
        "timeout: 10s, retry: { on: [reset], attempts: 1, per_try_timeout: 2s, back_off: { base_interval: 1ms } }";
    for (route, seconds) in [("timeout: 4s", 4), (tries, 4)] {
        for framing in ["Content-Length: 4000", "Transfer-Encoding: chunked"] {
            let world = World::new(route, "", |_, _| Does::Hang);
            let mut client = world.connect();
            let (got, took) = world.sim.block_on(async {
                client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).await.unwrap();
                for _ in 0..4 {
                    world.sim.sleep(Duration::from_secs(3)).await;
                    let piece = if framing.ends_with("chunked") { "3E8\r\n" } else { "" };
                    let end = if piece.is_empty() { "" } else { "\r\n" };
                    client.send(format!("{piece}{}{end}", "x".repeat(1000))).await.unwrap();
                }
                if framing.ends_with("chunked") {
                    client.send("0\r\n\r\n").await.unwrap();
                }
                let began = world.sim.now();
                (response(&mut client).await, world.sim.now() - began)
            });
            assert!(got.starts_with("HTTP/1.1 504 "), "{route} {framing}: {got}");
            assert_eq!(took.as_secs(), seconds, "{route} {framing}");
        }
    }
}

#[test]
fn a_budget_does_not_hold_back_requests_that_no_host_has_seen() {
    let route = "timeout: 0, retry: { on: [connect-failure], attempts: 1, back_off: { base_interval: 10ms } }";
    // A budget of nothing for so few requests; and a number, which counts all retries.
    for (limit, refused) in [("retry_budget: { percent: 1, min_concurrency: 0 }", 0), ("limits: { max_retries: 0 }", 8)]
    {
        let world = World::new(route, limit, |_, _| answer(200, ""));
        world.refuse_connections();
        let mut clients: Vec<_> = (0..8).map(|_| world.connect()).collect();
        for client in &mut clients {
            world.sim.block_on(async { client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap() });
        }
        world.sim.run_until_quiet();
        world.net.set_mode(NetMode::Accept);
        world.sim.advance(Duration::from_secs(1));
        let answers = clients.iter_mut().map(|client| String::from_utf8(client.recv_now()).unwrap());
        let failed = answers.filter(|answer| answer.starts_with("HTTP/1.1 503")).count();
        assert_eq!(failed, refused, "{limit}");
        assert_eq!(world.seen().len(), 8 - refused);
    }
}
