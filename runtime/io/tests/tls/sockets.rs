//! Over real sockets, with the engine's own buffers: the case of decryption in place.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use ringway_api::{Address, Io};
use ringway_io::ring::{BufConfig, RingConfig};
use ringway_io::{BindOptions, Bound, CoreConfig, run};
use rustls::{ClientConnection, StreamOwned};

use crate::peer::{Identity, NAME, VERSIONS, client, name, noise, recv_to_end, send, server, shutdown};

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
                    let (got, error) = recv_to_end(&mut io).await;
                    assert!(error.is_none(), "{error:?}");
                    assert!(got == data);
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
