//! The place of requests in traces: what hosts are told, and what is reported.

use std::time::Duration;

use ringway_api::Headers;
use ringway_proxy::{ParentTrace, Sampling};
use ringway_telemetry::{Parent, Propagation, SpanId, StreamReport, TraceIds, TracingStats, spans};

use crate::world::{Does, Seen, World, after, answer};

const ALL: u64 = 1 << 32;
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";

fn sampling(random: u64) -> Sampling {
    Sampling { random, ..Sampling::default() }
}

/// What a host was told, in one format.
fn told(seen: &Seen, format: &str) -> Option<Parent> {
    let format = Propagation::named(format).unwrap();
    let mut headers = Headers::new();
    for (name, value) in seen.head.lines().skip(1).filter_map(|line| line.split_once(':')) {
        headers.append(name, value.trim().as_bytes()).unwrap();
    }
    format.extract(&headers).unwrap()
}

fn ids(report: &StreamReport) -> TraceIds {
    report.record().trace.unwrap()
}

fn tries(report: &StreamReport) -> Vec<SpanId> {
    report.record().attempts.iter().map(|attempt| attempt.span.unwrap()).collect()
}

fn asks(world: &World, fields: &str) -> StreamReport {
    let _answered = world.ask(&format!("GET /a?b HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let [ended] = world.ended().try_into().unwrap();
    ended
}

fn stat(world: &World, read: impl Fn(&TracingStats) -> u64) -> u64 {
    world.registry.tracing.blocks().map(read).sum()
}

#[test]
fn without_tracing_what_callers_say_goes_on_untouched() {
    let world = World::new("timeout: 10s", "", |_, _| answer(200, ""));
    let report = asks(&world, &format!("traceparent: {CALLER}01\r\nb3: what ever\r\ntracestate: a=b\r\n"));
    let seen = &world.seen()[0];
    assert_eq!(seen.field("traceparent"), Some(format!("{CALLER}01")));
    assert_eq!(seen.field("b3").as_deref(), Some("what ever"));
    assert!(report.record().trace.is_none() && spans(&report).is_empty());
}

#[test]
fn a_trace_begins_here_and_goes_on_to_the_host_in_all_formats() {
    let world = World::traced(sampling(ALL), "timeout: 10s", |_, _| answer(200, ""));
    let report = asks(&world, "");
    let place = ids(&report);
    assert!(place.sampled && place.parent.is_none());
    for format in ["w3c", "b3", "b3_multi", "sw8"] {
        let parent = told(&world.seen()[0], format).unwrap();
        assert_eq!(parent, Parent { ids: Some((place.trace, tries(&report)[0])), sampled: Some(true) }, "{format}");
    }
    assert_eq!(world.seen()[0].field("x-b3-parentspanid"), Some(format!("{:016x}", place.span)));
    assert_eq!(stat(&world, |stats| stats.random_sampling.value()), 1);
    let again = asks(&world, "");
    assert_ne!(ids(&again).trace, place.trace);
}

#[test]
fn a_callers_trace_goes_on_with_its_decision_and_state() {
    let world = World::traced(sampling(0), "timeout: 10s", |_, _| answer(200, ""));
    for (flags, sampled) in [("01", true), ("00", false)] {
        let report = asks(&world, &format!("traceparent: {CALLER}{flags}\r\ntracestate: a=b\r\n"));
        let place = ids(&report);
        assert_eq!(place.trace.get(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((place.parent, place.sampled), (SpanId::new(0xb7ad_6b71_6920_3331), sampled));
        let seen = world.seen().pop().unwrap();
        assert_eq!(told(&seen, "w3c").unwrap().sampled, Some(sampled));
        assert_eq!(seen.field("tracestate").as_deref(), Some("a=b"));
    }
    assert_eq!(
        [stat(&world, |stats| stats.parent_sampled.value()), stat(&world, |stats| stats.not_sampled.value())],
        [1, 1]
    );
}

#[test]
fn what_is_malformed_begins_a_new_trace_and_is_counted() {
    let world = World::traced(sampling(0), "timeout: 10s", |_, _| answer(200, ""));
    let report = asks(&world, "traceparent: 00-xyz\r\ntracestate: a=b\r\nsw8: 1-a-b\r\n");
    assert_eq!((ids(&report).parent, ids(&report).sampled), (None, false));
    let seen = &world.seen()[0];
    assert_eq!(told(seen, "w3c").unwrap().ids.unwrap().0, ids(&report).trace);
    assert_eq!(seen.field("tracestate"), None);
    assert_eq!(stat(&world, |stats| stats.malformed.value()), 2);
}

#[test]
fn strangers_may_be_ignored_or_decided_about() {
    let own = Sampling { parent: ParentTrace::Ignore, ..sampling(0) };
    let world = World::traced(own, "timeout: 10s", |_, _| answer(200, ""));
    let report = asks(&world, &format!("traceparent: {CALLER}01\r\ntracestate: a=b\r\n"));
    assert_eq!((ids(&report).parent, ids(&report).sampled), (None, false));
    assert_ne!(ids(&report).trace.get(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    assert_eq!(world.seen()[0].field("tracestate"), None);
    let own = Sampling { parent: ParentTrace::Continue, ..sampling(0) };
    let world = World::traced(own, "timeout: 10s", |_, _| answer(200, ""));
    let report = asks(&world, &format!("traceparent: {CALLER}01\r\n"));
    assert_eq!((ids(&report).parent.is_some(), ids(&report).sampled), (true, false));
}

#[test]
fn a_rate_bounds_chance_and_a_declared_field_forces() {
    let own = Sampling { rate: Some(2.0), force: ["x-envoy-force-trace".into()].into(), ..sampling(ALL) };
    let world = World::traced(own, "timeout: 10s", |_, _| answer(200, ""));
    let sampled = |fields: &str| ids(&asks(&world, fields)).sampled;
    assert_eq!(
        [sampled(""), sampled(""), sampled(""), sampled("x-envoy-force-trace: 1\r\n")],
        [true, true, false, true]
    );
    world.sim.block_on(world.sim.sleep(Duration::from_millis(500)));
    assert_eq!([sampled(""), sampled("")], [true, false]);
    assert_eq!(stat(&world, |stats| stats.rate_limited.value()), 2);
    assert_eq!(stat(&world, |stats| stats.client_enabled.value()), 1);
}

#[test]
fn every_try_has_a_span_of_its_own() {
    let route = "timeout: 10s, retry: { on: [5xx, reset], attempts: 2, back_off: { base_interval: 1ms } }";
    let world = World::traced(sampling(ALL), route, |number, _| match number {
        0 => after(20, 503, ""),
        1 => Does::Close,
        _ => after(30, 200, ""),
    });
    let report = asks(&world, &format!("traceparent: {CALLER}01\r\n"));
    let seen: Vec<_> = world.seen().iter().map(|seen| told(seen, "w3c").unwrap().ids.unwrap().1).collect();
    assert_eq!((seen.len(), &seen), (3, &tries(&report)));
    assert!(seen[0] != seen[1] && seen[1] != seen[2]);
    let spans = spans(&report);
    assert!(spans[1..].iter().all(|span| span.parent == Some(ids(&report).span)));
    let retries = spans[0].events.iter().filter(|event| event.name == "retry");
    assert_eq!((spans.len(), retries.count()), (4, 2));
}

#[test]
fn a_copy_is_told_that_it_is_not_recorded() {
    let world = World::traced(sampling(ALL), "timeout: 10s, mirror: [{ cluster: shadow }]", |_, _| answer(200, ""));
    let report = asks(&world, &format!("traceparent: {CALLER}01\r\n"));
    world.sim.block_on(world.sim.sleep(Duration::from_millis(1)));
    let copy = world.seen().into_iter().find(|seen| seen.host.to_string().starts_with("10.0.2.")).unwrap();
    let parent = told(&copy, "w3c").unwrap();
    assert_eq!((parent.ids.unwrap().0, parent.sampled), (ids(&report).trace, Some(false)));
    assert!(!tries(&report).contains(&parent.ids.unwrap().1));
}
