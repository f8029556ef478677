//! Established connections: data, ends, key updates, back-pressure.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use ringway_api::{Chunk, ChunkQueue, Io};
use ringway_io::tls::details;
use ringway_testkit::{PairOptions, Sim, Split};

use crate::peer::{End, dial, noise, recv, recv_to_end, send, serve, shutdown, split};

#[test]
fn bytes_go_both_ways_however_they_are_cut() {
    let cuts = [Split::AsSent, Split::Fixed(1), Split::Fixed(7), Split::Joined(1 << 20), Split::Random(3000)];
    for (version, side) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for cut in cuts {
            let sim = Sim::new(1);
            let meet = if side == 0 { serve } else { dial };
            let (secured, mut peer) = meet(&sim, version, split(cut));
            let mut io = secured.io;
            let there = noise(60_000);
            let expected = there.clone();
            let theirs = sim.spawn_with_result(async move {
                let got = peer.recv_exactly(60_000).await;
                peer.send(&got).await;
                peer.close().await;
                let (rest, end) = peer.recv_to_end().await;
                (got, rest, end)
            });
            let back = sim.block_on(async {
                send(&mut io, &there).await.unwrap();
                let (back, error) = recv_to_end(&mut io).await;
                assert!(error.is_none(), "{error:?}");
                send(&mut io, b"after their end").await.unwrap();
                shutdown(&mut io).await.unwrap();
                assert!(recv(&mut io).await.unwrap().is_none(), "the end is sticky");
                back
            });
            sim.run_until_quiet();
            let (got, rest, end) = theirs.take().unwrap();
            assert!(got == expected && back == expected, "version {version}, side {side}, {cut:?}");
            assert_eq!((rest.as_slice(), end), (&b"after their end"[..], End::Closed));
        }
    }
}

#[test]
fn large_transfers_do_not_wait_for_each_other() {
    for version in [0, 1] {
        let sim = Sim::new(1);
        let (secured, mut peer) = serve(&sim, version, split(Split::Random(20_000)));
        let (mut io, data) = (secured.io, noise(3 << 20));
        let theirs = sim.spawn_with_result({
            let data = data.clone();
            async move {
                peer.send(&data).await;
                peer.close().await;
                peer.recv_to_end().await
            }
        });
        sim.block_on(async {
            let (got, error) = recv_to_end(&mut io).await;
            assert!(got == data && error.is_none());
            send(&mut io, &data).await.unwrap();
            shutdown(&mut io).await.unwrap();
        });
        sim.run_until_quiet();
        let (got, end) = theirs.take().unwrap();
        assert!(got == data && end == End::Closed);
    }
}

#[test]
fn an_end_without_a_closure_alert_is_an_error() {
    for version in [0, 1] {
        let sim = Sim::new(1);
        let (secured, mut peer) = serve(&sim, version, PairOptions::default());
        let mut io = secured.io;
        sim.block_on(async {
            peer.send(b"half of a").await;
            peer.io.finish().await.unwrap();
            let (got, error) = recv_to_end(&mut io).await;
            assert_eq!(got, b"half of a");
            let error = error.unwrap();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(details(&error), Some("tls_truncated"));
            assert_eq!(recv(&mut io).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "sticky");
        });
    }
}

#[test]
fn dropping_a_stream_closes_it_in_order() {
    let sim = Sim::new(1);
    let (secured, mut peer) = serve(&sim, 1, PairOptions::default());
    let mut io = secured.io;
    sim.block_on(async {
        send(&mut io, b"bye").await.unwrap();
        drop(io);
        assert_eq!(peer.recv_to_end().await, (b"bye".to_vec(), End::Closed));
    });
}

#[test]
fn an_aborted_stream_resets() {
    let sim = Sim::new(1);
    let (secured, mut peer) = serve(&sim, 1, PairOptions::default());
    let mut io = secured.io;
    sim.block_on(async {
        io.abort();
        assert_eq!(send(&mut io, b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(recv(&mut io).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        drop(io);
        assert!(matches!(peer.recv_to_end().await, (_, End::Failed(_))));
    });
}

#[test]
fn what_is_put_back_comes_first() {
    let sim = Sim::new(1);
    let (secured, mut peer) = serve(&sim, 1, PairOptions::default());
    let mut io = secured.io;
    sim.block_on(async {
        peer.send(b"one").await;
        peer.send(b"two").await;
        peer.close().await;
        let mut one = recv(&mut io).await.unwrap().unwrap();
        let o = one.split_to(1);
        io.unread(one);
        io.unread(o);
        io.unread(Chunk::EMPTY);
        assert_eq!(recv(&mut io).await.unwrap().as_deref(), Some(&b"o"[..]));
        assert_eq!(recv_to_end(&mut io).await.0, b"netwo");
        io.unread(Chunk::from("last"));
        assert_eq!(recv_to_end(&mut io).await.0, b"last", "even after the end");
    });
}

#[test]
fn keys_are_updated_by_either_side() {
    for meet in [serve, dial] {
        let sim = Sim::new(1);
        let (secured, mut peer) = meet(&sim, 1, split(Split::Random(50)));
        let mut io = secured.io;
        let theirs = sim.spawn_with_result(async move {
            for round in 0..5u8 {
                peer.conn.refresh_traffic_keys().unwrap();
                peer.send(&[round; 100]).await;
                assert_eq!(peer.recv_exactly(100).await, [round; 100]);
            }
            peer
        });
        sim.block_on(async {
            for round in 0..5u8 {
                let mut got = Vec::new();
                while got.len() < 100 {
                    got.extend_from_slice(&recv(&mut io).await.unwrap().unwrap());
                }
                assert_eq!(got, [round; 100]);
                send(&mut io, &got).await.unwrap();
            }
        });
        sim.run_until_quiet();
        assert!(theirs.take().is_some());
    }
}

#[test]
fn a_peer_that_keeps_asking_for_keys_is_cut_off() {
    let sim = Sim::new(1);
    let (secured, mut peer) = serve(&sim, 1, PairOptions::default());
    let mut io = secured.io;
    sim.block_on(async {
        for _ in 0..40 {
            peer.conn.refresh_traffic_keys().unwrap();
            peer.flush().await;
        }
        let (_, error) = recv_to_end(&mut io).await;
        assert_eq!(error.as_ref().and_then(details), Some("tls_flood"));
    });
}

#[test]
fn a_peer_that_does_not_read_stops_the_sender() {
    let sim = Sim::new(1);
    let (secured, mut peer) = serve(&sim, 1, PairOptions { capacity: 10_000, ..PairOptions::default() });
    let (mut io, data) = (secured.io, noise(2 << 20));
    let mut out = ChunkQueue::new();
    for part in data.chunks(5000) {
        out.push(Chunk::copy_from(part));
    }
    sim.block_on(poll_fn(|cx| {
        for _ in 0..10 {
            assert!(io.poll_send(cx, &mut out).is_pending());
        }
        Poll::Ready(())
    }));
    let taken = data.len() - out.bytes();
    assert!(taken <= 10_000 + (128 << 10) + (16 << 10), "{taken} bytes were taken");
    let theirs = sim.spawn_with_result(async move { peer.recv_to_end().await });
    sim.block_on(async {
        poll_fn(|cx| io.poll_send(cx, &mut out)).await.unwrap();
        shutdown(&mut io).await.unwrap();
    });
    sim.run_until_quiet();
    let (got, end) = theirs.take().unwrap();
    assert!(got == data && end == End::Closed);
}

#[test]
fn a_peer_that_asks_for_keys_and_does_not_read_gets_one_answer() {
    let sim = Sim::new(1);
    let (secured, mut peer) = serve(&sim, 1, PairOptions { capacity: 2000, ..PairOptions::default() });
    let mut io = secured.io;
    let sent = peer.io.control();
    sim.block_on(async {
        let mut out = ChunkQueue::new();
        out.push(Chunk::from(noise(4000)));
        poll_fn(|cx| {
            assert!(io.poll_send(cx, &mut out).is_pending());
            Poll::Ready(())
        })
        .await;
        for round in 0..100u8 {
            peer.conn.refresh_traffic_keys().unwrap();
            peer.send(&[round; 3]).await;
            assert_eq!(recv(&mut io).await.unwrap().as_deref(), Some(&[round; 3][..]));
        }
    });
    assert!(sent.waiting() <= 2000);
    let theirs = sim.spawn_with_result(async move { peer.recv_exactly(4002).await });
    sim.block_on(send(&mut io, b"ok")).unwrap();
    sim.run_until_quiet();
    assert!(theirs.take().unwrap().ends_with(b"ok"));
}

#[test]
fn nothing_is_sent_after_our_end() {
    let sim = Sim::new(1);
    let (secured, mut peer) = serve(&sim, 1, PairOptions::default());
    let mut io = secured.io;
    sim.block_on(async {
        shutdown(&mut io).await.unwrap();
        assert_eq!(send(&mut io, b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        peer.send(b"still heard").await;
        peer.close().await;
        assert_eq!(recv_to_end(&mut io).await.0, b"still heard");
    });
}
