//! What cannot be, and how it is said.

use std::time::Duration;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::super::testing::{Ca, Clock, Issued, meet, params, server, tls};
use super::super::*;

fn load(cert: &[u8], key: &[u8]) -> String {
    Certificate::from_pem(Pem::new(cert, "a.pem"), Pem::new(key, "a.key")).unwrap_err().to_string()
}

#[test]
fn a_certificate_or_key_that_cannot_be_is_named_with_the_remedy() {
    let ca = Ca::new("ca");
    let Issued { cert, key } = ca.issue("app", &["app.example"]);
    let other = ca.issue("other", &["other.example"]);
    let (c, k) = (cert.as_bytes(), key.as_bytes());
    let public = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().public_key_pem();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMAA=\n\
                  -----END RSA PRIVATE KEY-----\n";
    let junk_certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let junk_key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    let cut = &c[..c.len() - 30];
    let not_base64 = cert.replacen('M', "!", 1);
    let two_keys = format!("{key}{}", other.key);
    let backwards = format!("{}{cert}", ca.pem);
    let crl = ca.revoke(&[], 2026).pem().unwrap();

    let encrypted_says = "a.key: the private key is encrypted, and nobody is there to type a passphrase; decrypt it \
                          with `openssl pkey` and keep the file readable for this process alone";
    for (cert, key, says) in [
        (&b""[..], k, "a.pem: no PEM block found: the file is empty; expected `-----BEGIN CERTIFICATE-----`"),
        (b"hello", k, "a.pem: no PEM block found: this is something else; expected `-----BEGIN CERTIFICATE-----`"),
        (
            b"\x30\x82\x01\x00",
            k,
            "a.pem: no PEM block found: this looks like DER, which `openssl` converts with `-inform der`; expected \
             `-----BEGIN CERTIFICATE-----`",
        ),
        (k, k, "a.pem: holds a private key and no certificate; are the two files swapped?"),
        (crl.as_bytes(), k, "a.pem: there is no `CERTIFICATE` block in it, only `X509 CRL`"),
        (cut, k, "a.pem: a PEM block has no `-----END` line; the file is cut short"),
        (not_base64.as_bytes(), k, "a.pem: a PEM block is not base64; the file is damaged"),
        (
            junk_certificate.as_bytes(),
            k,
            "a.pem: the first certificate cannot be read; it is not X.509 version 3, or damaged",
        ),
        (c, b" \n", "a.key: no PEM block found: the file is empty; expected `-----BEGIN PRIVATE KEY-----`"),
        (c, c, "a.key: holds a certificate and no private key; are the two files swapped?"),
        (c, public.as_bytes(), "a.key: holds a public key; the private key is needed"),
        (c, encrypted.as_bytes(), encrypted_says),
        (c, legacy.as_bytes(), encrypted_says),
        (c, two_keys.as_bytes(), "a.key: holds 2 private keys; keep the one to use"),
        (
            c,
            junk_key.as_bytes(),
            "a.key: the private key cannot be used; what can: RSA from 2048 bits, ECDSA P-256, P-384, P-521, Ed25519",
        ),
        (c, other.key.as_bytes(), "a.key: the key does not match the certificate in a.pem"),
        (backwards.as_bytes(), k, "a.key: the key is that of certificate 2 in a.pem; the leaf must come first"),
    ] {
        assert_eq!(load(cert, key), says);
    }
    // Both in one file, as some keep them.
    let both = format!("{key}{cert}");
    let both = Pem::new(both.as_bytes(), "both.pem");
    assert_eq!(Certificate::from_pem(both, both).unwrap().origin(), "both.pem");
}

#[test]
fn authorities_and_lists_that_cannot_be_are_named() {
    let ca = Ca::new("ca");
    let junk = format!("{}-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", ca.pem);
    let roots = |bundles: &[Pem<'_>]| Roots::from_pem(bundles).unwrap_err().to_string();
    assert_eq!(roots(&[]), "ca: no bundle of authorities is given");
    assert_eq!(
        roots(&[Pem::new(junk.as_bytes(), "ca.pem")]),
        "ca.pem: certificate 2 cannot be read; remove or replace it"
    );
    let crls = |bytes: &[u8]| Crls::new(&[Pem::new(bytes, "ca.crl")], ExpiredCrl::Refuse).unwrap_err().to_string();
    assert_eq!(crls(b""), "ca.crl: no PEM block found: the file is empty; expected `-----BEGIN X509 CRL-----`");
    assert_eq!(crls(ca.pem.as_bytes()), "ca.crl: there is no `X509 CRL` block in it, only `CERTIFICATE`");
    assert_eq!(
        crls(b"\x30\x82\x00\x00"),
        "ca.crl: the revocation list cannot be read; it is damaged, or something else (TrailingData(CertRevocationList))"
    );
}

#[test]
fn contexts_that_cannot_be_are_named() {
    let ca = Ca::new("ca");
    let issued = ca.issue("app", &["app.example"]);
    let with = |params: TlsParams| ServerTls::new(ServerParams { tls: params, ..issued.server() }, None);
    let suites = |names: &[&str]| TlsParams {
        cipher_suites: names.iter().map(|&name| name.into()).collect(),
        ..Default::default()
    };
    let backwards = TlsParams { min_version: TlsVersion::V1_3, max_version: TlsVersion::V1_2, ..Default::default() };
    let nameless = TlsParams { alpn: vec![String::new()], ..Default::default() };
    let tickets = |seconds| ServerParams { tickets: Some(Duration::from_secs(seconds)), ..issued.server() };
    for (got, says) in [
        (ServerTls::new(server(Vec::new()), None), "certificates: a server needs at least one"),
        (with(backwards), "min_version: is above max_version; no version is left"),
        (with(nameless), "alpn: a protocol's name has 1 to 255 bytes, not 0"),
        (
            with(suites(&["TLS_RSA_WITH_RC4_128_MD5"])),
            "cipher_suites: `TLS_RSA_WITH_RC4_128_MD5` is unknown or not secure; there are TLS_AES_256_GCM_SHA384, \
             TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, \
             TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, \
             TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, \
             TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
        (
            with(suites(&["TLS_AES_128_GCM_SHA256"])),
            "cipher_suites: none is for TLS 1.2; add one or exclude the version",
        ),
        (
            with(suites(&["TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"])),
            "cipher_suites: `TLS_AES_128_GCM_SHA256` is there twice",
        ),
        (ServerTls::new(tickets(0), None), "session_tickets: a ticket lives for one second to seven days"),
        (ServerTls::new(tickets(8 * 24 * 3600), None), "session_tickets: a ticket lives for one second to seven days"),
    ] {
        assert_eq!(got.unwrap_err().to_string(), says);
    }

    let sni =
        |sni: &str| ClientTls::new(ClientParams { sni: Some(sni.into()), ..ca.client() }).unwrap_err().to_string();
    assert_eq!(sni("10.0.0.1"), "sni: `10.0.0.1` is no host name; leave it out for hosts by address");
    assert_eq!(sni("a b"), "sni: `a b` is no host name; leave it out for hosts by address");
    let anybody = ClientTls::new(ca.client_with(ServerNames::Rules(SanRules::default()))).unwrap_err();
    assert_eq!(
        anybody.to_string(),
        "names: there is no rule, so that every certificate of the authorities would do; add one or have the host's \
         name verified"
    );
    let client = ClientTls::new(ca.client()).unwrap();
    assert_eq!(
        client.server_name("/run/app.sock").unwrap_err().to_string(),
        "sni: `/run/app.sock` is no host name or address; set `sni`"
    );
}

#[test]
fn rules_match_as_they_say() {
    use SanKind::{Dns, Email, Ip, Uri};
    use SanPattern::{Contains, Exact, Prefix, SafeRegex, Suffix};
    let ca = Ca::new("ca");
    let sans = ["App.Example.com", "*.wild.example", "spiffe://mesh/ns/a/sa/b", "ops@example.com", "10.0.0.1", "::1"];
    let issued = ca.issue("app", &sans);
    let facts = issued.load();
    assert_eq!(
        facts.names().collect::<Vec<_>>().join(" "),
        "DNS:app.example.com DNS:*.wild.example URI:spiffe://mesh/ns/a/sa/b email:ops@example.com IP:10.0.0.1 IP:::1"
    );
    assert_eq!(facts.uri_sans(), ["spiffe://mesh/ns/a/sa/b".into()]);
    for (kind, pattern, allowed) in [
        (Dns, Exact("app.example.COM".into()), true),
        (Dns, Exact("example.com".into()), false),
        (Dns, Exact("a.wild.example".into()), true),
        (Dns, Exact("a.b.wild.example".into()), false),
        (Dns, Exact("wild.example".into()), false),
        (Dns, Suffix(".EXAMPLE.com".into()), true),
        (Dns, SafeRegex("APP\\.example\\.com".into()), true),
        (Dns, SafeRegex("app".into()), false),
        (Dns, SafeRegex("app|example|x".into()), false),
        (Uri, Exact("spiffe://mesh/ns/a/sa/b".into()), true),
        (Uri, Exact("spiffe://MESH/ns/a/sa/b".into()), false),
        (Uri, Prefix("spiffe://mesh/".into()), true),
        (Uri, Prefix("mesh".into()), false),
        (Uri, Contains("/ns/a/".into()), true),
        (Uri, SafeRegex("spiffe://mesh/ns/[^/]+/sa/b".into()), true),
        (Uri, Exact("app.example.com".into()), false),
        (Email, Suffix("@example.com".into()), true),
        (Ip, Exact("10.0.0.1".into()), true),
        (Ip, Exact("0:0::1".into()), true),
        (Ip, Prefix("10.".into()), true),
        (Ip, Exact("10.0.0.2".into()), false),
    ] {
        let rules: SanRules = [SanRule::new(kind, pattern.clone(), "r").unwrap()].into_iter().collect();
        let client = ClientTls::new(ca.client_with(ServerNames::Rules(rules))).unwrap();
        let met = meet(&tls(issued.server()), &client, "any.example");
        assert_eq!(met.is_ok(), allowed, "{kind:?} {pattern:?}");
    }
    let says = |kind, pattern| SanRule::new(kind, pattern, "match_sans[0]").unwrap_err().to_string();
    for empty in [Exact(String::new()), Prefix(String::new()), SafeRegex(String::new())] {
        assert_eq!(says(Dns, empty), "match_sans[0]: the pattern is empty; leave the rule out to allow every name");
    }
    assert_eq!(says(Ip, Exact("10.0.0".into())), "match_sans[0]: `10.0.0` is no IP address");
    assert!(says(Uri, SafeRegex("a)|(b".into())).starts_with("match_sans[0]: `a)|(b` is no regular expression: "));
    assert!(says(Uri, SafeRegex("\\w{1000}{100}".into())).contains("no regular expression"));
}

#[test]
fn expired_things_are_used_and_warned_of() {
    let ca = Ca::new("ca");
    let mut old = params("old", &["app.example"]);
    old.not_after = rcgen::date_time_ymd(2025, 12, 1);
    let mut soon = params("soon", &["app.example"]);
    soon.not_before = rcgen::date_time_ymd(2026, 2, 1);
    let load = |params| ca.sign(params, &KeyPair::generate().unwrap()).load();
    let server = tls(server(vec![load(old), load(soon), ca.issue("good", &["x.example"]).load()]));
    assert_eq!(
        server.warnings(),
        [
            "cert.pem: the certificate expired at 2025-12-01T00:00:00Z; peers will refuse it",
            "cert.pem: the certificate is not valid before 2026-02-01T00:00:00Z; peers will refuse it",
        ]
    );
    assert_eq!(server.certificates()[0].not_after().as_secs(), 1_764_547_200);

    let clock = Clock::default();
    clock.advance(365 * 24 * 3600);
    let late = ClientTls::new(ClientParams { time: std::sync::Arc::new(clock), ..ca.client() }).unwrap();
    assert_eq!(late.warnings(), ["ca.pem: authority `CN=ca` expired at 2026-07-01T00:00:00Z"]);
}

#[test]
fn nothing_prints_a_key() {
    let ca = Ca::new("ca");
    let issued = ca.issue("app", &["app.example"]);
    let certificate = issued.load();
    let params = issued.server();
    let client = ClientParams { certificate: Some(certificate.clone()), ..ca.client() };
    let pem = Pem::new(issued.key.as_bytes(), "a.key");
    let printed = [
        format!("{pem:?}"),
        format!("{certificate:?}"),
        format!("{params:?}"),
        format!("{client:?}"),
        format!("{:?}", tls(params.clone())),
        format!("{:?}", tls(params.clone()).config()),
        format!("{:?}", ClientTls::new(client.clone()).unwrap()),
    ];
    let secret = KeyPair::from_pem(&issued.key).unwrap().serialize_der();
    let (text, list) = (issued.key.lines().nth(1).unwrap(), format!("{:?}", &secret[40..48]));
    for printed in printed {
        assert!(!printed.contains(text) && !printed.contains(list.trim_matches(['[', ']'])), "{printed}");
    }
}
