//! Calls and answers on their way.

use std::rc::Rc;
use std::time::Duration;

use ringway_api::{ByteSize, Io};
use ringway_rpc::RpcOptions;
use ringway_rpc::bolt::BoltV1;
use ringway_testkit::rpc::RpcWorld;
use ringway_testkit::{PairOptions, Split};

use crate::frames::{call, heartbeat, heartbeat_reply, id, renumbered, request, response, status};

fn world() -> RpcWorld {
    RpcWorld::new::<BoltV1>(1, PairOptions::default())
}

#[test]
fn what_nobody_edits_goes_through_as_it_came() {
    let mut world = world();
    let sent = call(7, b"hello");
    world.ask(&sent);
    let arrived = world.asked();
    assert_eq!(renumbered(&arrived, 7), sent);
    let answer = response(id(&arrived), 0, &[("a", "b")], b"world");
    world.answer(&answer);
    assert_eq!(world.answered(), renumbered(&answer, 7));
    assert_eq!(world.log.borrow().ends.len(), 1);
}

#[test]
fn answers_may_come_in_any_order() {
    let mut world = world();
    world.ask([call(1, b"one"), call(2, b"two"), call(3, b"three")].concat());
    let arrived = world.asked();
    let len = |content: usize| call(1, &vec![0; content]).len();
    let ids: Vec<u32> = [0, len(3), len(3) + len(3)].iter().map(|at| id(&arrived[*at..])).collect();
    for at in [2, 0, 1] {
        let answer = response(ids[at], 0, &[], b"x");
        world.answer(&answer);
        assert_eq!(world.answered(), renumbered(&answer, at as u32 + 1));
    }
}

#[test]
fn large_content_goes_through_in_pieces_however_it_is_cut() {
    for split in [Split::AsSent, Split::Fixed(1000), Split::Random(5000)] {
        let mut world = RpcWorld::new::<BoltV1>(2, PairOptions { split, ..PairOptions::default() });
        let content: Vec<u8> = (0..1_000_000_u32).map(|at| (at * 7) as u8).collect();
        let sent = call(9, &content);
        let RpcWorld { sim, client, server, .. } = &mut world;
        let (asked, ()) = sim.block_on(async {
            let asked = async {
                let mut asked = Vec::new();
                while asked.len() < sent.len() {
                    asked.extend_from_slice(&server.recv().await.unwrap().unwrap());
                }
                asked
            };
            join(asked, async { client.send(&sent).await.unwrap() }).await
        });
        assert!(renumbered(&asked, 9) == sent, "{split:?}");
        let answer = response(id(&asked), 0, &[], &content);
        let (answered, ()) = sim.block_on(async {
            let answered = async {
                let mut answered = Vec::new();
                while answered.len() < answer.len() {
                    answered.extend_from_slice(&client.recv().await.unwrap().unwrap());
                }
                answered
            };
            join(answered, async { server.send(&answer).await.unwrap() }).await
        });
        assert!(answered == renumbered(&answer, 9), "{split:?}");
    }
}

#[test]
fn an_edited_head_is_written_anew_and_nothing_is_lost() {
    let filter = Rc::new(|head: &mut ringway_api::RequestHead| {
        assert_eq!(head.path_and_query(), b"/com.x.Echo/say");
        assert_eq!(head.timeout, Some(Duration::from_secs(3)));
        head.headers.set("trace", b"abc").unwrap();
        head.headers.remove("gone");
    });
    let mut world = RpcWorld::with::<BoltV1>(1, PairOptions::default(), RpcOptions::default(), filter);
    let named = [("service", "com.x.Echo:1.0"), ("sofa_head_method_name", "say")];
    let odd = ("not a token", "\r\n");
    world.ask(request(1, 5, &[named[0], ("gone", "1"), named[1], odd], b"content"));
    let arrived = world.asked();
    let expected = request(1, id(&arrived), &[named[0], named[1], odd, ("trace", "abc")], b"content");
    assert_eq!(arrived, expected);
}

#[test]
fn a_one_way_call_is_passed_on_and_never_answered() {
    let mut world = world();
    world.ask(request(2, 5, &[("service", "s")], b"x"));
    assert_eq!(world.asked()[1], 2);
    assert_eq!(world.answered(), b"");
    assert_eq!(world.upstream.free_slots(), 256);
}

#[test]
fn heartbeats_are_answered_and_sent() {
    let mut world = world();
    world.ask(heartbeat(77));
    assert_eq!(world.answered(), heartbeat_reply(77));
    world.answer(heartbeat(78));
    assert_eq!(world.asked(), heartbeat_reply(78));
    world.sim.advance(Duration::from_secs(61));
    let beat = world.asked();
    assert_eq!(beat, heartbeat(id(&beat)));
    world.answer(heartbeat_reply(id(&beat)));
    world.sim.advance(Duration::from_secs(60));
    assert_eq!(world.asked().len(), beat.len());
    // Three that are not answered are enough.
    world.sim.advance(Duration::from_secs(200));
    assert_eq!(world.upstream.free_slots(), 0);
}

#[test]
fn a_cancelled_call_frees_its_place_and_its_late_answer_is_nobodys() {
    let mut world = world();
    world.ask(call(1, b"x"));
    let arrived = world.asked();
    assert_eq!(world.upstream.free_slots(), 255);
    world.client.abort();
    world.sim.run_until_quiet();
    assert_eq!(world.upstream.free_slots(), 256);
    world.answer(response(id(&arrived), 0, &[], b"late"));
    assert_eq!(world.upstream.free_slots(), 256);
}

/// Nothing was read any more then, and so the client's end was not seen.
#[test]
fn a_client_that_goes_is_noticed_while_as_many_calls_as_may_be_are_under_way() {
    let options = RpcOptions { max_concurrent_calls: 1, ..RpcOptions::default() };
    let mut world = RpcWorld::with::<BoltV1>(1, PairOptions::default(), options, Rc::new(|_| ()));
    world.ask(call(1, b"x"));
    world.client.abort();
    world.sim.run_until_quiet();
    assert!(world.ended.borrow().is_some());
    assert_eq!(world.upstream.free_slots(), 1);
}

#[test]
fn an_upstream_that_goes_is_an_error_for_every_call() {
    let mut world = world();
    world.ask([call(1, b"x"), call(2, b"y")].concat());
    drop(world.asked());
    world.sim.block_on(world.server.finish()).unwrap();
    let answered = world.answered();
    assert_eq!(status(&answered), 4);
    assert_eq!(world.upstream.free_slots(), 0);
}

#[test]
fn drain_finishes_what_is_under_way() {
    let mut world = world();
    world.ask(call(1, b"x"));
    let arrived = world.asked();
    world.downstream.drain();
    world.upstream.drain();
    world.sim.advance(Duration::from_secs(2));
    world.answer(response(id(&arrived), 0, &[], b"y"));
    assert_eq!(id(&world.answered()), 1);
    assert!(world.ended.borrow().is_none());
    world.sim.advance(Duration::from_secs(2));
    assert!(matches!(*world.ended.borrow(), Some(Ok(()))));
}

#[test]
fn what_is_too_long_is_answered_then_the_connection_ends() {
    let mut world = world();
    let mut frame = call(3, b"");
    frame[18..22].copy_from_slice(&(100_u32 << 20).to_be_bytes());
    world.ask(frame);
    let answered = world.answered();
    assert_eq!((id(&answered), status(&answered)), (3, 9));
    // A length that is only claimed was counted as received.
    assert_eq!(world.log.borrow().ends[0].as_ref().map(|end| end.body_received), Some(0));
    world.sim.advance(Duration::from_secs(2));
    let ended = world.ended.borrow_mut().take();
    assert!(matches!(ended, Some(Err(error)) if error.breach && error.details == "rpc_frame_too_large"));
}

/// Bytes were offered to a connection whose end was being closed, which failed: it was reset, and the answer with it.
#[test]
fn a_client_that_still_sends_gets_the_last_answer_and_no_reset() {
    let mut world = world();
    let mut frame = call(3, b"");
    frame[18..22].copy_from_slice(&(100_u32 << 20).to_be_bytes());
    world.ask(frame);
    for _ in 0..8 {
        world.sim.advance(Duration::from_millis(100));
        world.ask(vec![b'x'; 10_000]);
        assert!(world.ended.borrow().is_none());
    }
    let answered = world.answered();
    assert_eq!((id(&answered), status(&answered)), (3, 9));
    // A client that has sent all it has to send ends it.
    world.sim.block_on(world.client.finish()).unwrap();
    world.sim.run_until_quiet();
    assert!(
        matches!(&*world.ended.borrow(), Some(Err(error)) if error.breach && error.details == "rpc_frame_too_large")
    );
}

/// Heartbeats cannot be sent in the middle of a frame. They were counted all the same, and nobody had answered them.
#[test]
fn a_frame_that_takes_long_is_no_sign_of_a_dead_peer() {
    let mut world = world();
    let content = vec![b'x'; 400_000];
    let (sent, mut arrived) = (call(3, &content), Vec::new());
    for piece in sent.chunks(40_000) {
        world.ask(piece);
        arrived.extend(world.asked());
        world.sim.advance(Duration::from_secs(50));
    }
    assert!(renumbered(&arrived, 3) == sent);
    // The call is the last thing that was heard of the client.
    let (answer, mut answered) = (response(id(&arrived), 0, &[], &content), Vec::new());
    for piece in answer.chunks(40_000) {
        world.answer(piece);
        answered.extend(world.answered());
        world.sim.advance(Duration::from_secs(50));
    }
    assert!(answered.starts_with(&renumbered(&answer, 3)));
    assert!(world.ended.borrow().is_none());
    assert_eq!(world.upstream.free_slots(), 256);
}

/// New calls went to a connection that nothing was read from, as long as a client took nothing of a large answer.
#[test]
fn a_client_that_does_not_read_is_in_nobody_elses_way() {
    let mut world = world();
    world.ask(call(3, b"x"));
    let answer = response(id(&world.asked()), 0, &[], &vec![b'x'; 2_000_000]);
    let RpcWorld { sim, server, .. } = &mut world;
    let server = std::mem::replace(server, ringway_testkit::pair(PairOptions::default()).0);
    let sent = sim.spawn_with_result(async move {
        let mut server = server;
        let sent = server.send(&answer).await;
        (server, sent.is_ok())
    });
    sim.run_until_quiet();
    assert!(sent.borrow().is_none());
    assert_eq!(world.upstream.free_slots(), 0);
    // What is not read cannot be missed.
    for _ in 0..5 {
        world.sim.advance(Duration::from_secs(50));
        world.client.recv_now();
    }
    while sent.borrow().is_none() {
        world.client.recv_now();
        world.sim.run_until_quiet();
    }
    let Some((_server, true)) = sent.borrow_mut().take() else { panic!("the connection was given up") };
    while !world.answered().is_empty() {}
    assert_eq!(world.upstream.free_slots(), 256);
}

/// Both at once.
#[test]
fn a_client_has_so_many_bytes_under_way_at_most() {
    let long = vec![7; 3000];
    let options = RpcOptions { max_connection_bytes: ByteSize(2500), ..RpcOptions::default() };
    let mut world = RpcWorld::with::<BoltV1>(7, PairOptions::default(), options, Rc::new(|_| ()));
    let (one, two, three) = (call(1, &long[..900]), call(2, &long[..900]), call(3, &long[..900]));
    world.ask([one, two, three].concat());
    let asked = world.asked();
    assert_eq!(asked.len(), 2 * call(1, &long[..900]).len());
    let refused = world.answered();
    assert_eq!((id(&refused), status(&refused)), (3, 4), "too many requests");
    // What has been answered makes room; alone, a call may be of any length.
    let at = asked.len() / 2;
    world.answer([response(id(&asked), 0, &[], b"a"), response(id(&asked[at..]), 0, &[], b"b")].concat());
    assert!(!world.answered().is_empty());
    world.ask(call(4, &long));
    assert_eq!(world.asked().len(), call(4, &long).len());
    assert_eq!(world.answered(), b"");
}

async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|cx| {
        if first.is_none()
            && let std::task::Poll::Ready(value) = a.as_mut().poll(cx)
        {
            first = Some(value);
        }
        if second.is_none()
            && let std::task::Poll::Ready(value) = b.as_mut().poll(cx)
        {
            second = Some(value);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => std::task::Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                std::task::Poll::Pending
            }
        }
    })
    .await
}
