//! ClientHellos: a verdict does not change as more bytes come, and records may be cut anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_preface::client_hello::{Limits, Parsed, parse};

const LIMITS: Limits = Limits { message_bytes: 2048, records: 8 };

/// As many records as there may be bytes.
const CUT: Limits = Limits { message_bytes: 2048, records: 4096 };

fuzz_target!(|bytes: &[u8]| {
    let mut settled = None;
    for len in 0..=bytes.len() {
        let now = Some(parse(&bytes[..len], LIMITS)).filter(|now| *now != Parsed::NeedMore);
        assert!(settled.is_none() || settled == now, "{settled:?} became {now:?}");
        settled = now;
    }
    let Some(Parsed::Hello(hello)) = settled else { return };
    assert!(!hello.alpn.contains(b""));
    if let Some(name) = &hello.server_name {
        assert!(!name.is_empty() && name.len() <= 253 && !name.ends_with('.') && *name == name.to_ascii_lowercase());
    }
    let mut one_by_one = Vec::new();
    let mut rest = bytes;
    while let [22, 3, minor, high, low, after @ ..] = rest {
        let Some((fragment, after)) = after.split_at_checked(usize::from(u16::from_be_bytes([*high, *low]))) else {
            break;
        };
        for byte in fragment {
            one_by_one.extend([22, 3, *minor, 0, 1, *byte]);
        }
        rest = after;
    }
    assert_eq!(parse(&one_by_one, CUT), Parsed::Hello(hello));
});
