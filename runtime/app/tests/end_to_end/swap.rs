//! Configurations swapped under traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::proxy::{Client, Proxy, Upstream, eventually};

#[test]
fn swaps_under_load_fail_no_request() {
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let proxy = Proxy::start(a.address, "");
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, done, web) = (stop.clone(), done.clone(), proxy.web);
            thread::spawn(move || {
                let mut client = Client::connect(web);
                while !stop.load(Ordering::Relaxed) {
                    let (head, _) = client.get("/").expect("the connection stays");
                    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for swap in 0..20u64 {
        let to = if swap % 2 == 0 { b.address } else { a.address };
        proxy.configure(to, "");
        eventually("the swap is published", || proxy.generation() >= swap + 2);
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(done.load(Ordering::Relaxed) > 100);
    assert!(!b.heads.lock().unwrap().is_empty());
    eventually("old snapshots are freed", || {
        proxy.ask("GET", "/snapshots").is_some_and(|answer| answer.contains("\"retired_in_use\": 0"))
    });
}

#[test]
fn a_request_keeps_the_view_it_began_with() {
    let gate = Arc::new(AtomicBool::new(false));
    let opened = gate.clone();
    let slow = Upstream::start(move |_, stream| {
        while !opened.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        std::io::Write::write_all(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").is_ok()
    });
    let fast = Upstream::saying("new");
    let proxy = Proxy::start(slow.address, "");
    let mut early = Client::connect(proxy.web);
    early.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request is under way", || slow.heads.lock().unwrap().len() == 1);
    proxy.configure(fast.address, "");
    eventually("the swap is published", || proxy.generation() == 2);
    assert_eq!(Client::connect(proxy.web).get("/").unwrap().1, b"new");
    gate.store(true, Ordering::Relaxed);
    assert_eq!(early.response().unwrap().1, b"old");
    assert_eq!(early.get("/").unwrap().1, b"new", "the next request of the same connection");
}

#[test]
fn listeners_come_and_go_without_harm() {
    let upstream = Upstream::saying("x");
    let mut proxy = Proxy::start(upstream.address, "");
    let mut kept = Client::connect(proxy.web);
    assert!(kept.get("/").is_some());
    let old = proxy.web;
    proxy.web.set_port(crate::proxy::free_port());
    proxy.configure(upstream.address, "");
    eventually("the new address answers", || std::net::TcpStream::connect(proxy.web).is_ok());
    assert!(Client::connect(proxy.web).get("/").is_some());
    eventually("the old one is closed", || std::net::TcpStream::connect(old).is_err());
    assert!(kept.get("/").is_some(), "its connections live on");
}

#[test]
fn a_symlink_swap_is_noticed() {
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let proxy = Proxy::start(a.address, "");
    // As Kubernetes mounts a ConfigMap: the file is a link through a link to a folder that is replaced.
    let text = std::fs::read_to_string(proxy.config_path()).unwrap();
    for (folder, address) in [("v1", a.address), ("v2", b.address)] {
        std::fs::create_dir(proxy.dir.join(folder)).unwrap();
        let text = text.replace(&a.address.to_string(), &address.to_string());
        std::fs::write(proxy.dir.join(folder).join("ringway.yaml"), text).unwrap();
    }
    let link = |to: &str, name: &str| {
        let next = proxy.dir.join("next");
        std::os::unix::fs::symlink(to, &next).unwrap();
        std::fs::rename(next, proxy.dir.join(name)).unwrap();
    };
    link("v1", "..data");
    link("..data/ringway.yaml", "ringway.yaml");
    link("v2", "..data");
    eventually("the swap is noticed", || Client::connect(proxy.web).get("/").is_some_and(|(_, body)| body == b"b"));
}

#[test]
fn a_bad_file_changes_nothing() {
    let upstream = Upstream::saying("x");
    let mut proxy = Proxy::start(upstream.address, "");
    std::fs::write(proxy.config_path(), "listeners: [").unwrap();
    eventually("it is refused", || proxy.stat("config.update_rejected") >= 1);
    assert!(proxy.is_running());
    assert!(Client::connect(proxy.web).get("/").is_some());
    proxy.configure(upstream.address, "");
    eventually("a good one is taken again", || proxy.generation() >= 2);
}

/// Puts a file in the place of another as a whole.
fn replace(path: &std::path::Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[test]
fn endpoints_in_a_file_follow_it_under_load() {
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let mut file = std::path::PathBuf::new();
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        file = dir.join("hosts.yaml");
        std::fs::write(&file, format!("endpoints: ['{}']", a.address)).unwrap();
        let routes = "routes: { virtual_hosts: [{ domains: ['*'], routes: [{ match: { prefix: / }, route: { cluster: app } }] }] }";
        let listener = format!("name: web, address: '{web}', protocol: http1, {routes}");
        crate::edge::config(admin, &[listener], &[format!("name: app, endpoints_file: '{}'", file.display())])
    });
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, web) = (stop.clone(), proxy.web);
    let load = thread::spawn(move || {
        let mut client = Client::connect(web);
        let mut answers = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            let (head, body) = client.get("/").expect("the connection stays");
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            if answers.last() != Some(&body) {
                answers.push(body);
            }
        }
        answers
    });
    eventually("requests flow", || !a.heads.lock().unwrap().is_empty());
    // What cannot be used changes nothing, and says where it is wrong.
    replace(&file, "endpoints: ['127.0.0.1:0']");
    eventually("it is refused", || proxy.stat("cluster.app.update_rejected") == 1);
    replace(&file, &format!("endpoints: [{{ address: '{}', weight: 3 }}]", b.address));
    eventually("it is taken", || proxy.stat("cluster.app.update_success") == 1);
    eventually("it is used", || !b.heads.lock().unwrap().is_empty());
    stop.store(true, Ordering::Relaxed);
    assert_eq!(load.join().unwrap(), [b"a", b"b"]);
    assert_eq!(proxy.generation(), 1, "the configuration is the same");
    let clusters = proxy.ask("GET", "/clusters").unwrap();
    assert!(clusters.contains(&format!("app::{}::weight::3", b.address)) && !clusters.contains(&a.address.to_string()));
}
