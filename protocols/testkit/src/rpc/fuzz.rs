//! Any bytes.

use std::time::Duration;

use http::StatusCode;
use ringway_api::ByteSize;
use ringway_rpc::{Asked, Decoded, FrameHead, Kind, Limits, RpcCodec, RpcOptions};

use crate::rpc::frames::{Found, hex, max_id, one, read_all, renumber, rewrite, try_said, under_other_id, written};
use crate::rpc::world::{Edits, RpcWorld};
use crate::{MemoryIo, PairOptions, Sim};

/// More than any input is long.
const LIMITS: Limits = Limits { frame: 1 << 20, buffered: 1 << 20 };

/// So many bytes go through a proxy in memory, too.
const THROUGH: usize = 2048;

/// What a fuzz target gives to a codec: reads the bytes in several cuts, handles each frame that is found as the driver
/// would, and sends the first ones through a proxy in memory, in both directions.
///
/// # Panics
/// When the codec, or the driver, does what it must not.
pub fn fuzz<C: RpcCodec>(data: &[u8]) {
    read_any::<C>(data);
    let data = data.get(..THROUGH).unwrap_or(data);
    for buffered in [256 << 10, 0] {
        let rpc = RpcOptions { max_buffered_bytes: ByteSize(buffered), ..RpcOptions::default() };
        let mut world = RpcWorld::edited::<C>(1, PairOptions::default(), rpc, Edits::default());
        offer(&world.sim, &mut world.client, data);
        let asked = world.asked();
        offer(&world.sim, &mut world.server, data);
        for found in read_all::<C>(&[&asked], LIMITS).0 {
            if matches!(found.frame.kind, Kind::Request | Kind::OneWay) {
                let asked = Asked::new::<C>(found.frame, &found.bytes);
                let (_, answer) = written(|out| C::default().write_error(&asked, StatusCode::NOT_FOUND, "no", out));
                offer(&world.sim, &mut world.server, &answer);
            }
        }
        drop(world.answered());
        world.sim.advance(Duration::from_secs(90));
        world.sim.stop();
    }
}

/// Sends bytes to a proxy that may have closed its end.
fn offer(sim: &Sim, to: &mut MemoryIo, bytes: &[u8]) {
    drop(sim.block_on(to.send(bytes)));
    sim.run_until_quiet();
}

/// Reads the bytes whole, one by one and in pieces that are passed on, with the same outcome; then handles each frame
/// that was found as the driver would.
///
/// # Panics
/// When the codec does what it must not.
pub fn read_any<C: RpcCodec>(data: &[u8]) {
    let codec = C::default();
    for len in 0..data.len().min(64) {
        if let Ok(Decoded::Need(need)) = codec.decode(data.get(..len).unwrap_or_default()) {
            assert!(need > len, "{}: needs {need}, has {len}: {}", C::NAME, hex(data));
        }
    }
    let (whole, error) = read_all::<C>(&[data], LIMITS);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    let split = read_all::<C>(&bytes, LIMITS);
    assert_eq!(split.0, whole, "{}: byte by byte: {}", C::NAME, hex(data));
    // As long as the reader waits for as many bytes as it was asked for, it does not look at those that are there.
    assert!(split.1.is_none() || split.1 == error, "{}: byte by byte: {:?}: {}", C::NAME, split.1, hex(data));
    let (passed, stopped) = read_all::<C>(&[data], Limits { buffered: 0, ..LIMITS });
    // What is read of a frame may be limited more tightly than the frame.
    let same = if stopped.is_some() { whole.starts_with(&passed) } else { passed == whole };
    assert!(same, "{}: in pieces: {}", C::NAME, hex(data));
    for found in &whole {
        handle::<C>(found);
    }
}

/// What the driver may do with a frame.
fn handle<C: RpcCodec>(found: &Found) {
    let (codec, Found { frame, bytes }) = (C::default(), found);
    let asked = Asked::new::<C>(*frame, bytes);
    let what = || format!("{}: {}", C::NAME, hex(bytes));
    assert!(frame.id <= max_id::<C>(), "{}: the id has more bits than ids have", what());
    match frame.kind {
        Kind::Request | Kind::OneWay => {
            let (_, error) = written(|out| codec.write_error(&asked, StatusCode::BAD_REQUEST, "malformed call", out));
            let answer = one::<C>(&error, "an error");
            let is_answer = answer.kind == Kind::Response || codec.is_answer(&answer, &error);
            assert!(is_answer && answer.id == frame.id, "{}: answered with {}", what(), hex(&error));
            again::<C>(frame, bytes);
        }
        Kind::Response => again::<C>(frame, bytes),
        Kind::Heartbeat => {
            let (_, reply) = written(|out| codec.write_heartbeat_reply(&asked, out));
            let answer = one::<C>(&reply, "a heartbeat's reply");
            assert_eq!((answer.kind, answer.id), (Kind::HeartbeatReply, frame.id), "{}: answered with", what());
        }
        Kind::HeartbeatReply | Kind::GoAway => {}
    }
}

/// Sends a message on, as it is and written anew.
fn again<C: RpcCodec>(frame: &FrameHead, bytes: &[u8]) {
    let Ok(said) = try_said::<C>(bytes) else { return };
    for id in [0, 1, max_id::<C>()] {
        if let Some(renumbered) = renumber::<C>(bytes, id) {
            let now = one::<C>(&renumbered, "a renumbered frame");
            assert_eq!(now, under_other_id(frame, id, now.len), "{}: renumbered: {}", C::NAME, hex(bytes));
        }
        if let Ok(rewritten) = rewrite::<C>(&said, bytes, id, &said.content) {
            let now = one::<C>(&rewritten, "a rewritten frame");
            assert_eq!((now.kind, now.id), (frame.kind, id), "{}: rewritten: {}", C::NAME, hex(bytes));
            let again = try_said::<C>(&rewritten);
            let again = again.unwrap_or_else(|error| panic!("{}: {error}: rewritten: {}", C::NAME, hex(&rewritten)));
            let sorted = |mut fields: Vec<(String, String)>| {
                fields.sort();
                fields
            };
            assert_eq!(sorted(again.fields()), sorted(said.fields()), "{}: rewritten: {}", C::NAME, hex(bytes));
        }
    }
}
