//! The engine on real sockets, with blocking peers on threads of their own. Every test runs with both executors and
//! with both kinds of receive buffers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait and look at the clock"
)]

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use ringway_api::{Address, Chunk, ChunkQueue, Connect, ConnectError, Env, Io};
use ringway_io::ring::{BufConfig, RingConfig};
use ringway_io::{BindOptions, Bound, Core, CoreConfig, Executor, Listener, Stream, mailbox, run};

/// Runs `test` on a worker of each kind.
fn on_every_worker<F: Future<Output = ()> + 'static>(test: impl Fn(Core) -> F) {
    for executor in [Executor::Native, Executor::Glommio] {
        for plain in [false, true] {
            let buffers = BufConfig { plain, pool: 4 << 20, ..BufConfig::default() };
            let ring = RingConfig { entries: 256, buffers };
            let config = CoreConfig { executor, ring, ..CoreConfig::default() };
            run(&config, &test).unwrap();
        }
    }
}

fn any_port() -> Address {
    Address::Ip("127.0.0.1:0".parse().unwrap())
}

fn listen(core: &Core) -> (Listener, SocketAddr) {
    let bound = Bound::bind(&any_port(), BindOptions::default()).unwrap();
    let address = bound.address().ip().unwrap();
    (core.listen(&bound), address)
}

async fn accept(core: &Core, listener: &Listener) -> Stream {
    core.adopt(listener.accept().await.unwrap())
}

async fn recv(io: &mut Stream) -> std::io::Result<Option<Chunk>> {
    poll_fn(|cx| io.poll_recv(cx)).await
}

async fn read_all(io: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = recv(io).await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

async fn send(io: &mut Stream, bytes: &[u8]) {
    let mut out = ChunkQueue::new();
    out.push(Chunk::copy_from(bytes));
    poll_fn(|cx| io.poll_send(cx, &mut out)).await.unwrap();
    poll_fn(|cx| io.poll_flush(cx)).await.ok();
}

async fn shutdown(io: &mut Stream) {
    poll_fn(|cx| io.poll_shutdown(cx)).await.unwrap();
}

async fn sleep(core: &Core, span: Duration) {
    let mut timer = core.timer();
    timer.set_after(span);
    timer.expired().await;
}

/// Bytes that repeat nowhere at a small distance.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn bytes_go_both_ways_and_half_close_is_kept() {
    on_every_worker(|core| async move {
        let (listener, address) = listen(&core);
        let peer = thread::spawn(move || {
            let mut peer = TcpStream::connect(address).unwrap();
            peer.write_all(b"hello").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            peer.read_to_string(&mut answer).unwrap();
            answer
        });
        let mut io = accept(&core, &listener).await;
        assert_eq!(read_all(&mut io).await, b"hello");
        assert!(recv(&mut io).await.unwrap().is_none(), "the end of stream is sticky");
        send(&mut io, b"good ").await;
        send(&mut io, b"bye").await;
        shutdown(&mut io).await;
        assert_eq!(peer.join().unwrap(), "good bye");
    });
}

#[test]
fn large_transfers_arrive_whole() {
    on_every_worker(|core| async move {
        let (listener, address) = listen(&core);
        let data = Rc::new(noise(8 << 20));
        let expected = data.to_vec();
        let peer = thread::spawn(move || {
            let mut peer = TcpStream::connect(address).unwrap();
            let mut all = vec![0; expected.len()];
            peer.read_exact(&mut all).unwrap();
            assert!(all == expected);
            peer.write_all(&all).unwrap();
        });
        let mut io = accept(&core, &listener).await;
        let mut out = ChunkQueue::new();
        for at in (0..data.len()).step_by(100_000) {
            let len = (data.len() - at).min(100_000);
            out.push(Chunk::shared(data.clone(), at, len));
        }
        poll_fn(|cx| io.poll_send(cx, &mut out)).await.unwrap();
        poll_fn(|cx| io.poll_flush(cx)).await.unwrap();
        assert!(read_all(&mut io).await == *data);
        peer.join().unwrap();
    });
}

#[test]
fn what_was_queued_is_delivered_after_a_drop() {
    on_every_worker(|core| async move {
        let (listener, address) = listen(&core);
        let peer = thread::spawn(move || {
            let mut peer = TcpStream::connect(address).unwrap();
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all.len()
        });
        let mut io = accept(&core, &listener).await;
        let mut out = ChunkQueue::new();
        out.push(Chunk::from(noise(200_000)));
        poll_fn(|cx| io.poll_send(cx, &mut out)).await.unwrap();
        // A receive is under way too: it must not keep the socket open.
        poll_fn(|cx| {
            assert!(io.poll_recv(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(io);
        while !peer.is_finished() {
            sleep(&core, Duration::from_millis(5)).await;
        }
        assert_eq!(peer.join().unwrap(), 200_000);
    });
}

#[test]
fn an_aborted_stream_is_reset() {
    on_every_worker(|core| async move {
        let (listener, address) = listen(&core);
        let peer = thread::spawn(move || {
            let mut peer = TcpStream::connect(address).unwrap();
            peer.read(&mut [0; 1]).unwrap_err().kind()
        });
        let mut io = accept(&core, &listener).await;
        poll_fn(|cx| {
            assert!(io.poll_recv(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        io.abort();
        while !peer.is_finished() {
            sleep(&core, Duration::from_millis(5)).await;
        }
        assert_eq!(peer.join().unwrap(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_slow_reader_holds_bounded_memory_and_nobody_else() {
    on_every_worker(|core| async move {
        let (listener, address) = listen(&core);
        // This one never reads; a second one works meanwhile.
        let stuck = thread::spawn(move || TcpStream::connect(address).unwrap());
        let mut slow = accept(&core, &listener).await;
        let stuck = stuck.join().unwrap();
        let block = Rc::new(noise(64 << 10));
        let mut accepted = 0;
        loop {
            let mut out = ChunkQueue::new();
            out.push(Chunk::shared(block.clone(), 0, block.len()));
            let full = poll_fn(|cx| Poll::Ready(slow.poll_send(cx, &mut out).is_pending())).await;
            accepted += 1;
            if full {
                break;
            }
            sleep(&core, Duration::from_millis(1)).await;
            assert!(accepted < 1000, "back-pressure never came");
        }
        let peer = thread::spawn(move || {
            let mut peer = TcpStream::connect(address).unwrap();
            peer.write_all(b"ping").unwrap();
            let mut answer = [0; 4];
            peer.read_exact(&mut answer).unwrap();
            answer
        });
        let mut io = accept(&core, &listener).await;
        let chunk = recv(&mut io).await.unwrap().unwrap();
        send(&mut io, &chunk).await;
        while !peer.is_finished() {
            sleep(&core, Duration::from_millis(1)).await;
        }
        assert_eq!(&peer.join().unwrap(), b"ping");
        drop(stuck);
    });
}

#[test]
fn a_fast_sender_is_paused_until_its_bytes_are_taken() {
    on_every_worker(|core| async move {
        let (listener, address) = listen(&core);
        let data = noise(6 << 20);
        let expected = data.clone();
        let peer = thread::spawn(move || TcpStream::connect(address).unwrap().write_all(&data).unwrap());
        let mut io = accept(&core, &listener).await;
        let first = recv(&mut io).await.unwrap().unwrap();
        // Nobody takes what arrives for a while; the pool of 4 MiB must not be what bounds it.
        sleep(&core, Duration::from_millis(50)).await;
        assert!(core.stats().held_bytes <= 2 << 20, "{} bytes held", core.stats().held_bytes);
        let mut all = first.to_vec();
        drop(first);
        all.extend(read_all(&mut io).await);
        assert!(all == expected);
        peer.join().unwrap();
    });
}

#[test]
fn many_held_chunks_do_not_starve_a_stranger() {
    on_every_worker(|core| async move {
        let (listener, address) = listen(&core);
        let senders = thread::spawn(move || {
            let mut peers: Vec<_> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
            peers.iter_mut().for_each(|peer| peer.write_all(&noise(100_000)).unwrap());
            peers
        });
        let mut held = Vec::new();
        for _ in 0..64 {
            let mut io = accept(&core, &listener).await;
            let mut got = 0;
            while got < 100_000 {
                let chunk = recv(&mut io).await.unwrap().unwrap();
                got += chunk.len();
                held.push(chunk);
            }
            held.push(Chunk::EMPTY);
        }
        let peers = senders.join().unwrap();
        let stranger = thread::spawn(move || TcpStream::connect(address).unwrap().write_all(b"hello").unwrap());
        let mut io = accept(&core, &listener).await;
        assert_eq!(read_all(&mut io).await, b"hello");
        stranger.join().unwrap();
        drop((held, peers));
    });
}

#[test]
fn connecting_falls_back_fails_and_times_out() {
    on_every_worker(|core| async move {
        let limit = Duration::from_secs(5);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = Address::Ip(taken.local_addr().unwrap());
        // Bound but not listening: refused at once, and nobody else can take the port.
        let refusing = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        refusing.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let bad = Address::Ip(refusing.local_addr().unwrap().as_socket().unwrap());
        let failed = core.connect(std::slice::from_ref(&bad), limit).await;
        match failed.err() {
            Some(ConnectError::Failed(error)) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused),
            other => panic!("{other:?}"),
        }
        let mut io = core.connect(&[bad, good], limit).await.map_err(|error| error.to_string()).unwrap();
        send(&mut io, b"x").await;
        let mut peer = taken.accept().unwrap().0;
        peer.read_exact(&mut [0; 1]).unwrap();
        assert!(matches!(core.connect(&[], limit).await.err(), Some(ConnectError::Failed(_))));
        // A listener whose queue is full answers nothing.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        full.listen(0).unwrap();
        let address = full.local_addr().unwrap().as_socket().unwrap();
        let _first = TcpStream::connect(address).unwrap();
        let slow = Address::Ip(address);
        let mut outcome = None;
        for _ in 0..8 {
            outcome = core.connect(std::slice::from_ref(&slow), Duration::from_millis(50)).await.err();
            if outcome.is_some() {
                break;
            }
        }
        assert!(matches!(outcome, Some(ConnectError::Timeout)), "{outcome:?}");
    });
}

#[test]
fn unix_sockets_replace_a_stale_file_and_respect_a_live_one() {
    let dir = std::env::temp_dir().join(format!("ringway-io-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    on_every_worker(|core| {
        let path = path.clone();
        async move {
            let options = BindOptions::default();
            let bound = Bound::bind(&Address::Unix(path.clone()), options).unwrap();
            let taken = Bound::bind(&Address::Unix(path.clone()), options).unwrap_err();
            assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
            let listener = core.listen(&bound);
            let to = path.clone();
            let peer = thread::spawn(move || {
                let mut peer = UnixStream::connect(to).unwrap();
                peer.write_all(b"over there").unwrap();
            });
            // The attempt to bind looked whether anybody answers, so somebody seems to come and go first.
            drop(listener.accept().await.unwrap());
            let accepted = listener.accept().await.unwrap();
            assert_eq!(accepted.addresses().unwrap().0, Address::Unix(path));
            assert_eq!(read_all(&mut core.adopt(accepted)).await, b"over there");
            peer.join().unwrap();
        }
    });
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_drained_listener_loses_no_connection() {
    on_every_worker(|core| async move {
        let (listener, address) = listen(&core);
        let peers = thread::spawn(move || {
            (0..20)
                .map(|_| {
                    let mut peer = TcpStream::connect(address).unwrap();
                    peer.write_all(b"x").unwrap();
                    peer
                })
                .collect::<Vec<_>>()
        })
        .join()
        .unwrap();
        // Some were accepted by the ring, none was taken by us; the queue of the kernel may hold the rest.
        sleep(&core, Duration::from_millis(5)).await;
        let taken = listener.drain().unwrap();
        assert_eq!(taken.len(), peers.len());
        drop(listener);
        for accepted in taken {
            let mut io = core.adopt(accepted);
            assert_eq!(recv(&mut io).await.unwrap().as_deref(), Some(&b"x"[..]));
        }
    });
}

#[test]
fn mail_from_another_thread_wakes_an_idle_worker() {
    on_every_worker(|core| async move {
        let (sender, mut mail) = mailbox::<u32>(&core, 4);
        // Long enough for the tick to have stopped.
        let posts = thread::spawn(move || {
            for n in 0..3 {
                thread::sleep(Duration::from_millis(30));
                sender.send(n).unwrap();
            }
            while !sender.is_empty() {
                thread::yield_now();
            }
            (0..4).for_each(|n| sender.send(n).unwrap());
            assert!(sender.send(9).is_err(), "the fifth does not fit");
        });
        for n in 0..3 {
            assert_eq!(mail.recv().await, n);
        }
        // Blocks this worker on purpose: the other thread must find the mailbox full.
        posts.join().unwrap();
        for n in 0..4 {
            assert_eq!(mail.recv().await, n);
        }
    });
}

#[test]
fn wakers_work_from_other_threads() {
    let config = CoreConfig::default();
    run(&config, |core| async move {
        for delay in [0, 30] {
            let mut started = false;
            let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            poll_fn(|cx| {
                if flag.load(Ordering::Acquire) {
                    return Poll::Ready(());
                }
                if !std::mem::replace(&mut started, true) {
                    let (waker, flag) = (cx.waker().clone(), flag.clone());
                    thread::spawn(move || {
                        thread::sleep(Duration::from_millis(delay));
                        flag.store(true, Ordering::Release);
                        waker.wake();
                    });
                }
                Poll::Pending
            })
            .await;
        }
        drop(core);
    })
    .unwrap();
}

#[test]
fn timers_fire_after_their_time_and_idle_workers_rest() {
    on_every_worker(|core| async move {
        for ms in [1, 10, 70] {
            let before = Instant::now();
            sleep(&core, Duration::from_millis(ms)).await;
            assert!(before.elapsed() >= Duration::from_millis(ms));
        }
        // Let the tick stop, then see that the worker does not turn by itself.
        sleep(&core, Duration::from_millis(50)).await;
        let before = core.stats().driver.enters;
        sleep(&core, Duration::from_millis(300)).await;
        let turns = core.stats().driver.enters - before;
        assert!(turns < 20, "{turns} turns in 300 ms without work");
    });
}

/// Blocking after one quiet round used to add a tick to each hop between tasks.
#[test]
fn a_quiet_worker_gives_memory_back_once_and_is_then_left_alone() {
    static RESTS: AtomicUsize = AtomicUsize::new(0);
    let on_rest = || {
        RESTS.fetch_add(1, Ordering::Relaxed);
    };
    for executor in [Executor::Native, Executor::Glommio] {
        let config = CoreConfig { executor, on_rest: Some(on_rest), ..CoreConfig::default() };
        run(&config, |core| async move {
            let (listener, address) = listen(&core);
            let seen = core.work_since(0).await;
            let mut peer = TcpStream::connect(address).unwrap();
            let mut io = accept(&core, &listener).await;
            // As much as stays in the buffers that the kernel has.
            peer.write_all(&noise(64 << 10)).unwrap();
            let mut received = 0;
            while received < 64 << 10 {
                received += recv(&mut io).await.unwrap().unwrap().len();
            }
            assert!(core.work_since(seen).await > seen);
            RESTS.store(0, Ordering::Relaxed);
            sleep(&core, Duration::from_millis(1500)).await;
            let enters = core.stats().driver.enters;
            sleep(&core, Duration::from_millis(2500)).await;
            assert_eq!(RESTS.load(Ordering::Relaxed), 1, "{executor:?}");
            assert!(core.stats().driver.enters - enters <= 6, "{executor:?}: woken for nothing");
            // What comes now is received into the memory that was given back.
            peer.write_all(b"again").unwrap();
            assert_eq!(&*recv(&mut io).await.unwrap().unwrap(), b"again");
        })
        .unwrap();
    }
}

#[test]
fn a_hop_between_tasks_costs_no_tick() {
    on_every_worker(|core| async move {
        let (listener, address) = listen(&core);
        let (back, back_address) = listen(&core);
        let inner = core.clone();
        core.spawn(Box::pin(async move {
            let mut io = accept(&inner, &back).await;
            while let Ok(Some(chunk)) = recv(&mut io).await {
                send(&mut io, &chunk).await;
            }
        }));
        let inner = core.clone();
        core.spawn(Box::pin(async move {
            let mut io = accept(&inner, &listener).await;
            let to = [Address::Ip(back_address)];
            let Ok(mut upstream) = inner.connect(&to, Duration::from_secs(1)).await else { return };
            while let Ok(Some(chunk)) = recv(&mut io).await {
                send(&mut upstream, &chunk).await;
                let Ok(Some(answer)) = recv(&mut upstream).await else { return };
                send(&mut io, &answer).await;
            }
        }));
        let (sender, mut done) = mailbox::<Duration>(&core, 1);
        thread::spawn(move || {
            let mut peer = TcpStream::connect(address).unwrap();
            peer.set_nodelay(true).unwrap();
            let mut fastest = Duration::MAX;
            for _ in 0..200 {
                let before = Instant::now();
                peer.write_all(b"ping").unwrap();
                peer.read_exact(&mut [0; 4]).unwrap();
                fastest = fastest.min(before.elapsed());
            }
            sender.send(fastest).unwrap();
        });
        let fastest = done.recv().await;
        assert!(fastest < Duration::from_millis(4), "{fastest:?}");
    });
}

#[test]
fn a_panic_ends_its_task_and_nothing_else() {
    run(&CoreConfig::default(), |core| async move {
        core.spawn(Box::pin(async { panic!("on purpose") }));
        sleep(&core, Duration::from_millis(5)).await;
        assert_eq!(core.stats().panics, 1);
    })
    .unwrap();
}

#[test]
fn bytes_the_peer_never_acknowledged_are_provably_unseen() {
    on_every_worker(|core| async move {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = Address::Ip(taken.local_addr().unwrap());
        let mut io = core.connect(&[to], Duration::from_secs(1)).await.map_err(|error| error.to_string()).unwrap();
        let mut peer = taken.accept().unwrap().0;
        send(&mut io, b"first").await;
        peer.read_exact(&mut [0; 5]).unwrap();
        io.mark_sent();
        // The peer is gone before the second request arrives: its kernel answers with a reset.
        drop(peer);
        send(&mut io, b"second").await;
        assert!(poll_fn(|cx| io.poll_recv(cx)).await.is_ok_and(|chunk| chunk.is_none()));
        assert!(io.provably_unseen());
        // One that was read is not.
        let to = Address::Ip(taken.local_addr().unwrap());
        let mut io = core.connect(&[to], Duration::from_secs(1)).await.map_err(|error| error.to_string()).unwrap();
        let mut peer = taken.accept().unwrap().0;
        io.mark_sent();
        send(&mut io, b"second").await;
        peer.read_exact(&mut [0; 6]).unwrap();
        drop(peer);
        assert!(recv(&mut io).await.is_ok_and(|chunk| chunk.is_none()));
        assert!(!io.provably_unseen());
    });
}

#[test]
fn this_machine_passes_the_probe() {
    let support = ringway_io::probe(&RingConfig::default());
    assert!(support.is_ok(), "{}", support.unwrap_err());
}
