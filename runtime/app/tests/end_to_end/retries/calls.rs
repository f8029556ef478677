//! Retries of calls: gRPC over HTTP/2, Dubbo2.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use tokio::net::TcpListener;

use crate::edge::config;
use crate::http2::{call, connect, read, run, send};
use crate::proxy::Proxy;
use crate::rpc;

/// A host that fails each first try in the way that the path says, and counts tries.
fn upstream(tries: Arc<AtomicUsize>) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let tries = Arc::clone(&tries);
                tokio::task::spawn_local(async move {
                    let mut server = h2::server::handshake(socket).await.unwrap();
                    while let Some(Ok((request, respond))) = server.accept().await {
                        let first = tries.fetch_add(1, Ordering::Relaxed) == 0;
                        let how = if first { request.uri().path().to_owned() } else { "/s/well".into() };
                        tokio::task::spawn_local(async move {
                            if how != "/s/refused" {
                                drop(read(request.into_body()).await);
                            }
                            answer(&how, respond).await;
                        });
                    }
                });
            }
        });
    });
    receiver.recv().unwrap()
}

async fn answer(how: &str, mut respond: SendResponse<Bytes>) {
    if how == "/s/refused" {
        return respond.send_reset(Reason::REFUSED_STREAM);
    }
    let status = |code: &str| HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]);
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    if how == "/s/fields" {
        response.headers_mut().extend(status("14"));
        respond.send_response(response, true).unwrap();
        return;
    }
    let mut stream = respond.send_response(response, false).unwrap();
    if how != "/s/trailers" {
        send(&mut stream, Bytes::from_static(b"\0\0\0\0\0"), false).await;
    }
    stream.send_trailers(status(if how == "/s/well" { "0" } else { "14" })).unwrap();
}

#[test]
fn a_call_is_retried_wherever_its_status_is_unless_there_was_content() {
    for (path, count, status) in
        [("/s/fields", 2, "0"), ("/s/trailers", 2, "0"), ("/s/content", 1, "14"), ("/s/refused", 2, "0")]
    {
        let tries = Arc::new(AtomicUsize::new(0));
        let upstream = upstream(Arc::clone(&tries));
        let proxy = Proxy::start_with(|_, web, _, admin| {
            format!(
                r#"
admin: {{ address: "{admin}" }}
listeners:
  - name: web
    address: "{web}"
    protocol: http2
    routes: {{ virtual_hosts: [{{ domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: app, retry: {{ on: [unavailable, refused-stream] }} }} }}] }}] }}
clusters:
  - {{ name: app, protocol: http2, endpoints: ["{upstream}"] }}
"#
            )
        });
        run(async {
            let mut client = connect(proxy.web).await.ready().await.unwrap();
            let (response, mut stream) = client.send_request(call(path).body(()).unwrap(), false).unwrap();
            send(&mut stream, Bytes::from_static(b"\0\0\0\0\0"), true).await;
            let response = response.await.unwrap();
            let own = response.headers().get("grpc-status").cloned();
            let (_, trailers) = read(response.into_body()).await;
            let got = trailers.and_then(|trailers| trailers.get("grpc-status").cloned()).or(own).unwrap();
            assert_eq!(got, status, "{path}");
        });
        assert_eq!(tries.load(Ordering::Relaxed), count, "{path}");
    }
}

/// A Dubbo2 provider that has no thread left for the first call.
#[test]
fn a_framed_call_is_retried_by_what_its_status_stands_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, count) = (stream.unwrap(), Arc::clone(&count));
            thread::spawn(move || {
                let mut first = None;
                while let Ok((_, id, body)) = rpc::read(&mut stream) {
                    // The same call, to the byte.
                    assert_eq!(*first.get_or_insert_with(|| body.clone()), body);
                    let busy = count.fetch_add(1, Ordering::Relaxed) == 0;
                    let (status, value) =
                        if busy { (100, rpc::text("busy")) } else { (20, [vec![0x91], rpc::text("fine")].concat()) };
                    stream.write_all(&rpc::frame(2, status, id, &value)).unwrap();
                }
            });
        }
    });
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let retry = "retry: { on: [gateway-error], include_attempt_count: true, back_off: { base_interval: 1ms } }";
        let routes = format!(
            "{{ virtual_hosts: [{{ domains: ['*'], routes: [{{ match: {{ service: '*' }}, route: {{ cluster: app, {retry} }} }}] }}] }}"
        );
        let listener = format!("name: web, address: '{web}', protocol: dubbo, routes: {routes}");
        config(admin, &[listener], &[format!("name: app, protocol: dubbo, endpoints: ['{upstream}']")])
    });
    let mut client = rpc::connect(proxy.web);
    client.write_all(&rpc::call(77, "com.x.Echo", "1.0.0")).unwrap();
    let (status, id, body) = rpc::read(&mut client).unwrap();
    assert!((status, id) == (20, 77) && body.ends_with(b"fine"), "{status}: {body:?}");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(proxy.stat("cluster.app.upstream_rq_retry_success"), 1);
}
