//! HTTP/2 and gRPC through the binary, with the h2 crate at both ends.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};

use crate::edge::{config, routes};
use crate::proxy::{Client, Proxy, Upstream, eventually};
use crate::secrets::{Authority, TlsClient};

/// Runs a test's client.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(async { tokio::time::timeout(Duration::from_secs(20), future).await.unwrap() }))
}

pub(crate) async fn connect(to: SocketAddr) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(to).await.unwrap();
    // As every HTTP/2 peer does: its window updates are small, and would wait for acknowledgements.
    socket.set_nodelay(true).unwrap();
    let (client, conn) = h2::client::handshake(socket).await.unwrap();
    tokio::task::spawn_local(async move { drop(conn.await) });
    client
}

pub(crate) async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes, end: bool) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        stream.send_data(data.split_to(room.min(data.len())), end && data.is_empty()).unwrap();
    }
    if end {
        drop(stream.send_data(Bytes::new(), true));
    }
}

pub(crate) async fn read(mut body: RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    (all, body.trailers().await.unwrap())
}

/// An upstream that speaks gRPC: it echoes what it is sent, and says how it went in the trailers. `/slow` never answers.
pub(crate) fn grpc_upstream() -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                tokio::task::spawn_local(async move {
                    let mut server = h2::server::handshake(socket).await.unwrap();
                    while let Some(Ok((request, mut respond))) = server.accept().await {
                        tokio::task::spawn_local(async move {
                            if request.uri().path() == "/slow" {
                                drop(poll_fn(|cx| respond.poll_reset(cx)).await);
                                return;
                            }
                            let path = request.uri().path().to_owned();
                            let timeout = request.headers().get("grpc-timeout").cloned();
                            let te = request.headers().get("te").cloned();
                            let (message, _) = read(request.into_body()).await;
                            let mut response = Response::new(());
                            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
                            response.headers_mut().insert("x-te", te.unwrap_or("none".parse().unwrap()));
                            if let Some(timeout) = timeout {
                                response.headers_mut().insert("x-timeout", timeout);
                            }
                            let mut stream = respond.send_response(response, false).unwrap();
                            send(&mut stream, Bytes::from(message), false).await;
                            let mut trailers = HeaderMap::new();
                            let status = if path == "/sick" { "14" } else { "0" };
                            trailers.insert("grpc-status", status.parse().unwrap());
                            stream.send_trailers(trailers).unwrap();
                        });
                    }
                });
            }
        });
    });
    receiver.recv().unwrap()
}

pub(crate) fn call(path: &str) -> http::request::Builder {
    Request::post(format!("http://a.example{path}")).header("content-type", "application/grpc").header("te", "trailers")
}

#[test]
fn many_streams_of_one_connection_are_served_at_once() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let listener = format!("name: web, address: '{web}', routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    run(async {
        let client = connect(proxy.web).await;
        let mut answers = Vec::new();
        for at in 0..80 {
            let mut client = client.clone().ready().await.unwrap();
            let request = Request::get(format!("http://a.example/{at}")).body(()).unwrap();
            let (response, _) = client.send_request(request, true).unwrap();
            answers.push(response);
        }
        for answer in answers {
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(read(answer.into_body()).await.0, b"hello");
        }
    });
    let heads = upstream.heads.lock().unwrap();
    assert_eq!(heads.len(), 80);
    assert!(heads.iter().all(|head| head.to_lowercase().contains("\r\nhost: a.example\r\n")), "{:?}", heads.first());
    assert_eq!(proxy.stat("http.web.downstream_rq_2xx"), 80);
    assert_eq!(proxy.stat("http.web.downstream_cx_total"), 1);
}

#[test]
fn a_status_in_the_trailers_makes_an_outlier() {
    let upstream = grpc_upstream();
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let listener = format!("name: web, address: '{web}', routes: {}", routes("app"));
        let health = "outlier_detection: { base_ejection_time: 1h }";
        config(admin, &[listener], &[format!("name: app, protocol: http2, endpoints: ['{upstream}'], {health}")])
    });
    let detected = || proxy.stat("cluster.app.outlier_detection.ejections_detected_consecutive_5xx");
    run(async {
        let client = connect(proxy.web).await;
        // A call that goes well ends the row, which four more do not fill again.
        for path in ["/sick", "/sick", "/sick", "/sick", "/well", "/sick", "/sick", "/sick", "/sick"] {
            let mut client = client.clone().ready().await.unwrap();
            let (response, mut stream) = client.send_request(call(path).body(()).unwrap(), false).unwrap();
            send(&mut stream, Bytes::from_static(b"\0\0\0\0\0"), true).await;
            let (_, trailers) = read(response.await.unwrap().into_body()).await;
            let expected = if path == "/sick" { "14" } else { "0" };
            assert_eq!(trailers.unwrap()["grpc-status"], expected);
        }
        assert_eq!(detected(), 0);
        let mut client = client.clone().ready().await.unwrap();
        let (response, mut stream) = client.send_request(call("/sick").body(()).unwrap(), false).unwrap();
        send(&mut stream, Bytes::from_static(b"\0\0\0\0\0"), true).await;
        drop(read(response.await.unwrap().into_body()).await);
    });
    eventually("the fifth in a row ejects", || detected() == 1);
    assert_eq!(proxy.stat("cluster.app.outlier_detection.ejections_active"), 1);
}

#[test]
fn alpn_chooses_the_protocol() {
    let upstream = Upstream::saying("hello");
    let authority = Authority::new();
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        authority.issue("www.example.com").save(dir, "www");
        let at = dir.display();
        let tls = format!("tls: {{ certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}] }}");
        let listener = format!("name: web, address: '{web}', {tls}, routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    for (offered, expected) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"][..], Some("http/1.1")), (&[][..], None)]
    {
        let client = TlsClient::connect(proxy.web, "www.example.com", &authority, None, offered).unwrap();
        assert_eq!(client.alpn().as_deref(), expected, "{offered:?}");
    }
    let mut client = TlsClient::connect(proxy.web, "www.example.com", &authority, None, &["http/1.1"]).unwrap();
    assert!(client.get("/").unwrap().starts_with("HTTP/1.1 200"));
    // RFC 7301, section 3.2: no protocol in common is fatal.
    assert!(TlsClient::connect(proxy.web, "www.example.com", &authority, None, &["spdy"]).is_err());
}

#[test]
fn a_call_keeps_its_messages_trailers_and_deadline() {
    let upstream = grpc_upstream();
    let proxy = Proxy::start_with(|_, web, other, admin| {
        let listeners = [
            format!("name: web, address: '{web}', protocol: http2, routes: {}", routes("grpc")),
            format!("name: other, address: '{other}', routes: {}", routes("nobody")),
        ];
        let clusters = [
            format!("name: grpc, protocol: http2, endpoints: ['{upstream}']"),
            format!("name: nobody, protocol: http2, endpoints: ['127.0.0.1:{}']", crate::proxy::free_port()),
        ];
        config(admin, &listeners, &clusters)
    });
    run(async {
        let mut client = connect(proxy.web).await;
        let big: Vec<u8> = (0..8_u32 << 20).map(|at| (at * 31) as u8).collect();
        for (message, timeout) in [(b"small".to_vec(), None), (big, Some("9S"))] {
            let mut request = call("/echo");
            if let Some(timeout) = timeout {
                request = request.header("grpc-timeout", timeout);
            }
            let (response, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
            let (answer, ()) = tokio::join!(
                async {
                    let response = response.await.unwrap();
                    let head = response.headers().clone();
                    (head, read(response.into_body()).await)
                },
                send(&mut stream, Bytes::from(message.clone()), true)
            );
            let (head, (content, trailers)) = answer;
            assert!(content == message, "{} bytes of {}", content.len(), message.len());
            assert_eq!(head.get("x-timeout").map(|value| value.to_str().unwrap()), timeout);
            assert_eq!(head.get("x-te").unwrap(), "trailers");
            assert_eq!(trailers.unwrap().get("grpc-status").unwrap(), "0");
        }

        // A deadline that passes is told as gRPC tells it, and the upstream's stream is reset.
        let request = call("/slow").header("grpc-timeout", "200m").body(()).unwrap();
        let response = client.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers().get("grpc-status").unwrap().as_bytes()),
            (200, &b"4"[..])
        );

        // So is an upstream that is not there.
        let mut client = connect(proxy.tcp).await;
        let response = client.send_request(call("/echo").body(()).unwrap(), true).unwrap().0.await.unwrap();
        assert_eq!(response.headers().get("content-type").unwrap(), "application/grpc");
        assert_eq!(response.headers().get("grpc-status").unwrap(), "14");
    });
    assert_eq!(proxy.stat("cluster.grpc.upstream_rq_grpc_ok"), 2);
    assert_eq!(proxy.stat("cluster.grpc.upstream_cx_total"), 1, "one connection carries them all");
}

#[test]
fn a_client_that_resets_its_stream_ends_the_request() {
    let upstream = grpc_upstream();
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        let log = format!("{{ path: '{}/log', format: '%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%' }}", dir.display());
        let listener =
            format!("name: web, address: '{web}', protocol: http2, access_log: {log}, routes: {}", routes("grpc"));
        config(admin, &[listener], &[format!("name: grpc, protocol: http2, endpoints: ['{upstream}']")])
    });
    run(async {
        let mut client = connect(proxy.web).await;
        let (response, mut stream) = client.send_request(call("/slow").body(()).unwrap(), false).unwrap();
        let (reach, _) = client.send_request(call("/echo").body(()).unwrap(), true).unwrap();
        assert_eq!(reach.await.unwrap().status(), 200);
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        // The connection goes on.
        let (again, _) = client.send_request(call("/echo").body(()).unwrap(), true).unwrap();
        assert_eq!(again.await.unwrap().status(), 200);
    });
    eventually("the request has ended", || proxy.stat("http.web.downstream_rq_active") == 0);
    assert_eq!(proxy.stat("http.web.downstream_rq_rx_reset"), 1);
    let log = || std::fs::read_to_string(proxy.dir.join("log")).unwrap();
    eventually("the reset is logged", || log().lines().count() == 3);
    assert!(log().lines().any(|line| line == "DR http2.remote_reset"), "{}", log());
}

#[test]
fn a_flood_of_pings_closes_its_connection_and_no_other() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let listener = format!("name: web, address: '{web}', protocol: http2, routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    let mut flood = Client::connect(proxy.web);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for _ in 0..5000 {
        bytes.extend_from_slice(b"\0\0\x08\x06\0\0\0\0\0abcdefgh");
    }
    flood.send(&bytes);
    let rest = flood.rest();
    // GOAWAY (7) with ENHANCE_YOUR_CALM (11); RFC 9113, section 7.
    let goaway = rest.windows(17).any(|frame| frame.get(3) == Some(&7) && frame.get(13..17) == Some(&[0, 0, 0, 11]));
    assert!(goaway, "{} bytes", rest.len());
    run(async {
        let mut client = connect(proxy.web).await;
        let request = Request::get("http://a.example/").body(()).unwrap();
        assert_eq!(client.send_request(request, true).unwrap().0.await.unwrap().status(), 200);
    });
    eventually("it is counted", || proxy.stat("http.web.downstream_cx_protocol_error") == 1);
}

#[test]
fn a_drain_lets_streams_finish_and_takes_no_more() {
    let upstream = Upstream::start(|_, stream| {
        use std::io::Write;
        thread::sleep(Duration::from_millis(500));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").is_ok()
    });
    let mut proxy = Proxy::start_with(|_, web, _, admin| {
        let listener = format!("name: web, address: '{web}', protocol: http2, routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    run(async {
        let mut client = connect(proxy.web).await;
        let request = Request::get("http://a.example/").body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        while upstream.heads.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        proxy.signal("TERM");
        let response = response.await.unwrap();
        assert_eq!(read(response.into_body()).await.0, b"late");
    });
    assert!(proxy.ended().success());
}
