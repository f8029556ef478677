//! Records that are wrong after the handshake, and what the peer is told.

use std::io;

use ringway_io::tls::details;
use ringway_testkit::{PairOptions, Sim};

use crate::peer::{End, Peer, recv_to_end, send, serve, shutdown};

/// The records that the peer wants to send.
fn sealed(peer: &mut Peer, bytes: &[u8]) -> Vec<u8> {
    io::Write::write_all(&mut peer.conn.writer(), bytes).unwrap();
    let mut records = Vec::new();
    while peer.conn.wants_write() {
        peer.conn.write_tls(&mut records).unwrap();
    }
    records
}

/// What our end makes of `change`d records, and what the peer makes of the answer.
fn meddled(version: usize, change: impl Fn(Vec<u8>) -> Vec<u8>) -> (Option<&'static str>, Vec<u8>, End) {
    let sim = Sim::new(1);
    let (secured, mut peer) = serve(&sim, version, PairOptions::default());
    let mut io = secured.io;
    sim.block_on(async {
        peer.send(b"good").await;
        let records = change(sealed(&mut peer, b"some plaintext"));
        peer.io.send(records).await.unwrap();
        let (got, error) = recv_to_end(&mut io).await;
        let error = error.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(send(&mut io, b"x").await.is_err(), "sending fails as well");
        assert!(shutdown(&mut io).await.is_err());
        drop(io);
        let (_, end) = peer.recv_to_end().await;
        (details(&error), got, end)
    })
}

#[test]
fn a_tampered_record_is_refused_wherever_it_was_changed() {
    for version in [0, 1] {
        for at in [5, 12, 20, 30, 33] {
            let (word, got, end) = meddled(version, |mut records| {
                let at = at.min(records.len() - 1);
                records[at] ^= 1;
                records
            });
            assert_eq!(word, Some("tls_bad_record"), "byte {at}");
            assert_eq!(got, b"good");
            assert_eq!(end, End::Failed("received fatal alert: BadRecordMac".into()));
        }
    }
}

#[test]
fn garbage_between_records_is_refused() {
    for version in [0, 1] {
        let (word, got, _) = meddled(version, |_| b"GET / HTTP/1.1\r\n\r\n".to_vec());
        assert_eq!((word, got.as_slice()), (Some("tls_not_tls"), &b"good"[..]));
        let (word, ..) = meddled(version, |_| vec![23, 3, 3, 255, 255, 0]);
        assert_eq!(word, Some("tls_record_overflow"));
        let (word, ..) = meddled(version, |_| vec![23, 3, 3, 0, 3, 1, 2, 3]);
        assert_eq!(word, Some("tls_bad_record"));
        let (word, ..) = meddled(version, |records| [records.clone(), records].concat());
        assert_eq!(word, Some("tls_bad_record"), "a record that is played again");
    }
}

#[test]
fn plaintext_records_are_refused_once_there_are_keys() {
    for record in [&[21, 3, 3, 0, 2, 1, 0][..], &[20, 3, 3, 0, 1, 1], &[22, 3, 3, 0, 4, 0, 0, 0, 0]] {
        let (word, ..) = meddled(1, |_| record.to_vec());
        assert_eq!(word, Some("tls_unexpected_message"));
        let (word, ..) = meddled(0, |_| record.to_vec());
        assert_eq!(word, Some("tls_bad_record"), "an alert that is not authentic does not end a connection in order");
    }
}

#[test]
fn a_fatal_alert_of_the_peer_is_named() {
    let sim = Sim::new(1);
    let (secured, mut peer) = serve(&sim, 1, PairOptions::default());
    let mut io = secured.io;
    sim.block_on(async {
        // The peer is made to complain.
        let mut other = [23, 3, 3, 0, 40].to_vec();
        other.extend([9; 40]);
        drop(peer.conn.read_tls(&mut other.as_slice()));
        assert!(peer.conn.process_new_packets().is_err());
        peer.flush().await;
        let (_, error) = recv_to_end(&mut io).await;
        let error = error.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(details(&error), Some("tls_alert_bad_record_mac"));
        assert_eq!(error.to_string(), "tls_alert_bad_record_mac");
    });
}
