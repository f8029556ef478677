//! Certificates that are renewed while clients come and go.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fs, io, thread};

use crate::edge::{config, routes};
use crate::proxy::{Proxy, Upstream, eventually};
use crate::secrets::{Authority, Identity, TlsClient};

const RENEWALS: usize = 10;
const CLIENTS: u64 = 3;

/// How a certificate gets into its files, for the given time.
type Save = fn(&Identity, &Path, usize);

#[test]
fn renewals_under_load_fail_nobody() {
    renew_under_load(|identity, folder, _| identity.save(folder, "www"));
}

/// Certificate and key change together, by a link in the path to them.
#[test]
fn renewals_of_a_mounted_secret_fail_nobody() {
    renew_under_load(|identity, folder, time| {
        let version = format!("..version-{time}");
        fs::create_dir(folder.join(&version)).unwrap();
        identity.save(&folder.join(&version), "www");
        symlink(&version, folder.join("..next")).unwrap();
        fs::rename(folder.join("..next"), folder.join("..data")).unwrap();
        if time == 0 {
            for file in ["www.pem", "www.key"] {
                symlink(format!("..data/{file}"), folder.join(file)).unwrap();
            }
        } else {
            fs::remove_dir_all(folder.join(format!("..version-{}", time - 1))).unwrap();
        }
    });
}

/// Each renewal waits until it is seen and until every client has been served since, so that their number bounds the
/// test, not time.
fn renew_under_load(save: Save) {
    let upstream = Upstream::saying("hello");
    let authority = Authority::new();
    let first = authority.issue("www.example.com");
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        let secret = dir.join("secret");
        fs::create_dir(&secret).unwrap();
        save(&first, &secret, 0);
        let at = secret.display();
        let tls = format!("tls: {{ certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}] }}");
        let listener = format!("name: web, address: '{web}', protocol: http1, {tls}, routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    let connect = || TlsClient::connect(proxy.web, "www.example.com", &authority, None, &[]);
    let stop = AtomicBool::new(false);
    let rounds = [const { AtomicU64::new(0) }; CLIENTS as usize];
    let mut witness = connect().unwrap();
    thread::scope(|scope| {
        let (stop, authority) = (&stop, &authority);
        let to = proxy.web;
        let load: Vec<_> =
            rounds.iter().map(|rounds| scope.spawn(move || client(to, authority, stop, rounds))).collect();
        // However this thread ends, the others must.
        let _stopped = Stopped(stop);
        for time in 1..=RENEWALS {
            let renewed = authority.issue("www.example.com");
            save(&renewed, &proxy.dir.join("secret"), time);
            eventually("new handshakes get the new certificate", || {
                connect().is_ok_and(|client| client.server() == *renewed.cert.der())
            });
            let before = rounds.each_ref().map(|rounds| rounds.load(Ordering::Relaxed));
            eventually("every client is served", || {
                rounds.iter().zip(before).all(|(rounds, before)| rounds.load(Ordering::Relaxed) > before + 2)
                    || load.iter().any(thread::ScopedJoinHandle::is_finished)
            });
        }
        stop.store(true, Ordering::Relaxed);
        for client in load {
            client.join().unwrap().unwrap();
        }
    });
    assert!(witness.get("/").unwrap().starts_with("HTTP/1.1 200"), "an idle connection outlives its certificate");
    assert_eq!(witness.server(), *first.cert.der());
    let place = proxy.web.to_string().replace(':', "_");
    assert_eq!(proxy.stat(&format!("listener.{place}.ssl_connection_error")), 0);
}

/// A client that keeps its connection, and makes a new one for every other request.
fn client(to: SocketAddr, authority: &Authority, stop: &AtomicBool, rounds: &AtomicU64) -> io::Result<()> {
    let connect = || TlsClient::connect(to, "www.example.com", authority, None, &["http/1.1"]);
    let mut kept = connect()?;
    while !stop.load(Ordering::Relaxed) {
        for answer in [kept.get("/")?, connect()?.get("/")?] {
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Stops the clients when it goes.
struct Stopped<'a>(&'a AtomicBool);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
