//! Values at random.

use std::sync::Arc;

use ringway_hessian2::{Class, Reader, Value};
use ringway_testkit::Rng;

use crate::{read, written};

/// A value of any kind.
fn any(rng: &mut Rng, depth: u32) -> Value {
    let len = |rng: &mut Rng| rng.below(if depth == 0 { 12 } else { 4 });
    let name = |rng: &mut Rng| -> Arc<str> { format!("type{}", rng.below(20)).into() };
    let bits = |rng: &mut Rng| rng.bits() as i64 >> rng.below(64);
    match rng.below(if depth < 5 { 12 } else { 8 }) {
        0 => Value::Null,
        1 => Value::Bool(rng.one_in(2)),
        2 => Value::Int(bits(rng) as i32),
        3 => Value::Long(bits(rng)),
        4 => match rng.below(3) {
            0 => Value::Double(bits(rng) as f64 / 1000.0),
            1 => Value::Double(bits(rng) as f64),
            _ => Value::Double(Some(f64::from_bits(rng.bits())).filter(|value| !value.is_nan()).unwrap_or(-0.0)),
        },
        5 => Value::Date(bits(rng) / 60_000 * if rng.one_in(2) { 1 } else { 60_000 }),
        6 => Value::Binary((0..rng.below(3000)).map(|at| at as u8).collect()),
        7 => {
            let chars = ['a', '\0', '\u{7f}', '\u{e9}', '\u{20ac}', '\u{1f600}', '\u{ffff}', '\u{10ffff}'];
            let most = if rng.one_in(50) { 70_000 } else { 50 };
            Value::String((0..rng.below(most)).map(|_| chars[rng.below(8)]).collect())
        }
        8 | 9 => {
            let type_name = rng.one_in(2).then(|| name(rng));
            Value::List { type_name, items: (0..len(rng)).map(|_| any(rng, depth + 1)).collect() }
        }
        10 => {
            let type_name = rng.one_in(2).then(|| name(rng));
            let entries = (0..len(rng)).map(|_| (any(rng, depth + 1), any(rng, depth + 1))).collect();
            Value::Map { type_name, entries }
        }
        _ => {
            let number = rng.below(30);
            let names: Vec<String> = (0..number % 5).map(|at| format!("field{at}")).collect();
            let fields = names.iter().map(|_| any(rng, depth + 1)).collect();
            Value::Object { class: Arc::new(Class { name: format!("class{number}"), fields: names }), fields }
        }
    }
}

#[test]
fn what_is_written_is_read() {
    for seed in 0..600 {
        let mut rng = Rng::new(seed);
        let value = any(&mut rng, 0);
        let bytes = written(&value);
        assert_eq!(read(&bytes), Ok(value), "seed {seed}");
    }
}

#[test]
fn anything_is_read_or_refused() {
    for seed in 0..3000 {
        let mut rng = Rng::new(seed);
        let mut bytes = written(&any(&mut rng, 2));
        for _ in 0..rng.below(6) + 1 {
            let at = rng.below(bytes.len());
            bytes[at] = rng.bits() as u8;
        }
        let mut reader = Reader::new(&bytes, 0);
        let mut skipping = Reader::skipping(&bytes, 0);
        while let Ok(value) = reader.value() {
            assert_eq!(skipping.skip(), Ok(()), "seed {seed}");
            assert_eq!(skipping.position(), reader.position(), "seed {seed}");
            assert!(!written(&value).is_empty());
        }
    }
}
