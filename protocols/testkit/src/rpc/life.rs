//! Connections while they live, and their ends.

use std::time::Duration;

use ringway_api::Io;
use ringway_rpc::{Asked, Kind, Mode, RpcCodec, RpcOptions};

use crate::rpc::frames::{hex, many, one, said, single, under_id, written};
use crate::rpc::passing::{answer, call, plain, same_id};
use crate::rpc::samples::Samples;

/// A little longer than the time after which a silent connection gets a heartbeat.
fn interval() -> Duration {
    let default = RpcOptions::default().heartbeat_interval;
    default.limit().unwrap_or(Duration::from_secs(60)) + Duration::from_secs(1)
}

/// Heartbeats of either side are answered, with the very bytes that their samples say, between calls and during one; they
/// are passed on to nobody.
pub fn heartbeats_are_answered<C: RpcCodec>(samples: &Samples) {
    let Some((heartbeat, reply)) = &samples.heartbeat else { return };
    let what = format!("{}: a heartbeat's reply", C::NAME);
    let mut world = plain::<C>();
    // One call at a time is one thing at a time.
    let times: &[bool] = if C::MODE == Mode::PingPong { &[false, false] } else { &[false, true] };
    for during in times {
        let called = during.then(|| call::<C>(&mut world, &samples.request().bytes, &what));
        world.ask(heartbeat);
        assert_eq!(hex(&world.answered()), hex(reply), "{what} to the client");
        assert_eq!(hex(&world.asked()), "[]", "{}: a heartbeat went on to the server", C::NAME);
        world.answer(heartbeat);
        assert_eq!(hex(&world.asked()), hex(reply), "{what} to the server");
        assert_eq!(hex(&world.answered()), "[]", "{}: a heartbeat went on to the client", C::NAME);
        if let Some(called) = called {
            answer::<C>(&mut world, &called, &samples.response().bytes, &what);
        }
    }
    assert!(world.ended.borrow().is_none(), "{what}: the connection has ended");
}

/// Silent connections get heartbeats, stay when these are answered, and end when they are not. In a protocol without any,
/// nothing is sent and nothing ends.
pub fn heartbeats_are_sent<C: RpcCodec>(samples: &Samples) {
    let mut world = plain::<C>();
    let what = format!("{}: a silent connection", C::NAME);
    let slots = world.upstream.free_slots();
    for _ in 0..5 {
        world.sim.advance(interval());
        let (to_server, to_client) = (world.asked(), world.answered());
        if samples.heartbeat.is_none() {
            assert_eq!((hex(&to_server), hex(&to_client)), (hex(&[]), hex(&[])), "{what}");
            continue;
        }
        for (bytes, is_server) in [(to_server, true), (to_client, false)] {
            let beat = single::<C>(&bytes, &what);
            assert_eq!(beat.frame.kind, Kind::Heartbeat, "{what}");
            let asked = Asked::new::<C>(beat.frame, &beat.bytes);
            let (_, reply) = written(|out| C::default().write_heartbeat_reply(&asked, out));
            if is_server { world.answer(reply) } else { world.ask(reply) }
        }
    }
    assert_eq!(world.upstream.free_slots(), slots, "{what}: its peer is there");
    assert!(world.ended.borrow().is_none(), "{what}: its client is there");
    let called = call::<C>(&mut world, &samples.request().bytes, &what);
    answer::<C>(&mut world, &called, &samples.response().bytes, &what);
    if samples.heartbeat.is_some() {
        world.sim.advance(interval() * 5);
        assert_eq!(world.upstream.free_slots(), 0, "{what}: its server answers no heartbeat");
        assert!(world.ended.borrow().is_some(), "{what}: its client answers no heartbeat");
    }
}

/// When a client goes, its calls give their places back; what is answered then is nobody's. Without ids that cannot be,
/// and the connection is given up.
pub fn cancel_frees_the_place<C: RpcCodec>(samples: &Samples) {
    let what = format!("{}: a call whose client has gone", C::NAME);
    let mut world = plain::<C>();
    let slots = world.upstream.free_slots();
    let called = call::<C>(&mut world, &samples.request().bytes, &what);
    assert_eq!(world.upstream.free_slots(), slots - 1, "{what}: places while it is under way");
    world.client.abort();
    world.sim.run_until_quiet();
    match C::MODE {
        Mode::Multiplex | Mode::Bound => {
            assert_eq!(world.upstream.free_slots(), slots, "{what}: places");
            world.answer(under_id::<C>(&samples.response().bytes, called.frame.id));
            assert_eq!(world.upstream.free_slots(), slots, "{what}: places after its answer");
            assert_eq!(hex(&world.asked()), "[]", "{what}: the server gets");
        }
        Mode::PingPong => assert_eq!(world.upstream.free_slots(), 0, "{what}: places"),
    }
    assert!(world.ended.borrow().is_some(), "{what}: its connection is still served");
    assert_eq!(world.log.borrow().cancelled, 1, "{what}: cancelled calls");
}

/// A server that says goodbye gets no more calls; what is under way is answered.
pub fn goaway_of_the_server_is_heeded<C: RpcCodec>(samples: &Samples) {
    let Some(goaway) = &samples.goaway else { return };
    let what = format!("{}: after the server's go-away", C::NAME);
    let mut world = plain::<C>();
    let called = call::<C>(&mut world, &samples.request().bytes, &what);
    world.answer(goaway);
    assert_eq!(world.upstream.free_slots(), 0, "{what}: places");
    assert_eq!(hex(&world.answered()), "[]", "{what}: the client gets");
    let answered = answer::<C>(&mut world, &called, &samples.response().bytes, &what);
    same_id::<C>(answered.frame.id, one::<C>(&samples.request().bytes, &what).id, &what);
}

/// A connection that is to end says goodbye, if it can; what is under way is answered, then it ends.
pub fn drain_finishes_what_is_under_way<C: RpcCodec>(samples: &Samples) {
    let what = format!("{}: a connection that drains", C::NAME);
    let mut world = plain::<C>();
    let called = call::<C>(&mut world, &samples.request().bytes, &what);
    world.downstream.drain();
    let goodbye: Vec<Kind> = many::<C>(&world.answered(), &what).iter().map(|found| found.frame.kind).collect();
    let expected: &[Kind] = if samples.sends_goaway { &[Kind::GoAway] } else { &[] };
    assert_eq!(goodbye, expected, "{what}: what it says");
    assert!(world.ended.borrow().is_none(), "{what}: a call is under way");
    let answered = answer::<C>(&mut world, &called, &samples.response().bytes, &what);
    assert_eq!(answered.frame.kind, Kind::Response, "{what}");
    world.sim.advance(Duration::from_secs(5));
    assert!(matches!(*world.ended.borrow(), Some(Ok(()))), "{what}: ended as {:?}", world.ended.borrow());
}

/// When a server goes, each of its calls is answered with an error.
pub fn upstream_end_is_an_error_for_every_call<C: RpcCodec>(samples: &Samples) {
    for abort in [false, true] {
        let what = format!("{}: a call whose server has gone (reset: {abort})", C::NAME);
        let mut world = plain::<C>();
        let ids: Vec<u64> = match C::MODE {
            Mode::Multiplex | Mode::Bound => vec![1, 2, 3],
            Mode::PingPong => vec![1],
        };
        for id in &ids {
            drop(call::<C>(&mut world, &under_id::<C>(&samples.request().bytes, *id), &what));
        }
        if abort {
            world.server.abort();
        } else {
            let ended = world.sim.block_on(world.server.finish());
            assert!(ended.is_ok(), "{what}: {ended:?}");
        }
        let mut answered = many::<C>(&world.answered(), &what);
        answered.sort_by_key(|answer| answer.frame.id);
        assert_eq!(answered.len(), ids.len(), "{what}: answers");
        for (answer, id) in answered.iter().zip(ids) {
            assert_eq!(answer.frame.kind, Kind::Response, "{what}");
            same_id::<C>(answer.frame.id, id, &what);
            let status = said::<C>(&answer.bytes).status();
            assert!(status.is_server_error(), "{what}: answered with {status}");
        }
        assert_eq!(world.upstream.free_slots(), 0, "{what}: the connection takes calls");
        assert!(world.ended.borrow().is_none(), "{what}: its client's connection ended");
    }
}
