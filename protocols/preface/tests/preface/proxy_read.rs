//! PROXY headers as they come.

use ringway_api::Address;
use ringway_preface::proxy_protocol::{Kind, Limits, Parsed, Ssl, Tlv, Tlvs, parse};
use ringway_testkit::Rng;

use crate::settles;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const INET: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb];

/// The verdict, as something that outlives the bytes.
pub(crate) fn verdict(bytes: &[u8]) -> Option<String> {
    match parse(bytes, Limits::default()) {
        Parsed::NeedMore(more) => {
            assert!(more > 0);
            None
        }
        Parsed::Header { consumed, kind, tlvs } => {
            assert!(consumed <= bytes.len());
            Some(format!("{consumed} {kind:?} {:?}", tlvs.collect::<Vec<_>>()))
        }
        other => Some(format!("{other:?}")),
    }
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut tlv = vec![kind];
    tlv.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    tlv.extend(value);
    tlv
}

fn with_tlvs(tlvs: &[Vec<u8>]) -> Vec<u8> {
    v2(0x21, 0x11, &[INET, &tlvs.concat()].concat())
}

fn proxied(source: &str, destination: &str) -> Kind {
    let ip = |text: &str| Address::Ip(text.parse().unwrap());
    Kind::Proxied { source: ip(source), destination: ip(destination) }
}

/// The header is read whole at its last byte and no earlier, and what follows does not matter.
#[track_caller]
fn is_header(header: &[u8], kind: &Kind) {
    let mut more = header.to_vec();
    more.extend(b"\r\nGET / HTTP/1.1\r\n");
    assert_eq!(settles(&more, verdict), Some(header.len()));
    let Parsed::Header { consumed, kind: read, .. } = parse(&more, Limits::default()) else { panic!("no header") };
    assert_eq!((consumed, &read), (header.len(), kind));
}

#[track_caller]
fn is_malformed(bytes: &[u8], part: &str) {
    assert!(settles(bytes, verdict).is_some());
    match parse(bytes, Limits::default()) {
        Parsed::Malformed(reason) => assert!(reason.contains(part), "{reason}"),
        other => panic!("{other:?} of {bytes:?}"),
    }
}

#[test]
fn lines() {
    let cases = [
        ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", proxied("192.0.2.1:56324", "198.51.100.2:443")),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", proxied("0.0.0.0:0", "255.255.255.255:65535")),
        ("PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", proxied("[2001:db8::1]:1", "[::1]:2")),
        (
            "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2\r\n",
            proxied("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2"),
        ),
        ("PROXY UNKNOWN\r\n", Kind::Unknown),
        ("PROXY UNKNOWN \r\n", Kind::Unknown),
        ("PROXY UNKNOWN what\tever \0 it is\r\n", Kind::Unknown),
    ];
    for (line, kind) in cases {
        is_header(line.as_bytes(), &kind);
    }
    let longest = format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", "ffff:".repeat(8).trim_end_matches(':'));
    assert_eq!(longest.len(), 107);
    is_header(longest.as_bytes(), &Kind::Unknown);
}

#[test]
fn lines_that_break_the_rules() {
    let cases = [
        ("PROXY\r\n", "no space"),
        ("PROXYTCP4 1.1.1.1 2.2.2.2 1 2\r\n", "no space"),
        ("PROXY \r\n", "family"),
        ("PROXY UNKNOWNS\r\n", "family"),
        ("PROXY unknown\r\n", "family"),
        ("PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", "family"),
        ("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", "family"),
        ("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "family"),
        ("PROXY TCP4\t1.1.1.1 2.2.2.2 1 2\r\n", "family"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", "four fields"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", "four fields"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", "four fields"),
        ("PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", "four fields"),
        ("PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n", "address"),
        ("PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", "address"),
        ("PROXY TCP4 256.1.1.1 2.2.2.2 1 2\r\n", "address"),
        ("PROXY TCP4 ::1 2.2.2.2 1 2\r\n", "address"),
        ("PROXY TCP6 1.1.1.1 ::1 1 2\r\n", "address"),
        ("PROXY TCP6 fe80::1%1 ::1 1 2\r\n", "address"),
        ("PROXY TCP6 1::2::3 ::1 1 2\r\n", "address"),
        ("PROXY TCP6 [::1] ::1 1 2\r\n", "address"),
        ("PROXY TCP6 00001::1 ::1 1 2\r\n", "address"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", "port"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", "port"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", "port"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", "port"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 00 2\r\n", "port"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 \r\n", "port"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 99999999999999999999\r\n", "port"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", "alone"),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n", "alone"),
        ("PROXY UNKNOWN\n\r\n", "alone"),
        ("PROXY UNKNOWN a\rb\r\n", "alone"),
    ];
    for (line, part) in cases {
        is_malformed(line.as_bytes(), part);
    }
    is_malformed(b"PROXY TCP4 \xff 1.1.1.1 1 1\r\n", "ASCII");
    // The 108th byte would be the line feed.
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(long.len(), 108);
    is_malformed(long.as_bytes(), "107");
    assert_eq!(settles(&[b"PROXY".as_slice(), &[b'x'; 200]].concat(), verdict), Some(107));
}

#[test]
fn what_is_no_header() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PROPFIND / HTTP/1.1", b"\r\n\r\nGET", b"\x16\x03\x01", b"proxy ", b"\0"]
    {
        assert_eq!(parse(bytes, Limits::default()), Parsed::NotProxy);
        assert!(settles(bytes, verdict).is_some());
    }
    assert_eq!(parse(b"", Limits::default()), Parsed::NeedMore(1));
}

#[test]
fn blocks() {
    is_header(&v2(0x21, 0x11, INET), &proxied("192.0.2.1:56324", "198.51.100.2:443"));
    let mut inet6 = [0; 36];
    inet6[15] = 1;
    inet6[16] = 0x20;
    inet6[33] = 7;
    inet6[35] = 8;
    is_header(&v2(0x21, 0x21, &inet6), &proxied("[::1]:7", "[2000::]:8"));
    let mut unix = [0; 216];
    unix[..4].copy_from_slice(b"/a/b");
    unix[5] = b'x';
    unix[108..].fill(b'p');
    let (source, destination) = (Address::Unix("/a/b".into()), Address::Unix("p".repeat(108).into()));
    is_header(&v2(0x21, 0x31, &unix), &Kind::Proxied { source, destination });
    let mut unnamed = [0; 216];
    unnamed[1] = b'a';
    let none = Address::Unix("".into());
    is_header(&v2(0x21, 0x31, &unnamed), &Kind::Proxied { source: none.clone(), destination: none });

    // LOCAL says nothing but its length; so do addresses without a family.
    for family in [0, 0x11, 0x22, 0xff] {
        is_header(&v2(0x20, family, b""), &Kind::Local);
        is_header(&v2(0x20, family, b"anything at all"), &Kind::Local);
    }
    for family in [0, 1] {
        is_header(&v2(0x21, family, b""), &Kind::Unknown);
        is_header(&v2(0x21, family, b"\x01\xff\xff"), &Kind::Unknown);
    }
}

#[test]
fn blocks_that_break_the_rules() {
    for command in [0x22, 0x2f, 0x11, 0x31, 0x00] {
        is_malformed(&v2(command, 0x11, INET), "version 2");
    }
    for family in [0x02, 0x12, 0x22, 0x32] {
        is_malformed(&v2(0x21, family, &[0; 300]), "datagrams");
    }
    for family in [0x03, 0x10, 0x13, 0x20, 0x30, 0x41, 0xff] {
        is_malformed(&v2(0x21, family, &[0; 300]), "family");
    }
    for (family, len) in [(0x11, 12), (0x21, 36), (0x31, 216)] {
        is_malformed(&v2(0x21, family, &vec![0; len - 1]), "too short");
    }
    let header = v2(0x20, 0, &[0; 5000]);
    is_malformed(&header, "limit");
    // At its length already, with nothing buffered.
    assert_eq!(settles(&header, verdict), Some(16));
    assert_eq!(parse(&header, Limits { header_bytes: 5015 }), Parsed::Malformed("PROXY header: longer than the limit"));
    let taken = Parsed::Header { consumed: 5016, kind: Kind::Local, tlvs: Tlvs::default() };
    assert_eq!(parse(&header, Limits { header_bytes: 5016 }), taken);
}

#[test]
fn hints() {
    let header = v2(0x21, 0x11, INET);
    for (len, more) in [(0, 1), (11, 1), (12, 4), (15, 1), (16, 12), (27, 1)] {
        assert_eq!(parse(&header[..len], Limits::default()), Parsed::NeedMore(more));
    }
    for (line, more) in
        [("P", 1), ("PROXY", 10), ("PROXY UNKNOWN", 2), ("PROXY TCP4 1.1.1.1", 2), ("PROXY UNKNOWN\r", 1)]
    {
        assert_eq!(parse(line.as_bytes(), Limits::default()), Parsed::NeedMore(more));
    }
}

#[test]
fn tlvs() {
    let ssl = [&[5, 0, 0, 0, 1][..], &tlv(0x21, b"TLSv1.3"), &tlv(0x22, "J\u{f6}rg".as_bytes()), &tlv(0x29, b"\xff")];
    let header = with_tlvs(&[
        tlv(0x01, b"h2"),
        tlv(0x04, b"pad"),
        tlv(0x02, b"a.example"),
        tlv(0x05, &[7; 128]),
        tlv(0x20, &ssl.concat()),
        tlv(0x30, b"blue"),
        tlv(0xe0, b"x"),
        tlv(0xe0, b""),
        tlv(0x04, b""),
    ]);
    is_header(&header, &proxied("192.0.2.1:56324", "198.51.100.2:443"));
    let Parsed::Header { mut tlvs, .. } = parse(&header, Limits::default()) else { panic!("no header") };
    let ssl = Ssl { client: 5, verify: 1, version: Some("TLSv1.3"), common_name: Some("J\u{f6}rg"), ..Ssl::default() };
    let read: Vec<_> = tlvs.by_ref().collect();
    let expected = [
        Tlv::Alpn(b"h2"),
        Tlv::Authority("a.example"),
        Tlv::UniqueId(&[7; 128]),
        Tlv::Ssl(ssl),
        Tlv::NetNs("blue"),
        Tlv::Other { kind: 0xe0, value: b"x" },
        Tlv::Other { kind: 0xe0, value: b"" },
    ];
    assert_eq!(read, expected);
    assert_eq!(tlvs.next(), None);
}

#[test]
fn tlvs_that_break_the_rules() {
    let cases = [
        (vec![0x01], "does not fit"),
        (vec![0x01, 0], "does not fit"),
        (vec![0xe0, 0, 1], "does not fit"),
        (vec![0x04, 0xff, 0xff, 0], "does not fit"),
        (tlv(0x02, b"\xff"), "UTF-8"),
        (tlv(0x03, b"123"), "4 bytes"),
        (tlv(0x03, b"12345"), "4 bytes"),
        (tlv(0x03, b"1234"), "checksum is wrong"),
        (tlv(0x05, &[0; 129]), "128"),
        (tlv(0x20, b"1234"), "cut short"),
        (tlv(0x20, b"\x01\0\0\0\0\x21"), "cut short"),
        (tlv(0x20, b"\x01\0\0\0\0\x21\0\x02x"), "cut short"),
        (tlv(0x20, b"\x01\0\0\0\0\x22\0\x01\xff"), "UTF-8"),
        (tlv(0x20, b"\x01\0\0\0\0\x22\0\x01a\x22\0\x01b"), "comes twice"),
        (tlv(0x30, "\u{fc}".as_bytes()), "ASCII"),
        ([tlv(0x02, b"a"), tlv(0x02, b"a")].concat(), "comes twice"),
        ([tlv(0x01, b"a"), tlv(0xe0, b""), tlv(0x01, b"b")].concat(), "comes twice"),
    ];
    for (bytes, part) in cases {
        is_malformed(&with_tlvs(&[bytes]), part);
    }
}

/// The example of a load balancer's manual: a checksum that another implementation has computed.
#[test]
fn a_checksum_of_another_sender() {
    let mut header =
        with_tlvs(&[tlv(0x03, &[0xe8, 0xd6, 0x89, 0x2d]), tlv(0xea, b"\x01vpce-08d2bf15fac5001c9"), tlv(4, &[0; 36])]);
    header[16..28].copy_from_slice(&[0xac, 0x1f, 0x07, 0x71, 0xac, 0x1f, 0x0a, 0x1f, 0xc8, 0xf2, 0x00, 0x50]);
    assert_eq!(header[15], 0x54);
    is_header(&header, &proxied("172.31.7.113:51442", "172.31.10.31:80"));
    // But for the checksum's own type, without which there is none.
    for at in (16..header.len()).filter(|at| *at != 28) {
        let mut changed = header.clone();
        changed[at] ^= 0x10;
        assert!(matches!(parse(&changed, Limits::default()), Parsed::Malformed(_)), "changed at {at}");
    }
}

#[test]
fn garbage_has_one_verdict() {
    let mut rng = Rng::new(0x5eed_0001);
    let starts: [&[u8]; 6] =
        [b"", b"PROXY ", b"PROXY TCP4 1.1.1.1 ", b"PROXY TCP6 ::1 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"];
    for _ in 0..20_000 {
        let len = rng.below(160);
        let mut bytes = rng.pick(&starts).to_vec();
        bytes.extend(rng.bytes(len));
        settles(&bytes, verdict);
    }
    // Sound headers with a byte or two changed.
    let header = with_tlvs(&[tlv(0x01, b"h2"), tlv(0x20, b"\x01\0\0\0\0\x21\0\x01x"), tlv(0x05, b"id")]);
    let line = b"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n".to_vec();
    for _ in 0..5_000 {
        let mut bytes = rng.pick(&[header.clone(), line.clone()]).clone();
        for _ in 0..=rng.below(2) {
            let at = rng.below(bytes.len());
            bytes[at] = rng.bits() as u8;
        }
        settles(&bytes, verdict);
    }
}
