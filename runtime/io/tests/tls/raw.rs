//! Authentic records with content that no orderly peer sends.

use std::io;

use ringway_api::Io;
use ringway_io::tls::{TlsStream, details};
use ringway_testkit::{MemoryIo, PairOptions, Sim};
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite};

use crate::peer::{Peer, dial, recv_to_end, serve};

/// The peer's end, with its keys in our hand.
struct Raw {
    cipher: Box<dyn MessageEncrypter>,
    seq: u64,
    io: MemoryIo,
}

impl Raw {
    fn new(peer: Peer) -> Self {
        let suite = peer.conn.negotiated_cipher_suite().unwrap();
        let (seq, secrets) = peer.conn.dangerous_extract_secrets().unwrap().tx;
        let (ConnectionTrafficSecrets::Aes256Gcm { key, iv } | ConnectionTrafficSecrets::Aes128Gcm { key, iv }) =
            secrets
        else {
            panic!("another cipher")
        };
        let cipher = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
            SupportedCipherSuite::Tls12(suite) => suite.aead_alg.encrypter(key, &iv.as_ref()[..4], &iv.as_ref()[4..]),
        };
        let mut raw = Self { cipher, seq: 0, io: peer.io };
        // AWS-LC wants to see the sequence numbers from the first on.
        while raw.seq < seq {
            raw.seal(ContentType::ApplicationData, &[]);
        }
        raw
    }

    fn seal(&mut self, typ: ContentType, content: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(content);
        let sealed =
            self.cipher.encrypt(OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload }, self.seq);
        self.seq += 1;
        sealed.unwrap().encode()
    }

    async fn send(&mut self, typ: ContentType, content: &[u8]) {
        let record = self.seal(typ, content);
        self.io.send(record).await.unwrap();
    }
}

type Meet = fn(&Sim, usize, PairOptions) -> (ringway_api::Secured<TlsStream<MemoryIo>>, Peer);

/// What our end makes of these records: the plaintext, and the word for its error.
fn outcome(meet: Meet, version: usize, records: &[(ContentType, &[u8])]) -> (Vec<u8>, Option<&'static str>) {
    let sim = Sim::new(1);
    let (secured, peer) = meet(&sim, version, PairOptions::default());
    let (mut io, mut raw) = (secured.io, Raw::new(peer));
    sim.block_on(async {
        for (kind, content) in records {
            raw.send(*kind, content).await;
        }
        raw.io.finish().await.unwrap();
        let (got, error) = recv_to_end(&mut io).await;
        let word = error.as_ref().map(|error| details(error).unwrap());
        // The peer is told unless it was the one to complain, or there was nothing to complain of.
        if error.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            let told = raw.io.recv_now();
            assert!(!told.is_empty());
        }
        io.abort();
        (got, word)
    })
}

const DATA: ContentType = ContentType::ApplicationData;
const ALERT: ContentType = ContentType::Alert;
const HANDSHAKE: ContentType = ContentType::Handshake;
const CLOSE: (ContentType, &[u8]) = (ALERT, &[1, 0]);

#[test]
fn alerts_end_a_connection_as_they_say() {
    for version in [0, 1] {
        for meet in [serve as Meet, dial] {
            let data = (DATA, &b"data"[..]);
            assert_eq!(
                outcome(meet, version, &[data, CLOSE, data]),
                (b"data".to_vec(), None),
                "and the rest is ignored"
            );
            let fatal = [data, (ALERT, &[2, 48])];
            assert_eq!(outcome(meet, version, &fatal), (b"data".to_vec(), Some("tls_alert_unknown_ca")));
            let cancelled = [(ALERT, &[1, 90][..]), data, CLOSE];
            assert_eq!(outcome(meet, version, &cancelled), (b"data".to_vec(), None));
            let warned = [(ALERT, &[1, 112][..]), data, CLOSE];
            let expected =
                if version == 0 { (&b"data"[..], None) } else { (&b""[..], Some("tls_alert_unrecognized_name")) };
            assert_eq!(outcome(meet, version, &warned), (expected.0.to_vec(), expected.1));
            assert_eq!(outcome(meet, version, &[(ALERT, &[1])]).1, Some("tls_malformed"));
            assert_eq!(outcome(meet, version, &[(ALERT, &[])]).1, Some("tls_unexpected_message"));
        }
    }
}

#[test]
fn empty_records_are_taken_in_moderation() {
    for version in [0, 1] {
        let mut records = vec![(DATA, &b""[..]); 30];
        records.extend([(DATA, &b"data"[..]), (DATA, b""), CLOSE]);
        assert_eq!(outcome(serve, version, &records), (b"data".to_vec(), None));
        assert_eq!(outcome(serve, version, &[(DATA, &b""[..]); 33]).1, Some("tls_flood"));
    }
}

#[test]
fn handshake_messages_are_taken_where_they_belong() {
    let unexpected = Some("tls_unexpected_message");
    // A key update that is cut in two, one that is malformed, one that does not end its record.
    let cut: [(ContentType, &[u8]); 2] = [(HANDSHAKE, &[24, 0, 0]), (HANDSHAKE, &[1, 7])];
    assert_eq!(outcome(serve, 1, &cut).1, Some("tls_malformed"));
    assert_eq!(outcome(serve, 1, &[(HANDSHAKE, &[24, 0, 0, 1, 0, 24])]).1, unexpected);
    assert_eq!(outcome(serve, 1, &[(HANDSHAKE, &[24, 0, 0]), (DATA, b"between")]).1, unexpected);
    // A ticket for a server, one that is garbage for a client, a certificate request, a message without end.
    assert_eq!(outcome(serve, 1, &[(HANDSHAKE, &[4, 0, 0, 0])]).1, unexpected);
    assert_eq!(outcome(dial, 1, &[(HANDSHAKE, &[4, 0, 0, 1, 9])]).1, Some("tls_malformed"));
    assert_eq!(outcome(dial, 1, &[(HANDSHAKE, &[13, 0, 0, 0])]).1, unexpected);
    assert_eq!(outcome(dial, 1, &[(HANDSHAKE, &[4, 255, 0, 0])]).1, unexpected);
    assert_eq!(outcome(serve, 1, &[(ContentType::ChangeCipherSpec, &[1])]).1, Some("tls_protocol_violation"));
    assert_eq!(outcome(serve, 0, &[(HANDSHAKE, &[24, 0, 0, 1, 0])]).1, unexpected, "TLS 1.2 has no key updates");
}

#[test]
fn renegotiation_is_declined_once() {
    let hello: (ContentType, &[u8]) = (HANDSHAKE, &[1, 0, 0, 2, 3, 3]);
    let request: (ContentType, &[u8]) = (HANDSHAKE, &[0, 0, 0, 0]);
    for (meet, wish, other) in [(serve as Meet, hello, request), (dial, request, hello)] {
        assert_eq!(outcome(meet, 0, &[wish, (DATA, b"data"), CLOSE]), (b"data".to_vec(), None));
        assert_eq!(outcome(meet, 0, &[wish, wish]).1, Some("tls_renegotiation"));
        assert_eq!(outcome(meet, 0, &[other]).1, Some("tls_unexpected_message"));
        assert_eq!(outcome(meet, 1, &[wish]).1, Some("tls_unexpected_message"));
    }
}
