use super::*;

const CALL_FRAME: &[u8] =
    b"\x00\x00\x00\x27\xda\xbc\x00\x00\x00\x27\x00\x17\x01\x00\x00\x00\x02ab\xfe\xdc\xba\x98\x76\x54\x32\x10\
    \x80\x01\x00\x01\x00\x00\x00\x03say\x00\x00\x00\x29\x00";

fn decoded(bytes: &[u8]) -> FrameHead {
    match DubboThrift.decode(bytes) {
        Ok(Decoded::Frame(frame)) => frame,
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_carry_the_method_and_the_sequence_number_of_the_call() {
    let frame = decoded(CALL_FRAME);
    assert_eq!((frame.id, frame.len, frame.content), (0xfedc_ba98_7654_3210, CALL_FRAME.len(), 42));
    let asked = Asked::new::<DubboThrift>(frame, CALL_FRAME);
    let mut out = Vec::new();
    DubboThrift.write_error(&asked, StatusCode::NOT_FOUND, "gone", &mut out);
    let expected =
        b"\x00\x00\x00\x39\xda\xbc\x00\x00\x00\x39\x00\x17\x01\x00\x00\x00\x02ab\xfe\xdc\xba\x98\x76\x54\x32\x10\
        \x80\x01\x00\x03\x00\x00\x00\x03say\x00\x00\x00\x29\
        \x0b\x00\x01\x00\x00\x00\x04gone\x08\x00\x02\x00\x00\x00\x01\x00";
    assert_eq!(out, expected);
}

#[test]
fn every_status_is_an_error_of_thrift() {
    for (status, code) in [(404, 1), (400, 7), (413, 7), (503, 6), (504, 6), (500, 6)] {
        assert_eq!(thrift_type(StatusCode::from_u16(status).unwrap()), code, "{status}");
        assert!(http_status(code).as_u16() >= 400);
    }
}

#[test]
fn the_type_of_an_exception_is_found_wherever_it_stands() {
    let number = |id: u8, value: u8| [I32, 0, id, 0, 0, 0, value];
    let text = |id: u8| [STRING, 0, id, 0, 0, 0, 1, b'x'];
    assert_eq!(exception_type(&[&text(1)[..], &number(2, 5), &[0]].concat()), 5);
    assert_eq!(exception_type(&[&number(2, 5)[..], &text(1), &[0]].concat()), 5);
    assert_eq!(exception_type(&[&number(3, 4)[..], &text(4), &number(2, 6)].concat()), 6);
    assert_eq!(exception_type(&text(1)), 0);
    assert_eq!(exception_type(&[]), 0);
    // What is no field of an exception, an absurd length, and more fields than there are.
    assert_eq!(exception_type(&[&[12, 0, 1][..], &number(2, 5)].concat()), 0);
    assert_eq!(exception_type(&[STRING, 0, 1, 0xff, 0xff, 0xff, 0xff, I32, 0, 2, 0, 0, 0, 5]), 0);
    assert_eq!(exception_type(&[number(3, 0).repeat(MAX_FIELDS), number(2, 5).to_vec()].concat()), 0);
}

#[test]
fn heads_are_bounded() {
    let mut bytes = CALL_FRAME.to_vec();
    let size = 0x7fff_ffff_u32.to_be_bytes();
    bytes[..4].copy_from_slice(&size);
    bytes[6..10].copy_from_slice(&size);
    assert_eq!(decoded(&bytes).len, 0x8000_0003);
    // A method, and then a header, of more bytes than a head may have.
    bytes[31..35].copy_from_slice(&[0, 0, 4, 0]);
    assert_eq!(DubboThrift.decode(&bytes), Err(CodecError::too_large("thrift_header_too_large")));
    bytes[10..12].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(DubboThrift.decode(&bytes), Err(CodecError::too_large("thrift_header_too_large")));
}

#[test]
fn sniffs_the_magic_between_two_equal_sizes() {
    for len in 0..CALL_FRAME.len() {
        let expected = if len < 10 { Sniff::NeedMore } else { Sniff::Yes };
        assert_eq!(DubboThrift::sniff(&CALL_FRAME[..len]), expected, "{len}");
    }
    for at in [0, 4, 5, 6, 9] {
        let mut bytes = CALL_FRAME.to_vec();
        bytes[at] ^= 0x80;
        assert_eq!(DubboThrift::sniff(&bytes), Sniff::No, "{at}");
    }
}

#[test]
fn nothing_is_made_of_what_is_not_thrift() {
    let asked = Asked::new::<DubboThrift>(decoded(CALL_FRAME), CALL_FRAME);
    let mut out = Vec::new();
    let refused = DubboThrift.write_response(&asked, &ResponseHead::new(StatusCode::OK), None, b"{}", &mut out);
    assert_eq!(refused, Err(CodecError::unsupported("not_a_dubbo_thrift_response")));
    assert!(out.is_empty());
}
