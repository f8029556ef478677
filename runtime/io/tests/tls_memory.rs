//! What an idle TLS connection holds. A test program of its own: it looks at the whole process's memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[allow(dead_code, reason = "another test program uses the rest")]
#[path = "tls/peer.rs"]
mod peer;

use std::hint::black_box;
use std::sync::Arc;

use ringway_api::Io;
use ringway_io::tls::{self, TlsStream};
use ringway_testkit::{MemoryIo, PairOptions, Sim, pair};
use rustls::{ClientConfig, ServerConfig};

use peer::{Identity, NAME, Peer, VERSIONS, client, meet, name, recv, send, server};

/// How many bytes the process has allocated, by the C library's account: those of AWS-LC are among them.
#[allow(unsafe_code, reason = "mallinfo2 has no wrapper")]
fn allocated() -> usize {
    // SAFETY: no preconditions; it only reads the allocator's counters.
    unsafe { libc::mallinfo2() }.uordblks
}

/// Bytes per connection after some traffic, the box it lies in included.
fn held(version: usize, meet: impl Fn(&Sim) -> (Box<TlsStream<MemoryIo>>, Peer)) -> usize {
    // Enough to make what the allocator keeps of freed memory for itself not count.
    const COUNT: usize = 256;
    let sim = Sim::new(1);
    let mut streams = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..COUNT {
        let (mut io, mut peer) = meet(&sim);
        sim.block_on(async {
            for _ in 0..3 {
                peer.send(&[7; 20_000]).await;
                let mut got = 0;
                while got < 20_000 {
                    got += recv(&mut *io).await.unwrap().unwrap().len();
                }
                send(&mut *io, &[8; 20_000]).await.unwrap();
                peer.recv_exactly(20_000).await;
            }
        });
        streams.push(io);
        peers.push(peer);
    }
    // So that nothing is sealed when they are dropped.
    streams.iter_mut().for_each(|io| io.abort());
    let before = allocated();
    let held = black_box(streams);
    drop(held);
    let freed = before.saturating_sub(allocated()) / COUNT;
    println!("{}: {freed} bytes", if version == 0 { "TLS 1.2" } else { "TLS 1.3" });
    freed
}

#[test]
fn an_idle_connection_holds_its_keys_and_nothing_else() {
    println!("struct: {} bytes", size_of::<TlsStream<MemoryIo>>());
    let identity = Identity::new(NAME);
    for (version, bound) in [(0, 2000), (1, 2800)] {
        let versions = &VERSIONS[version..=version];
        // All connections of a listener or cluster share a configuration.
        let accepting = Arc::new(server(&identity, versions, None));
        let dialling = Arc::new(client(&identity, versions, None));
        let served = held(version, |sim| {
            let (ours, theirs) = pair(PairOptions::default());
            let peer = Peer::client(ClientConfig::clone(&dialling), theirs);
            let (secured, peer) = meet(sim, tls::accept(accepting.clone(), ours), peer);
            (Box::new(secured.io), peer)
        });
        let dialled = held(version, |sim| {
            let (ours, theirs) = pair(PairOptions::default());
            let peer = Peer::server(ServerConfig::clone(&accepting), theirs);
            let (secured, peer) = meet(sim, tls::connect(dialling.clone(), name(), ours), peer);
            (Box::new(secured.io), peer)
        });
        assert!(served <= bound, "a connection that was accepted holds {served} bytes");
        // The chain that the server has shown stays with rustls, for the tickets to come.
        assert!(dialled <= bound + 1000, "a connection that was dialled holds {dialled} bytes");
    }
}
