//! Who is believed.

use std::sync::Arc;

use rcgen::{KeyPair, SerialNumber};
use rustls::{AlertDescription, CertificateError, Error};

use super::super::testing::{Ca, Clock, Refused, meet, params, tls};
use super::super::*;
use super::{client, refusal, spiffe, trust, with_certificate};

// === servers ===

#[test]
fn servers_are_verified_unless_that_is_switched_off() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let server = tls(ca.issue("app", &["app.example", "127.0.0.1"]).server());
    let honest = client(ca.client());
    meet(&server, &honest, "app.example").unwrap();
    meet(&server, &honest, "127.0.0.1").unwrap();
    let stranger = client(other.client());
    assert_eq!(refusal(&server, &stranger, "app.example"), CertificateError::UnknownIssuer);
    for host in ["web.example", "127.0.0.2"] {
        let why = refusal(&server, &honest, host);
        assert!(matches!(why, CertificateError::NotValidForNameContext { .. }), "{why:?}");
    }
    // The name that is asked for is the one that counts, whatever the host.
    let asking = client(ClientParams { sni: Some("app.example".into()), ..ca.client() });
    assert_eq!(meet(&server, &asking, "10.1.2.3").unwrap().server.server_name(), Some("app.example"));

    let clock = Clock::default();
    let later = client(ClientParams { time: Arc::new(clock.clone()), ..ca.client() });
    meet(&server, &later, "app.example").unwrap();
    let late = client(ClientParams { time: Arc::new(clock.clone()), ..ca.client() });
    clock.advance(365 * 24 * 3600);
    let why = refusal(&server, &late, "app.example");
    assert!(matches!(why, CertificateError::ExpiredContext { .. }), "{why:?}");

    let careless = client(ClientParams { trust: ServerTrust::InsecureSkipVerify, ..other.client() });
    meet(&server, &careless, "web.example").unwrap();
}

#[test]
fn rules_stand_beside_or_instead_of_the_hosts_name() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let id = "spiffe://mesh/ns/shop/sa/cart";
    let sans = [id, "cart.shop"];
    let server = tls(ca.issue("cart", &sans).server());
    let by = |names| client(ca.client_with(names));
    meet(&server, &by(ServerNames::Rules(spiffe(id))), "10.0.0.1").unwrap();
    meet(&server, &by(ServerNames::HostAndRules(spiffe(id))), "cart.shop").unwrap();
    let why = refusal(&server, &by(ServerNames::HostAndRules(spiffe(id))), "web.shop");
    assert!(matches!(why, CertificateError::NotValidForNameContext { .. }), "{why:?}");
    let elsewhere = ServerNames::Rules(spiffe("spiffe://mesh/ns/shop/sa/web"));
    let CertificateError::Other(why) = refusal(&server, &by(elsewhere), "10.0.0.1") else { panic!() };
    assert_eq!(
        why.0.to_string(),
        "no name in the certificate is allowed: it has DNS:cart.shop, URI:spiffe://mesh/ns/shop/sa/cart; allowed is \
         uri exact `spiffe://mesh/ns/shop/sa/web`"
    );
    // The right name from the wrong authority.
    let forged = tls(other.issue("cart", &sans).server());
    let why = refusal(&forged, &by(ServerNames::Rules(spiffe(id))), "10.0.0.1");
    assert_eq!(why, CertificateError::UnknownIssuer);
}

#[test]
fn a_revoked_server_is_refused() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let numbered = |ca: &Ca, serial: u64| {
        let mut params = params("app", &["app.example"]);
        params.serial_number = Some(SerialNumber::from(serial));
        tls(ca.sign(params, &KeyPair::generate().unwrap()).server())
    };
    let both = format!("{}{}", ca.pem, other.pem);
    let with = |crls| {
        let roots = Roots::from_pem(&[Pem::new(both.as_bytes(), "both.pem")]).unwrap();
        let trust = ServerTrust::Verify { roots, crls, names: ServerNames::Host };
        client(ClientParams { trust, ..ca.client() })
    };
    let checking = with(ca.crls(&[7], 2026, ExpiredCrl::Refuse));
    assert_eq!(refusal(&numbered(&ca, 7), &checking, "app.example"), CertificateError::Revoked);
    meet(&numbered(&ca, 8), &checking, "app.example").unwrap();
    meet(&numbered(&other, 7), &checking, "app.example").expect("its authority has no list here");

    let der = ca.revoke(&[7], 2026);
    let der = with(Crls::new(&[Pem::new(der.der(), "ca.der")], ExpiredCrl::Refuse).unwrap());
    assert_eq!(refusal(&numbered(&ca, 7), &der, "app.example"), CertificateError::Revoked);

    let strict = with(ca.crls(&[7], 2025, ExpiredCrl::Refuse));
    let why = refusal(&numbered(&ca, 8), &strict, "app.example");
    assert!(matches!(why, CertificateError::ExpiredRevocationListContext { .. }), "{why:?}");
    assert_eq!(
        strict.warnings(),
        ["ca.crl: the revocation list of `CN=ca` was to be replaced by 2025-12-31T00:00:00Z; certificates of this \
             issuer are refused until there is a new one"]
    );
    let lenient = with(ca.crls(&[7], 2025, ExpiredCrl::Accept));
    meet(&numbered(&ca, 8), &lenient, "app.example").unwrap();
    assert_eq!(refusal(&numbered(&ca, 7), &lenient, "app.example"), CertificateError::Revoked);
}

#[test]
fn the_machines_authorities_do_not_vouch_for_ours() {
    // Images without `ca-certificates` exist; there the error says what to do.
    let roots = match Roots::system() {
        Ok(roots) => roots,
        Err(error) => return assert!(error.to_string().contains("install `ca-certificates`"), "{error}"),
    };
    assert!(roots.count() > 0);
    let ca = Ca::new("ca");
    let trust = ServerTrust::Verify { roots, crls: Crls::default(), names: ServerNames::Host };
    let client = client(ClientParams { trust, ..ca.client() });
    let server = tls(ca.issue("app", &["app.example"]).server());
    assert_eq!(refusal(&server, &client, "app.example"), CertificateError::UnknownIssuer);
}

// === clients ===

#[test]
fn clients_show_certificates_when_they_must() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let issued = ca.issue("app", &["app.example"]);
    let none = tls(issued.server());
    let optional = tls(ServerParams { client_auth: ClientAuth::Optional(trust(&ca)), ..issued.server() });
    let required = tls(ServerParams { client_auth: ClientAuth::Required(trust(&ca)), ..issued.server() });
    let plain = client(ca.client());
    let mine = ca.issue("me", &["spiffe://mesh/me"]);
    let known = with_certificate(&ca, &mine);
    let forged = with_certificate(&ca, &other.issue("me", &["spiffe://mesh/me"]));

    let shown = |server: &ServerTls, client: &ClientTls| meet(server, client, "app.example").unwrap().client_shown();
    assert_eq!(shown(&none, &known), "");
    assert_eq!(shown(&optional, &plain), "");
    assert_eq!(shown(&optional, &known), "CN=me");
    assert_eq!(shown(&required, &known), "CN=me");
    let refused = |server: &ServerTls, client: &ClientTls| match meet(server, client, "app.example") {
        Err(Refused::Server(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&required, &plain), Error::NoCertificatesPresented);
    assert_eq!(refused(&required, &forged), CertificateError::UnknownIssuer.into());
    assert_eq!(refused(&optional, &forged), CertificateError::UnknownIssuer.into());

    let names = spiffe("spiffe://mesh/somebody");
    let rules = ClientAuth::Required(ClientTrust { names, ..trust(&ca) });
    let picky = tls(ServerParams { client_auth: rules, ..issued.server() });
    let why = refused(&picky, &known);
    assert!(matches!(why, Error::InvalidCertificate(CertificateError::Other(_))), "{why:?}");
    assert_eq!(AlertDescription::from(CertificateError::Revoked), AlertDescription::CertificateRevoked);

    let mut numbered = params("me", &["spiffe://mesh/me"]);
    numbered.serial_number = Some(SerialNumber::from(7));
    let revoked = with_certificate(&ca, &ca.sign(numbered, &KeyPair::generate().unwrap()));
    let crls = ca.crls(&[7], 2026, ExpiredCrl::Refuse);
    let checking = ClientAuth::Required(ClientTrust { crls, ..trust(&ca) });
    let checking = tls(ServerParams { client_auth: checking, ..issued.server() });
    assert_eq!(refused(&checking, &revoked), CertificateError::Revoked.into());
    assert_eq!(shown(&checking, &known), "CN=me");
}
