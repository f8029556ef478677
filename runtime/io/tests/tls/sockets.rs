//! Over real sockets, with the engine's own buffers: the case of decryption in place.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;

use ringway_api::{Address, Chunk, ChunkQueue, Io};
use ringway_io::ring::{BufConfig, RingConfig};
use ringway_io::{BindOptions, Bound, CoreConfig, run};
use rustls::{ClientConnection, StreamOwned};

use crate::peer::{Identity, NAME, VERSIONS, client, name, noise, recv, send, server, shutdown};

#[test]
fn an_engine_serves_and_dials() {
    for plain in [false, true] {
        for version in [0, 1] {
            let identity = Identity::new(NAME);
            let accepting = Arc::new(server(&identity, &VERSIONS[version..=version], None));
            let dialling = Arc::new(client(&identity, &VERSIONS[version..=version], None));
            let buffers = BufConfig { plain, pool: 4 << 20, ..BufConfig::default() };
            let config = CoreConfig { ring: RingConfig { entries: 256, buffers }, ..CoreConfig::default() };
            run(&config, |core| {
                let (accepting, dialling) = (accepting.clone(), dialling.clone());
                async move {
                    let any = Address::Ip("127.0.0.1:0".parse().unwrap());
                    let bound = Bound::bind(&any, BindOptions::default()).unwrap();
                    let listener = core.listen(&bound);
                    let address = bound.address().ip().unwrap();
                    let data = noise(5 << 20);
                    let expected = data.clone();
                    let peer = thread::spawn(move || {
                        let conn = ClientConnection::new(dialling, name()).unwrap();
                        let mut peer = StreamOwned::new(conn, TcpStream::connect(address).unwrap());
                        peer.write_all(&expected).unwrap();
                        peer.conn.send_close_notify();
                        peer.flush().unwrap();
                        let mut all = Vec::new();
                        peer.read_to_end(&mut all).unwrap();
                        assert!(all == expected);
                    });
                    let io = core.adopt(listener.accept().await.unwrap());
                    let ours = io.local_address().unwrap();
                    let secured = io.secure_accept(accepting).await.unwrap();
                    let mut io = secured.io;
                    assert!(io.is_secured());
                    assert_eq!(io.local_address().unwrap(), ours);
                    let (mut got, mut in_place) = (Vec::new(), 0);
                    while let Some(chunk) = recv(&mut io).await.unwrap() {
                        in_place += usize::from(chunk.is_pooled());
                        got.extend_from_slice(&chunk);
                    }
                    assert!(got == data);
                    assert!(in_place > 5, "plaintext in the engine's buffers is what was decrypted in place");
                    io.mark_sent();
                    send(&mut io, &data).await.unwrap();
                    shutdown(&mut io).await.unwrap();
                    peer.join().unwrap();
                    assert!(!io.provably_unseen());
                }
            })
            .unwrap();
        }
    }
}

#[test]
fn what_was_sealed_is_delivered_after_a_drop() {
    let identity = Identity::new(NAME);
    let accepting = Arc::new(server(&identity, &VERSIONS, None));
    let dialling = Arc::new(client(&identity, &VERSIONS, None));
    let config = CoreConfig { send_limit: 50_000, ..CoreConfig::default() };
    run(&config, |core| {
        let (accepting, dialling) = (accepting.clone(), dialling.clone());
        async move {
            let any = Address::Ip("127.0.0.1:0".parse().unwrap());
            let bound = Bound::bind(&any, BindOptions::default()).unwrap();
            let listener = core.listen(&bound);
            let address = bound.address().ip().unwrap();
            let (go, gone) = mpsc::channel();
            let peer = thread::spawn(move || {
                let conn = ClientConnection::new(dialling, name()).unwrap();
                let mut peer = StreamOwned::new(conn, TcpStream::connect(address).unwrap());
                peer.flush().unwrap();
                let len: usize = gone.recv().unwrap();
                let mut all = Vec::new();
                // An end without a closure alert would be an error.
                peer.read_to_end(&mut all).unwrap();
                assert_eq!(all.len(), len);
            });
            let io = core.adopt(listener.accept().await.unwrap());
            let mut io = io.secure_accept(accepting).await.unwrap().io;
            let mut taken = 0;
            poll_fn(|cx| {
                loop {
                    let mut out = ChunkQueue::new();
                    out.push(Chunk::from(vec![7; 120_000]));
                    let polled = io.poll_send(cx, &mut out);
                    taken += 120_000 - out.bytes();
                    // Nobody reads: sooner or later there is no room.
                    if polled.is_pending() {
                        return Poll::Ready(());
                    }
                }
            })
            .await;
            drop(io);
            go.send(taken).unwrap();
            // The peer's thread is waited for by the engine's own means: what was queued needs its worker.
            while !peer.is_finished() {
                let mut timer = ringway_api::Env::timer(&core);
                timer.set_after(std::time::Duration::from_millis(5));
                timer.expired().await;
            }
            peer.join().unwrap();
        }
    })
    .unwrap();
}
