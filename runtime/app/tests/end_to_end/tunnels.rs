//! Upgrades and `CONNECT` through the binary.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use bytes::Bytes;
use http::Request;

use crate::edge::config;
use crate::proxy::{Client, Proxy, Upstream, eventually};

/// Routes that allow tunnels: WebSockets to `app`, `CONNECT` to `bytes`; nothing under `/plain`.
const ROUTES: &str = "{ virtual_hosts: [{ domains: ['*'], routes: [\
    { match: { connect: true }, route: { cluster: bytes } }, \
    { match: { prefix: /plain }, route: { cluster: app } }, \
    { match: { prefix: / }, route: { cluster: app, upgrades: [websocket] } }] }] }";

/// An upstream that goes over to a protocol of its own: it echoes.
fn upgrading() -> Upstream {
    Upstream::start(|head, stream| {
        if !head.to_lowercase().contains("\r\nupgrade: websocket\r\n") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain").is_ok();
        }
        let yes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Accept: x\r\n\r\n";
        stream.write_all(yes.as_bytes()).unwrap();
        echo(stream);
        false
    })
}

fn echo(stream: &mut TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        stream.write_all(bytes.get(..count).unwrap()).unwrap();
    }
}

fn echoing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || echo(&mut stream.unwrap()));
        }
    });
    address
}

fn start(app: SocketAddr, bytes: SocketAddr) -> Proxy {
    Proxy::start_with(|_, web, _, admin| {
        let listener = format!("name: web, address: '{web}', routes: {ROUTES}");
        let clusters =
            [format!("name: app, endpoints: ['{app}']"), format!("name: bytes, protocol: tcp, endpoints: ['{bytes}']")];
        config(admin, &[listener], &clusters)
    })
}

const UPGRADE: &str =
    "HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";

#[test]
fn an_upgrade_is_a_tunnel_where_its_route_allows_it() {
    let upstream = upgrading();
    let proxy = start(upstream.address, echoing());
    let mut client = Client::connect(proxy.web);
    client.send(format!("GET /plain {UPGRADE}").as_bytes());
    let (head, _) = client.response().unwrap();
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert!(upstream.heads.lock().unwrap().is_empty(), "the upstream is not asked");
    // The same connection goes on, and becomes one.
    client.send(format!("GET /chat {UPGRADE}").as_bytes());
    let (head, _) = client.response().unwrap();
    assert!(head.starts_with("HTTP/1.1 101") && head.to_lowercase().contains("\r\nupgrade: websocket"), "{head}");
    for message in ["one", "GET / HTTP/1.1\r\n\r\n"] {
        client.send(message.as_bytes());
        assert_eq!(client.exactly(message.len()), message.as_bytes());
    }
    drop(client);
    eventually("the tunnel has ended", || proxy.stat("http.web.downstream_rq_active") == 0);
    assert_eq!(proxy.stat("http.web.downstream_cx_active"), 0);
}

#[test]
fn a_websocket_over_http2_is_an_upgrade_over_http1() {
    let upstream = upgrading();
    let proxy = start(upstream.address, echoing());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let socket = tokio::net::TcpStream::connect(proxy.web).await.unwrap();
        let (mut client, conn) = h2::client::handshake(socket).await.unwrap();
        tokio::task::spawn_local(async move { drop(conn.await) });
        // The settings that allow it come with the first answer.
        let plain = Request::get("http://a/plain").body(()).unwrap();
        assert_eq!(client.send_request(plain, true).unwrap().0.await.unwrap().status(), 200);
        assert!(client.is_extended_connect_protocol_enabled());
        let mut request = Request::builder().method("CONNECT").uri("http://a/chat").body(()).unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (response, mut stream) = client.send_request(request, false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        stream.send_data(Bytes::from_static(b"hello"), false).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), "hello");
        stream.send_data(Bytes::from_static(b"last"), true).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), "last");
        while let Some(rest) = body.data().await {
            assert!(rest.unwrap().is_empty(), "and the end comes back");
        }
    });
    let head = upstream.heads.lock().unwrap().last().cloned().unwrap();
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
}

#[test]
fn connect_ends_at_a_cluster_of_bytes() {
    let upstream = upgrading();
    let proxy = start(upstream.address, echoing());
    let mut client = Client::connect(proxy.web);
    client.send(b"CONNECT anything.example:443 HTTP/1.1\r\nHost: anything.example:443\r\n\r\nearly ");
    let (head, _) = client.response().unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && !head.to_lowercase().contains("content-length"), "{head}");
    client.send(b"bytes");
    assert_eq!(client.exactly(11), b"early bytes");
    assert!(upstream.heads.lock().unwrap().is_empty());
}
