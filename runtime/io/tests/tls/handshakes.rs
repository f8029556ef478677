//! Handshakes that succeed, and what each failing one is called.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringway_api::{Blame, ConnError, Secured};
use ringway_io::tls::{self, TlsStream};
use ringway_testkit::{MemoryIo, PairOptions, Sim, Split, pair};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig};

use crate::peer::{
    End, Identity, NAME, Peer, VERSIONS, client, dial, meet, name, recv, serve, server, split, try_meet,
};

type Ours = Result<Secured<TlsStream<MemoryIo>>, ConnError>;

/// Our server against a client of rustls.
fn refuse_client(ours: ServerConfig, theirs: ClientConfig) -> (ConnError, Option<End>) {
    let (sim, (near, far)) = (Sim::new(1), pair(PairOptions::default()));
    let (result, mut peer, end): (Ours, _, _) =
        try_meet(&sim, tls::accept(Arc::new(ours), near), Peer::client(theirs, far));
    let error = result.unwrap_err();
    // In TLS 1.3 a client is done before it hears that it was refused.
    let end = end.or_else(|| Some(sim.block_on(peer.recv_to_end()).1));
    (error, end)
}

/// Our client against a server of rustls.
fn refuse_server(ours: ClientConfig, theirs: ServerConfig) -> (ConnError, Option<End>) {
    let (sim, (near, far)) = (Sim::new(1), pair(PairOptions::default()));
    let ours = tls::connect(Arc::new(ours), name(), near);
    let (result, _, end): (Ours, _, _) = try_meet(&sim, ours, Peer::server(theirs, far));
    (result.unwrap_err(), end)
}

fn alert(name: &str) -> Option<End> {
    Some(End::Failed(format!("received fatal alert: {name}")))
}

#[test]
fn what_was_agreed_is_known() {
    let identity = Identity::new(NAME);
    for (version, (text, cipher)) in
        [("TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"), ("TLSv1.3", "TLS_AES_256_GCM_SHA384")]
            .into_iter()
            .enumerate()
    {
        let versions = &VERSIONS[version..=version];
        let (mut ours, mut theirs) =
            (server(&identity, versions, Some(&identity)), client(&identity, versions, Some(&identity)));
        ours.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        theirs.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (sim, (near, far)) = (Sim::new(1), pair(split(Split::Fixed(100))));
        let (secured, _peer) = meet(&sim, tls::accept(Arc::new(ours), near), Peer::client(theirs, far));
        let info = secured.info;
        assert_eq!((info.version, info.cipher), (text, cipher));
        assert_eq!(info.server_name.as_deref(), Some(NAME));
        assert_eq!(info.alpn.as_deref(), Some("http/1.1"));
        assert!(!info.resumed);
        assert_eq!(*info.peer.as_ref().unwrap().chain[0], *identity.chain[0]);
    }
    let sim = Sim::new(1);
    let (secured, _peer) = dial(&sim, 1, PairOptions::default());
    assert_eq!(secured.info.server_name.as_deref(), Some(NAME));
    assert_eq!(*secured.info.cipher, *"TLS_AES_256_GCM_SHA384");
    assert!(secured.info.peer.is_some());
}

#[test]
fn every_cut_of_the_handshake_is_the_same() {
    for version in [0, 1] {
        for size in [1, 2, 3, 4, 5, 6, 50, 511] {
            let sim = Sim::new(1);
            let (secured, mut peer) = serve(&sim, version, split(Split::Fixed(size)));
            let mut io = secured.io;
            sim.block_on(async {
                peer.send(b"hello").await;
                assert_eq!(recv(&mut io).await.unwrap().as_deref(), Some(&b"hello"[..]));
            });
        }
    }
}

#[test]
fn sessions_are_resumed_on_either_side() {
    let identity = Identity::new(NAME);
    for version in [0, 1] {
        let versions = &VERSIONS[version..=version];
        for we_serve in [true, false] {
            let (server, client) =
                (server(&identity, versions, Some(&identity)), client(&identity, versions, Some(&identity)));
            for resumed in [false, true] {
                let (sim, (near, far)) = (Sim::new(1), pair(split(Split::Random(400))));
                let (secured, mut peer) = if we_serve {
                    let peer = Peer::client(client.clone(), far);
                    meet(&sim, tls::accept(Arc::new(server.clone()), near), peer)
                } else {
                    let peer = Peer::server(server.clone(), far);
                    meet(&sim, tls::connect(Arc::new(client.clone()), name(), near), peer)
                };
                assert_eq!(secured.info.resumed, resumed, "version {version}, we serve: {we_serve}");
                assert!(secured.info.peer.is_some());
                let mut io = secured.io;
                // Tickets come before data.
                sim.block_on(async {
                    crate::peer::send(&mut io, b"ping").await.unwrap();
                    assert_eq!(peer.recv_exactly(4).await, b"ping");
                    peer.send(b"pong").await;
                    assert_eq!(recv(&mut io).await.unwrap().as_deref(), Some(&b"pong"[..]));
                });
            }
        }
    }
}

#[test]
fn a_resumed_session_ends_with_the_certificate() {
    /// A clock that a test sets.
    #[derive(Debug, Default)]
    struct Clock(AtomicU64);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            let seconds = self.0.load(Ordering::Relaxed);
            Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
        }
    }

    let own = Identity::with(NAME, |params| params.not_after = rcgen::date_time_ymd(2030, 1, 1));
    let end_of_2029 = 1_893_456_000;
    for version in [0, 1] {
        let (clock, versions) = (Arc::new(Clock::default()), &VERSIONS[version..=version]);
        clock.0.store(end_of_2029 - 60, Ordering::Relaxed);
        let mut server = server(&own, versions, Some(&own));
        server.time_provider = clock.clone();
        let mut client = client(&own, versions, Some(&own));
        client.time_provider = clock.clone();
        let server = Arc::new(server);
        let run = || {
            let (sim, (near, far)) = (Sim::new(1), pair(PairOptions::default()));
            let theirs = Peer::client(client.clone(), far);
            let (result, mut peer, end): (Ours, _, _) = try_meet(&sim, tls::accept(server.clone(), near), theirs);
            if let Ok(secured) = &result {
                assert_eq!(secured.info.peer.as_ref().unwrap().dns_sans, [NAME.into()]);
            }
            let resumed = result.map(|secured| secured.info.resumed);
            (resumed, end.unwrap_or_else(|| sim.block_on(peer.recv_to_end()).1))
        };
        assert!(!run().0.unwrap());
        assert!(run().0.unwrap(), "version {version}");
        clock.0.store(end_of_2029 + 60, Ordering::Relaxed);
        let (result, end) = run();
        assert_eq!(result.unwrap_err().details, "tls_certificate_expired");
        assert_eq!(Some(end), alert("CertificateExpired"));
    }
}

#[test]
fn every_cipher_carries_data() {
    let identity = Identity::new(NAME);
    for suite in rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites = vec![*suite];
        let version = usize::from(suite.tls13().is_some());
        let theirs = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&VERSIONS[version..=version])
            .unwrap()
            .with_root_certificates(identity.roots())
            .with_no_client_auth();
        let name = suite.suite().as_str().unwrap();
        if name.contains("_RSA_") {
            continue; // the certificate has another key
        }
        let (sim, (near, far)) = (Sim::new(1), pair(PairOptions::default()));
        let ours = Arc::new(server(&identity, &VERSIONS, None));
        let (secured, mut peer) = meet(&sim, tls::accept(ours, near), Peer::client(theirs, far));
        assert_eq!(secured.info.cipher, name.replace("TLS13_", "TLS_"));
        let mut io = secured.io;
        sim.block_on(async {
            for round in 0..20u8 {
                peer.send(&[round; 300]).await;
                assert_eq!(recv(&mut io).await.unwrap().as_deref(), Some(&[round; 300][..]));
                crate::peer::send(&mut io, &[round; 300]).await.unwrap();
                assert_eq!(peer.recv_exactly(300).await, [round; 300]);
            }
        });
    }
}

#[test]
fn a_configuration_of_other_settings_is_corrected() {
    let identity = Identity::new(NAME);
    let (mut ours, theirs) = (server(&identity, &VERSIONS, None), client(&identity, &VERSIONS, None));
    (ours.enable_secret_extraction, ours.max_early_data_size) = (false, 1000);
    let (sim, (near, far)) = (Sim::new(1), pair(PairOptions::default()));
    let (secured, _peer) = meet(&sim, tls::accept(Arc::new(ours), near), Peer::client(theirs, far));
    assert_eq!(secured.info.version, "TLSv1.3");
}

#[test]
fn a_client_is_refused_by_name_of_the_cause() {
    let (identity, stranger) = (Identity::new(NAME), Identity::new("stranger.test"));
    let expired = Identity::with(NAME, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let both = &VERSIONS;
    let mut h2 = server(&identity, both, None);
    h2.alpn_protocols = vec![b"h2".to_vec()];
    let mut http = client(&identity, both, None);
    http.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut one_cipher = client(&identity, &VERSIONS[1..], None).crypto_provider().as_ref().clone();
    one_cipher.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    let chacha = ClientConfig::builder_with_provider(Arc::new(one_cipher))
        .with_protocol_versions(&VERSIONS[1..])
        .unwrap()
        .with_root_certificates(identity.roots())
        .with_no_client_auth();
    let mut no_chacha = provider_without_chacha(&identity);
    no_chacha.enable_secret_extraction = true;

    let cases = [
        (h2, http, "tls_no_application_protocol", "NoApplicationProtocol"),
        (
            server(&identity, &VERSIONS[1..], None),
            client(&identity, &VERSIONS[..1], None),
            "tls_no_shared_version",
            "ProtocolVersion",
        ),
        (no_chacha, chacha, "tls_no_shared_cipher", "HandshakeFailure"),
        (
            server(&identity, both, Some(&identity)),
            client(&identity, both, None),
            "tls_certificate_required",
            "CertificateRequired",
        ),
        (
            server(&identity, both, Some(&identity)),
            client(&identity, both, Some(&stranger)),
            "tls_unknown_ca",
            "UnknownCA",
        ),
        (
            server(&identity, both, Some(&expired)),
            client(&identity, both, Some(&expired)),
            "tls_certificate_expired",
            "CertificateExpired",
        ),
    ];
    for (ours, theirs, word, told) in cases {
        let (error, end) = refuse_client(ours, theirs);
        assert_eq!((error.details, error.blame), (word, Blame::Downstream));
        assert_eq!(end, alert(told), "{word}");
        assert!(error.source.is_some());
    }
}

fn provider_without_chacha(identity: &Identity) -> ServerConfig {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&VERSIONS[1..])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key())
        .unwrap()
}

#[test]
fn a_server_is_refused_by_name_of_the_cause() {
    let (identity, stranger) = (Identity::new(NAME), Identity::new("stranger.test"));
    let expired = Identity::with(NAME, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for versions in [&VERSIONS[..1], &VERSIONS[1..]] {
        let cases = [
            (client(&stranger, versions, None), server(&identity, versions, None), "tls_unknown_ca", "UnknownCA"),
            (
                client(&stranger, versions, None),
                server(&stranger, versions, None),
                "tls_name_mismatch",
                "BadCertificate",
            ),
            (
                client(&expired, versions, None),
                server(&expired, versions, None),
                "tls_certificate_expired",
                "CertificateExpired",
            ),
        ];
        for (ours, theirs, word, told) in cases {
            let (error, end) = refuse_server(ours, theirs);
            assert_eq!((error.details, error.blame), (word, Blame::Upstream));
            assert_eq!(end, alert(told), "{word}");
        }
    }
    // The server's alert is what our client reports.
    let (ours, theirs) = (client(&identity, &VERSIONS[..1], None), server(&identity, &VERSIONS[..1], Some(&identity)));
    let (error, _) = refuse_server(ours, theirs);
    assert_eq!((error.details, error.blame), ("tls_alert_certificate_required", Blame::Upstream));
}

#[test]
fn what_is_not_tls_is_called_so() {
    let identity = Identity::new(NAME);
    for (bytes, word) in [
        (&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], "tls_not_tls"),
        (&[22, 3, 1, 0, 4, 1, 0, 0, 0], "tls_malformed"),
        (&[22, 3, 1, 255, 255], "tls_record_overflow"),
        (&[22, 3, 1, 0, 4, 9, 0, 0, 0], "tls_unexpected_message"),
        (&[22, 3, 1, 0, 200, 1, 0, 0], "tls_truncated"),
        (&[22, 3], "tls_truncated"),
        (&[], "tls_truncated"),
    ] {
        for size in [1, 1000] {
            let (sim, (near, mut far)) = (Sim::new(1), pair(split(Split::Fixed(size))));
            let config = Arc::new(server(&identity, &VERSIONS, None));
            let error = sim.block_on(async {
                far.send(bytes).await.unwrap();
                far.finish().await.unwrap();
                tls::accept(config, near).await.unwrap_err()
            });
            assert_eq!((error.details, error.blame), (word, Blame::Downstream), "{bytes:?}");
            let (told, end) = sim.block_on(far.recv_to_end());
            assert!(end.is_none());
            assert_eq!(word != "tls_truncated", told.first() == Some(&21), "an alert: {told:?}");
        }
    }
}

#[test]
fn an_endless_message_is_refused() {
    let identity = Identity::new(NAME);
    let (sim, (near, mut far)) = (Sim::new(1), pair(PairOptions::default()));
    let config = Arc::new(server(&identity, &VERSIONS, None));
    let feeding = sim.spawn_with_result(async move {
        let mut record = vec![22, 3, 1, 0x20, 0];
        record.extend([1, 255, 255, 255]);
        record.resize(5 + 0x2000, 7);
        let next = [&[22, 3, 1, 0x20, 0][..], &[7; 0x2000]].concat();
        let mut sent = far.send(record).await;
        while sent.is_ok() && !far.control().has_ended() {
            sent = far.send(&next).await;
            if far.control().is_gone() || !far.recv_now().is_empty() {
                break;
            }
        }
        far
    });
    let error = sim.block_on(tls::accept(config, near)).unwrap_err();
    assert!(["tls_malformed", "tls_record_overflow"].contains(&error.details), "{}", error.details);
    drop(feeding);
}
