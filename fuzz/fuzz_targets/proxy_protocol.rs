//! PROXY headers: a verdict does not change as more bytes come, and what is read survives being written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_preface::proxy_protocol::{Kind, Limits, Parsed, Tlv, encode_v1, encode_v2, parse};

fn read(bytes: &[u8]) -> Parsed<'_> {
    parse(bytes, Limits::default())
}

fuzz_target!(|bytes: &[u8]| {
    let mut settled = None;
    for len in 0..=bytes.len() {
        // TLVs of the same bytes are equal or not whatever they lie in.
        let now = Some(read(&bytes[..len])).filter(|now| !matches!(now, Parsed::NeedMore(_)));
        assert!(settled.is_none() || settled == now, "{settled:?} became {now:?}");
        settled = now;
        if let Parsed::NeedMore(more) = read(&bytes[..len]) {
            assert!(more > 0);
        }
    }
    let Some(Parsed::Header { consumed, kind: Kind::Proxied { source, destination }, tlvs }) = settled else { return };
    assert!(consumed <= bytes.len());
    let same = Kind::Proxied { source: source.clone(), destination: destination.clone() };
    let list: Vec<Tlv<'_>> = tlvs.collect();
    let mut block = Vec::new();
    encode_v2(&source, &destination, &list, &mut block).expect("no longer than what was read");
    match read(&block) {
        Parsed::Header { consumed, kind, tlvs } => {
            assert_eq!((consumed, kind), (block.len(), same.clone()));
            assert!(tlvs.eq(list));
        }
        other => panic!("{other:?}"),
    }
    let mut line = Vec::new();
    encode_v1(&source, &destination, &mut line);
    match read(&line) {
        Parsed::Header { consumed, kind, .. } => {
            assert_eq!(consumed, line.len());
            assert_eq!(kind, if source.ip().is_some() { same } else { Kind::Unknown });
        }
        other => panic!("{other:?}"),
    }
});
