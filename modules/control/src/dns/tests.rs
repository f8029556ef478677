//! The resolver over a scripted lookup and paused time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::time::{Instant, sleep, timeout};

use super::*;

#[derive(Clone, Default)]
struct Script(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    /// None: no answer ever comes.
    answers: HashMap<String, Option<Result<Answer, LookupError>>>,
    calls: Vec<(String, Instant)>,
    in_flight: usize,
    most_in_flight: usize,
}

impl Script {
    fn answer(&self, host: &str, addresses: &[&str], ttl: u64) {
        self.say(host, Ok(answer(addresses, ttl)));
    }

    fn say(&self, host: &str, outcome: Result<Answer, LookupError>) {
        self.0.lock().unwrap().answers.insert(host.to_owned(), Some(outcome));
    }

    /// The seconds between the calls for `host`.
    fn gaps(&self, host: &str) -> Vec<f64> {
        let lines = self.0.lock().unwrap();
        let times: Vec<_> = lines.calls.iter().filter(|(of, _)| of == host).map(|(_, at)| *at).collect();
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().calls.len()
    }
}

impl Lookup for Script {
    async fn lookup(&self, host: &str, _: Families) -> Result<Answer, LookupError> {
        let outcome = {
            let mut lines = self.0.lock().unwrap();
            lines.calls.push((host.to_owned(), Instant::now()));
            lines.in_flight += 1;
            lines.most_in_flight = lines.most_in_flight.max(lines.in_flight);
            lines.answers.get(host).cloned().flatten()
        };
        let Some(outcome) = outcome else { return std::future::pending().await };
        tokio::task::yield_now().await;
        self.0.lock().unwrap().in_flight -= 1;
        outcome
    }
}

fn answer(addresses: &[&str], ttl: u64) -> Answer {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Answer { addresses, ttl: Duration::from_secs(ttl), failed: None }
}

fn start(script: &Script) -> Resolver<Script> {
    Resolver::new(script.clone(), ResolverOptions::default())
}

fn changed(name: &Name, addresses: &[&str]) -> Event {
    let addresses = addresses.iter().map(|address| address.parse::<SocketAddr>().unwrap()).collect();
    Event::Changed { name: name.clone(), addresses }
}

fn failed(host: &str, error: LookupError, kept: usize) -> Event {
    Event::Failed { host: host.into(), error, kept }
}

/// Nothing is told within `seconds` from now.
async fn quiet(resolver: &Resolver<Script>, seconds: u64) {
    let event = timeout(Duration::from_secs(seconds), resolver.next()).await;
    assert!(event.is_err(), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn addresses_are_told_sorted_and_once_for_each_port() {
    let script = Script::default();
    script.answer("app", &["10.0.0.2", "::1", "10.0.0.1", "::ffff:10.0.0.2"], 5);
    let resolver = start(&script);
    let (http, admin) = (Name::new("APP", 80), Name::new("app", 9000));
    resolver.set([http.clone(), admin.clone(), http.clone()]);
    assert_eq!(resolver.next().await, changed(&http, &["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"]));
    assert_eq!(resolver.next().await, changed(&admin, &["10.0.0.1:9000", "10.0.0.2:9000", "[::1]:9000"]));
    quiet(&resolver, 60).await;
    assert!(script.gaps("app").len() > 10, "one lookup for both ports, again at each TTL");
    assert_eq!(resolver.addresses(&http).unwrap().len(), 3);
    assert_eq!(resolver.addresses(&Name::new("app", 81)), None);
}

#[tokio::test(start_paused = true)]
async fn a_host_is_looked_up_again_at_its_ttl_and_a_change_is_told() {
    let script = Script::default();
    script.answer("app", &["10.0.0.1"], 10);
    let resolver = start(&script);
    let name = Name::new("app", 80);
    resolver.set([name.clone()]);
    assert_eq!(resolver.next().await, changed(&name, &["10.0.0.1:80"]));
    quiet(&resolver, 25).await;
    script.answer("app", &["10.0.0.3", "10.0.0.1"], 20);
    assert_eq!(resolver.next().await, changed(&name, &["10.0.0.1:80", "10.0.0.3:80"]));
    script.answer("app", &["10.0.0.1", "10.0.0.3"], 20);
    quiet(&resolver, 45).await;
    let gaps: Vec<_> = script.gaps("app").into_iter().map(f64::round).collect();
    assert_eq!(gaps, [10.0, 10.0, 10.0, 20.0, 20.0]);
}

#[tokio::test(start_paused = true)]
async fn the_ttl_is_kept_between_floor_and_ceiling() {
    let script = Script::default();
    script.answer("short", &["10.0.0.1"], 0);
    script.answer("long", &["10.0.0.1"], 86_400);
    let resolver = start(&script);
    resolver.set([Name::new("short", 80), Name::new("long", 80)]);
    sleep(Duration::from_secs(1000)).await;
    let (short, long) = (script.gaps("short"), script.gaps("long"));
    assert!((990..=1000).contains(&short.len()), "{}", short.len());
    assert!(short.iter().all(|gap| (1.0..1.01).contains(gap)), "{short:?}");
    assert_eq!(long.iter().map(|gap| gap.round()).collect::<Vec<_>>(), [300.0; 3]);
    drop(resolver);
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_the_last_good_set_and_is_told_once_and_retried_less_and_less() {
    let script = Script::default();
    script.answer("app", &["10.0.0.1"], 1);
    let resolver = start(&script);
    let name = Name::new("app", 80);
    resolver.set([name.clone()]);
    assert_eq!(resolver.next().await, changed(&name, &["10.0.0.1:80"]));
    let error = LookupError::Failed("SERVFAIL".to_owned());
    script.say("app", Err(error.clone()));
    assert_eq!(resolver.next().await, failed("app", error.clone(), 1));
    quiet(&resolver, 300).await;
    let gaps = script.gaps("app");
    for (gap, most) in gaps[1..].iter().zip([2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]) {
        assert!((most / 2.0 - 0.01..most + 0.01).contains(gap), "{gap} is not within {}..{most}", most / 2.0);
    }
    let [status] = &resolver.status()[..] else { panic!("one name") };
    assert_eq!(status.addresses.as_deref(), Some(&["10.0.0.1:80".parse().unwrap()][..]));
    assert_eq!(status.error, Some(error.clone()));
    assert_eq!(status.failures as usize, gaps.len());

    script.answer("app", &["10.0.0.1"], 1);
    quiet(&resolver, 60).await;
    assert_eq!(resolver.status()[0].error, None);
    assert_eq!(resolver.status()[0].failures, 0);
    script.say("app", Err(error.clone()));
    assert_eq!(resolver.next().await, failed("app", error, 1), "a new failure is told anew");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_vanishes_keeps_its_addresses_and_is_told() {
    let script = Script::default();
    script.answer("app", &["10.0.0.1", "10.0.0.2"], 1);
    let resolver = start(&script);
    let name = Name::new("app", 80);
    resolver.set([name.clone()]);
    resolver.next().await;
    script.say("app", Err(LookupError::Empty));
    assert_eq!(resolver.next().await, failed("app", LookupError::Empty, 2));
    script.say("app", Ok(answer(&[], 1)));
    quiet(&resolver, 60).await;
    assert_eq!(resolver.addresses(&name).unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_family_whose_question_failed_keeps_its_addresses() {
    let script = Script::default();
    script.answer("app", &["10.0.0.1", "::1"], 1);
    let resolver = start(&script);
    let name = Name::new("app", 80);
    resolver.set([name.clone()]);
    resolver.next().await;
    script.say("app", Ok(Answer { failed: Some(Family::V6), ..answer(&["10.0.0.2"], 1) }));
    assert_eq!(resolver.next().await, changed(&name, &["10.0.0.2:80", "[::1]:80"]));
    script.answer("app", &["10.0.0.2"], 1);
    assert_eq!(resolver.next().await, changed(&name, &["10.0.0.2:80"]));
}

#[tokio::test(start_paused = true)]
async fn removed_names_stop_and_come_back_as_new() {
    let script = Script::default();
    script.answer("app", &["10.0.0.1"], 1);
    script.answer("db", &["10.0.0.2"], 3600);
    let resolver = start(&script);
    let (app, db) = (Name::new("app", 80), Name::new("db", 5432));
    resolver.set([app.clone(), db.clone()]);
    resolver.warm_up().await;
    resolver.set([db.clone()]);
    assert_eq!(resolver.next().await, changed(&db, &["10.0.0.2:5432"]), "nothing is told of a removed name");
    let before = script.calls();
    quiet(&resolver, 60).await;
    assert_eq!(script.calls(), before);
    assert_eq!(resolver.addresses(&app), None);
    resolver.set([app.clone(), db.clone()]);
    assert_eq!(resolver.next().await, changed(&app, &["10.0.0.1:80"]));
}

#[tokio::test(start_paused = true)]
async fn a_further_port_of_a_known_host_needs_no_lookup() {
    let script = Script::default();
    script.answer("app", &["10.0.0.1"], 3600);
    let resolver = start(&script);
    let (http, admin) = (Name::new("app", 80), Name::new("app", 9000));
    resolver.set([http.clone()]);
    assert_eq!(resolver.next().await, changed(&http, &["10.0.0.1:80"]));
    resolver.set([http.clone(), admin.clone()]);
    assert_eq!(resolver.next().await, changed(&admin, &["10.0.0.1:9000"]));
    assert_eq!(script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_resolver_asks_no_more() {
    let script = Script::default();
    script.answer("app", &["10.0.0.1"], 1);
    let resolver = start(&script);
    resolver.set([Name::new("app", 80)]);
    resolver.warm_up().await;
    drop(resolver);
    let before = script.calls();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(script.calls(), before);
    assert_eq!(Arc::strong_count(&script.0), 1, "the task is gone");
}

#[tokio::test(start_paused = true)]
async fn the_warm_up_ends_as_soon_as_all_is_known() {
    let script = Script::default();
    script.answer("app", &["10.0.0.1"], 1);
    script.say("none", Err(LookupError::Empty));
    let resolver = start(&script);
    let none = Name::new("none", 80);
    resolver.set([Name::new("app", 80), none.clone()]);
    let began = Instant::now();
    assert_eq!(resolver.warm_up().await, [Unresolved { name: none, error: Some(LookupError::Empty) }]);
    assert!(began.elapsed() < Duration::from_millis(10));
    assert_eq!(start(&script).warm_up().await, [], "no names, no wait");
}

#[tokio::test(start_paused = true)]
async fn the_warm_up_is_bounded_and_a_name_delays_it_once_only() {
    let script = Script::default();
    let resolver = start(&script);
    let mute = Name::new("mute", 80);
    resolver.set([mute.clone()]);
    let began = Instant::now();
    assert_eq!(resolver.warm_up().await, [Unresolved { name: mute.clone(), error: None }]);
    assert_eq!(began.elapsed().as_secs(), 5);
    script.answer("app", &["10.0.0.1"], 1);
    resolver.set([mute, Name::new("app", 80)]);
    assert_eq!(resolver.warm_up().await.len(), 1);
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_warm_up_waits_for_a_retry() {
    let script = Script::default();
    script.say("app", Err(LookupError::Failed("connection refused".to_owned())));
    let resolver = start(&script);
    let name = Name::new("app", 80);
    resolver.set([name.clone()]);
    assert!(matches!(resolver.next().await, Event::Failed { kept: 0, .. }));
    script.answer("app", &["10.0.0.1"], 1);
    assert_eq!(resolver.warm_up().await, []);
    assert!(resolver.addresses(&name).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_lookup_without_end_fails_and_lets_others_pass() {
    let script = Script::default();
    script.answer("app", &["10.0.0.1"], 3600);
    let options = ResolverOptions { concurrency: 1, ..ResolverOptions::default() };
    let resolver = Resolver::new(script.clone(), options);
    let app = Name::new("app", 80);
    resolver.set([Name::new("a-mute-host", 80)]);
    tokio::task::yield_now().await;
    resolver.set([Name::new("a-mute-host", 80), app.clone()]);
    let error = LookupError::Failed("no answer within 15s".to_owned());
    assert_eq!(resolver.next().await, failed("a-mute-host", error, 0));
    assert_eq!(resolver.next().await, changed(&app, &["10.0.0.1:80"]));
}

#[tokio::test(start_paused = true)]
async fn lookups_at_the_same_time_are_limited() {
    let script = Script::default();
    let names: Vec<_> = (0..100).map(|number| Name::new(&format!("host{number}"), 80)).collect();
    for name in &names {
        script.answer(name.host(), &["10.0.0.1"], 3600);
    }
    let resolver = Resolver::new(script.clone(), ResolverOptions { concurrency: 7, ..ResolverOptions::default() });
    resolver.set(names);
    assert_eq!(resolver.warm_up().await, []);
    assert_eq!(script.calls(), 100);
    assert_eq!(script.0.lock().unwrap().most_in_flight, 7);
}

#[tokio::test(start_paused = true)]
async fn changes_between_two_calls_are_told_as_one() {
    let script = Script::default();
    script.answer("app", &["10.0.0.1"], 1);
    let resolver = start(&script);
    let name = Name::new("app", 80);
    resolver.set([name.clone()]);
    resolver.next().await;
    script.answer("app", &["10.0.0.2"], 1);
    sleep(Duration::from_secs(5)).await;
    script.answer("app", &["10.0.0.1"], 1);
    sleep(Duration::from_secs(5)).await;
    quiet(&resolver, 5).await;
}

#[tokio::test(start_paused = true)]
async fn the_families_choose_among_the_addresses() {
    let both = ["10.0.0.1", "::1"];
    let (v4, v6) = ("10.0.0.1:80", "[::1]:80");
    let cases: [(Families, &[&str], &[&str]); 8] = [
        (Families::All, &both, &[v4, v6]),
        (Families::V4, &both, &[v4]),
        (Families::V6, &both, &[v6]),
        (Families::PreferV4, &both, &[v4]),
        (Families::PreferV4, &["::1"], &[v6]),
        (Families::PreferV6, &both, &[v6]),
        (Families::PreferV6, &["10.0.0.1"], &[v4]),
        (Families::V6, &["10.0.0.1"], &[]),
    ];
    for (families, found, expected) in cases {
        let script = Script::default();
        script.answer("app", found, 1);
        let resolver = Resolver::new(script, ResolverOptions { families, ..ResolverOptions::default() });
        let name = Name::new("app", 80);
        resolver.set([name.clone()]);
        let event = resolver.next().await;
        match expected {
            [] => assert_eq!(event, failed("app", LookupError::Empty, 0)),
            _ => assert_eq!(event, changed(&name, expected), "{families:?}"),
        }
    }
}
