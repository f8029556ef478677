//! Start, drain, end.

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::proxy::{BINARY, Client, Proxy, Upstream, eventually};

#[test]
fn sigterm_finishes_what_is_under_way() {
    let gate = Arc::new(AtomicBool::new(false));
    let opened = gate.clone();
    let upstream = Upstream::start(move |_, stream| {
        while !opened.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        std::io::Write::write_all(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").is_ok()
    });
    let mut proxy = Proxy::start(upstream.address, "");
    let mut idle = Client::connect(proxy.web);
    let mut busy = Client::connect(proxy.web);
    busy.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request is under way", || upstream.heads.lock().unwrap().len() == 1);
    // One that is still in the listener's queue would be reset with it.
    eventually("both are accepted", || proxy.stat("http.web.downstream_cx_active") == 2);
    proxy.signal("TERM");
    assert!(idle.rest().is_empty(), "idle connections are closed in order");
    eventually("which is counted", || proxy.stat("http.web.downstream_cx_drain_close") == 1);
    eventually("the listener is closed", || TcpStream::connect(proxy.web).is_err());
    assert!(proxy.ask("GET", "/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 503")) || !proxy.is_running());
    gate.store(true, Ordering::Relaxed);
    let (head, content) = busy.response().unwrap();
    assert_eq!(content, b"done");
    assert!(head.to_lowercase().contains("connection: close"), "{head}");
    assert!(proxy.ended().success());
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let upstream = Upstream::start(|_, _| {
        thread::sleep(std::time::Duration::from_secs(60));
        false
    });
    let mut proxy = Proxy::start(upstream.address, "");
    let mut busy = Client::connect(proxy.web);
    busy.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request is under way", || upstream.heads.lock().unwrap().len() == 1);
    proxy.signal("TERM");
    eventually("it drains", || TcpStream::connect(proxy.web).is_err());
    assert!(proxy.is_running());
    let began = std::time::Instant::now();
    proxy.signal("TERM");
    assert!(proxy.ended().success());
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "the drain's 10 s were not waited for");
}

#[test]
fn a_taken_port_is_one_clear_line() {
    let upstream = Upstream::saying("x");
    let proxy = Proxy::start(upstream.address, "");
    let text = std::fs::read_to_string(proxy.config_path()).unwrap();
    let other = proxy.dir.join("other.yaml");
    let text = text.replace(&proxy.admin.to_string(), &format!("127.0.0.1:{}", crate::proxy::free_port()));
    std::fs::write(&other, text).unwrap();
    let output = Command::new(BINARY).args(["run", "-c"]).arg(&other).output().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("listener web: cannot listen on {}", proxy.web)), "{error}");
    assert!(Client::connect(proxy.web).get("/").is_some(), "the first is unharmed");
}

#[test]
fn a_quick_restart_finds_its_port_free() {
    let upstream = Upstream::saying("x");
    let mut proxy = Proxy::start(upstream.address, "");
    let path = proxy.config_path();
    assert!(Client::connect(proxy.web).get("/").is_some());
    proxy.signal("TERM");
    assert!(proxy.ended().success());
    let mut again = Command::new(BINARY).args(["run", "-c"]).arg(&path).spawn().unwrap();
    eventually("it serves again", || TcpStream::connect(proxy.web).is_ok());
    assert!(Client::connect(proxy.web).get("/").is_some());
    again.kill().unwrap();
    again.wait().unwrap();
}
