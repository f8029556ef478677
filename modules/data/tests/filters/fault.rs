use std::time::Duration;

use ringway_api::{Body, Chunk, ResponseFlag};
use ringway_filters::Fault;
use serde_json::json;

use crate::site::{End, Site, timed};
use crate::world::{options_error, pieces};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_delay_lasts_as_long_as_it_says_and_is_flagged() {
    let site = Site::of::<Fault>(json!({ "delay": { "fixed": "250ms" } }));
    let began = site.sim.env().now();
    let mut visit = site.visit(&[]);
    assert!(matches!(visit.go(), End::Passed));
    assert_eq!(site.sim.env().now().since(began), 250 * MS);
    assert_eq!(visit.flags.to_string(), "DI");
    assert_eq!((site.stat("delays_injected"), site.stat("active_faults")), (1, 1));
    drop(visit);
    assert_eq!(site.stat("active_faults"), 0);
}

#[test]
fn an_abort_has_the_status_that_was_asked_for() {
    let site = Site::of::<Fault>(json!({ "abort": { "http_status": 418 }, "delay": { "fixed": "1s" } }));
    let mut visit = site.visit(&[]);
    let End::Reply(reply) = visit.go() else { panic!("not aborted") };
    assert_eq!((reply.status.as_u16(), reply.details), (418, "fault_filter_abort"));
    assert_eq!(visit.flags.to_string(), "DI,FI");
    assert_eq!((site.stat("aborts_injected"), site.stat("delays_injected")), (1, 1));

    let site = Site::of::<Fault>(json!({ "abort": { "grpc_status": 8 } }));
    let End::Reply(reply) = site.ask(&[]) else { panic!("not aborted") };
    assert_eq!((reply.status.as_u16(), reply.grpc_status), (429, Some(8)));
}

#[test]
fn requests_choose_their_faults_where_they_may() {
    let options = json!({
        "delay": { "header_controlled": true, "max": "2s" },
        "abort": { "header_controlled": true, "percentage": 100 },
        "response_rate_limit": { "header_controlled": true },
    });
    let site = Site::of::<Fault>(options);
    let took = |fields: &[(&str, &str)]| {
        let began = site.sim.env().now();
        (site.status(fields), site.sim.env().now().since(began))
    };
    assert_eq!(took(&[]), (200, Duration::ZERO));
    assert_eq!(took(&[("x-envoy-fault-delay-request", "30")]), (200, 30 * MS));
    assert_eq!(took(&[("x-envoy-fault-delay-request", "3600000")]), (200, 2000 * MS));
    assert_eq!(took(&[("x-envoy-fault-abort-request", "503")]), (503, Duration::ZERO));
    assert_eq!(took(&[("x-envoy-fault-abort-grpc-request", "5")]), (404, Duration::ZERO));
    let none = [("x-envoy-fault-abort-request", "503"), ("x-envoy-fault-abort-request-percentage", "0")];
    assert_eq!(took(&none).0, 200);
    for wrong in ["", "99", "600", "x", "-1", "18446744073709551616"] {
        assert_eq!(took(&[("x-envoy-fault-abort-request", wrong)]).0, 200, "{wrong}");
    }
    let mut visit = site.visit(&[("x-envoy-fault-throughput-response", "1")]);
    assert!(matches!(visit.go(), End::Passed));
    let response = visit.answer(Body::Full(Chunk::from(vec![7; 3 << 10])));
    let (content, took) = timed(&site.sim, response.body);
    assert_eq!(content.data.len(), 3 << 10);
    assert!((2900 * MS..3100 * MS).contains(&took), "{took:?}");
}

#[test]
fn a_slow_response_is_whole_and_counts_until_its_end() {
    let site = Site::of::<Fault>(json!({ "response_rate_limit": { "bytes_per_second": "64KiB" } }));
    let mut visit = site.visit(&[]);
    assert!(matches!(visit.go(), End::Passed));
    let body: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
    let parts: Vec<&[u8]> = body.chunks(30_000).collect();
    let response = visit.answer(pieces(&parts, &[("a", "b")]));
    drop(visit);
    assert_eq!(site.stat("active_faults"), 1);
    let (content, took) = timed(&site.sim, response.body);
    assert_eq!(content.data, body);
    assert!(content.trailers.is_some() && content.largest <= 4096, "{}", content.largest);
    assert!((1400 * MS..1600 * MS).contains(&took), "{took:?}");
    assert_eq!((site.stat("active_faults"), site.stat("response_rl_injected")), (0, 1));
    // No content, nothing to slow down.
    let mut visit = site.visit(&[]);
    visit.go();
    assert!(visit.answer(Body::Empty).body.is_empty());
}

#[test]
fn resets_and_silence() {
    let site = Site::of::<Fault>(json!({ "reset": {} }));
    let mut visit = site.visit(&[]);
    assert!(matches!(visit.go(), End::Reset));
    assert!(visit.flags.contains(ResponseFlag::FaultInjected));
    let site = Site::of::<Fault>(json!({ "blackhole": { "max_duration": "10s" } }));
    let began = site.sim.env().now();
    assert!(matches!(site.ask(&[]), End::Reset));
    assert_eq!(site.sim.env().now().since(began), 10_000 * MS);
    assert_eq!(site.stat("blackholes_injected"), 1);
    let site = Site::of::<Fault>(json!({ "blackhole": { "max_duration": "0" } }));
    let mut visit = site.visit(&[]);
    assert!(visit.waits());
    site.sim.advance(Duration::from_secs(1 << 30));
    assert_eq!(site.stat("active_faults"), 1, "it waits still");
}

#[test]
fn no_more_faults_at_once_than_allowed_on_all_workers() {
    let options = json!({ "delay": { "fixed": "1s" }, "max_active_faults": 2 });
    let sites = Site::among::<Fault>(options, 2);
    let mut visits: Vec<_> = sites.iter().map(|site| site.visit(&[])).collect();
    assert!(visits.iter_mut().all(|visit| visit.waits()));
    assert_eq!(sites[0].status(&[]), 200);
    assert_eq!((sites[0].stat("faults_overflow"), sites[0].stat("delays_injected")), (1, 1));
    // A new configuration goes on counting those under way.
    let new = sites[0].replaced(json!({ "abort": { "http_status": 500 }, "max_active_faults": 2 }));
    assert_eq!(new.status(&[]), 200);
    drop(visits);
    assert_eq!(new.status(&[]), 500);
}

#[test]
fn the_same_seed_decides_the_same() {
    let decide = |seed: u64, odd: bool| -> Vec<u16> {
        let options = json!({
            "abort": { "http_status": 503, "percentage": 30 },
            "reset": { "percentage": 10 },
            "seed": seed,
            "headers": [{ "name": "x-test", "exact": "1" }],
        });
        let site = Site::of::<Fault>(options);
        (0..400)
            .map(|_| {
                if odd {
                    // It is for others: no number is taken.
                    assert_eq!(site.status(&[("x-test", "2")]), 200);
                }
                site.status(&[("x-test", "1")])
            })
            .collect()
    };
    let first = decide(1, false);
    assert_eq!(first, decide(1, true));
    assert_ne!(first, decide(2, false));
    let count = |status| first.iter().filter(|one| **one == status).count();
    assert!((20..65).contains(&count(0)) && (80..140).contains(&count(503)), "{} {}", count(0), count(503));
}

#[test]
fn options_are_checked() {
    for (options, says) in [
        (json!({}), "one of `delay`"),
        (json!({ "delay": {} }), "delay: exactly one of"),
        (json!({ "delay": { "fixed": "1s", "header_controlled": true } }), "delay: exactly one of"),
        (json!({ "abort": { "http_status": 100 } }), "abort.http_status: 100"),
        (json!({ "abort": { "grpc_status": 17 } }), "abort.grpc_status: 17"),
        (json!({ "abort": { "grpc_status": 1, "http_status": 500 } }), "abort: only one of"),
        (json!({ "abort": { "http_status": 500, "percentage": 101 } }), "101 is no percentage"),
        (json!({ "response_rate_limit": { "bytes_per_second": "0" } }), "bytes_per_second"),
        (json!({ "reset": {}, "headers": [{ "name": "" }] }), "headers[0]"),
        (json!({ "resets": {} }), "unknown field"),
    ] {
        let error = options_error::<Fault>(options.clone()).unwrap();
        assert!(error.contains(says), "{options}: {error}");
    }
}
