//! Checks by HTTP and by gRPC, of hyper's servers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use ::http::{HeaderMap, Method, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

fn get(expected: &[std::ops::RangeInclusive<u16>], http2: bool) -> HealthCheckKind {
    HealthCheckKind::Http {
        method: Method::GET,
        path: "/healthz?deep=1".into(),
        host: Some("shop.example".into()),
        headers: vec![("x-probe".parse().unwrap(), "yes".parse().unwrap())],
        expected: expected.to_vec(),
        retriable: vec![503..=503],
        http2,
    }
}

/// An HTTP/1.1 server that answers with these statuses, one after the other, the last again and again.
async fn answering(statuses: &'static [u16]) -> (std::net::SocketAddr, Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>) {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, next) = (Arc::clone(&heads), Arc::new(AtomicUsize::new(0)));
    let (address, count) = server(move |stream| {
        let (seen, next) = (Arc::clone(&seen), Arc::clone(&next));
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (method, uri, fields) = (request.method(), request.uri(), request.headers());
                seen.lock().unwrap().push(format!("{method} {uri} {fields:?}"));
                let at = next.fetch_add(1, Relaxed).min(statuses.len() - 1);
                let response = Response::builder().status(statuses[at]).body(Full::new(Bytes::from("well, well")));
                async move { Ok::<_, Infallible>(response.unwrap()) }
            });
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        }
    })
    .await;
    (address, count, heads)
}

#[tokio::test]
async fn a_request_is_made_as_configured_on_one_connection() {
    let (address, count, heads) = answering(&[200]).await;
    let mut world = World::checking(get(&[200..=200], false), address);
    assert_eq!(world.outcomes(4).await, ["ok"; 4]);
    assert_eq!(count.load(Relaxed), 1);
    let head = heads.lock().unwrap().first().cloned().unwrap();
    assert!(head.starts_with("GET /healthz?deep=1 "), "{head}");
    for field in [r#""host": "shop.example""#, r#""x-probe": "yes""#, r#""user-agent": "Ringway/HC""#] {
        assert!(head.contains(field), "{field} in {head}");
    }
}

#[tokio::test]
async fn connections_are_not_kept_where_that_is_not_wanted() {
    let (address, count, _) = answering(&[200]).await;
    let mut world = World::new();
    let fresh = HealthCheck { reuse_connection: false, ..check(get(&[200..=200], false)) };
    world.checker.set("app", how(fresh), [host(address)]);
    assert_eq!(world.outcomes(3).await, ["ok"; 3]);
    assert!(count.load(Relaxed) >= 3);
}

#[tokio::test]
async fn a_status_that_is_not_expected_is_enough() {
    let (address, ..) = answering(&[204, 404, 299, 200, 200]).await;
    let mut world = World::checking(get(&[200..=200, 204..=299], false), address);
    let mut verdicts = Vec::new();
    for _ in 0..4 {
        let report = world.report().await;
        verdicts.push((report.outcome.is_ok(), report.healthy, report.changed));
    }
    // It takes one to fall, and two to come back.
    assert_eq!(verdicts, [(true, true, true), (false, false, true), (true, false, false), (true, true, true)]);
}

#[tokio::test]
async fn a_status_that_may_be_repeated_takes_several() {
    let (address, ..) = answering(&[200, 503, 200, 503, 503, 503]).await;
    let mut world = World::checking(get(&[200..=200], false), address);
    let mut healthy = Vec::new();
    for _ in 0..5 {
        healthy.push(world.report().await.healthy);
    }
    assert_eq!(healthy, [true, true, true, true, false]);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_says_nothing() {
    let (address, count) = server(|mut stream| async move {
        let mut bytes = [0; 4096];
        if stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
            // Says nothing of closing, and closes.
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.ok();
        }
    })
    .await;
    let mut world = World::checking(get(&[200..=200], false), address);
    assert_eq!(world.outcomes(5).await, ["ok"; 5]);
    assert!(count.load(Relaxed) >= 5);
}

#[tokio::test]
async fn garbage_and_refusals_are_failures() {
    let (address, _) = server(|mut stream| async move { stream.write_all(b"SSH-2.0\r\n\r\n").await.unwrap() }).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for address in [address, gone] {
        let mut world = World::checking(get(&[200..=200], false), address);
        let outcome = world.outcomes(1).await.remove(0);
        assert!(outcome.starts_with("network: "), "{outcome}");
    }
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_wanted() {
    let (address, count) = server(|stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            assert_eq!(request.uri(), "http://shop.example/healthz?deep=1");
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("fine"))))
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        drop(builder.serve_connection(TokioIo::new(stream), service).await);
    })
    .await;
    let mut world = World::checking(get(&[200..=200], true), address);
    assert_eq!(world.outcomes(3).await, ["ok"; 3]);
    assert_eq!(count.load(Relaxed), 1);
}

#[tokio::test]
async fn a_grpc_server_is_asked_for_its_service() {
    let serving = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&serving);
    let (address, count) = server(move |stream| {
        let serving = Arc::clone(&told);
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let serving = Arc::clone(&serving);
                async move {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    assert_eq!(request.headers()["content-type"], "application/grpc");
                    let asked = request.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(asked.as_ref(), b"\0\0\0\0\x06\x0a\x04shop");
                    let status = if serving.load(Relaxed) { 1 } else { 2 };
                    let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 0x08, status]);
                    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
                    let frames = [Frame::data(message), Frame::trailers(trailers)];
                    Ok::<_, Infallible>(Response::new(Frames(frames.into())))
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        }
    })
    .await;
    let mut world = World::checking(HealthCheckKind::Grpc { service: "shop".into(), authority: None }, address);
    assert_eq!(world.outcomes(2).await, ["ok"; 2]);
    assert_eq!(count.load(Relaxed), 1);
    serving.store(false, Relaxed);
    while world.report().await.healthy {}
    assert_eq!(world.outcomes(1).await, ["answered NOT_SERVING"]);
}

#[tokio::test]
async fn a_grpc_server_without_health_checking_is_not_well() {
    let (address, _) = server(|stream| async move {
        let service = service_fn(|_: Request<Incoming>| async move {
            let response = Response::builder().header("content-type", "application/grpc").header("grpc-status", "12");
            Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        drop(builder.serve_connection(TokioIo::new(stream), service).await);
    })
    .await;
    let mut world = World::checking(HealthCheckKind::Grpc { service: String::new(), authority: None }, address);
    assert_eq!(world.outcomes(1).await, ["answered gRPC status 12"]);
}

/// Content and trailers.
struct Frames(VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}
