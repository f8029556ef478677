//! Heads: any bytes are read or refused, alike whole and byte by byte, and what is read survives being written.
#![no_main]

use std::time::SystemTime;

use http::Method;
use libfuzzer_sys::fuzz_target;
use ringway_api::Chunk;
use ringway_http1::HeaderCase;
use ringway_http1::encode::{Delimit, request_head, response_head};
use ringway_http1::head::{Asked, Assembler, HeadLimits, decode_request, decode_response};

const LIMITS: HeadLimits = HeadLimits { bytes: 2048, fields: 32 };
const WRITTEN: HeadLimits = HeadLimits { bytes: 8192, fields: 64 };

fuzz_target!(|bytes: &[u8]| {
    let whole = Chunk::copy_from(bytes);
    let request = decode_request(&whole, LIMITS, true);
    let mut assembler = Assembler::new();
    let mut cut = None;
    for (at, byte) in bytes.iter().enumerate() {
        let mut inbox = Chunk::copy_from(&[*byte]);
        match assembler.decode(&mut inbox, |block| decode_request(block, LIMITS, true)) {
            Ok(Some(parts)) => {
                cut = Some((parts, at + 1));
                break;
            }
            Ok(None) => {}
            Err(_) => {
                assert!(request.is_err());
                break;
            }
        }
    }
    if let Ok(Some((parts, len))) = request {
        let (cut, cut_len) = cut.expect("read whole, so read in pieces too");
        assert_eq!((cut_len, cut.framing), (len, parts.framing));
        let mut written = Vec::new();
        request_head(&parts.head, Delimit::Nothing, HeaderCase::Preserve, &mut written);
        // A request of HTTP/1.0 may have no authority; one of HTTP/1.1 must.
        if !parts.head.authority().is_empty() {
            let again = decode_request(&Chunk::from(written), WRITTEN, false).expect("valid").expect("whole");
            assert_eq!(again.0.head.path_and_query(), parts.head.path_and_query());
        }
    }
    for method in [Method::GET, Method::HEAD] {
        if let Ok(Some((parts, _))) = decode_response(&whole, Asked { method: &method, upgrade: None }, LIMITS) {
            let mut written = Vec::new();
            response_head(&parts.head, Delimit::Nothing, true, || SystemTime::UNIX_EPOCH, HeaderCase::Title, &mut written);
            let again = decode_response(&Chunk::from(written), Asked { method: &method, upgrade: None }, WRITTEN).expect("valid").expect("whole");
            assert_eq!(again.0.head.status, parts.head.status);
        }
    }
});
