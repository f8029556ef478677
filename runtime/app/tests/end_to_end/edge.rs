//! TLS, filter chains and the PROXY protocol.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::proxy::{Client, Proxy, Upstream, eventually, status};
use crate::secrets::{Authority, Identity, TlsClient};

/// A listener's key-value lines, and what it sends requests to.
pub(crate) fn routes(cluster: &str) -> String {
    format!(
        "{{ virtual_hosts: [{{ domains: ['*'], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: {cluster} }} }}] }}] }}"
    )
}

/// A configuration of these listeners and clusters.
pub(crate) fn config(admin: SocketAddr, listeners: &[String], clusters: &[String]) -> String {
    let mut text = format!("workers: 1\nadmin: {{ address: '{admin}' }}\nlisteners:\n");
    for listener in listeners {
        writeln!(text, "  - {{ {listener} }}").unwrap();
    }
    text.push_str("clusters:\n");
    for cluster in clusters {
        writeln!(text, "  - {{ {cluster} }}").unwrap();
    }
    text
}

#[test]
fn a_client_with_a_certificate_is_told_to_the_upstream_and_one_without_is_refused() {
    let upstream = Upstream::saying("secret");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        authority.save(dir, "ca.pem");
        authority.issue("www.example.com").save(dir, "www");
        let at = dir.display();
        let tls = format!(
            "tls: {{ certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}], client_ca: '{at}/ca.pem', \
             require_client_certificate: true, client_san: [{{ prefix: 'spiffe://mesh/' }}] }}"
        );
        let headers = "headers: { x_forwarded_client_cert: sanitize_set, client_cert_details: [uri] }";
        let listener = format!("name: web, address: '{web}', {tls}, {headers}, routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    // TLS 1.3 tells a client that it was refused only after its own handshake.
    let ask = |identity: Option<Identity>| {
        let client = TlsClient::connect(proxy.web, "www.example.com", &authority, identity.as_ref(), &["http/1.1"]);
        client.and_then(|mut client| client.get("/"))
    };

    let answer = ask(Some(authority.issue("spiffe://mesh/web"))).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("secret"), "{answer}");
    let head = upstream.heads.lock().unwrap().first().cloned().unwrap().to_lowercase();
    assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
    let told = head.lines().find(|line| line.starts_with("x-forwarded-client-cert: hash=")).unwrap();
    assert!(told.ends_with(";uri=spiffe://mesh/web"), "{told}");

    ask(None).unwrap_err();
    ask(Some(authority.issue("spiffe://other/web"))).unwrap_err();
    ask(Some(stranger.issue("spiffe://mesh/web"))).unwrap_err();
    let listener = format!("listener.{}", proxy.web.to_string().replace(':', "_"));
    for (name, expected) in
        [("handshake", 1), ("fail_verify_no_cert", 1), ("fail_verify_san", 1), ("fail_verify_error", 1)]
    {
        eventually(name, || proxy.stat(&format!("{listener}.ssl_{name}")) == expected);
    }
    // Plaintext on a port for TLS gets nothing.
    assert_eq!(status(proxy.web), 0);
    assert_eq!(upstream.heads.lock().unwrap().len(), 1);
}

#[test]
fn new_certificates_are_for_new_handshakes_and_cut_nothing() {
    let upstream = Upstream::saying("ok");
    let authority = Authority::new();
    let first = authority.issue("www.example.com");
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        first.save(dir, "www");
        let at = dir.display();
        let tls = format!("tls: {{ certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}] }}");
        let listener = format!("name: web, address: '{web}', {tls}, routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    let connect = || TlsClient::connect(proxy.web, "www.example.com", &authority, None, &[]).unwrap();
    let mut old = connect();
    assert!(old.get("/").unwrap().contains("200 OK"));
    assert_eq!(old.server(), *first.cert.der());

    let second = authority.issue("www.example.com");
    second.save(&proxy.dir, "www");
    eventually("the new certificate is shown", || {
        let mut client = connect();
        assert!(client.get("/").unwrap().contains("200 OK"));
        client.server() == *second.cert.der()
    });
    assert!(old.get("/").unwrap().contains("200 OK"), "a connection outlives its certificate");

    // A key that does not fit changes nothing.
    std::fs::write(proxy.dir.join("www.key"), first.key.serialize_pem()).unwrap();
    eventually("the file was read", || proxy.stat("config.update_rejected") == 1);
    assert_eq!(connect().server(), *second.cert.der());
    assert!(old.get("/").unwrap().contains("200 OK"));
}

#[test]
fn one_port_serves_chains_by_server_name_and_plaintext_where_that_is_allowed() {
    let (app, other) = (Upstream::saying("app"), Upstream::saying("other"));
    let authority = Authority::new();
    let proxy = Proxy::start_with(|dir, web, behind, admin| {
        authority.issue("*.example.com").save(dir, "www");
        let at = dir.display();
        let tls =
            |more: &str| format!("tls: {{ certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}] {more} }}");
        let chains = [
            "{ name: through, match: { server_names: [through.example.com] }, protocol: tcp, cluster: behind }"
                .to_owned(),
            format!(
                "{{ name: other, match: {{ server_names: ['other.example.com'] }}, {}, routes: {} }}",
                tls(""),
                routes("other")
            ),
            format!("{{ name: rest, {}, routes: {} }}", tls(", permissive: true"), routes("app")),
        ];
        let listeners = [
            format!("name: web, address: '{web}', filter_chains: [{}]", chains.join(", ")),
            format!("name: behind, address: '{behind}', {}, routes: {}", tls(""), routes("other")),
        ];
        let clusters = [
            format!("name: app, endpoints: ['{}']", app.address),
            format!("name: other, endpoints: ['{}']", other.address),
            format!("name: behind, protocol: tcp, endpoints: ['{behind}']"),
        ];
        config(admin, &listeners, &clusters)
    });
    for (name, expected) in
        [("www.example.com", "app"), ("other.example.com", "other"), ("through.example.com", "other")]
    {
        let mut client = TlsClient::connect(proxy.web, name, &authority, None, &["http/1.1"]).unwrap();
        assert!(client.get("/").unwrap().ends_with(expected), "{name}");
    }
    let (head, content) = Client::connect(proxy.web).get("/").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && content == b"app", "{head}");
    let handshakes =
        |at: SocketAddr| proxy.stat(&format!("listener.{}.ssl_handshake", at.to_string().replace(':', "_")));
    assert_eq!((handshakes(proxy.web), handshakes(proxy.tcp)), (2, 1), "what is passed through is not opened");
    // What looks like TLS and is broken is never served as plaintext.
    let mut client = Client::connect(proxy.web);
    client.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
    client.rest();
    assert_eq!(app.heads.lock().unwrap().len(), 2);
}

#[test]
fn hosts_are_verified_before_anything_is_sent() {
    let upstream = Upstream::saying("app");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let front = Proxy::start_with(|dir, web, secure, admin| {
        authority.save(dir, "ca.pem");
        stranger.save(dir, "stranger.pem");
        authority.issue("app.internal").save(dir, "app");
        let at = dir.display();
        let matches = ["/good", "/name", "/authority", "/san", "/bad-san"];
        let route = |path: &&str| format!("{{ match: {{ prefix: {path} }}, route: {{ cluster: '{path}' }} }}");
        let all = matches.iter().map(route).collect::<Vec<_>>().join(", ");
        let tls = format!("tls: {{ certificates: [{{ cert: '{at}/app.pem', key: '{at}/app.key' }}] }}");
        let listeners = [
            format!(
                "name: web, address: '{web}', protocol: http1, routes: {{ virtual_hosts: [{{ domains: ['*'], routes: [{all}] }}] }}"
            ),
            format!("name: secure, address: '{secure}', {tls}, routes: {}", routes("app")),
        ];
        let cluster = |name: &str, tls: &str| format!("name: '{name}', endpoints: ['{secure}'], tls: {{ {tls} }}");
        let clusters = [
            format!("name: app, endpoints: ['{}']", upstream.address),
            cluster("/good", &format!("ca: '{at}/ca.pem', sni: app.internal")),
            cluster("/name", &format!("ca: '{at}/ca.pem', sni: other.internal")),
            cluster("/authority", &format!("ca: '{at}/stranger.pem', sni: app.internal")),
            cluster("/san", &format!("ca: '{at}/ca.pem', sni: other.internal, san: [{{ suffix: .internal }}]")),
            cluster("/bad-san", &format!("ca: '{at}/ca.pem', sni: app.internal, san: [{{ exact: x.internal }}]")),
        ];
        config(admin, &listeners, &clusters)
    });
    let mut client = Client::connect(front.web);
    for (path, expected) in
        [("/good", "200"), ("/name", "503"), ("/authority", "503"), ("/san", "200"), ("/bad-san", "503")]
    {
        let (head, _) = client.get(path).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {expected}")), "{path}: {head}");
    }
    assert_eq!(upstream.heads.lock().unwrap().len(), 2);
}

#[test]
fn a_proxy_header_tells_the_client_and_its_absence_is_an_error() {
    let upstream = Upstream::saying("ok");
    let proxy = Proxy::start_with(|_, web, plain, admin| {
        let listener = |name: &str, at: SocketAddr, proxy: &str| {
            format!(
                "name: {name}, address: '{at}', protocol: http1, proxy_protocol: {proxy}, routes: {}",
                routes("app")
            )
        };
        let listeners = [listener("web", web, "{}"), listener("plain", plain, "{ allow_requests_without: true }")];
        config(admin, &listeners, &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    let forwarded = || {
        let heads = upstream.heads.lock().unwrap();
        let head = heads.last().cloned().unwrap().to_lowercase();
        head.lines().find_map(|line| line.strip_prefix("x-forwarded-for: ").map(str::to_owned)).unwrap()
    };
    let mut client = Client::connect(proxy.web);
    // In two pieces.
    client.send(b"PROXY TCP4 203.0.113.7 ");
    client.send(b"198.51.100.1 4242 443\r\n");
    assert!(client.get("/").unwrap().0.starts_with("HTTP/1.1 200"));
    assert_eq!(forwarded(), "203.0.113.7");

    let mut client = Client::connect(proxy.tcp);
    assert!(client.get("/").unwrap().0.starts_with("HTTP/1.1 200"));
    assert_eq!(forwarded(), "127.0.0.1");

    assert_eq!(status(proxy.web), 0, "a connection without a header is closed");
    let errors = format!("listener.{}.proxy_proto_error", proxy.web.to_string().replace(':', "_"));
    eventually("it is counted", || proxy.stat(&errors) == 1);
}

#[test]
fn hosts_of_bytes_are_told_the_client_by_a_proxy_header() {
    let upstream = Upstream::saying("ok");
    let proxy = Proxy::start_with(|_, web, behind, admin| {
        let listeners = [
            format!("name: web, address: '{web}', protocol: tcp, cluster: behind"),
            format!(
                "name: behind, address: '{behind}', protocol: http1, proxy_protocol: {{}}, routes: {}",
                routes("app")
            ),
        ];
        let clusters = [
            format!("name: behind, protocol: tcp, proxy_protocol: 2, endpoints: ['{behind}']"),
            format!("name: app, endpoints: ['{}']", upstream.address),
        ];
        config(admin, &listeners, &clusters)
    });
    let (head, _) = Client::connect(proxy.web).get("/").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(upstream.connections.load(Ordering::Relaxed), 1);
}
