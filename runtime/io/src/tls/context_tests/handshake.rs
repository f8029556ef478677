//! Which certificate is shown, what is agreed on, and what is known of it afterwards.

use std::sync::Arc;

use rcgen::{KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, NamedGroup, PeerIncompatible, ProtocolVersion,
    SignatureScheme,
};

use super::super::testing::{Ca, Clock, Refused, meet, meet_raw, params, server, tls};
use super::super::*;
use super::client;

/// A client of another make, which knows some signatures only and believes all.
#[derive(Debug)]
struct Knows(Vec<SignatureScheme>);

impl ServerCertVerifier for Knows {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

fn knowing(schemes: &[SignatureScheme]) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Knows(schemes.to_vec())))
        .with_no_client_auth();
    Arc::new(config)
}

// === which certificate ===

#[test]
fn the_certificate_is_chosen_by_name() {
    let ca = Ca::new("ca");
    let server = tls(server(vec![
        ca.issue("first", &["first.example"]).load(),
        ca.issue("exact", &["API.example.com"]).load(),
        ca.issue("wild", &["*.example.com"]).load(),
    ]));
    let client = client(ClientParams { trust: ServerTrust::InsecureSkipVerify, ..ca.client() });
    for (host, subject) in [
        ("first.example", "CN=first"),
        ("api.example.com", "CN=exact"),
        ("api.example.com.", "CN=exact"),
        ("www.example.com", "CN=wild"),
        ("a.b.example.com", "CN=first"),
        ("example.com", "CN=first"),
        ("unknown.example", "CN=first"),
        ("127.0.0.1", "CN=first"),
        ("[::1]", "CN=first"),
    ] {
        assert_eq!(meet(&server, &client, host).unwrap().shown(), subject, "{host}");
    }
}

#[test]
fn the_certificate_is_chosen_by_the_kinds_of_keys_that_the_client_knows() {
    use SignatureScheme as S;
    let ca = Ca::new("ca");
    let names = ["app.example"];
    let rsa = ca.sign(params("rsa", &names), &KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap());
    let ed25519 = ca.sign(params("ed25519", &names), &KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let other = ca.issue("other", &["other.example"]);
    let server = tls(server(vec![rsa.load(), ed25519.load(), ca.issue("ecdsa", &names).load(), other.load()]));
    let all = [S::RSA_PSS_SHA256, S::ED25519, S::ECDSA_NISTP256_SHA256];
    for (schemes, subject) in [
        (&all[..], "CN=ecdsa"),
        (&all[..2], "CN=ed25519"),
        (&all[..1], "CN=rsa"),
        (&[S::ECDSA_NISTP384_SHA384, S::RSA_PSS_SHA512], "CN=rsa"),
    ] {
        for host in ["app.example", "unknown.example"] {
            let name = ServerName::try_from(host).unwrap();
            assert_eq!(meet_raw(&server, knowing(schemes), name).unwrap().shown(), subject, "{schemes:?} {host}");
        }
    }
    let none = meet_raw(&server, knowing(&all[..1]), ServerName::try_from("other.example").unwrap()).unwrap_err();
    let why = Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon);
    assert!(matches!(none, Refused::Server(error) if error == why));
}

// === what is agreed ===

#[test]
fn application_protocols_are_agreed_on_or_refused() {
    let ca = Ca::new("ca");
    let offer =
        |names: &[&str]| TlsParams { alpn: names.iter().map(|&name| name.into()).collect(), ..Default::default() };
    let issued = ca.issue("app", &["app.example"]);
    let server = tls(ServerParams { tls: offer(&["h2", "http/1.1"]), ..issued.server() });
    let with = |names: &[&str]| client(ClientParams { tls: offer(names), ..ca.client() });
    let agreed = |client: &ClientTls| {
        let met = meet(&server, client, "app.example").unwrap();
        assert_eq!(met.client.alpn_protocol(), met.server.alpn_protocol());
        met.server.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap())
    };
    assert_eq!(agreed(&with(&["http/1.1", "h2"])).as_deref(), Some("h2"));
    assert_eq!(agreed(&with(&["http/1.1"])).as_deref(), Some("http/1.1"));
    assert_eq!(agreed(&with(&[])), None);
    let refused = meet(&server, &with(&["mqtt"]), "app.example").unwrap_err();
    assert!(matches!(refused, Refused::Server(Error::NoApplicationProtocol)));
}

#[test]
fn versions_and_suites_are_those_of_the_configuration() {
    let ca = Ca::new("ca");
    let issued = ca.issue("app", &["app.example"]);
    let only = |version| TlsParams { min_version: version, max_version: version, ..Default::default() };
    let (v1_2, v1_3) = (only(TlsVersion::V1_2), only(TlsVersion::V1_3));
    let run = |server: &TlsParams, client_tls: &TlsParams| {
        let server = tls(ServerParams { tls: server.clone(), ..issued.server() });
        meet(&server, &client(ClientParams { tls: client_tls.clone(), ..ca.client() }), "app.example")
    };
    let version = |server, client| run(server, client).unwrap().server.protocol_version().unwrap();
    let all = TlsParams::default();
    assert_eq!(version(&all, &all), ProtocolVersion::TLSv1_3);
    assert_eq!(version(&all, &v1_2), ProtocolVersion::TLSv1_2);
    assert_eq!(version(&v1_2, &all), ProtocolVersion::TLSv1_2);
    let refused = run(&v1_3, &v1_2).unwrap_err();
    assert!(matches!(refused, Refused::Server(Error::PeerIncompatible(_))), "{refused:?}");

    let one = TlsParams { cipher_suites: vec!["TLS_CHACHA20_POLY1305_SHA256".into()], ..v1_3 };
    let suite = run(&one, &all).unwrap().server.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
}

#[test]
fn the_key_exchange_withstands_quantum_computers_if_both_can() {
    let ca = Ca::new("ca");
    let server = tls(ca.issue("app", &["app.example"]).server());
    let met = meet(&server, &client(ca.client()), "app.example").unwrap();
    assert_eq!(met.server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);

    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Knows(vec![SignatureScheme::ECDSA_NISTP256_SHA256])))
        .with_no_client_auth();
    let met = meet_raw(&server, Arc::new(config), ServerName::try_from("app.example").unwrap()).unwrap();
    assert_eq!(met.server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519);
}

#[test]
fn the_stream_may_take_the_record_keys_over() {
    let ca = Ca::new("ca");
    let server = tls(ca.issue("app", &["app.example"]).server());
    let met = meet(&server, &client(ca.client()), "app.example").unwrap();
    let (from_server, to_client) = (met.server.dangerous_extract_secrets(), met.client.dangerous_extract_secrets());
    let (tickets, seen) = (from_server.unwrap().tx.0, to_client.unwrap().rx.0);
    assert_eq!(tickets, seen, "the next record's number is the same on both sides");
}

// === what peers have shown ===

#[test]
fn a_peer_is_described_by_its_certificate() {
    let ca = Ca::new("ca");
    let mut params = params("Cart, Inc.", &["spiffe://mesh/cart", "Cart.Shop", "10.0.0.1"]);
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Shop");
    params.not_after = date_time_ymd(2026, 3, 1);
    let issued = ca.sign(params, &KeyPair::generate().unwrap());
    let met = meet(&tls(issued.server()), &client(ca.client()), "cart.shop").unwrap();
    let chain = met.client.peer_certificates().unwrap();
    let peer = peer::describe(chain).unwrap();
    assert_eq!(&*peer.subject, "O=Shop,CN=Cart\\, Inc.");
    assert_eq!(peer.uri_sans, ["spiffe://mesh/cart".into()]);
    assert_eq!(peer.dns_sans, ["cart.shop".into()]);
    assert_eq!(&*peer.chain[0], chain[0].as_ref());
    assert_eq!(peer.sha256, aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &chain[0]).as_ref());

    let clock = Clock::default();
    assert_eq!(peer::check_validity(chain, clock.now()), Ok(()));
    clock.advance(60 * 24 * 3600);
    assert!(matches!(peer::check_validity(chain, clock.now()), Err(CertificateError::ExpiredContext { .. })));

    assert!(peer::describe(&[]).is_none());
    assert!(peer::describe(&[CertificateDer::from(&b"\x30\x03abc"[..])]).is_none());
}
