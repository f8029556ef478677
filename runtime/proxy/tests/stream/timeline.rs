//! What sinks are told of when things happened.

use std::time::Duration;

use crate::world::{Does, World, after};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_request_without_retries_has_one_try() {
    let world = World::new("timeout: 10s", "", |_, _| after(20, 200, ""));
    for reused in [false, true] {
        let _answered = world.get();
        let [ended] = world.ended().try_into().unwrap();
        let record = ended.record();
        let [attempt] = record.attempts else { panic!("{:?}", record.attempts) };
        assert_eq!((attempt.began, attempt.connected), (millis(0), Some(millis(0))));
        // One that the pool had not used yet was opened for it.
        assert_eq!((attempt.socket, attempt.secured), (Some(millis(0)), None));
        assert_eq!((attempt.answered, attempt.ended), (Some((millis(20), 200)), Some(millis(20))));
        assert_eq!(
            (attempt.failure, attempt.reused, Some(&attempt.host)),
            (None, false, record.upstream_host),
            "{reused}"
        );
        assert_eq!((record.timings.request_end, record.timings.upstream_tx_end), (Some(millis(0)), Some(millis(0))));
        assert_eq!(
            (record.timings.upstream_rx_begin, record.timings.response_begin),
            (Some(millis(20)), Some(millis(20)))
        );
    }
}

#[test]
fn every_try_is_told_of_with_its_host_and_end() {
    let route = "timeout: 10s, retry: { on: [5xx, reset], attempts: 2, back_off: { base_interval: 1ms } }";
    let world = World::new(route, "", |number, _| match number {
        0 => after(20, 503, ""),
        1 => Does::Close,
        _ => after(30, 200, ""),
    });
    assert!(world.get().starts_with("HTTP/1.1 200 "));
    let [ended] = world.ended().try_into().unwrap();
    let record = ended.record();
    let [first, second, third] = record.attempts else { panic!("{:?}", record.attempts) };
    assert_eq!((first.answered, first.ended, first.failure), (Some((millis(20), 503)), Some(millis(20)), None));
    assert_ne!(first.host, second.host);
    assert!(second.began >= millis(20) && second.answered.is_none() && second.ended.is_some());
    assert!(second.failure.is_some(), "{second:?}");
    assert_eq!(third.answered.map(|(at, status)| (at - third.began, status)), Some((millis(30), 200)));
    assert_eq!(record.timings.connect_begin, Some(third.began));
}

#[test]
fn tries_that_are_timed_out_say_so() {
    let route =
        "timeout: 100ms, retry: { on: [5xx], attempts: 1, per_try_timeout: 30ms, back_off: { base_interval: 1ms } }";
    let world = World::new(route, "", |_, _| Does::Hang);
    assert!(world.get().starts_with("HTTP/1.1 504 "));
    let [ended] = world.ended().try_into().unwrap();
    let record = ended.record();
    let [first, second] = record.attempts else { panic!("{:?}", record.attempts) };
    for attempt in [first, second] {
        assert_eq!(attempt.failure, Some("upstream_per_try_timeout"));
        assert_eq!(attempt.ended, Some(attempt.began + millis(30)));
    }
}
