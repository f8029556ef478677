//! PROXY headers as they are written: what is written is read, and means the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ringway_api::Address;
use ringway_preface::proxy_protocol::{
    HEADER_BYTES, Kind, Limits, Parsed, Ssl, Tlv, TooLong, encode_local, encode_v1, encode_v2, parse,
};
use ringway_testkit::Rng;

use crate::proxy_read::verdict;
use crate::settles;

fn ip(text: &str) -> Address {
    Address::Ip(text.parse().unwrap())
}

fn unix(path: &str) -> Address {
    Address::Unix(path.into())
}

fn written_v2(source: &Address, destination: &Address, tlvs: &[Tlv<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_v2(source, destination, tlvs, &mut out).unwrap();
    assert_eq!(settles(&out, verdict), Some(out.len()));
    out
}

fn kind(header: &[u8]) -> Kind {
    match parse(header, Limits::default()) {
        Parsed::Header { consumed, kind, .. } if consumed == header.len() => kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines() {
    let cases = [
        (ip("192.0.2.1:1"), ip("192.0.2.2:65535"), "PROXY TCP4 192.0.2.1 192.0.2.2 1 65535\r\n"),
        (ip("[2001:db8::1]:1"), ip("[::1]:2"), "PROXY TCP6 2001:db8::1 ::1 1 2\r\n"),
        (ip("192.0.2.1:1"), ip("[::1]:2"), "PROXY TCP6 ::ffff:c000:201 ::1 1 2\r\n"),
        (ip("[::1]:1"), ip("192.0.2.1:2"), "PROXY TCP6 ::1 ::ffff:c000:201 1 2\r\n"),
        (ip("[::ffff:0.0.0.0]:1"), ip("[::1.2.3.4]:2"), "PROXY TCP6 ::ffff:0:0 ::102:304 1 2\r\n"),
        (unix("/a"), unix("/b"), "PROXY UNKNOWN\r\n"),
        (ip("192.0.2.1:1"), unix("/b"), "PROXY UNKNOWN\r\n"),
        (unix(""), ip("192.0.2.1:1"), "PROXY UNKNOWN\r\n"),
    ];
    for (source, destination, line) in cases {
        let mut out = b"before".to_vec();
        encode_v1(&source, &destination, &mut out);
        assert_eq!(str::from_utf8(&out), Ok(&*format!("before{line}")));
    }
    let full = ip("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    let mut out = Vec::new();
    encode_v1(&full, &full, &mut out);
    assert_eq!(out.len(), 104);
}

#[test]
fn blocks() {
    let v4 = ip("192.0.2.1:56324");
    let v6 = ip("[2001:db8::1]:443");
    let mapped = ip("[::ffff:192.0.2.1]:56324");
    let full = unix(&"p".repeat(108));
    let too_long = unix(&"p".repeat(109));
    let proxied = |source: &Address, destination: &Address| Kind::Proxied {
        source: source.clone(),
        destination: destination.clone(),
    };
    let cases = [
        (&v4, &v4, 28, proxied(&v4, &v4)),
        (&v6, &v6, 52, proxied(&v6, &v6)),
        (&v4, &v6, 52, proxied(&mapped, &v6)),
        (&v6, &v4, 52, proxied(&v6, &mapped)),
        (&unix("/a"), &unix(""), 232, proxied(&unix("/a"), &unix(""))),
        (&full, &full, 232, proxied(&full, &full)),
        (&full, &too_long, 16, Kind::Unknown),
        (&v4, &full, 16, Kind::Unknown),
        (&full, &v6, 16, Kind::Unknown),
    ];
    for (source, destination, len, expected) in cases {
        let header = written_v2(source, destination, &[]);
        assert_eq!((header.len(), kind(&header)), (len, expected));
    }
    let mut local = Vec::new();
    encode_local(&mut local);
    assert_eq!(local, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    assert_eq!(kind(&local), Kind::Local);
}

#[test]
fn tlvs() {
    let ssl = Ssl {
        client: 3,
        verify: 0,
        version: Some("TLSv1.3"),
        common_name: Some("client"),
        cipher: Some("TLS13_AES_128_GCM_SHA256"),
        signature_algorithm: Some("ECDSA-SHA256"),
        key_algorithm: Some("EC256"),
    };
    let tlvs = [
        Tlv::Alpn(b"h2"),
        Tlv::Crc32c,
        Tlv::Authority("a.example"),
        Tlv::UniqueId(b"id"),
        Tlv::Ssl(ssl),
        Tlv::NetNs("blue"),
        Tlv::Other { kind: 0xe5, value: b"x" },
    ];
    let header = written_v2(&unix("/a"), &unix("/b"), &tlvs);
    let Parsed::Header { tlvs: read, .. } = parse(&header, Limits::default()) else { panic!("no header") };
    assert_eq!(read.collect::<Vec<_>>(), tlvs);
    for at in 0..header.len() {
        let mut changed = header.clone();
        changed[at] ^= 1;
        // Turned into LOCAL or no header at all, it is not looked into.
        let read = parse(&changed, Limits::default());
        assert!(!matches!(read, Parsed::Header { kind: Kind::Proxied { .. }, .. }), "changed at {at}: {read:?}");
    }
    // Asked for twice, it is there once.
    let twice = written_v2(&ip("192.0.2.1:1"), &ip("192.0.2.1:1"), &[Tlv::Crc32c, Tlv::Crc32c]);
    assert_eq!(twice.len(), 28 + 7);
}

#[test]
fn headers_that_would_be_too_long() {
    let address = ip("192.0.2.1:1");
    let room = HEADER_BYTES - 28 - 3;
    let value = vec![1; room + 1];
    let fits = written_v2(&address, &address, &[Tlv::Other { kind: 0xe0, value: &value[..room] }]);
    assert_eq!(fits.len(), HEADER_BYTES);
    let by_one = [Tlv::Other { kind: 0xe0, value: &value }];
    assert_eq!(encode_v2(&address, &address, &by_one, &mut Vec::new()), Err(TooLong));
    let text = "x".repeat(70_000);
    let ssl = Ssl { common_name: Some(&text), ..Ssl::default() };
    let too_long =
        [Tlv::Other { kind: 0xe0, value: &value }, Tlv::UniqueId(&value[..129]), Tlv::Ssl(ssl), Tlv::Authority(&text)];
    for tlv in too_long {
        let mut out = b"before".to_vec();
        assert_eq!(encode_v2(&address, &address, &[Tlv::Crc32c, tlv], &mut out), Err(TooLong));
        assert_eq!(out, b"before");
    }
}

#[test]
fn any_addresses_survive() {
    let mut rng = Rng::new(0x5eed_0002);
    for _ in 0..5_000 {
        let (source, destination) = (any(&mut rng), any(&mut rng));
        let expected = match (source.ip(), destination.ip()) {
            (Some(a), Some(b)) if a.is_ipv4() == b.is_ipv4() => {
                Kind::Proxied { source: source.clone(), destination: destination.clone() }
            }
            (Some(a), Some(b)) => Kind::Proxied { source: as_v6(a), destination: as_v6(b) },
            _ => panic!("only IP addresses here"),
        };
        let mut line = Vec::new();
        encode_v1(&source, &destination, &mut line);
        assert_eq!(kind(&line), expected);
        let id = rng.bytes(16);
        let header = written_v2(&source, &destination, &[Tlv::UniqueId(&id), Tlv::Crc32c]);
        assert_eq!(kind(&header), expected);
    }
}

fn any(rng: &mut Rng) -> Address {
    let ip: IpAddr = match rng.below(3) {
        0 => Ipv4Addr::from(rng.bits() as u32).into(),
        1 => Ipv6Addr::from(u128::from(rng.bits()) << rng.below(65)).into(),
        _ => Ipv6Addr::from((u128::from(rng.bits()) << 64) | u128::from(rng.bits())).into(),
    };
    Address::Ip(SocketAddr::new(ip, rng.bits() as u16))
}

fn as_v6(address: SocketAddr) -> Address {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    Address::Ip(SocketAddr::new(ip.into(), address.port()))
}
