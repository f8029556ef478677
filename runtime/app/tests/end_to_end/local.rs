//! The leg between a sidecar and its application: unix sockets and `localhost`.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::{fs, thread};

use crate::edge::{config, routes};
use crate::proxy::{Client, Proxy, Upstream, repository, status};

/// Answers one connection on a listener with this.
fn answer_once(listener: UnixListener, text: &'static str) {
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.read_exact(&mut [0; 16]).unwrap();
        write!(socket, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        socket.read_to_end(&mut Vec::new()).ok();
    });
}

#[test]
fn the_example_of_unix_sockets_works_both_ways_and_waits_for_the_application() {
    let orders = Upstream::saying("orders");
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        let text = fs::read_to_string(repository().join("examples/unix.yaml")).unwrap();
        let text = text
            .replace("0.0.0.0:8080", &web.to_string())
            .replace("orders.internal:8080", &orders.address.to_string())
            .replace("/run/app", &dir.display().to_string())
            .replace("/run/ringway", &dir.display().to_string());
        format!("{text}admin: {{ address: '{admin}' }}\n")
    });
    let file = proxy.dir.join("app.sock");
    assert_eq!(status(proxy.web), 503, "there is no such file");
    assert_eq!(proxy.stat("cluster.app.upstream_cx_connect_fail"), 1);
    for answer in ["first", "second"] {
        answer_once(UnixListener::bind(&file).unwrap(), answer);
        let (head, content) = Client::connect(proxy.web).get("/").unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && content == answer.as_bytes(), "{head}");
        fs::remove_file(&file).unwrap();
    }
    assert_eq!(status(proxy.web), 503, "the application is gone");

    let mut socket = UnixStream::connect(proxy.dir.join("outbound.sock")).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: orders.internal\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("orders"), "{answer}");
    let head = orders.heads.lock().unwrap().first().cloned().unwrap().to_lowercase();
    assert!(!head.contains("x-forwarded-for"), "a peer without an address: {head}");
}

#[test]
fn a_name_is_one_host_however_many_families_it_has() {
    let upstream = Upstream::saying("ok");
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let listener = format!("name: web, address: '{web}', protocol: http1, routes: {}", routes("app"));
        let endpoint = format!("endpoints: ['localhost:{}'], max_requests_per_connection: 1", upstream.address.port());
        let clusters = [
            format!("name: app, {endpoint}"),
            format!("name: v4, dns_family: v4, {endpoint}"),
            format!("name: all, dns_family: all, {endpoint}"),
        ];
        config(admin, &[listener], &clusters)
    });
    // The upstream is on 127.0.0.1 alone, whatever else the name stands for here.
    for _ in 0..4 {
        assert_eq!(status(proxy.web), 200);
    }
    assert_eq!(proxy.stat("cluster.app.upstream_cx_connect_fail"), 0);
    for cluster in ["app", "v4"] {
        assert_eq!(proxy.stat(&format!("cluster.{cluster}.membership_total")), 1, "{cluster}");
    }
    assert!(proxy.stat("cluster.all.membership_total") >= 1);
}
