//! Certificates that are renewed while clients come and go.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::edge::{config, routes};
use crate::proxy::{Proxy, Upstream, eventually};
use crate::secrets::{Authority, TlsClient};

/// A client that keeps its connection, and makes a new one for every other request.
fn client(to: SocketAddr, authority: &Authority, stop: &AtomicBool, done: &AtomicU64) -> std::io::Result<()> {
    let connect = || TlsClient::connect(to, "www.example.com", authority, None, &["http/1.1"]);
    let mut kept = connect()?;
    while !stop.load(Ordering::Relaxed) {
        for answer in [kept.get("/")?, connect()?.get("/")?] {
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn renewals_under_load_fail_nobody() {
    let upstream = Upstream::saying("hello");
    let authority = Authority::new();
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        authority.issue("www.example.com").save(dir, "www");
        let at = dir.display();
        let tls = format!("tls: {{ certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}] }}");
        let listener = format!("name: web, address: '{web}', protocol: http1, {tls}, routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    let served =
        || TlsClient::connect(proxy.web, "www.example.com", &authority, None, &[]).map(|client| client.server());
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let load: Vec<_> = (0..3).map(|_| scope.spawn(|| client(proxy.web, &authority, &stop, &done))).collect();
        for _ in 0..8 {
            let renewed = authority.issue("www.example.com");
            renewed.save(&proxy.dir, "www");
            eventually("new handshakes get the new certificate", || {
                served().is_ok_and(|certificate| certificate == *renewed.cert.der())
            });
            let before = done.load(Ordering::Relaxed);
            eventually("the load goes on", || done.load(Ordering::Relaxed) > before + 2);
        }
        stop.store(true, Ordering::Relaxed);
        for client in load {
            client.join().unwrap().unwrap();
        }
    });
    let place = proxy.web.to_string().replace(':', "_");
    assert_eq!(proxy.stat(&format!("listener.{place}.ssl_connection_error")), 0);
}
