use std::time::Duration;

use ringway_api::{Blame, Body, BodyError, Chunk, Frame, ResponseFlag};
use ringway_filters::{AdaptiveConcurrency, BandwidthLimit, ConcurrencyLimit, LoadShed};
use serde_json::{Value, json};

use crate::site::{End, Site, Visit, timed};
use crate::world::{frames, options_error, pieces, read};

const MS: Duration = Duration::from_millis(1);

/// A request that has passed and is under way.
fn open(site: &Site) -> Visit {
    let mut visit = site.visit(&[]);
    assert!(matches!(visit.go(), End::Passed));
    visit
}

#[test]
fn requests_are_under_way_until_their_responses_have_ended() {
    let sites = Site::among::<ConcurrencyLimit>(json!({ "max_requests": 2 }), 2);
    let (mut one, two) = (open(&sites[0]), open(&sites[1]));
    let mut third = sites[0].visit(&[]);
    assert_eq!(third.go().status(), 503);
    assert!(third.flags.contains(ResponseFlag::UpstreamOverflow));
    drop(two);
    let two = open(&sites[0]);
    // A head is not the end.
    let response = one.answer(pieces(&[b"ab", b"cd"], &[("a", "b")]));
    drop(one);
    assert_eq!((sites[1].status(&[]), sites[1].stat("rq_blocked"), sites[0].stat("rq_active")), (503, 1, 2));
    assert_eq!(read(response.body).data, b"abcd");
    let mut one = open(&sites[1]);
    // Nor is one that breaks off, or is given up, under way for ever.
    let error = Err(BodyError::new(Blame::Upstream, "reset"));
    let response = one.answer(frames(vec![error]));
    assert_eq!(sites[0].status(&[]), 503);
    assert!(read(response.body).error.is_some());
    let mut one = open(&sites[0]);
    drop(one.answer(pieces(&[b"a"], &[])));
    let mut one = open(&sites[0]);
    assert_eq!(sites[1].status(&[]), 503);
    one.answer(Body::Full(Chunk::from("all")));
    // A larger limit, with those under way still counted.
    let new = sites[0].replaced(json!({ "max_requests": 3 }));
    let more = [open(&new), open(&new)];
    assert_eq!(new.status(&[]), 503);
    drop((two, more));
    assert_eq!((new.status(&[]), new.stat("rq_active")), (200, 0));
}

#[test]
fn a_limit_can_be_tried_first() {
    let site = Site::of::<ConcurrencyLimit>(json!({ "max_requests": 1, "dry_run": true }));
    let _one = open(&site);
    assert_eq!((site.status(&[]), site.stat("rq_shadow_blocked"), site.stat("rq_blocked")), (200, 1, 0));
}

fn adaptive() -> Value {
    json!({
        "concurrency_limit_params": { "max_concurrency_limit": 100 },
        "min_rtt_calc_params": { "request_count": 5, "min_concurrency": 2 },
    })
}

/// Lets requests come and go, each taking `time`, as many at once as are let through.
fn rounds(sites: &[Site], count: usize, time: Duration) {
    for _ in 0..count {
        let mut open = Vec::new();
        'full: loop {
            for site in sites {
                let mut visit = site.visit(&[]);
                if visit.go().status() == 503 {
                    break 'full;
                }
                open.push(visit);
            }
        }
        sites[0].sim.advance(time);
        for mut visit in open {
            assert_eq!(read(visit.answer(pieces(&[b"x"], &[])).body).data, b"x");
        }
    }
}

#[test]
fn the_limit_is_found_by_all_workers_together() {
    let sites = Site::among::<AdaptiveConcurrency>(adaptive(), 2);
    let sum = |name: &str| sites.iter().map(|site| site.stat(name)).sum::<i64>();
    assert_eq!((sum("concurrency_limit"), sum("min_rtt_calculation_active")), (2, 1));
    rounds(&sites, 1, 20 * MS);
    assert_eq!((sum("rq_blocked"), sum("min_rtt_calculation_active")), (1, 1));
    rounds(&sites, 3, 20 * MS);
    assert_eq!((sum("min_rtt_msecs"), sum("min_rtt_calculation_active")), (20, 0));
    rounds(&sites, 100, 20 * MS);
    assert_eq!(sum("concurrency_limit"), 100, "nothing gets slower, so it grows");
    rounds(&sites, 3, 100 * MS);
    assert!(sum("concurrency_limit") < 60 && sum("sample_rtt_msecs").abs_diff(100) <= 3);
    // A change of something else does not forget what was learnt.
    let limit = sum("concurrency_limit");
    let mut options = adaptive();
    options["concurrency_limit_exceeded_status"] = json!(429);
    let new = sites[0].replaced(options);
    assert_eq!(new.stat("concurrency_limit") + sites[1].stat("concurrency_limit"), limit);
    options_error::<AdaptiveConcurrency>(json!({ "min_rtt_calc_params": { "min_concurrency": 0 } })).unwrap();
}

#[test]
fn gauges_go_with_the_last_worker() {
    let site = Site::of::<AdaptiveConcurrency>(adaptive());
    let other = site.replaced(json!({ "min_rtt_calc_params": { "min_concurrency": 7 } }));
    assert_eq!(site.stat("concurrency_limit"), 9, "both are there for a moment");
    drop(site);
    assert_eq!(other.stat("concurrency_limit"), 7);
}

#[test]
fn abandoned_requests_say_nothing_about_time() {
    let site = Site::of::<AdaptiveConcurrency>(adaptive());
    for _ in 0..20 {
        drop(open(&site));
    }
    assert_eq!(site.stat("min_rtt_calculation_active"), 1);
    rounds(std::slice::from_ref(&site), 3, 5 * MS);
    assert_eq!((site.stat("min_rtt_calculation_active"), site.stat("min_rtt_msecs")), (0, 5));
}

#[test]
fn content_keeps_to_the_bandwidth_whoever_sends_it() {
    let options = json!({ "responses": { "bytes_per_second": "100kB", "burst": "10kB" } });
    let sites = Site::among::<BandwidthLimit>(options.clone(), 2);
    let body: Vec<u8> = (0..110_000_u32).map(|at| (at / 7) as u8).collect();
    let answer = |site: &Site| {
        let mut visit = open(site);
        assert!(visit.request.body.is_empty());
        visit.answer(pieces(&body.chunks(40_000).collect::<Vec<_>>(), &[("a", "b")])).body
    };
    let (content, took) = timed(&sites[0].sim, answer(&sites[0]));
    assert!(content.data == body && content.trailers.is_some());
    assert!((990 * MS..1010 * MS).contains(&took), "{took:?}");
    assert!(sites[0].stat("response_enforced") > 0);
    assert_eq!((sites[0].stat("response_enabled"), sites[0].stat("request_enabled")), (1, 0));
    // Two at once, on two workers, take twice as long.
    let (sim, first) = (sites[0].sim.clone(), answer(&sites[0]));
    let began = sim.env().now();
    let (sim2, done) = (sim.clone(), sim.spawn_with_result(async move { drain(first).await }));
    let second = sim2.block_on(drain(answer(&sites[1])));
    sim2.run_until_quiet();
    let took = sim2.env().now().since(began);
    assert_eq!((second, done.borrow().unwrap_or(0)), (110_000, 110_000));
    assert!((2100 * MS..2300 * MS).contains(&took), "{took:?}");
    // What is owed is owed in the next configuration too.
    assert!(timed(&sim, answer(&sites[0].replaced(options))).1 > 1000 * MS);
}

async fn drain(mut body: Body) -> usize {
    let mut len = 0;
    while let Some(frame) = std::future::poll_fn(|cx| body.poll_frame(cx)).await {
        if let Ok(Frame::Data(chunk)) = frame {
            len += chunk.len();
        }
    }
    len
}

#[test]
fn requests_have_a_bandwidth_of_their_own() {
    let site = Site::of::<BandwidthLimit>(json!({ "requests": { "bytes_per_second": "1KiB" } }));
    let mut visit = site.visit(&[]);
    visit.request.body = Body::Full(Chunk::from(vec![1; 1024]));
    assert!(matches!(visit.go(), End::Passed));
    assert_eq!(visit.request.body.remaining(), Some(1024));
    let (content, took) = timed(&site.sim, std::mem::take(&mut visit.request.body));
    assert!(content.data.len() == 1024 && took.abs_diff(937 * MS) < 5 * MS, "{took:?}");
    for (options, says) in [
        (json!({}), "`requests`, `responses` or both"),
        (json!({ "requests": { "bytes_per_second": "0" } }), "requests.bytes_per_second"),
        (json!({ "requests": { "bytes_per_second": "1", "burst": "0" } }), "requests.burst"),
    ] {
        assert!(options_error::<BandwidthLimit>(options).unwrap().contains(says));
    }
}

#[test]
fn what_matters_least_is_shed_first() {
    let options = json!({
        "max_active_requests": 10,
        "high": { "headers": [{ "name": "x-priority", "exact": "high" }] },
        "low": { "headers": [{ "name": "x-priority", "exact": "low" }], "share": 50 },
        "normal_share": 80,
    });
    let site = Site::of::<LoadShed>(options);
    let priority = |name| [("x-priority", name)];
    let mut open = Vec::new();
    for (name, most) in [("low", 5), ("normal", 8), ("high", 10)] {
        loop {
            let mut visit = site.visit(&priority(name));
            if let End::Reply(reply) = visit.go() {
                let overloaded = reply.response().head.headers.first("x-envoy-overloaded").is_some();
                assert!(reply.status == 503 && overloaded);
                break;
            }
            open.push(visit);
        }
        assert_eq!(open.len(), most, "{name}");
    }
    assert_eq!((site.stat("low_shed"), site.stat("normal_shed"), site.stat("high_shed")), (1, 1, 1));
    open.truncate(4);
    assert_eq!((site.status(&priority("low")), site.stat("rq_active")), (200, 4));
    for (options, says) in [
        (json!({}), "`max_active_requests`, `max_loop_delay` or both"),
        (json!({ "max_active_requests": 0 }), "max_active_requests"),
        (json!({ "max_active_requests": 1, "low": { "share": 95 } }), "shares"),
    ] {
        assert!(options_error::<LoadShed>(options).unwrap().contains(says));
    }
    let site = Site::of::<LoadShed>(json!({ "max_active_requests": 1, "dry_run": true }));
    let _one = self::open(&site);
    assert_eq!((site.status(&[]), site.stat("shadow_shed"), site.stat("normal_shed")), (200, 1, 0));
}

#[test]
fn delays_are_measured_while_there_is_something_to_delay() {
    let site = Site::of::<LoadShed>(json!({ "max_loop_delay": "50ms" }));
    assert_eq!(site.sim.tasks(), 0);
    let three: Vec<_> = (0..3).map(|_| open(&site)).collect();
    site.sim.advance(Duration::from_secs(1));
    assert_eq!(site.sim.tasks(), 1, "one for all");
    assert_eq!(site.status(&[]), 200);
    drop(three);
    site.sim.advance(Duration::from_secs(1));
    assert_eq!(site.sim.tasks(), 0, "an idle worker sleeps");
    let _one = open(&site);
    site.sim.run_until_quiet();
    assert_eq!(site.sim.tasks(), 1);
}
