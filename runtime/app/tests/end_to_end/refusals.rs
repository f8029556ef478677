//! Handshakes that must fail, with the reason counted and nothing said in plaintext.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConnection, ServerConfig};

use crate::edge::{config, routes};
use crate::proxy::{Client, Proxy, Upstream, eventually};
use crate::secrets::{Authority, Identity, TlsClient, client_config};
use crate::truncation::TlsUpstream;

fn listener_stat(proxy: &Proxy, at: SocketAddr, name: &str) -> u64 {
    proxy.stat(&format!("listener.{}.{name}", at.to_string().replace(':', "_")))
}

#[test]
fn clients_are_refused_with_a_counted_reason() {
    let upstream = Upstream::saying("secret");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let mut revoked = None;
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        authority.save(dir, "ca.pem");
        authority.issue("www.example.com").save(dir, "www");
        revoked = Some(authority.issue_revoked("spiffe://mesh/revoked", dir, "ca.crl"));
        let at = dir.display();
        let tls = format!(
            "tls: {{ certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}], client_ca: '{at}/ca.pem', \
             require_client_certificate: true, client_san: [{{ prefix: 'spiffe://mesh/' }}], \
             client_crl: ['{at}/ca.crl'], min_version: '1.3' }}"
        );
        let listener = format!("name: web, address: '{web}', protocol: http1, {tls}, routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    let good = || authority.issue("spiffe://mesh/good");
    let ask = |identity: Option<&Identity>, versions| {
        let config = client_config(&authority, identity, versions);
        TlsClient::connect_as(proxy.web, "www.example.com", config).and_then(|mut client| client.get("/"))
    };
    let cases = [
        ("none", None, ALL_VERSIONS, "ssl_fail_verify_no_cert"),
        ("authority", Some(stranger.issue("spiffe://mesh/good")), ALL_VERSIONS, "ssl_fail_verify_error"),
        ("expired", Some(authority.issue_expired("spiffe://mesh/good")), ALL_VERSIONS, "ssl_fail_verify_error"),
        ("revoked", revoked, ALL_VERSIONS, "ssl_fail_verify_error"),
        ("name", Some(authority.issue("spiffe://other/good")), ALL_VERSIONS, "ssl_fail_verify_san"),
        ("version", Some(good()), &[&TLS12], "ssl_connection_error"),
    ];
    for (failed, (what, identity, versions, reason)) in (1..).zip(cases) {
        let before = listener_stat(&proxy, proxy.web, reason);
        ask(identity.as_ref(), versions).unwrap_err();
        eventually(what, || {
            listener_stat(&proxy, proxy.web, reason) == before + 1
                && listener_stat(&proxy, proxy.web, "ssl_connection_error") == failed
        });
    }
    assert!(upstream.heads.lock().unwrap().is_empty());
    assert!(ask(Some(&good()), ALL_VERSIONS).unwrap().ends_with("secret"));
}

#[test]
fn what_is_broken_is_never_answered_in_plaintext() {
    let upstream = Upstream::saying("secret");
    let authority = Authority::new();
    let proxy = Proxy::start_with(|dir, strict, permissive, admin| {
        authority.issue("www.example.com").save(dir, "www");
        let at = dir.display();
        let tls = format!("certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}]");
        let listeners =
            [("strict", strict, ""), ("permissive", permissive, ", permissive: true")].map(|(name, address, more)| {
                format!(
                    "name: {name}, address: '{address}', protocol: http1, tls: {{ {tls}{more} }}, routes: {}",
                    routes("app")
                )
            });
        config(admin, &listeners, &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    let (strict, permissive) = (proxy.web, proxy.tcp);
    let config = Arc::new(client_config(&authority, None, ALL_VERSIONS));
    let mut hello = Vec::new();
    let mut client = ClientConnection::new(config, "www.example.com".try_into().unwrap()).unwrap();
    client.write_tls(&mut hello).unwrap();
    let mut unknown_message = hello.clone();
    *unknown_message.get_mut(5).unwrap() = 99;
    let mut garbled = hello.clone();
    garbled.get_mut(9..).unwrap().fill(0xff);
    let (half, _) = hello.split_at(hello.len() / 2);

    let cases: [(&str, &[u8], &[SocketAddr]); 9] = [
        ("plaintext", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[strict]),
        ("garbage", &[0xa5; 600], &[strict]),
        ("a record's first bytes", b"\x16\x03\x01", &[strict, permissive]),
        ("an endless record", b"\x16\x03\x01\xff\xff\x01\x00", &[strict, permissive]),
        ("an alert", b"\x15\x03\x01\x00\x02\x02\x28", &[strict]),
        ("half a hello", half, &[strict, permissive]),
        ("no hello", &unknown_message, &[strict, permissive]),
        ("a garbled hello", &garbled, &[strict, permissive]),
        ("a hello and no more", &hello, &[strict, permissive]),
    ];
    let mut failed = [0, 0];
    for (what, bytes, ports) in cases {
        for (failed, port) in failed.iter_mut().zip(ports) {
            let mut socket = TcpStream::connect(port).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket.write_all(bytes).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            // A reset tells as much as an end.
            socket.read_to_end(&mut answer).ok();
            let is_tls = |first: &u8| [0x15, 0x16].contains(first);
            assert!(answer.first().is_none_or(is_tls), "{what}: {}", String::from_utf8_lossy(&answer));
            *failed += 1;
            eventually(what, || listener_stat(&proxy, *port, "ssl_connection_error") == *failed);
        }
    }
    assert!(upstream.heads.lock().unwrap().is_empty());

    let (head, _) = Client::connect(permissive).get("/").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for port in [strict, permissive] {
        let mut client = TlsClient::connect(port, "www.example.com", &authority, None, &[]).unwrap();
        assert!(client.get("/").unwrap().ends_with("secret"));
    }
}

#[test]
fn a_handshake_that_stalls_is_ended_and_counted() {
    let authority = Authority::new();
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        authority.issue("www.example.com").save(dir, "www");
        let at = dir.display();
        let tls = format!(
            "tls: {{ certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}], handshake_timeout: 100ms }}"
        );
        let listener = format!("name: web, address: '{web}', protocol: http1, {tls}, routes: {}", routes("app"));
        config(admin, &[listener], &["name: app, endpoints: ['127.0.0.1:9']".to_owned()])
    });
    let mut client = Client::connect(proxy.web);
    client.send(b"\x16\x03\x01\x00\xc8\x01\x00\x00");
    client.rest();
    eventually("it is counted", || listener_stat(&proxy, proxy.web, "ssl_connection_error") == 1);
}

/// A server that is not one: it sends this and ends; what it was sent is kept.
fn impostor(says: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<u8>>>::default());
    let keep = heard.clone();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut first = [0; 64];
            let count = socket.read(&mut first).unwrap_or(0);
            keep.lock().unwrap().extend_from_slice(first.get(..count).unwrap());
            socket.write_all(says).ok();
            socket.shutdown(Shutdown::Write).ok();
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).ok();
            keep.lock().unwrap().append(&mut rest);
        }
    });
    (address, heard)
}

#[test]
fn hosts_are_refused_with_the_reason_in_the_log() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (plain, plain_heard) = impostor(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let (mute, mute_heard) = impostor(b"");
    let (half, half_heard) = impostor(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03");
    let server = |identity: &Identity| TlsUpstream::start(identity, ALL_VERSIONS, TlsUpstream::ok);
    let mut upstreams = Vec::new();
    let mut proxy = Proxy::start_with(|dir, web, _, admin| {
        authority.save(dir, "ca.pem");
        let at = dir.display();
        let revoked = authority.issue_revoked("app.internal", dir, "ca.crl");
        let tls = |more: &str| format!("ca: '{at}/ca.pem', sni: app.internal, crl: ['{at}/ca.crl']{more}");
        let good = authority.issue("app.internal");
        upstreams = vec![
            ("good", server(&good), tls("")),
            ("authority", server(&stranger.issue("app.internal")), tls("")),
            ("expired", server(&authority.issue_expired("app.internal")), tls("")),
            ("revoked", server(&revoked), tls("")),
            ("name", server(&authority.issue("other.internal")), tls("")),
            ("san", server(&good), tls(", san: [{ exact: x.internal }]")),
            ("version", TlsUpstream::start(&good, &[&TLS12], TlsUpstream::ok), tls(", min_version: '1.3'")),
            ("newer", TlsUpstream::start(&good, &[&TLS13], TlsUpstream::ok), tls(", max_version: '1.2'")),
        ];
        let mut clusters = Vec::new();
        let addresses = upstreams.iter().map(|(name, upstream, tls)| (*name, upstream.address, tls.clone()));
        let impostors = [("plain", plain), ("mute", mute), ("half", half)];
        let mut paths = String::new();
        for (name, address, tls) in
            addresses.chain(impostors.map(|(name, address)| (name, address, "insecure_skip_verify: true".to_owned())))
        {
            write!(paths, "{{ match: {{ prefix: /{name} }}, route: {{ cluster: {name} }} }}, ").unwrap();
            clusters.push(format!("name: {name}, endpoints: ['{address}'], tls: {{ {tls} }}"));
        }
        let log = format!(
            "access_log: {{ path: '{at}/access.log', format: \"%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%\" }}"
        );
        let listener = format!(
            "name: web, address: '{web}', protocol: http1, {log}, routes: {{ virtual_hosts: [{{ domains: ['*'], routes: [{paths}] }}] }}"
        );
        config(admin, &[listener], &clusters)
    });
    let expected = [
        ("good", "200", "via_upstream"),
        ("authority", "503", "tls_unknown_ca"),
        ("expired", "503", "tls_certificate_expired"),
        ("revoked", "503", "tls_certificate_revoked"),
        ("name", "503", "tls_name_mismatch"),
        ("san", "503", "tls_name_not_allowed"),
        ("version", "503", "tls_alert_protocol_version"),
        ("newer", "503", "tls_alert_protocol_version"),
        ("plain", "503", "tls_not_tls"),
        ("mute", "503", "tls_truncated"),
        ("half", "503", "tls_truncated"),
    ];
    for (name, status, _) in expected {
        let (head, _) = Client::connect(proxy.web).get(&format!("/{name}")).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {head}");
        let failed = u64::from(status != "200");
        eventually(name, || proxy.stat(&format!("cluster.{name}.upstream_cx_connect_fail")) == failed);
    }
    for (name, upstream, _) in &upstreams {
        assert_eq!(upstream.heads.lock().unwrap().len(), usize::from(*name == "good"), "{name}");
    }
    for heard in [plain_heard, mute_heard, half_heard] {
        let heard = heard.lock().unwrap();
        assert_eq!(heard.first(), Some(&0x16), "TLS was spoken");
        assert!(!heard.windows(4).any(|part| part == b"GET "), "and nothing else");
    }
    proxy.signal("TERM");
    assert!(proxy.ended().success());
    let log = std::fs::read_to_string(proxy.dir.join("access.log")).unwrap();
    let lines = expected.map(|(name, status, details)| format!("/{name} {status} {details}"));
    assert_eq!(log.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn a_host_that_wants_a_certificate_gets_no_request_without_one() {
    let authority = Authority::new();
    let verifier = WebPkiClientVerifier::builder(Arc::new(authority.roots())).build().unwrap();
    let good = authority.issue("app.internal");
    let strict = ServerConfig::builder().with_client_cert_verifier(verifier);
    let upstream =
        TlsUpstream::start_as(strict.with_single_cert(good.chain(), good.private_key()).unwrap(), TlsUpstream::ok);
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        authority.save(dir, "ca.pem");
        authority.issue("client.internal").save(dir, "client");
        let at = dir.display();
        let paths = ["shown", "withheld"]
            .map(|name| format!("{{ match: {{ prefix: /{name} }}, route: {{ cluster: {name} }} }}"))
            .join(", ");
        let listener = format!(
            "name: web, address: '{web}', protocol: http1, routes: {{ virtual_hosts: [{{ domains: ['*'], routes: [{paths}] }}] }}"
        );
        let own = format!(", certificate: {{ cert: '{at}/client.pem', key: '{at}/client.key' }}");
        let clusters = [("withheld", String::new()), ("shown", own)].map(|(name, own)| {
            let tls = format!("tls: {{ ca: '{at}/ca.pem', sni: app.internal{own} }}");
            format!("name: {name}, endpoints: ['{}'], {tls}", upstream.address)
        });
        config(admin, &[listener], &clusters)
    });
    let (head, _) = Client::connect(proxy.web).get("/withheld").unwrap();
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(upstream.heads.lock().unwrap().is_empty());
    let (head, _) = Client::connect(proxy.web).get("/shown").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}
