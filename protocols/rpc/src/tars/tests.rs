use super::jce::Cursor;
use super::*;

/// A request with an id and fields behind its content.
fn request(id: &[u8], rest: &[u8]) -> Vec<u8> {
    let fields = [b"\x10\x01\x2c\x3c", id, b"\x56\x01a\x66\x01b\x7d\x00\x00\x02xy", rest].concat();
    [&(fields.len() as u32 + 4).to_be_bytes()[..], &fields].concat()
}

fn decoded(bytes: &[u8]) -> FrameHead {
    match Tars.decode(bytes) {
        Ok(Decoded::Frame(frame)) => frame,
        other => panic!("{other:?}"),
    }
}

fn skipped(field: &[u8]) -> Result<Option<usize>, CodecError> {
    let mut cursor = Cursor { bytes: field, at: 0, end: field.len() };
    cursor.field().map(|field| field.map(|field| field.range.end)).map_err(Stop::in_whole)
}

#[test]
fn ids_take_as_many_bytes_as_they_need() {
    let wide = |value: i32| [&[0x42][..], &value.to_be_bytes()].concat();
    let cases: [(i32, Vec<u8>); 9] = [
        (0, vec![0x4c]),
        (1, vec![0x40, 1]),
        (-1, vec![0x40, 0xff]),
        (127, vec![0x40, 127]),
        (128, vec![0x41, 0, 128]),
        (-129, vec![0x41, 0xff, 0x7f]),
        (32_768, wide(32_768)),
        (i32::MIN, wide(i32::MIN)),
        (i32::MAX, wide(i32::MAX)),
    ];
    for (_, from) in &cases {
        let bytes = request(from, b"\x8c");
        let frame = decoded(&bytes);
        for (id, field) in &cases {
            let mut out = vec![0xee];
            let replaced = Tars.renumber(&frame, &bytes, id.cast_unsigned().into(), &mut out).unwrap();
            out.extend_from_slice(&bytes[replaced..]);
            assert_eq!(out[1..], request(field, b"\x8c"), "{id}");
            assert_eq!(decoded(&out[1..]).id, u64::from(id.cast_unsigned()));
        }
    }
    // Written wider than need be.
    assert_eq!(decoded(&request(b"\x43\x00\x00\x00\x00\x00\x00\x00\x05", b"")).id, 5);
    let too_wide = request(b"\x43\x00\x00\x00\x01\x00\x00\x00\x05", b"");
    assert_eq!(Tars.decode(&too_wide), Err(CodecError::malformed("tars_malformed_field")));
}

#[test]
fn errors_are_packets_of_tars() {
    let bytes = request(b"\x41\x01\x2c", b"");
    let asked = Asked::new::<Tars>(decoded(&bytes), &bytes);
    let mut out = Vec::new();
    Tars.write_error(&asked, StatusCode::GATEWAY_TIMEOUT, "late", &mut out);
    assert_eq!(out, b"\x00\x00\x00\x18\x10\x01\x2c\x31\x01\x2c\x4c\x50\xf9\x6d\x00\x0c\x78\x0c\x86\x04late");
}

#[test]
fn every_status_is_an_error_of_tars() {
    for (status, code) in [(400, -1), (404, -4), (429, -9), (503, -9), (504, -7), (502, -8), (500, -99), (403, -99)] {
        assert_eq!(tars_code(StatusCode::from_u16(status).unwrap()), code, "{status}");
        assert!(http_status(code).as_u16() >= 400);
    }
}

#[test]
fn fields_of_every_type_are_skipped() {
    let fields: [&[u8]; 14] = [
        b"\x00\x01",
        b"\x01\x00\x01",
        b"\x02\x00\x00\x00\x01",
        b"\x03\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\x04\x00\x00\x00\x00",
        b"\x05\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x06\x02ab",
        b"\x07\x00\x00\x00\x02ab",
        b"\x08\x00\x01\x06\x01a\x1c",
        b"\x09\x00\x02\x0c\x00\x01",
        b"\x0a\x1c\xf6\x50\x01a\x0b",
        b"\x0c",
        b"\x0d\x00\x00\x02ab",
        b"\xfc\x80",
    ];
    for field in fields {
        assert_eq!(skipped(field), Ok(Some(field.len())), "{field:x?}");
        for len in 1..field.len() {
            assert!(skipped(&field[..len]).is_err(), "{field:x?} up to {len}");
        }
    }
    assert_eq!(skipped(b""), Ok(None));
}

#[test]
fn absurd_fields_are_refused() {
    let malformed = Err(CodecError::malformed("tars_malformed_field"));
    // Unknown types; an end of nothing; texts, bytes and maps of lengths that are not there, or negative.
    let fields: [&[u8]; 9] = [
        b"\x0e\x00",
        b"\x0f\x0f",
        b"\x0b",
        b"\x07\xff\xff\xff\xffab",
        b"\x0d\x00\x02\x7f\xff\xff\xff",
        b"\x0d\x00\x00\xff",
        b"\x0d\x06\x00\x01a",
        b"\x08\x02\x7f\xff\xff\xff",
        b"\x09\x00\x80\x0c",
    ];
    for field in fields {
        assert_eq!(skipped(field), malformed, "{field:x?}");
    }
    let nested = [vec![0x0a; 100_000], vec![0x0b; 100_000]].concat();
    assert_eq!(skipped(&nested), Err(CodecError::malformed("tars_nested_too_deep")));
    let nested = [b"\x09\x00\x01".repeat(100_000), b"\x0c".to_vec()].concat();
    assert_eq!(skipped(&nested), Err(CodecError::malformed("tars_nested_too_deep")));
}

#[test]
fn heads_are_bounded() {
    let mut bytes = request(b"\x4c", b"");
    bytes[..4].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    assert_eq!(decoded(&bytes).len, 0x7fff_ffff);
    let names = [b"\x00\x01\x00\x00\x10\x01\x2c\x3c\x4c\x57\x00\x00\x10\x00".as_slice(), &[b'a'; 100]].concat();
    assert_eq!(Tars.decode(&names), Err(CodecError::too_large("tars_head_too_large")));
}

#[test]
fn what_is_behind_the_content_must_be_in_order() {
    for rest in [b"\x8c\x8c".as_slice(), b"\x98\x0c\x8c", b"\x7c", b"\x9c", b"\x98\x00\x01\x0c\x0c", b"\x8c\x0b"] {
        let bytes = request(b"\x4c", rest);
        let mut headers = Headers::over_frame(Tars::NAME, bytes.clone().into(), 4);
        let read = Tars.read_request(&decoded(&bytes), &bytes, &mut Fields::of::<Tars>(&mut headers));
        assert!(read.is_err(), "{rest:x?}");
    }
}
