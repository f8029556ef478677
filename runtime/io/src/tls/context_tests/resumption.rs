//! Which sessions are resumed.

use std::sync::Arc;
use std::time::Duration;

use super::super::testing::{Ca, Clock, Issued, meet, params, tls};
use super::super::*;
use super::{client, spiffe, trust, with_certificate};

#[test]
fn sessions_are_resumed_for_the_lifetime_of_a_ticket() {
    let ca = Ca::new("ca");
    let issued = ca.issue("app", &["app.example"]);
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let clock = Clock::default();
        let time = Arc::new(clock.clone());
        let lifetime = Some(Duration::from_secs(600));
        let server = tls(ServerParams { tickets: lifetime, time: time.clone(), ..issued.server() });
        let versions = TlsParams { min_version: version, max_version: version, ..Default::default() };
        let client = client(ClientParams { tls: versions, time, ..ca.client() });
        assert!(!meet(&server, &client, "app.example").unwrap().resumed());
        let met = meet(&server, &client, "app.example").unwrap();
        assert!(met.resumed(), "{version:?}");
        assert_eq!(met.shown(), "CN=app");
        assert!(!meet(&server, &client, "127.0.0.1").is_ok_and(|met| met.resumed()));
        clock.advance(601);
        assert!(!meet(&server, &client, "app.example").unwrap().resumed(), "{version:?}");
    }
}

#[test]
fn without_tickets_nothing_is_resumed() {
    let ca = Ca::new("ca");
    let issued = ca.issue("app", &["app.example"]);
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let server = tls(ServerParams { tickets: None, ..issued.server() });
        let versions = TlsParams { min_version: version, max_version: version, ..Default::default() };
        let client = client(ClientParams { tls: versions, ..ca.client() });
        for _ in 0..2 {
            assert!(!meet(&server, &client, "app.example").unwrap().resumed());
        }
    }
    let server = tls(issued.server());
    let client = client(ClientParams { sessions: 0, ..ca.client() });
    for _ in 0..2 {
        assert!(!meet(&server, &client, "app.example").unwrap().resumed());
    }
}

#[test]
fn sessions_outlive_a_reload_unless_it_changes_who_is_let_in() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let issued = ca.issue("app", &["app.example"]);
    let renewed = ca.issue("app", &["app.example"]);
    let me = ca.issue("me", &["spiffe://mesh/me"]);
    let required = |trust| ClientAuth::Required(trust);
    let with = |auth: ClientAuth, issued: &Issued| ServerParams { client_auth: auth, ..issued.server() };
    let same_bundle_in_other_order = format!("{}{}", other.pem, ca.pem);
    let bundle = format!("{}{}", ca.pem, other.pem);
    let roots = |pem: &str| Roots::from_pem(&[Pem::new(pem.as_bytes(), "ca.pem")]).unwrap();
    let both = |pem: &str| ClientTrust { roots: roots(pem), ..trust(&ca) };

    let resumes = |before: ClientAuth, after: ClientAuth| {
        let old = tls(with(before, &issued));
        let client = with_certificate(&ca, &me);
        meet(&old, &client, "app.example").unwrap();
        let new = ServerTls::new(with(after, &renewed), Some(&old)).unwrap();
        let met = meet(&new, &client, "app.example").unwrap();
        if met.resumed() {
            assert_eq!(met.client_shown(), met.server.peer_certificates().map_or("", |_| "CN=me"));
        }
        met.resumed()
    };
    assert!(resumes(ClientAuth::None, ClientAuth::None));
    assert!(resumes(required(trust(&ca)), required(trust(&ca))));
    assert!(resumes(required(both(&bundle)), required(both(&same_bundle_in_other_order))));
    let revoked = ClientTrust { crls: ca.crls(&[7], 2026, ExpiredCrl::Refuse), ..trust(&ca) };
    let named = ClientTrust { names: spiffe("spiffe://mesh/me"), ..trust(&ca) };
    assert!(!resumes(required(trust(&ca)), required(both(&bundle))));
    assert!(!resumes(required(trust(&ca)), required(revoked)));
    assert!(!resumes(required(trust(&ca)), required(named)));
    assert!(!resumes(ClientAuth::Optional(trust(&ca)), required(trust(&ca))));
    assert!(!resumes(ClientAuth::None, ClientAuth::Optional(trust(&ca))));
}

#[test]
fn a_resumed_session_still_has_its_certificate_and_its_dates() {
    let ca = Ca::new("ca");
    let mut short = params("me", &["spiffe://mesh/me"]);
    short.not_after = rcgen::date_time_ymd(2026, 1, 2);
    let me = ca.sign(short, &rcgen::KeyPair::generate().unwrap());
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let clock = Clock::default();
        let server = tls(ServerParams {
            client_auth: ClientAuth::Required(trust(&ca)),
            tickets: Some(Duration::from_secs(7 * 24 * 3600)),
            tls: TlsParams { max_version: version, ..Default::default() },
            time: Arc::new(clock.clone()),
            ..ca.issue("app", &["app.example"]).server()
        });
        let client =
            client(ClientParams { certificate: Some(me.load()), time: Arc::new(clock.clone()), ..ca.client() });
        meet(&server, &client, "app.example").unwrap();
        clock.advance(3600);
        let met = meet(&server, &client, "app.example").unwrap();
        assert!(met.resumed() && met.client_shown() == "CN=me", "{version:?}");
        let chain = met.server.peer_certificates().unwrap();
        assert_eq!(peer::check_validity(chain, clock.now()), Ok(()));
        clock.advance(24 * 3600);
        let met = meet(&server, &client, "app.example").unwrap();
        assert!(met.resumed(), "{version:?}");
        let chain = met.server.peer_certificates().unwrap();
        let expired = peer::check_validity(chain, clock.now());
        assert!(matches!(expired, Err(rustls::CertificateError::ExpiredContext { .. })));
    }
}
