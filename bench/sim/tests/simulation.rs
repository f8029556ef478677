//! A small simulation, as every test run does it: what must hold holds, and the same seed gives the same bytes.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use ringway_sim::{PARTS, Part, Run};

fn whole(part: &Part) -> String {
    let checks: Vec<String> = part.checks.iter().map(ringway_sim::Check::text).collect();
    let plots: Vec<String> = part.plots.iter().map(ringway_sim::svg::Plot::svg).collect();
    [part.text(), part.json().to_string(), checks.join("\n"), plots.join("\n")].join("\n")
}

fn simulate(name: &str) {
    let spec = PARTS.iter().find(|spec| spec.name == name).unwrap();
    let run = Run { seed: 1, small: true };
    let part = (spec.run)(run).unwrap();
    let broken: Vec<String> = part.checks.iter().filter(|check| !check.holds()).map(ringway_sim::Check::text).collect();
    assert!(broken.is_empty(), "{}\n{}", part.text(), broken.join("\n"));
    assert!(!part.tables.is_empty() && !part.checks.is_empty());
    let once = whole(&part);
    assert!(!once.contains("NaN"), "{once}");
    // Two of those with whole workers take long, and do nothing that the third does not.
    if !["latency", "brownout"].contains(&name) {
        assert_eq!(once, whole(&(spec.run)(run).unwrap()), "the same seed gives the same bytes");
    }
}

/// A test of each part, so that they run beside each other; and a test that none is left out.
macro_rules! parts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            simulate(stringify!($name));
        })*

        #[test]
        fn every_part_has_its_test() {
            let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

parts! { distribution stability fairness limits router latency failure brownout }

#[test]
fn another_seed_gives_other_figures() {
    let of = |seed| whole(&ringway_sim::distribution::run(Run { seed, small: true }).unwrap());
    assert_ne!(of(1), of(2));
}
