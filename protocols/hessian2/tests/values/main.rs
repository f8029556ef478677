//! Values read, skipped and written.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail")]

mod bounds;
mod seeded;

use std::sync::Arc;

use ringway_hessian2::{Class, Error, MAX_COPIED, MAX_DEPTH, Reader, Text, Value, Writer};

fn written(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out).value(value);
    out
}

/// Reads one value, and makes sure that skipping it ends at the same place, or at the same error.
fn read(bytes: &[u8]) -> Result<Value, Error> {
    let mut reader = Reader::new(bytes, 0);
    let value = reader.value();
    for mut other in [Reader::new(bytes, 0), Reader::skipping(bytes, 0)] {
        let skipped = other.skip();
        match &value {
            Ok(_) => {
                assert_eq!(reader.position(), bytes.len(), "{bytes:02x?}");
                assert_eq!((skipped, other.position()), (Ok(()), bytes.len()), "{bytes:02x?}");
            }
            // Who skips does not look into text, and repeats nothing.
            Err(Error::MalformedText | Error::TooLarge | Error::CyclicReference | Error::TooDeep) => {}
            Err(error) => assert_eq!(skipped, Err(*error), "{bytes:02x?}"),
        }
    }
    value
}

fn text(text: &str) -> Value {
    text.into()
}

fn class(name: &str, fields: &[&str]) -> Arc<Class> {
    Arc::new(Class { name: name.into(), fields: fields.iter().map(|field| (*field).into()).collect() })
}

/// The examples of the specification, and the borders of every form: each is what is read and what is written.
fn both_ways() -> Vec<(Value, Vec<u8>)> {
    let int = |value, bytes: &[u8]| (Value::Int(value), bytes.to_vec());
    let long = |value, bytes: &[u8]| (Value::Long(value), bytes.to_vec());
    let double = |value, bytes: &[u8]| (Value::Double(value), bytes.to_vec());
    let string = |value: &str, bytes: &[u8]| (text(value), bytes.to_vec());
    let binary = |len: usize, head: &[u8]| (Value::Binary(vec![7; len]), [head, &vec![7; len]].concat());
    let typed = |name: &str, items| Value::List { type_name: Some(name.into()), items };
    let car = |color: &str, model: &str| Value::Object {
        class: class("example.Car", &["color", "model"]),
        fields: vec![text(color), text(model)],
    };
    let garage = b"\x72\x05[carsC\x0bexample.Car\x92\x05color\x05model\x60\x03red\x08corvette\x60\x05green\x05civic";
    let many = Value::list(
        (0..18).map(|at| Value::Object { class: class("c", &[&at.to_string()]), fields: vec![Value::Null] }).collect(),
    );
    let mut many_bytes = b"X\xa2".to_vec();
    for at in 0..18u8 {
        let name = at.to_string();
        many_bytes.extend(b"C\x01c\x91");
        many_bytes.push(name.len() as u8);
        many_bytes.extend(name.bytes());
        if at < 16 {
            many_bytes.push(0x60 + at)
        } else {
            many_bytes.extend([b'O', 0x90 + at])
        }
        many_bytes.push(b'N');
    }
    vec![
        (Value::Null, b"N".to_vec()),
        (Value::Bool(true), b"T".to_vec()),
        (Value::Bool(false), b"F".to_vec()),
        int(0, &[0x90]),
        int(-16, &[0x80]),
        int(47, &[0xbf]),
        int(48, &[0xc8, 0x30]),
        int(-17, &[0xc7, 0xef]),
        int(-2048, &[0xc0, 0x00]),
        int(-256, &[0xc7, 0x00]),
        int(2047, &[0xcf, 0xff]),
        int(2048, &[0xd4, 0x08, 0x00]),
        int(-2049, &[0xd3, 0xf7, 0xff]),
        int(-262_144, &[0xd0, 0x00, 0x00]),
        int(262_143, &[0xd7, 0xff, 0xff]),
        int(262_144, &[b'I', 0x00, 0x04, 0x00, 0x00]),
        int(300, &[0xc9, 0x2c]),
        int(i32::MIN, &[b'I', 0x80, 0, 0, 0]),
        int(i32::MAX, &[b'I', 0x7f, 0xff, 0xff, 0xff]),
        long(0, &[0xe0]),
        long(-8, &[0xd8]),
        long(15, &[0xef]),
        long(16, &[0xf8, 0x10]),
        long(-9, &[0xf7, 0xf7]),
        long(-2048, &[0xf0, 0x00]),
        long(-256, &[0xf7, 0x00]),
        long(2047, &[0xff, 0xff]),
        long(2048, &[0x3c, 0x08, 0x00]),
        long(-262_144, &[0x38, 0x00, 0x00]),
        long(262_143, &[0x3f, 0xff, 0xff]),
        long(262_144, &[b'Y', 0x00, 0x04, 0x00, 0x00]),
        long(i32::MIN.into(), &[b'Y', 0x80, 0, 0, 0]),
        long(i64::from(i32::MAX) + 1, &[b'L', 0, 0, 0, 0, 0x80, 0, 0, 0]),
        long(i64::MIN, &[b'L', 0x80, 0, 0, 0, 0, 0, 0, 0]),
        double(0.0, &[0x5b]),
        double(1.0, &[0x5c]),
        double(-128.0, &[0x5d, 0x80]),
        double(127.0, &[0x5d, 0x7f]),
        double(-32768.0, &[0x5e, 0x80, 0x00]),
        double(32767.0, &[0x5e, 0x7f, 0xff]),
        double(12.25, &[0x5f, 0x00, 0x00, 0x2f, 0xda]),
        double(32768.0, &[0x5f, 0x01, 0xf4, 0x00, 0x00]),
        double(f64::INFINITY, &[b'D', 0x7f, 0xf0, 0, 0, 0, 0, 0, 0]),
        double(1e10, &[b'D', 0x42, 0x02, 0xa0, 0x5f, 0x20, 0, 0, 0]),
        (Value::Date(894_621_091_000), [0x4a, 0, 0, 0, 0xd0, 0x4b, 0x92, 0x84, 0xb8].into()),
        (Value::Date(894_621_060_000), [0x4b, 0x00, 0xe3, 0x83, 0x8f].into()),
        (Value::Date(-60_000), [0x4b, 0xff, 0xff, 0xff, 0xff].into()),
        string("", &[0]),
        string("hello", b"\x05hello"),
        string("\u{c3}", &[0x01, 0xc3, 0x83]),
        string("\u{0}\u{20ac}", &[0x02, 0x00, 0xe2, 0x82, 0xac]),
        string("\u{1f600}!", &[0x03, 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80, b'!']),
        string(&"a".repeat(31), &[&[31][..], &[b'a'; 31]].concat()),
        string(&"a".repeat(32), &[&[0x30, 32][..], &[b'a'; 32]].concat()),
        string(&"a".repeat(1023), &[&[0x33, 0xff][..], &[b'a'; 1023]].concat()),
        string(&"a".repeat(1024), &[&[b'S', 4, 0][..], &[b'a'; 1024]].concat()),
        string(&"a".repeat(0x8000), &[&[b'S', 0x80, 0][..], &[b'a'; 0x8000]].concat()),
        string(&"a".repeat(0x8001), &[&[b'R', 0x80, 0][..], &[b'a'; 0x8000], &[1, b'a']].concat()),
        binary(0, &[0x20]),
        binary(15, &[0x2f]),
        binary(16, &[0x34, 16]),
        binary(1023, &[0x37, 0xff]),
        binary(1024, &[b'B', 4, 0]),
        (Value::Binary(vec![7; 0x8001]), [&[b'A', 0x80, 0][..], &[7; 0x8000], &[0x21, 7]].concat()),
        (Value::list(vec![]), vec![0x78]),
        (Value::list(vec![Value::Int(0), Value::Int(1)]), vec![0x7a, 0x90, 0x91]),
        (Value::list(vec![Value::Null; 8]), b"X\x98NNNNNNNN".to_vec()),
        (typed("[int", vec![Value::Int(0), Value::Int(1)]), b"\x72\x04[int\x90\x91".to_vec()),
        (typed("[int", vec![Value::Int(0); 8]), b"V\x04[int\x98\x90\x90\x90\x90\x90\x90\x90\x90".to_vec()),
        (
            Value::list(vec![typed("[int", vec![]), typed("[long", vec![]), typed("[int", vec![])]),
            b"\x7b\x70\x04[int\x70\x05[long\x70\x90".to_vec(),
        ),
        (Value::map(vec![]), b"HZ".to_vec()),
        (
            Value::map(vec![(Value::Int(1), text("fee")), (Value::Int(16), text("fie"))]),
            b"H\x91\x03fee\xa0\x03fieZ".to_vec(),
        ),
        (
            Value::Map { type_name: Some("example.Car".into()), entries: vec![(text("color"), text("aqua"))] },
            b"M\x0bexample.Car\x05color\x04aquaZ".to_vec(),
        ),
        (typed("[cars", vec![car("red", "corvette"), car("green", "civic")]), garage.to_vec()),
        (many, many_bytes),
    ]
}

#[test]
fn examples_of_the_specification() {
    for (value, bytes) in both_ways() {
        assert_eq!(written(&value), bytes, "{value:?}");
        assert_eq!(read(&bytes), Ok(value));
    }
}

#[test]
fn long_forms_of_what_could_be_shorter_are_read() {
    for (bytes, value) in [
        (&b"I\x00\x00\x00\x01"[..], Value::Int(1)),
        (b"\xd4\x00\x01", Value::Int(1)),
        (b"L\x00\x00\x00\x00\x00\x00\x00\x01", Value::Long(1)),
        (b"D\x00\x00\x00\x00\x00\x00\x00\x00", Value::Double(0.0)),
        (b"S\x00\x02hi", text("hi")),
        (b"R\x00\x01hR\x00\x01i\x00", text("hi")),
        (b"R\x00\x01h\x30\x01i", text("hi")),
        // A pair of surrogates that was cut in two, and one that was written as four bytes.
        (b"R\x00\x01\xed\xa0\xbd\x01\xed\xb8\x80", text("\u{1f600}")),
        (b"\x02\xf0\x9f\x98\x80", text("\u{1f600}")),
        (b"A\x00\x01a\x21b", Value::Binary(b"ab".to_vec())),
        (b"W\x90\x91Z", Value::list(vec![Value::Int(0), Value::Int(1)])),
        (b"U\x04[int\x90Z", Value::List { type_name: Some("[int".into()), items: vec![Value::Int(0)] }),
        // A class that nothing is made of.
        (b"C\x01a\x91\x01bN", Value::Null),
    ] {
        assert_eq!(read(bytes), Ok(value), "{bytes:02x?}");
    }
    assert_eq!(written(&Value::Double(-0.0)), b"D\x80\x00\x00\x00\x00\x00\x00\x00");
    assert!(matches!(read(&written(&Value::Double(f64::NAN))), Ok(Value::Double(nan)) if nan.is_nan()));
}

#[test]
fn references_are_resolved() {
    let one = Value::list(vec![Value::Int(1)]);
    assert_eq!(read(b"\x7a\x79\x91Q\x91"), Ok(Value::list(vec![one.clone(), one.clone()])));
    // To a value that has a class and a type of its own, past others.
    let bytes = b"\x7cH\x01kC\x01a\x91\x01b\x60\x70\x01tZ\x60\x90Q\x91Q\x92";
    let object = |inner| Value::Object { class: class("a", &["b"]), fields: vec![inner] };
    let list = Value::List { type_name: Some("t".into()), items: vec![] };
    let map = Value::map(vec![(text("k"), object(list.clone()))]);
    let all = vec![map.clone(), object(Value::Int(0)), map, object(list)];
    assert_eq!(read(bytes), Ok(Value::list(all)));
    // What was skipped can be referred to, unless the reader was told to forget.
    let bytes = b"\x79\x91Q\x90";
    let mut reader = Reader::new(bytes, 0);
    reader.skip().unwrap();
    assert_eq!(reader.value(), Ok(one));
    let mut reader = Reader::skipping(bytes, 0);
    reader.skip().unwrap();
    assert_eq!(reader.value(), Err(Error::UnknownReference));
}

#[test]
fn absurd_references_are_refused() {
    for (bytes, error) in [
        (&b"Q\x90"[..], Error::UnknownReference),
        (b"\x79Q\x91", Error::UnknownReference),
        (b"\x79Q\x90", Error::CyclicReference),
        (b"H\x01aQ\x90Z", Error::CyclicReference),
        (b"Q\x8f", Error::NegativeLength),
        (b"QI\x7f\xff\xff\xff", Error::UnknownReference),
        (b"Q\x01a", Error::NotAnInt),
        (b"\x60", Error::UnknownClass),
        (b"O\x95", Error::UnknownClass),
        (b"\x70\x90", Error::UnknownType),
        (b"M\x95Z", Error::UnknownType),
    ] {
        assert_eq!(read(bytes), Err(error), "{bytes:02x?}");
    }
    // Each list holds the one before it twice: 2^30 of them if nobody counted.
    let mut bytes = b"X\xae\x7a\x90\x90".to_vec();
    for at in 1..30u8 {
        bytes.extend([0x7a, b'Q', 0x90 + at, b'Q', 0x90 + at]);
    }
    assert_eq!(read(&bytes), Err(Error::TooLarge));
    // A text of some length, again and again.
    let mut bytes = b"X\xcf\xff\x79".to_vec();
    bytes.extend(written(&text(&"x".repeat(1000))));
    bytes.extend(b"Q\x91".repeat(2046));
    assert_eq!(read(&bytes), Err(Error::TooLarge));
    let few = MAX_COPIED / 1003;
    let mut bytes = [b"X\xd4", &(few as u16 + 1).to_be_bytes()[..], b"\x79"].concat();
    bytes.extend(written(&text(&"x".repeat(1000))));
    bytes.extend(b"Q\x91".repeat(few));
    assert!(matches!(read(&bytes), Ok(Value::List { items, .. }) if items.len() == few + 1));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: u32, open: &[u8], inner: &[u8], close: &[u8]| {
        [open.repeat(depth as usize), inner.to_vec(), close.repeat(depth as usize)].concat()
    };
    for (open, close) in [(&b"\x79"[..], &b""[..]), (b"W", b"Z"), (b"H\x90", b"Z"), (b"C\x00\x91\x00\x60", b"")] {
        assert!(read(&nested(MAX_DEPTH, open, b"N", close)).is_ok());
        assert_eq!(read(&nested(MAX_DEPTH + 1, open, b"N", close)), Err(Error::TooDeep));
        let deep = nested(1 << 20, open, b"N", close);
        assert_eq!(read(&deep), Err(Error::TooDeep));
        assert_eq!(Reader::skipping(&deep, 0).skip(), Err(Error::TooDeep));
    }
    // Definitions are no values within values.
    assert_eq!(read(&nested(1 << 17, b"C\x00\x90", b"N", b"")), Ok(Value::Null));
    // References do not make it deeper either: list n holds list n - 1, and they lie side by side.
    let mut bytes = b"X\xc8\x50\x79\x90".to_vec();
    for at in 1..80u8 {
        bytes.push(0x79);
        bytes.push(b'Q');
        bytes.extend(if at < 0x30 { vec![0x90 + at] } else { vec![0xc8, at] });
    }
    assert_eq!(read(&bytes), Err(Error::TooDeep));
}

#[test]
fn lengths_that_are_only_claimed_reserve_nothing() {
    for bytes in [
        &b"XI\x7f\xff\xff\xff"[..],
        b"V\x04[intI\x7f\xff\xff\xff\x90",
        b"C\x01aI\x7f\xff\xff\xff\x01b",
        b"S\xff\xff",
        b"R\xff\xffa",
        b"B\xff\xff",
        b"A\xff\xffa",
        b"\x33\xffa",
    ] {
        assert_eq!(read(bytes), Err(Error::Truncated), "{bytes:02x?}");
    }
    for bytes in [&b"XI\xff\xff\xff\xff"[..], b"X\x8f", b"C\x01a\x80"] {
        assert_eq!(read(bytes), Err(Error::NegativeLength));
    }
}

#[test]
fn what_is_no_text_is_refused() {
    for bytes in [
        &b"\x01\x80"[..],
        b"\x01\xff",
        b"\x01\xc3a",
        b"\x01\xc0\x80",
        b"\x01\xed\xa0\xbd",
        b"\x01\xed\xb8\x80",
        b"\x02\xed\xa0\xbda",
        b"\x02\xed\xa0\xbd\xed\xa0\xbd",
        b"R\x00\x01\xed\xa0\xbd\x01a",
        b"R\x00\x01\xed\xa0\xbd\x00",
    ] {
        assert_eq!(read(bytes), Err(Error::MalformedText), "{bytes:02x?}");
    }
    for (bytes, error) in [
        (&b"@"[..], Error::UnknownTag),
        (b"Z", Error::UnknownTag),
        (b"R\x00\x01aN", Error::UnknownTag),
        (b"H\x90Z", Error::UnknownTag),
        (b"C\x90\x90N", Error::NotAString),
        (b"CN\x90N", Error::NotAString),
        (b"XN", Error::NotAnInt),
    ] {
        assert_eq!(read(bytes), Err(error), "{bytes:02x?}");
    }
}

#[test]
fn every_prefix_of_a_value_is_truncated() {
    for (_, bytes) in both_ways() {
        let step = (bytes.len() / 500).max(1);
        for end in (0..bytes.len()).step_by(step) {
            assert_eq!(read(&bytes[..end]), Err(Error::Truncated), "{:02x?}", &bytes[..end]);
        }
    }
}

#[test]
fn texts_and_maps_are_read_where_they_lie() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    writer.string("service");
    writer.null();
    writer.string(&"x".repeat(40_000));
    writer.map(None);
    writer.string("timeout");
    writer.int(5);
    writer.end();
    let mut reader = Reader::skipping(&bytes, 0);
    assert_eq!(reader.text(), Ok(Some(Text::Plain(1..8))));
    assert_eq!(reader.map(), Ok(false));
    assert_eq!(reader.text(), Ok(Some(Text::Null)));
    assert_eq!(reader.text(), Ok(Some(Text::Chunked)));
    assert_eq!((reader.text(), reader.map(), reader.end()), (Ok(None), Ok(true), Ok(false)));
    assert_eq!((reader.value(), reader.text()), (Ok(text("timeout")), Ok(None)));
    assert_eq!((reader.value(), reader.end(), reader.text()), (Ok(Value::Int(5)), Ok(true), Err(Error::Truncated)));
}

#[test]
fn an_object_that_refers_to_itself_is_read_by_its_fields() {
    let bytes = b"C\x01E\x93\x05cause\x04text\x04list\x60Q\x90\x02hi\x79Q\x90N";
    assert_eq!(read(&bytes[..bytes.len() - 1]), Err(Error::CyclicReference));
    let mut reader = Reader::new(bytes, 0);
    assert_eq!(reader.object(), Ok(Some(class("E", &["cause", "text", "list"]))));
    assert_eq!((reader.skip(), reader.value()), (Ok(()), Ok(text("hi"))));
    assert_eq!(reader.value(), Err(Error::CyclicReference));
    for (bytes, at) in [(&b"N"[..], 0), (b"C\x01E\x90\x90", 4)] {
        let mut reader = Reader::new(bytes, 0);
        assert_eq!((reader.object(), reader.position()), (Ok(None), at));
    }
    assert_eq!(Reader::new(b"\x60", 0).object(), Err(Error::UnknownClass));
}
