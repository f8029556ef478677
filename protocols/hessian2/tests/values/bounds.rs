//! What few bytes could make large or slow.

use std::borrow::Cow;

use ringway_hessian2::{Error, MAX_COPIED, MAX_NAMES, MAX_VALUES, Reader, Value, decode};

use crate::{read, text};

/// A list of so many values: the first, then the second as often as it takes.
fn list(len: usize, first: &[u8], then: &[u8]) -> Vec<u8> {
    let len_bytes = u32::try_from(len).unwrap().to_be_bytes();
    [b"XI", &len_bytes[..], first, &then.repeat(len - 1)].concat()
}

#[test]
fn what_stands_beside_the_values_is_repeated_at_its_length() {
    let definitions = [b"\x79", &b"C\x00\x90".repeat(1000)[..], b"N"].concat();
    let name = [b"M", &b"R\x00\x00".repeat(1000)[..], b"\x01aZ"].concat();
    let text = [b"\x79", &b"R\x00\x00".repeat(1000)[..], b"\x01a"].concat();
    for once in [definitions, name, text] {
        let most = MAX_COPIED / once.len();
        assert!(read(&list(1 + most, &once, b"Q\x91")).is_ok());
        assert_eq!(read(&list(2 + most, &once, b"Q\x91")), Err(Error::TooLarge));
    }
}

#[test]
fn what_refers_to_itself_and_was_skipped_ends() {
    for (bytes, error) in [(&b"\x79Q\x90Q\x90"[..], Error::TooDeep), (b"\x7aQ\x90Q\x90Q\x90", Error::TooDeep)] {
        let mut reader = Reader::new(bytes, 0);
        reader.skip().unwrap();
        assert_eq!(reader.value(), Err(error));
    }
    // As wide as it is deep.
    let mut bytes = list(MAX_COPIED / 2, b"Q\x90", b"Q\x90");
    bytes.extend(b"Q\x90");
    let mut reader = Reader::new(&bytes, 0);
    reader.skip().unwrap();
    assert_eq!(reader.value(), Err(Error::TooLarge));
}

#[test]
fn values_are_counted() {
    let most = MAX_VALUES - 1;
    for one in [&b"N"[..], b"\x78", b"HZ", b"\x00"] {
        assert!(read(&list(most, one, one)).is_ok());
        assert_eq!(Reader::new(&list(most + 1, one, one), 0).value(), Err(Error::TooLarge));
        // Who remembers nothing skips any number.
        assert_eq!(Reader::skipping(&list(10 * most, one, one), 0).skip(), Ok(()));
    }
    // One value after the other makes no difference.
    let bytes = b"N".repeat(MAX_VALUES + 1);
    let mut reader = Reader::new(&bytes, 0);
    for _ in 0..MAX_VALUES {
        assert_eq!(reader.value(), Ok(Value::Null));
    }
    assert_eq!(reader.value(), Err(Error::TooLarge));
}

#[test]
fn what_is_remembered_is_counted() {
    let with_null = |definition: &[u8], count: usize| [&definition.repeat(count)[..], b"N"].concat();
    let fields =
        |count: u32| [b"C\x00I", &count.to_be_bytes()[..], &vec![0; usize::try_from(count).unwrap()], b"N"].concat();
    let most = u32::try_from(MAX_VALUES).unwrap() - 1;
    for (fits, more) in [
        (with_null(b"C\x00\x90", MAX_VALUES), with_null(b"C\x00\x90", MAX_VALUES + 1)),
        (with_null(b"C\x00\x91\x00", MAX_VALUES / 2), with_null(b"C\x00\x91\x00", MAX_VALUES / 2 + 1)),
        (fields(most), fields(most + 1)),
        (list(MAX_VALUES, b"\x70\x00", b"\x70\x00"), list(MAX_VALUES + 1, b"\x70\x00", b"\x70\x00")),
    ] {
        assert_eq!(Reader::skipping(&fits, 0).skip(), Ok(()));
        assert_eq!(Reader::skipping(&more, 0).skip(), Err(Error::TooLarge));
        assert_eq!(Reader::new(&more, 0).value(), Err(Error::TooLarge));
    }
    // Places are remembered where they can be referred to.
    let lists = list(MAX_VALUES, b"\x78", b"\x78");
    assert_eq!(Reader::skipping(&lists, 0).skip(), Ok(()));
    assert_eq!(Reader::new(&lists, 0).skip(), Err(Error::TooLarge));
}

#[test]
fn names_are_counted_with_each_value() {
    let name = [b"S\x80\x00", &[b'x'; 0x8000][..]].concat();
    let most = MAX_NAMES / 0x8000;
    let class = [b"C\x00\x91", &name[..], b"\x60N"].concat();
    let kind = [b"\x70", &name[..]].concat();
    for (first, then) in [(class, &b"\x60N"[..]), (kind, b"\x70\x90")] {
        assert!(read(&list(most, &first, then)).is_ok());
        assert_eq!(read(&list(most + 1, &first, then)), Err(Error::TooLarge));
    }
}

#[test]
fn text_is_as_long_as_its_units_wherever_what_is_not_ascii_stands() {
    for len in 0..100 {
        for (wide, units) in [("\u{e9}", 1), ("\u{20ac}", 1), ("\u{1f600}", 2)] {
            let all = ["a".repeat(len), wide.into(), "b".repeat(99 - len), wide.into()].concat();
            let head = [0x30, 99 + 2 * units];
            let bytes = [&head, all.as_bytes()].concat();
            assert_eq!(read(&bytes), Ok(text(&all)));
            for end in 0..bytes.len() {
                assert_eq!(Reader::new(&bytes[..end], 0).skip(), Err(Error::Truncated));
            }
        }
    }
}

#[test]
fn text_in_one_piece_is_decoded() {
    assert!(matches!(decode("a\u{1f600}".as_bytes()), Ok(Cow::Borrowed("a\u{1f600}"))));
    assert_eq!(decode(b"a\xed\xa0\xbd\xed\xb8\x80").as_deref(), Ok("a\u{1f600}"));
    for bytes in [&b"\xed\xa0\xbd"[..], b"\xff", b"\xed\xb8\x80a"] {
        assert_eq!(decode(bytes), Err(Error::MalformedText));
    }
}
