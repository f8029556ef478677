//! The closed-loop client over HTTP/2: N connections, M streams at a time on each, plain (prior knowledge) or TLS.
//!
//! One thread. Every exchange is checked to its last byte; a gRPC call is good when its trailers say so.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Request};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio_rustls::TlsConnector;

use super::{MAX_ERRORS, Window};
use crate::message::{self, HOST};

/// Receive windows that never hold a peer back.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 24;

/// What to ask, of whom, and how often at a time.
#[derive(Clone, Debug)]
pub(crate) struct H2Plan {
    pub(crate) target: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) connections: usize,
    /// At a time on each connection.
    pub(crate) streams: usize,
    pub(crate) call: Call,
}

/// One exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// GET of a path with a body of this size.
    Get(&'static str, u64),
    /// A gRPC call with one small message each way.
    Unary,
}

/// The client and its connections.
pub(crate) struct H2Load {
    tasks: LocalSet,
    runtime: Runtime,
    shared: Rc<Shared>,
}

struct Shared {
    plan: H2Plan,
    request: Request<()>,
    /// The body of a request that has one.
    message: Option<Bytes>,
    window: RefCell<Window>,
    /// Rung after so many errors that the figures mean nothing any more.
    ruined: Notify,
}

impl H2Load {
    /// A client whose connections open with the first [`H2Load::run`].
    pub(crate) fn start(plan: H2Plan) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let tasks = LocalSet::new();
        let message = (plan.call == Call::Unary).then(|| Bytes::from(message::unary()));
        let request = request(&plan)?;
        let (connections, window) = (plan.connections, RefCell::new(Window::new()?));
        let shared = Rc::new(Shared { plan, request, message, window, ruined: Notify::new() });
        for _ in 0..connections {
            tasks.spawn_local(keep_connected(shared.clone()));
        }
        Ok(Self { tasks, runtime, shared })
    }

    /// Runs for `time` and returns what happened in it. Calls that straddle its end belong to the next window.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Window> {
        self.shared.window.replace(Window::new()?);
        let start = Instant::now();
        let (over, timer) = oneshot::channel();
        // The end comes from a thread: see the client of HTTP/1.1.
        thread::spawn(move || {
            thread::sleep(time);
            // The window may have ended by its errors.
            over.send(()).unwrap_or_default();
        });
        let ruined = self.shared.ruined.notified();
        self.tasks.block_on(&self.runtime, async {
            tokio::select! {
                biased;
                _ = timer => {}
                () = ruined => {}
            }
        });
        let mut window = self.shared.window.replace(Window::new()?);
        window.elapsed = start.elapsed();
        Ok(window)
    }

    /// Does one call: the peer works.
    pub(crate) fn check(plan: H2Plan, patience: Duration) -> Result<()> {
        let mut load = Self::start(H2Plan { connections: 1, streams: 1, ..plan })?;
        let deadline = Instant::now() + patience;
        loop {
            let window = load.run(Duration::from_millis(50))?;
            if let Some(why) = window.first_error {
                bail!("the first call failed: {why}");
            }
            if window.completed > 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("no reply in time");
            }
        }
    }
}

impl Shared {
    fn fail(&self, why: &anyhow::Error) {
        let mut window = self.window.borrow_mut();
        window.fail(format!("{why:#}"));
        if window.errors == MAX_ERRORS {
            self.ruined.notify_one();
        }
    }

    fn complete(&self, sent_at: Instant) {
        let mut window = self.window.borrow_mut();
        window.completed += 1;
        window.latency.saturating_record(sent_at.elapsed().as_nanos() as u64);
    }
}

fn request(plan: &H2Plan) -> Result<Request<()>> {
    let scheme = if plan.tls.is_some() { "https" } else { "http" };
    let builder = match plan.call {
        Call::Get(path, _) => {
            let builder = Request::get(format!("{scheme}://{HOST}{path}"));
            message::REQUEST_HEADERS.iter().fold(builder, |b, (name, value)| b.header(*name, *value))
        }
        Call::Unary => Request::post(format!("{scheme}://{HOST}{}", message::UNARY))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("user-agent", "grpc-bench/1.0")
            .header("grpc-accept-encoding", "identity")
            .header("x-session", "b7ad6b7169203331-00f067aa0ba902b7"),
    };
    Ok(builder.version(http::Version::HTTP_2).body(())?)
}

async fn keep_connected(shared: Rc<Shared>) {
    loop {
        if let Err(why) = connected(&shared).await {
            shared.fail(&why);
        }
        // A peer that fails at once must not keep the timer from being seen.
        tokio::task::yield_now().await;
    }
}

/// One connection for as long as it lives.
async fn connected(shared: &Rc<Shared>) -> Result<()> {
    let stream = TcpStream::connect(shared.plan.target).await.context("connecting")?;
    stream.set_nodelay(true)?;
    match &shared.plan.tls {
        None => exchange(stream, shared).await,
        Some(config) => {
            let connector = TlsConnector::from(config.clone());
            let stream = connector.connect(ServerName::try_from(HOST)?, stream).await.context("TLS handshake")?;
            exchange(stream, shared).await
        }
    }
}

async fn exchange(io: impl AsyncRead + AsyncWrite + Unpin + 'static, shared: &Rc<Shared>) -> Result<()> {
    let mut builder = Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW).enable_push(false);
    let (sender, connection) = builder.handshake::<_, Bytes>(io).await.context("HTTP/2 handshake")?;
    let connection = spawn_local(connection);
    let callers: Vec<JoinHandle<Result<()>>> =
        (0..shared.plan.streams).map(|_| spawn_local(call_on(sender.clone(), shared.clone()))).collect();
    drop(sender);
    for caller in callers {
        caller.await??;
    }
    connection.await?.context("the connection")
}

/// Calls until the connection takes no more.
async fn call_on(mut sender: SendRequest<Bytes>, shared: Rc<Shared>) -> Result<()> {
    loop {
        sender = sender.ready().await.context("the connection")?;
        let sent_at = Instant::now();
        match call(&mut sender, &shared).await {
            Ok(()) => shared.complete(sent_at),
            Err(why) => shared.fail(&why),
        }
    }
}

async fn call(sender: &mut SendRequest<Bytes>, shared: &Shared) -> Result<()> {
    let (response, mut body) = sender.send_request(shared.request.clone(), shared.message.is_none())?;
    if let Some(message) = &shared.message {
        body.send_data(message.clone(), true)?;
    }
    let (head, mut body) = response.await?.into_parts();
    if head.status != http::StatusCode::OK {
        bail!("status {}", head.status.as_u16());
    }
    let (got, kept) = drain(&mut body, shared.message.as_ref().map_or(0, Bytes::len)).await?;
    match shared.plan.call {
        Call::Get(_, size) => {
            let length = text(&head.headers, "content-length");
            if got != size || length.parse() != Ok(size) {
                bail!("{got} bytes and content-length {length:?} instead of {size}");
            }
        }
        Call::Unary => {
            let kind = text(&head.headers, "content-type");
            if !kind.starts_with("application/grpc") {
                bail!("content-type {kind:?}");
            }
            if shared.message.as_ref().is_none_or(|m| *m != kept) {
                bail!("another message of {got} bytes came back");
            }
            let trailers = body.trailers().await?.context("no trailers")?;
            if text(&trailers, "grpc-status") != "0" {
                bail!("grpc-status {:?}", text(&trailers, "grpc-status"));
            }
        }
    }
    Ok(())
}

/// Reads a body to its end: its size, and its bytes up to the frame that goes beyond `keep`.
async fn drain(body: &mut RecvStream, keep: usize) -> Result<(u64, Vec<u8>)> {
    let (mut got, mut kept) = (0, Vec::new());
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        if kept.len() < keep {
            kept.extend_from_slice(&bytes);
        }
        got += bytes.len() as u64;
        body.flow_control().release_capacity(bytes.len())?;
    }
    Ok((got, kept))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
