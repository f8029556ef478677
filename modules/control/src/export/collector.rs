//! A collector: one connection, one request at a time.

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::Destination;
use crate::Socket;

/// Bytes of an answer at most.
const MOST_ANSWER: usize = 64 << 10;

/// A collector that is reached over one connection, which is opened when it is needed.
pub(super) struct Collector {
    to: Destination,
    grpc: bool,
    conn: Option<Conn>,
}

/// Why a message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Sending it again may help, after this time at the earliest.
    pub(super) again: Option<Duration>,
    pub(super) why: String,
}

enum Conn {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Collector {
    /// Over HTTP/1.1.
    pub(super) fn http(to: Destination) -> Self {
        Self { to, grpc: false, conn: None }
    }

    /// Over HTTP/2 as gRPC has it.
    pub(super) fn grpc(to: Destination) -> Self {
        Self { to, grpc: true, conn: None }
    }

    /// Sends one message and returns its answer.
    pub(super) async fn send(
        &mut self,
        path: &'static str,
        content_type: &'static str,
        message: Bytes,
    ) -> Result<Bytes, Refusal> {
        let sent = tokio::time::timeout(self.to.timeout, self.exchange(path, content_type, message)).await;
        let sent = sent.unwrap_or_else(|_| Err(Refusal::network("no answer in time")));
        if sent.is_err() {
            // What is left on the connection is not known.
            self.conn = None;
        }
        sent
    }

    async fn exchange(
        &mut self,
        path: &'static str,
        content_type: &'static str,
        message: Bytes,
    ) -> Result<Bytes, Refusal> {
        let request = self.request(path, content_type, message)?;
        let conn = match self.conn.take().filter(|conn| !conn.is_closed()) {
            Some(conn) => self.conn.insert(conn),
            None => {
                let conn = self.connect().await.map_err(|error| Refusal::network(&error.to_string()))?;
                self.conn.insert(conn)
            }
        };
        let response = conn.send(request).await.map_err(|error| Refusal::network(&error.to_string()))?;
        if self.grpc { grpc_answer(response).await } else { http_answer(response).await }
    }

    fn request(
        &self,
        path: &'static str,
        content_type: &'static str,
        message: Bytes,
    ) -> Result<Request<Full<Bytes>>, Refusal> {
        let Destination { endpoint, headers, .. } = &self.to;
        let authority = endpoint.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let (uri, body) = if self.grpc {
            let scheme = endpoint.scheme_str().unwrap_or("http");
            let mut framed = BytesMut::with_capacity(5 + message.len());
            framed.put_u8(0);
            framed.put_u32(u32::try_from(message.len()).map_err(|_| Refusal::for_good("the message is too large"))?);
            framed.extend_from_slice(&message);
            (format!("{scheme}://{authority}{path}"), framed.freeze())
        } else {
            (format!("{}{path}", endpoint.path().trim_end_matches('/')), message)
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.parse().map_err(|_| Refusal::for_good("the endpoint is no URL"))?;
        let fields = request.headers_mut();
        fields.extend(headers.iter().cloned());
        fields.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
        fields.insert(header::USER_AGENT, header::HeaderValue::from_static("ringway"));
        if self.grpc {
            fields.insert(header::TE, header::HeaderValue::from_static("trailers"));
        } else if let Ok(host) = authority.parse() {
            fields.insert(header::HOST, host);
        }
        Ok(request)
    }

    async fn connect(&self) -> io::Result<Conn> {
        let endpoint = &self.to.endpoint;
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, "the endpoint has no host");
        let host = endpoint.host().ok_or_else(missing)?.trim_start_matches('[').trim_end_matches(']');
        let secure = endpoint.scheme() == Some(&Scheme::HTTPS);
        let port = endpoint.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let socket = TcpStream::connect((host, port)).await?;
        socket.set_nodelay(true)?;
        let socket: Box<dyn Socket> = Box::new(socket);
        let socket = match &self.to.secure {
            Some(secured) => secured(socket, if self.grpc { &["h2"] } else { &["http/1.1"] }).await?,
            None => socket,
        };
        let io = TokioIo::new(socket);
        if self.grpc {
            let (sender, conn) = http2::handshake(TokioExecutor::new(), io).await.map_err(io::Error::other)?;
            // Its errors are those of the request that is under way.
            tokio::spawn(async move { drop(conn.await) });
            Ok(Conn::Two(sender))
        } else {
            let (sender, conn) = http1::handshake(io).await.map_err(io::Error::other)?;
            tokio::spawn(async move { drop(conn.await) });
            Ok(Conn::One(sender))
        }
    }
}

impl Conn {
    fn is_closed(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Two(sender) => sender.is_closed(),
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

impl Refusal {
    fn network(why: &str) -> Self {
        Self { again: Some(Duration::ZERO), why: why.to_owned() }
    }

    fn for_good(why: &str) -> Self {
        Self { again: None, why: why.to_owned() }
    }
}

/// As OTLP/HTTP says: 429, 502, 503 and 504 may be repeated, other failures not.
async fn http_answer(response: Response<Incoming>) -> Result<Bytes, Refusal> {
    let status = response.status();
    let asked = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = Limited::new(response.into_body(), MOST_ANSWER).collect().await;
    let body = body.map_err(|error| Refusal::network(&error.to_string()))?;
    if status.is_success() {
        return Ok(body.to_bytes());
    }
    let again = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    Err(Refusal { again: again.then(|| Duration::from_secs(asked.unwrap_or(0))), why: format!("HTTP status {status}") })
}

/// The message of a unary answer, whose status is in the fields or behind the content.
async fn grpc_answer(response: Response<Incoming>) -> Result<Bytes, Refusal> {
    let fields = response.headers().clone();
    if !response.status().is_success() {
        return Err(Refusal { again: Some(Duration::ZERO), why: format!("HTTP status {}", response.status()) });
    }
    let body = Limited::new(response.into_body(), MOST_ANSWER).collect().await;
    let body = body.map_err(|error| Refusal::network(&error.to_string()))?;
    let of = |fields: &HeaderMap| fields.get("grpc-status").and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    match of(&fields).or_else(|| of(body.trailers()?)) {
        Some(0) => Ok(body.to_bytes().slice_ref_message()),
        // CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS: what OTLP
        // calls retryable.
        Some(status @ (1 | 4 | 8 | 10 | 11 | 14 | 15)) => {
            Err(Refusal { again: Some(Duration::ZERO), why: format!("gRPC status {status}") })
        }
        Some(status) => Err(Refusal::for_good(&format!("gRPC status {status}"))),
        None => Err(Refusal::network("no gRPC status")),
    }
}

trait Framed {
    /// What is behind the frame's head of five bytes.
    fn slice_ref_message(self) -> Bytes;
}

impl Framed for Bytes {
    fn slice_ref_message(mut self) -> Bytes {
        if self.len() < 5 { Self::new() } else { self.split_off(5) }
    }
}
