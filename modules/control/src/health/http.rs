//! A check by an HTTP request.

use std::ops::RangeInclusive;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;

use super::CheckFailure;
use super::dial::{Dial, Socket};

/// Content of an answer that is read, so that its connection can be used again.
const MOST_CONTENT: u64 = 64 << 10;
/// Bytes of an answer's head.
const MOST_HEAD: usize = 64 << 10;
/// By this field a host says that it must not get more requests.
const IMMEDIATE_FAIL: &str = "x-envoy-immediate-health-check-fail";

/// What is asked, and what must come.
pub(super) struct HttpProbe {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) authority: String,
    pub(super) scheme: &'static str,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) expected: Vec<RangeInclusive<u16>>,
    pub(super) retriable: Vec<RangeInclusive<u16>>,
    pub(super) http2: bool,
}

/// A connection that requests can be sent on.
pub(super) struct HttpConn {
    sender: Sender,
    /// What drives the connection, ended with it.
    driver: JoinHandle<()>,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl HttpProbe {
    /// Asks once. A connection that may be used again is left in `kept`.
    pub(super) async fn check(&self, dial: &Dial, kept: &mut Option<HttpConn>) -> Result<(), CheckFailure> {
        let mut reused = kept.take().filter(HttpConn::is_open);
        loop {
            let was_idle = reused.is_some();
            let mut conn = match reused.take() {
                Some(conn) => conn,
                None => HttpConn::open(dial, self.http2).await?,
            };
            match conn.send(self.request()?).await {
                Ok(response) => {
                    let verdict = self.judge(&response);
                    if drain(response.into_body()).await && conn.is_open() {
                        *kept = Some(conn);
                    }
                    return verdict;
                }
                // The host has closed it meanwhile, as it may: that says nothing about the host.
                Err(_) if was_idle => {}
                Err(error) => return Err(CheckFailure::Network(plain(&error))),
            }
        }
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, CheckFailure> {
        let (scheme, authority, path) = (self.scheme, &self.authority, &self.path);
        // HTTP/1.1 asks in origin form (RFC 9112, section 3.2.1).
        let mut builder = match self.http2 {
            true => Request::builder().uri(format!("{scheme}://{authority}{path}")),
            false => Request::builder().uri(path).header(http::header::HOST, authority),
        };
        builder = builder.method(&self.method);
        if !self.headers.iter().any(|(name, _)| name == http::header::USER_AGENT) {
            builder = builder.header(http::header::USER_AGENT, "Ringway/HC");
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        builder.body(Full::default()).map_err(|error| CheckFailure::Network(format!("cannot ask: {error}")))
    }

    fn judge<B>(&self, response: &Response<B>) -> Result<(), CheckFailure> {
        let status = response.status().as_u16();
        if response.headers().contains_key(IMMEDIATE_FAIL) {
            return Err(CheckFailure::Unhealthy(format!("answered {IMMEDIATE_FAIL}")));
        }
        let among = |ranges: &[RangeInclusive<u16>]| ranges.iter().any(|range| range.contains(&status));
        if among(&self.expected) {
            Ok(())
        } else if among(&self.retriable) {
            Err(CheckFailure::Network(format!("answered {status}")))
        } else {
            Err(CheckFailure::Unhealthy(format!("answered {status}")))
        }
    }
}

impl HttpConn {
    /// Connects and says what the protocol says first.
    pub(super) async fn open(dial: &Dial, http2: bool) -> Result<Self, CheckFailure> {
        let socket = dial.connect(if http2 { &["h2"] } else { &["http/1.1"] }).await?;
        let opened = if http2 { Self::two(socket).await } else { Self::one(socket).await };
        opened.map_err(|error| CheckFailure::Network(plain(&error)))
    }

    async fn one(socket: Box<dyn Socket>) -> hyper::Result<Self> {
        let builder = http1::Builder::new().max_buf_size(MOST_HEAD).clone();
        let (sender, conn) = builder.handshake(TokioIo::new(socket)).await?;
        // Its errors are those of the request that is under way.
        let driver = tokio::spawn(async move { drop(conn.await) });
        Ok(Self { sender: Sender::One(sender), driver })
    }

    async fn two(socket: Box<dyn Socket>) -> hyper::Result<Self> {
        let builder = http2::Builder::new(TokioExecutor::new()).max_header_list_size(MOST_HEAD as u32).clone();
        let (sender, conn) = builder.handshake(TokioIo::new(socket)).await?;
        let driver = tokio::spawn(async move { drop(conn.await) });
        Ok(Self { sender: Sender::Two(sender), driver })
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !match &self.sender {
            Sender::One(sender) => sender.is_closed(),
            Sender::Two(sender) => sender.is_closed(),
        }
    }
}

impl Drop for HttpConn {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Reads content that nobody wants; whether all of it came.
async fn drain(mut body: Incoming) -> bool {
    let mut read = 0;
    while !body.is_end_stream() {
        match body.frame().await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => return false,
            None => return true,
        }
        if read > MOST_CONTENT {
            return false;
        }
    }
    true
}

/// An error with what caused it.
pub(super) fn plain(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
