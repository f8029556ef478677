//! Chunked content: any bytes give the same content, end or fault, whole and byte by byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_api::Chunk;
use ringway_http1::body::{BodyLimits, Decoded, Decoder};
use ringway_http1::head::Framing;

const LIMITS: BodyLimits = BodyLimits { trailer_bytes: 256, extension_bytes: 128, fields: 16 };

#[derive(Debug, PartialEq)]
enum End {
    NeedMore,
    /// With how many bytes consumed, and how many trailer fields.
    Complete(usize, usize),
    Refused(&'static str),
}

fn read(pieces: impl Iterator<Item = Chunk>) -> (Vec<u8>, End) {
    let mut decoder = Decoder::new(Framing::Chunked);
    let (mut body, mut consumed) = (Vec::new(), 0);
    for mut piece in pieces {
        consumed += piece.len();
        loop {
            match decoder.decode(&mut piece, LIMITS) {
                Ok(Decoded::Data(data)) => body.extend_from_slice(&data),
                Ok(Decoded::Trailers(fields)) => return (body, End::Complete(consumed - piece.len(), fields.len())),
                Ok(Decoded::End) => return (body, End::Complete(consumed - piece.len(), 0)),
                Ok(Decoded::NeedMore) => break,
                Err(refusal) => return (body, End::Refused(refusal.details)),
            }
        }
    }
    (body, End::NeedMore)
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(std::iter::once(Chunk::copy_from(bytes)));
    let cut = read(bytes.chunks(1).map(Chunk::copy_from));
    assert_eq!(whole, cut);
});
