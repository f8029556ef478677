//! How fast Parcel's frames are read and sent on: the codec and the reader, without a network, in one thread.

#![allow(clippy::disallowed_methods, reason = "measures real time")]

#[path = "../tests/samples/mod.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod samples;

use std::hint::black_box;
use std::time::{Duration, Instant};

use ringway_api::Chunk;
use ringway_parcel::Parcel;
use ringway_rpc::{Event, Limits, Reader, Received, RpcCodec, request_head};

/// Frames that arrive together.
const BATCH: usize = 64;
const LIMITS: Limits = Limits { frame: 8 << 20, buffered: 256 << 10 };

fn main() {
    for content in [0, 1 << 10, 16 << 10] {
        let head = [samples::text(1, b"com.example.Echo"), samples::text(1, b"say")].concat();
        let labels = samples::labels(&[(b"trace", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]);
        let frame = samples::frame(1, 7, 3000, &[head, labels].concat(), &vec![0; content]);
        let batch = Chunk::from(frame.repeat(BATCH));
        let (mut frames, began) = (0_u32, Instant::now());
        while began.elapsed() < Duration::from_secs(1) {
            frames += pass(&batch);
        }
        let each = began.elapsed() / frames;
        println!("{content:6} bytes of content: {each:?} a frame, {:.0} frames/s", 1.0 / each.as_secs_f64());
    }
}

/// Reads a batch, as requests, and writes the beginning of each under another id.
fn pass(batch: &Chunk) -> u32 {
    let (codec, mut reader, mut out) = (Parcel, Reader::default(), Vec::new());
    let mut frames = 0;
    reader.push(batch.clone());
    while let Ok(Some(event)) = reader.next(&codec, LIMITS) {
        let Event::Frame(received) = event else { continue };
        let Ok(head) = request_head(&codec, &received) else { continue };
        black_box(head.path_and_query());
        let Received { frame, block } = &received;
        out.clear();
        black_box(codec.renumber(frame, block.get(..frame.content).unwrap_or(block), u64::from(frames), &mut out));
        black_box(received.content());
        frames += 1;
    }
    frames
}
