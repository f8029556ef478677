//! Requests and bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::proxy::{Client, Proxy, Upstream, eventually, free_port, status};

#[test]
fn requests_are_forwarded_and_marked() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start(upstream.address, "headers: { via: edge }");
    let mut client = Client::connect(proxy.web);
    client.send(b"POST /a?b=c HTTP/1.1\r\nHost: Example.com\r\nContent-Length: 4\r\nConnection: x-gone\r\nX-Gone: 1\r\nX-Kept: Yes\r\n\r\nbody");
    let (head, content) = client.response().unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(content, b"hello");
    let lower = head.to_lowercase();
    assert!(lower.contains("server: ringway") && lower.contains("via: 1.1 edge"), "{head}");
    let seen = upstream.heads.lock().unwrap()[0].clone();
    assert!(seen.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("ost: Example.com\r\n"), "{seen}");
    let lower = seen.to_lowercase();
    for part in
        ["x-kept: yes", "x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "x-request-id: ", "via: 1.1 edge"]
    {
        assert!(lower.contains(part), "{part} is missing: {seen}");
    }
    assert!(!lower.contains("x-gone"), "{seen}");
    // Keep-alive, and pipelining in order.
    client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.response().is_some() && client.response().is_some());
    assert_eq!(upstream.heads.lock().unwrap().len(), 3);
}

#[test]
fn bodies_and_interim_responses_are_counted() {
    let upstream = Upstream::start(|_, stream| {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
        stream.write_all(format!("{early}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").as_bytes()).is_ok()
    });
    let proxy = Proxy::start(upstream.address, "");
    let mut client = Client::connect(proxy.web);
    for _ in 0..2 {
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        assert!(client.response().unwrap().0.starts_with("HTTP/1.1 103 "));
        assert!(client.response().unwrap().0.starts_with("HTTP/1.1 200 "));
    }
    eventually("both requests have ended", || proxy.stat("http.web.downstream_cx_tx_bytes_total") == 10);
    for (row, count) in [
        ("http.web.downstream_cx_rx_bytes_total", 8),
        ("http.web.downstream_rq_1xx", 2),
        ("cluster.app.upstream_cx_rx_bytes_total", 10),
        ("cluster.app.upstream_cx_tx_bytes_total", 8),
        ("cluster.app.upstream_rq_1xx", 2),
        ("cluster.app.membership_change", 1),
    ] {
        assert_eq!(proxy.stat(row), count, "{row}");
    }
}

#[test]
fn malformed_requests_are_refused_and_counted() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start(upstream.address, "");
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
        ("GET / HTTP/2.7\r\nHost: a\r\n\r\n", "505"),
        ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ] {
        let mut client = Client::connect(proxy.web);
        client.send(request.as_bytes());
        let answer = String::from_utf8(client.rest()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{request}: {answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    assert!(upstream.heads.lock().unwrap().is_empty());
    assert_eq!(proxy.stat("http.web.downstream_rq_4xx") + proxy.stat("http.web.downstream_rq_5xx"), 4);
}

#[test]
fn a_dead_upstream_is_503_and_comes_back() {
    let port = free_port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let proxy = Proxy::start(address, "");
    assert_eq!(status(proxy.web), 503);
    assert!(proxy.stat("cluster.app.upstream_cx_connect_fail") >= 1);
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        }
    });
    assert_eq!(status(proxy.web), 204);
}

/// The peer of an idle connection may close it just when a request is sent (503 UC in other proxies).
#[test]
fn a_closed_idle_connection_costs_no_request() {
    let upstream = Upstream::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        // Closed without a word, although keep-alive was promised.
        false
    });
    let proxy = Proxy::start(upstream.address, "");
    let mut client = Client::connect(proxy.web);
    for at in 0..200 {
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
        let (head, _) = client.response().unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "request {at}: {head}");
    }
    assert_eq!(upstream.heads.lock().unwrap().len(), 200, "and none was sent twice");
    assert_eq!(proxy.stat("cluster.app.upstream_rq_retry_success"), proxy.stat("cluster.app.upstream_rq_retry"));
}

#[test]
fn a_broken_response_is_502_and_a_cut_one_is_not_mended() {
    let upstream = Upstream::start(|head, stream| {
        if head.starts_with("GET /cut") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nonly this").unwrap();
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab").unwrap();
        }
        false
    });
    let proxy = Proxy::start(upstream.address, "");
    assert_eq!(status(proxy.web), 502);
    let mut client = Client::connect(proxy.web);
    client.send(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    let got = client.rest();
    assert!(got.len() < 1000, "{} bytes", got.len());
    assert_eq!(proxy.stat("http.web.downstream_rq_tx_reset"), 1);
}

#[test]
fn a_late_response_is_504() {
    let upstream = Upstream::start(|_, _| {
        thread::sleep(Duration::from_secs(30));
        false
    });
    let proxy = Proxy::start(upstream.address, "");
    let text = std::fs::read_to_string(proxy.config_path()).unwrap().replace("timeout: 5s", "timeout: 100ms");
    std::fs::write(proxy.config_path(), text).unwrap();
    eventually("the new timeout is in force", || proxy.generation() >= 2);
    assert_eq!(status(proxy.web), 504);
}

#[test]
fn slow_readers_hold_bounded_memory_and_nobody_else() {
    const BODY: usize = 16 << 20;
    let upstream = Upstream::start(|head, stream| {
        if !head.starts_with("GET /big") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok();
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let block = vec![b'x'; 1 << 16];
        (0..BODY / block.len()).all(|_| stream.write_all(&block).is_ok())
    });
    let proxy = Proxy::start(upstream.address, "");
    assert_eq!(status(proxy.web), 200);
    let resident = || proxy.stat("server.memory_allocated");
    let before = resident();
    let mut stuck: Vec<Client> = (0..40).map(|_| Client::connect(proxy.web)).collect();
    stuck.iter_mut().for_each(|client| client.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n"));
    eventually("all stalled", || proxy.stat("http.web.downstream_rq_active") >= 40);
    for _ in 0..100 {
        assert_eq!(status(proxy.web), 200);
    }
    // 40 responses of 16 MiB wait; two workers may hold 32 MiB of receive buffers each, and 256 KiB per connection.
    let grown = resident().saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes more");
    // They still get all of it.
    let (head, content) = stuck[0].response().unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && content.len() == BODY);
}

#[test]
fn tcp_keeps_half_close() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).unwrap();
                stream.write_all(&all).unwrap();
            });
        }
    });
    let proxy = Proxy::start(address, "");
    let mut client = TcpStream::connect(proxy.tcp).unwrap();
    let sent = vec![7; 3 << 20];
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut echoed = Vec::new();
    client.read_to_end(&mut echoed).unwrap();
    assert!(echoed == sent);
    eventually("both ways are counted", || proxy.stat("tcp.raw.downstream_cx_tx_bytes_total") == 3 << 20);
    assert_eq!(proxy.stat("tcp.raw.downstream_cx_rx_bytes_total"), 3 << 20);
}

#[test]
fn upstream_connections_are_reused() {
    let upstream = Upstream::saying("x");
    let proxy = Proxy::start(upstream.address, "");
    let mut client = Client::connect(proxy.web);
    (0..50).for_each(|_| assert!(client.get("/").is_some()));
    assert_eq!(upstream.connections.load(Ordering::Relaxed), 1);
}
