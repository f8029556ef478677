//! Frames on their way through a proxy.

use std::time::Duration;

use ringway_api::ByteSize;
use ringway_rpc::{Kind, RpcCodec, RpcOptions};

use crate::rpc::frames::{Found, hex, many, one, read_all, renumber, said, single, telling_ids, under_id};
use crate::rpc::samples::{Carries, Samples};
use crate::rpc::world::{Edits, RpcWorld};
use crate::{PairOptions, Split};

/// A proxy that keeps frames up to so many bytes whole.
pub(crate) fn world<C: RpcCodec>(buffered: u64, split: Split, edits: Edits) -> RpcWorld {
    let rpc = RpcOptions { max_buffered_bytes: ByteSize(buffered), ..RpcOptions::default() };
    RpcWorld::edited::<C>(1, PairOptions { split, ..PairOptions::default() }, rpc, edits)
}

/// A proxy that edits nothing.
pub(crate) fn plain<C: RpcCodec>() -> RpcWorld {
    world::<C>(256 << 10, Split::AsSent, Edits::default())
}

/// Sends a call; what arrived at the server.
pub(crate) fn call<C: RpcCodec>(world: &mut RpcWorld, bytes: &[u8], what: &str) -> Found {
    world.ask(bytes);
    single::<C>(&world.asked(), what)
}

/// Answers a call that arrived with a response sample; what arrived at the client.
pub(crate) fn answer<C: RpcCodec>(world: &mut RpcWorld, call: &Found, bytes: &[u8], what: &str) -> Found {
    world.answer(under_id::<C>(bytes, call.frame.id));
    single::<C>(&world.answered(), what)
}

/// Panics unless a frame is `sent`, apart from its id.
fn same<C: RpcCodec>(arrived: &Found, sent: &[u8], carries: &Carries, what: &str) {
    let before = one::<C>(sent, what);
    if let Some(back) = renumber::<C>(&arrived.bytes, before.id) {
        assert!(back == sent, "{what}: {} arrived as {}", hex(sent), hex(&back));
    } else {
        // Under another id it is another frame, with a checksum perhaps.
        assert_eq!(arrived.frame.kind, before.kind, "{what}");
        let arrived = said::<C>(&arrived.bytes);
        arrived.check(carries, &[], what);
        assert!(arrived.content == said::<C>(sent).content, "{what}: content");
    }
}

/// What nobody edits arrives as it was sent, under another id; whole or in pieces, however it is cut.
pub fn untouched_frames_are_the_same<C: RpcCodec>(samples: &Samples) {
    for (buffered, split) in
        [(256 << 10, Split::AsSent), (0, Split::AsSent), (0, Split::Fixed(1)), (0, Split::Random(9))]
    {
        for (at, request) in samples.requests.iter().enumerate() {
            for (nth, response) in samples.responses.iter().enumerate() {
                let what = format!("{}: request {at}, response {nth}, whole up to {buffered}, {split:?}", C::NAME);
                let mut world = world::<C>(buffered, split, Edits::default());
                let called = call::<C>(&mut world, &request.bytes, &what);
                same::<C>(&called, &request.bytes, &request.carries, &what);
                let answered = answer::<C>(&mut world, &called, &response.bytes, &what);
                same_id::<C>(answered.frame.id, one::<C>(&request.bytes, &what).id, &what);
                same::<C>(&answered, &response.bytes, &response.carries, &what);
                assert_eq!(world.log.borrow().ends.len(), 1, "{what}: calls that have ended");
            }
        }
    }
}

/// Ids that protocols without any have are all alike.
pub(crate) fn same_id<C: RpcCodec>(found: u64, expected: u64, what: &str) {
    assert!(C::ID_BITS == 0 || found == expected, "{what}: id {found:#x} for {expected:#x}");
}

/// Clients get their answers under their own ids, whatever these are.
pub fn ids_go_through<C: RpcCodec>(samples: &Samples) {
    for buffered in [256 << 10, 0] {
        let mut world = world::<C>(buffered, Split::AsSent, Edits::default());
        for id in telling_ids::<C>() {
            let what = format!("{}: a call under {id:#x}", C::NAME);
            let called = call::<C>(&mut world, &under_id::<C>(&samples.request().bytes, id), &what);
            let answered = answer::<C>(&mut world, &called, &samples.response().bytes, &what);
            same_id::<C>(answered.frame.id, id, &what);
            same::<C>(&answered, &samples.response().bytes, &samples.response().carries, &what);
        }
    }
}

/// Answers find their calls in any order.
pub fn answers_come_in_any_order<C: RpcCodec>(samples: &Samples) {
    const CALLS: u64 = 5;
    for order in [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
        let mut world = plain::<C>();
        let calls: Vec<Vec<u8>> = (0..CALLS).map(|id| under_id::<C>(&samples.request().bytes, id * 3)).collect();
        world.ask(calls.concat());
        let what = format!("{}: answers in the order {order:?}", C::NAME);
        let called = many::<C>(&world.asked(), &what);
        assert_eq!(called.len(), calls.len(), "{what}: calls that arrived");
        for at in order {
            let response = samples.responses.get(at % samples.responses.len()).unwrap_or(samples.response());
            let call = called.get(at).unwrap_or_else(|| panic!("{what}"));
            let answered = answer::<C>(&mut world, call, &response.bytes, &what);
            assert_eq!(answered.frame.id, at as u64 * 3, "{what}");
            same::<C>(&answered, &response.bytes, &response.carries, &what);
        }
        assert_eq!(world.log.borrow().ends.len(), calls.len(), "{what}: calls that have ended");
    }
}

/// A one-way call arrives as it was sent, holds no place, gets no answer, not even one that comes all the same, and is
/// followed by others.
pub fn one_way_is_passed_on_and_never_answered<C: RpcCodec>(samples: &Samples) {
    for (at, sample) in samples.one_way.iter().enumerate() {
        for buffered in [256 << 10, 0] {
            let what = format!("{}: one-way call {at}, whole up to {buffered}", C::NAME);
            let mut world = world::<C>(buffered, Split::AsSent, Edits::default());
            let slots = world.upstream.free_slots();
            let called = call::<C>(&mut world, &sample.bytes, &what);
            assert_eq!(called.frame.kind, Kind::OneWay, "{what}");
            same::<C>(&called, &sample.bytes, &sample.carries, &what);
            assert_eq!(world.upstream.free_slots(), slots, "{what}: it holds a place");
            assert_eq!(world.log.borrow().ends.len(), 1, "{what}: calls that have ended");
            world.answer(under_id::<C>(&samples.response().bytes, called.frame.id));
            assert_eq!(hex(&world.answered()), "[]", "{what}: answered with");
            let next = call::<C>(&mut world, &samples.request().bytes, &what);
            same::<C>(&next, &samples.request().bytes, &samples.request().carries, &what);
            answer::<C>(&mut world, &next, &samples.response().bytes, &what);
        }
    }
}

/// What is too long, or no frame at all, goes nowhere: a call is answered with an error, if it can be told to be one, and
/// the connection ends. When a server sends it, whoever waits gets an error.
pub fn oversized_is_refused<C: RpcCodec>(samples: &Samples) {
    for bytes in samples.oversized.iter().chain(&samples.broken) {
        let what = format!("{}: a client sends {}", C::NAME, hex(bytes));
        let mut world = plain::<C>();
        world.ask(bytes);
        assert_eq!(hex(&world.asked()), "[]", "{what}: the server gets");
        let mut answered = many::<C>(&world.answered(), &what);
        // The connection may be taken leave of, too.
        answered.retain(|found| found.frame.kind != Kind::GoAway);
        if samples.oversized.contains(bytes) {
            assert_eq!(answered.len(), 1, "{what}: answers");
        }
        for answer in answered {
            assert_eq!(answer.frame.kind, Kind::Response, "{what}");
            let status = said::<C>(&answer.bytes).status();
            assert!(status.is_client_error() || status.is_server_error(), "{what}: answered with {status}");
        }
        world.sim.advance(Duration::from_secs(2));
        assert!(matches!(*world.ended.borrow(), Some(Err(_))), "{what}: ended as {:?}", world.ended.borrow());
    }
    for bytes in &samples.broken {
        let what = format!("{}: a server sends {}", C::NAME, hex(bytes));
        let mut world = plain::<C>();
        let id = one::<C>(&samples.request().bytes, &what).id;
        drop(call::<C>(&mut world, &samples.request().bytes, &what));
        world.answer(bytes);
        let (answered, _) = read_all::<C>(&[&world.answered()], crate::rpc::frames::WIDE);
        let answered = answered.first().unwrap_or_else(|| panic!("{what}: the call is not answered"));
        assert_eq!(answered.frame.kind, Kind::Response, "{what}");
        same_id::<C>(answered.frame.id, id, &what);
        assert!(said::<C>(&answered.bytes).status().is_server_error(), "{what}");
        assert_eq!(world.upstream.free_slots(), 0, "{what}: the connection takes calls");
    }
}
