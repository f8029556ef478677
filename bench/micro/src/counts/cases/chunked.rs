//! Content in chunks (RFC 9112, 7.1).

use std::hint::black_box;

use anyhow::{Result, ensure};
use ringway_api::Chunk;
use ringway_http1::body::{BodyLimits, Chunked, Decoded};

use super::measured;

const LIMITS: BodyLimits = BodyLimits { trailer_bytes: 8192, extension_bytes: 4096, fields: 100 };

/// Four chunks of 256 bytes, one with an extension, and a trailer field.
pub(super) fn decode(times: u64) -> Result<()> {
    let data = "x".repeat(256);
    let text = format!(
        "100\r\n{data}\r\n100;name=value\r\n{data}\r\n100\r\n{data}\r\n100\r\n{data}\r\n0\r\nx-checksum: 4711\r\n\r\n"
    );
    let block = Chunk::from(text.into_bytes());
    ensure!(content(&block) == Some(1024), "not decoded");
    measured(times, || content(black_box(&block)));
    Ok(())
}

/// How much content there is.
fn content(block: &Chunk) -> Option<usize> {
    let (mut decoder, mut input, mut length) = (Chunked::default(), block.clone(), 0);
    loop {
        match decoder.decode(&mut input, LIMITS).ok()? {
            Decoded::Data(data) => length += data.len(),
            Decoded::Trailers(_) | Decoded::End => return Some(length),
            _ => return None,
        }
    }
}
