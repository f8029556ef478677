//! Servers on tokio, h2 and rustls, on a thread each for as long as the test runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream, server};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// Messages that `/test/Server` answers with.
pub(crate) const STREAMED: u64 = 5;

/// Serves HTTP/1.1 or HTTP/2, plain or as TLS has agreed; plain HTTP/2 is told by its preface.
pub(crate) fn start(tls: Option<ServerConfig>) -> SocketAddr {
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    spawn(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Some(acceptor) = acceptor else { return serve(stream).await };
            if let Ok(stream) = acceptor.accept(stream).await {
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    http2(stream).await
                } else {
                    http1(stream).await
                }
            }
        }
    })
}

/// A server whose connections are handled by `handle`.
pub(crate) fn spawn<F: Future<Output = ()> + 'static>(handle: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_io().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                spawn_local(handle(stream));
            }
        });
    });
    address
}

async fn serve(stream: TcpStream) {
    let mut start = [0; 3];
    if stream.peek(&mut start).await.is_ok_and(|got| got > 0) {
        if start == *b"PRI" { http2(stream).await } else { http1(stream).await }
    }
}

async fn http1(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (mut held, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(got @ 1..) = stream.read(&mut buffer).await {
        held.extend_from_slice(&buffer[..got]);
        if !b"GET ".starts_with(&held[..held.len().min(4)]) {
            // As most servers do with what is no HTTP.
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.unwrap_or_default();
            return;
        }
        while let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
            held.drain(..end + 4);
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
                return;
            }
        }
    }
}

async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        spawn_local(async move {
            // A client that ends in the middle of a call is none of the server's business.
            answer(request, respond).await.unwrap_or_default();
        });
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let Some(call) = head.uri.path().strip_prefix("/test/") else {
        respond.send_response(Response::new(()), false)?.send_data("ok".into(), true)?;
        return Ok(());
    };
    assert_eq!(head.headers["content-type"], "application/grpc");
    if call == "Refuse" {
        let mut refused = Response::new(());
        refused.headers_mut().insert("grpc-status", "8".parse().unwrap());
        respond.send_response(refused, true)?;
        return Ok(());
    }
    let mut out = respond.send_response(Response::new(()), false)?;
    let mut held = BytesMut::new();
    let mut count = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        held.extend_from_slice(&data);
        while let Some(message) = message(&mut held) {
            count += 1;
            if call == "Bidi" {
                send(&mut out, message)?;
            }
            if call == "Impatient" {
                return finish(&mut out);
            }
        }
    }
    assert!(held.is_empty(), "the last message is whole");
    match call {
        "Unary" | "Client" => send(&mut out, Bytes::from(format!("{count} messages")))?,
        "Server" => (0..STREAMED).try_for_each(|_| send(&mut out, Bytes::from(vec![7; 20_000])))?,
        "Short" => out.send_data(Bytes::from_static(&[0, 0, 0, 0, 9, b'x']), false)?,
        _ => {}
    }
    finish(&mut out)
}

fn message(held: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(held.get(1..5)?.try_into().unwrap()) as usize;
    (held.len() >= length + 5).then(|| held.split_to(length + 5).freeze().slice(5..))
}

fn send(out: &mut SendStream<Bytes>, message: Bytes) -> Result<(), h2::Error> {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put(message);
    // In two pieces, so that a message is seldom a frame.
    let first = framed.split_to(3).freeze();
    out.send_data(first, false)?;
    out.send_data(framed.freeze(), false)
}

fn finish(out: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    out.send_trailers(trailers)
}
