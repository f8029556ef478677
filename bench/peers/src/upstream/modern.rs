//! HTTP/2 with prior knowledge, and HTTP/2 and HTTP/1.1 over TLS: fixed replies by path, a gRPC echo, and a collector
//! of telemetry that takes everything.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;

use super::Replies;
use crate::certificate;
use crate::message;

/// Receive windows that never hold a peer back.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 24;
const BACKLOG: u32 = 4096;
/// What the methods of OpenTelemetry's collectors are called.
const EXPORT: &str = "/Export";

/// Serves for ever.
pub(super) fn run(h2c: SocketAddr, tls: SocketAddr, config: Arc<ServerConfig>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (acceptor, served) = (TlsAcceptor::from(config), Rc::new(Served::new()?));
    LocalSet::new().block_on(&runtime, async {
        let (plain, secure) = (listen(h2c)?, listen(tls)?);
        loop {
            // A connection that fails shows as an error of the client.
            tokio::select! {
                accepted = plain.accept() => {
                    let (stream, _) = accepted.context("accepting")?;
                    stream.set_nodelay(true)?;
                    spawn_local(http2(stream, served.clone()));
                }
                accepted = secure.accept() => {
                    let (stream, _) = accepted.context("accepting")?;
                    stream.set_nodelay(true)?;
                    spawn_local(by_alpn(stream, acceptor.clone(), served.clone()));
                }
            }
        }
    })
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("binding {address}"))?;
    Ok(socket.listen(BACKLOG)?)
}

/// What is served, built once.
struct Served {
    http1: Replies,
    bodies: Vec<(&'static str, Bytes)>,
    head: Response<()>,
    grpc_head: Response<()>,
    grpc_trailers: HeaderMap,
}

impl Served {
    fn new() -> Result<Self> {
        let builder =
            message::REPLY_HEADERS.iter().fold(Response::builder(), |b, (name, value)| b.header(*name, *value));
        let grpc_head = Response::builder().header("content-type", "application/grpc").body(())?;
        let mut grpc_trailers = HeaderMap::new();
        grpc_trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let bodies = message::BODIES.iter().map(|(path, size)| (*path, message::body(*size).collect())).collect();
        Ok(Self { http1: Replies::new(), bodies, head: builder.body(())?, grpc_head, grpc_trailers })
    }
}

async fn by_alpn(stream: TcpStream, acceptor: TlsAcceptor, served: Rc<Served>) -> Result<()> {
    let stream = acceptor.accept(stream).await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(certificate::H2) => http2(stream, served).await,
        _ => http1(stream, served).await,
    }
}

async fn http1(mut io: impl AsyncRead + AsyncWrite + Unpin, served: Rc<Served>) -> Result<()> {
    let mut bytes = Vec::new();
    while io.read_buf(&mut bytes).await? > 0 {
        while let Some(head) = message::parse_request(&bytes).map_err(anyhow::Error::msg)? {
            anyhow::ensure!(head.length == 0, "requests with bodies are not for this port");
            io.write_all(&served.http1.to(head.path)).await?;
            let used = head.head_len;
            bytes.drain(..used);
        }
        io.flush().await?;
    }
    Ok(())
}

async fn http2(io: impl AsyncRead + AsyncWrite + Unpin, served: Rc<Served>) -> Result<()> {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let mut connection = builder.handshake::<_, Bytes>(io).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        let path = request.uri().path();
        if path == message::UNARY || path.ends_with(EXPORT) {
            spawn_local(unary(request, respond, served.clone()));
        } else {
            get(&request, respond, &served)?;
        }
    }
    Ok(())
}

fn get(request: &Request<RecvStream>, mut respond: SendResponse<Bytes>, served: &Served) -> Result<()> {
    let path = request.uri().path();
    let Some((_, body)) = served.bodies.iter().find(|(known, _)| *known == path) else {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NOT_FOUND;
        respond.send_response(response, true)?;
        return Ok(());
    };
    let mut response = served.head.clone();
    response.headers_mut().insert("content-length", body.len().into());
    respond.send_response(response, false)?.send_data(body.clone(), true)?;
    Ok(())
}

/// Sends the message of the call back when the request has ended; a collector's answer is empty: it took everything.
async fn unary(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, served: Rc<Served>) -> Result<()> {
    let exported = request.uri().path().ends_with(EXPORT);
    let mut body = request.into_body();
    let mut message = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        if !exported {
            message.extend_from_slice(&bytes);
        }
        body.flow_control().release_capacity(bytes.len())?;
    }
    if exported {
        message.extend_from_slice(&[0; 5]);
    }
    let mut reply = respond.send_response(served.grpc_head.clone(), false)?;
    reply.send_data(message.into(), false)?;
    reply.send_trailers(served.grpc_trailers.clone())?;
    Ok(())
}
