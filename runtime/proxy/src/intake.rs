//! From an accepted stream to a connection that can be served: PROXY header -> filter chain -> TLS -> protocol.
//!
//! What must be seen to decide is read, looked at and put back. Nothing here knows a protocol.

use std::rc::Rc;
use std::task::Poll;

use ringway_api::{
    Address, Blame, Chunk, ConnError, ConnInfo, Io, ResponseFlag, ResponseFlags, Secured, Sniff, Time, Timer,
};
use ringway_config::ConnFacts;
use ringway_config::raw::Transport;
use ringway_preface::{client_hello, proxy_protocol};
use ringway_telemetry::{Cells, Field, ListenerStats, LogType, StreamRecord};

use crate::listener::ListenerView;
use crate::plan::{ProxyHeader, TlsPlan};
use crate::timers::within;
use crate::view::{ChainHandle, ChainView, Service};
use crate::worker::Worker;

/// Bytes that may be looked at before a connection's fate is decided: a ClientHello's most, with its record headers.
const PREFIX: usize = 17 << 10;

/// A connection that can be served.
pub(crate) struct Arrived<I: Io> {
    pub(crate) io: I,
    pub(crate) info: ConnInfo,
    pub(crate) chain: Rc<ChainHandle<I>>,
    /// The place of its protocol among those of the chain.
    pub(crate) protocol: usize,
}

/// Why a connection is closed before it is served.
pub(crate) enum Refusal {
    /// It did not show in time what it is.
    Timeout,
    /// It ended before it did.
    Closed,
    /// Its PROXY header is missing or malformed.
    ProxyHeader,
    /// No filter chain is for it.
    NoChain,
    /// It speaks no protocol of its chain.
    NoProtocol,
    /// Too many handshakes are under way.
    Busy,
    /// The TLS handshake failed.
    Tls(ConnError),
}

/// Takes a connection in. A refused one has been closed.
pub(crate) async fn take_in<I: Io>(
    view: &ListenerView<I>,
    worker: &Worker,
    io: I,
    mut info: ConnInfo,
) -> Result<Arrived<I>, Refusal> {
    let mut timer = worker.env.timer();
    timer.set_after(view.sniff_timeout);
    let mut first = FirstBytes { io, timer, seen: Chunk::EMPTY };
    if let Some(header) = view.proxy_protocol {
        first.proxy_header(header, &mut info).await?;
    }
    let hello = if needs_hello(view) { first.hello().await? } else { Hello::default() };
    let facts = ConnFacts {
        local: &info.local,
        peer: &info.peer,
        transport: if hello.is_tls { Transport::Tls } else { Transport::RawBuffer },
        server_name: hello.server_name.as_deref(),
        offers: &|name| hello.protocols.contains(name.as_bytes()),
    };
    let chain = view.matcher.find(&facts).and_then(|at| view.chains.get(at)).ok_or(Refusal::NoChain)?;
    let chain_view = chain.view();
    let began = worker.env.now();
    let refused = |refusal: Refusal, info: &ConnInfo, name: Option<&str>| {
        note_refusal(&chain_view, worker, info, name, began, &refusal);
        refusal
    };
    if let Some(tls) = &chain_view.tls
        && (hello.is_tls || !tls.permissive)
    {
        let name = hello.server_name.as_deref();
        let secured = handshake(view, worker, first, tls).await.map_err(|refusal| refused(refusal, &info, name))?;
        info.tls = Some(secured.info);
        let mut timer = worker.env.timer();
        timer.set_after(view.sniff_timeout);
        first = FirstBytes { io: secured.io, timer, seen: Chunk::EMPTY };
        if info.tls.as_ref().is_some_and(|tls| tls.resumed) {
            view.stats.ssl_session_reused.inc();
        }
    }
    if info.tls.is_none() {
        info.sniffed_name = hello.server_name.map(String::into_boxed_str);
    }
    let protocol = match agreed(&chain_view, &info) {
        Some(protocol) => protocol,
        None => first.protocol(&chain_view).await.map_err(|refusal| refused(refusal, &info, None))?,
    };
    Ok(Arrived { io: first.put_back(), info, chain: Rc::clone(chain), protocol })
}

/// Tells the chain's sinks of a connection that is not served.
fn note_refusal<I: Io>(
    view: &ChainView<I>,
    worker: &Worker,
    info: &ConnInfo,
    name: Option<&str>,
    began: Time,
    refusal: &Refusal,
) {
    let (Some(sinks), Some(details)) = (&view.sinks, refusal.details()) else { return };
    let took = worker.env.now().since(began);
    let mut record = StreamRecord::new(worker.env.wall().checked_sub(took).unwrap_or(std::time::UNIX_EPOCH));
    record.kind = LogType::NotSet;
    record.duration = took;
    record.connection_termination_details = Some(details);
    match refusal {
        Refusal::Tls(error) => record.downstream_transport_failure = Some(error.details),
        Refusal::NoProtocol => record.flags = ResponseFlags::of(ResponseFlag::DownstreamProtocolError),
        Refusal::Busy => record.flags = ResponseFlags::of(ResponseFlag::OverloadManagerTerminated),
        _ => {}
    }
    record.filter_chain = Some(&*view.name).filter(|name| !name.is_empty());
    record.downstream_remote = Some(&info.peer);
    record.downstream_direct_remote = Some(info.direct_peer.as_deref().unwrap_or(&info.peer));
    record.downstream_local = Some(&info.local);
    record.connection_id = Some(info.id);
    record.tls = info.tls.as_deref().filter(|_| sinks.needs().has(Field::DownstreamTls));
    record.requested_server_name = name.or(info.server_name());
    record.stream_id = sinks.id(Field::StreamId, &*worker.env);
    record.unique_id = sinks.id(Field::UniqueId, &*worker.env);
    sinks.noted(&record);
}

/// Whether a ClientHello, or its absence, decides.
fn needs_hello<I: Io>(view: &ListenerView<I>) -> bool {
    let permissive = |chain: &Rc<ChainHandle<I>>| chain.view().tls.as_ref().is_some_and(|tls| tls.permissive);
    view.matcher.needs_first_bytes() || view.chains.iter().any(permissive)
}

/// The protocol, where there is only one or ALPN has named it.
fn agreed<I: Io>(view: &ChainView<I>, info: &ConnInfo) -> Option<usize> {
    let Service::Streams(spoken) = &view.service else { return Some(0) };
    if spoken.len() == 1 {
        return Some(0);
    }
    let name = info.tls.as_ref()?.alpn.as_deref()?;
    spoken.iter().position(|spoken| spoken.entry.spec.alpn.contains(&name))
}

async fn handshake<I: Io>(
    view: &ListenerView<I>,
    worker: &Worker,
    mut first: FirstBytes<I>,
    tls: &TlsPlan,
) -> Result<Secured<I>, Refusal> {
    // A client that says nothing has no place in the line.
    if first.seen.is_empty() {
        first.more().await?;
    }
    let Some(_admitted) = worker.handshakes.admit(&*worker.env).await else { return Err(Refusal::Busy) };
    let accepting = (view.security.accept)(tls.context.clone(), first.put_back());
    let mut timer = worker.env.timer();
    let outcome = within(&mut timer, tls.handshake_timeout, accepting).await;
    let secured = outcome.ok_or(Refusal::Tls(ConnError::new(Blame::Downstream, "tls_handshake_timeout")))?;
    let secured = secured.map_err(Refusal::Tls)?;
    view.stats.ssl_handshake.inc();
    Ok(secured)
}

/// What a ClientHello says; the default for what is not TLS.
#[derive(Default)]
struct Hello {
    is_tls: bool,
    server_name: Option<String>,
    protocols: client_hello::Protocols,
}

/// A stream whose first bytes are looked at.
struct FirstBytes<I> {
    io: I,
    timer: Timer,
    seen: Chunk,
}

impl<I: Io> FirstBytes<I> {
    /// Waits for more bytes.
    async fn more(&mut self) -> Result<(), Refusal> {
        if self.seen.len() >= PREFIX {
            return Err(Refusal::NoProtocol);
        }
        let (io, timer) = (&mut self.io, &mut self.timer);
        let received = std::future::poll_fn(|cx| match io.poll_recv(cx) {
            Poll::Ready(received) => Poll::Ready(Ok(received)),
            Poll::Pending => timer.poll_expired(cx).map(|()| Err(Refusal::Timeout)),
        });
        match received.await? {
            Ok(Some(chunk)) if self.seen.is_empty() => self.seen = chunk,
            Ok(Some(chunk)) => self.seen = Chunk::from([&*self.seen, &*chunk].concat()),
            Ok(None) | Err(_) => return Err(Refusal::Closed),
        }
        Ok(())
    }

    async fn proxy_header(&mut self, wanted: ProxyHeader, info: &mut ConnInfo) -> Result<(), Refusal> {
        loop {
            let consumed = match proxy_protocol::parse(&self.seen, proxy_protocol::Limits::default()) {
                proxy_protocol::Parsed::NeedMore(_) => {
                    self.more().await?;
                    continue;
                }
                proxy_protocol::Parsed::NotProxy if wanted == ProxyHeader::Optional => return Ok(()),
                proxy_protocol::Parsed::NotProxy | proxy_protocol::Parsed::Malformed(_) => {
                    return Err(Refusal::ProxyHeader);
                }
                proxy_protocol::Parsed::Header { consumed, kind, .. } => {
                    if let proxy_protocol::Kind::Proxied { source, destination } = kind {
                        let direct: Address = std::mem::replace(&mut info.peer, source);
                        info.direct_peer = Some(Rc::new(direct));
                        info.local = Rc::new(destination);
                    }
                    consumed
                }
            };
            self.seen.advance(consumed);
            return Ok(());
        }
    }

    async fn hello(&mut self) -> Result<Hello, Refusal> {
        loop {
            match client_hello::parse(&self.seen, client_hello::Limits::default()) {
                client_hello::Parsed::NeedMore if self.seen.is_empty() => self.more().await?,
                client_hello::Parsed::NeedMore => self.more().await.map_err(|refusal| match refusal {
                    Refusal::Closed => Refusal::Tls(ConnError::new(Blame::Downstream, "tls_truncated")),
                    other => other,
                })?,
                client_hello::Parsed::NotTls => return Ok(Hello::default()),
                // TLS all the same: it must never be taken for plaintext. The handshake refuses it.
                client_hello::Parsed::Malformed(_) => return Ok(Hello { is_tls: true, ..Hello::default() }),
                client_hello::Parsed::Hello(hello) => {
                    return Ok(Hello { is_tls: true, server_name: hello.server_name, protocols: hello.alpn });
                }
            }
        }
    }

    /// The protocol that the first bytes are of.
    async fn protocol(&mut self, view: &ChainView<I>) -> Result<usize, Refusal> {
        let Service::Streams(spoken) = &view.service else { return Ok(0) };
        'more: loop {
            for (at, spoken) in spoken.iter().enumerate() {
                match (spoken.entry.sniff)(&self.seen) {
                    Sniff::Yes => return Ok(at),
                    Sniff::No => {}
                    Sniff::NeedMore => {
                        self.more().await?;
                        continue 'more;
                    }
                }
            }
            return Err(Refusal::NoProtocol);
        }
    }

    /// The stream with nothing missing.
    fn put_back(mut self) -> I {
        if !self.seen.is_empty() {
            self.io.unread(self.seen);
        }
        self.io
    }
}

impl Refusal {
    /// One word for the log; nothing for what is not worth a line.
    fn details(&self) -> Option<&'static str> {
        match self {
            // A port scan, a health check: nothing was asked for.
            Self::Closed => None,
            Self::Timeout => Some("listener_filter_timeout"),
            Self::ProxyHeader => Some("proxy_protocol_error"),
            Self::NoChain => Some("filter_chain_not_found"),
            Self::NoProtocol => Some("no_protocol"),
            Self::Busy => Some("tls_admission_overflow"),
            Self::Tls(_) => Some("transport_socket_failure"),
        }
    }

    pub(crate) fn count(&self, stats: &Cells<ListenerStats>) {
        match self {
            Self::Timeout => stats.downstream_pre_cx_timeout.inc(),
            // A port scan, a health check: nothing was asked for.
            Self::Closed => {}
            Self::ProxyHeader => stats.proxy_proto_error.inc(),
            Self::NoChain | Self::NoProtocol => stats.no_filter_chain_match.inc(),
            Self::Busy => stats.ssl_admission_overflow.inc(),
            Self::Tls(error) => {
                stats.ssl_connection_error.inc();
                match error.details {
                    "tls_certificate_required" => stats.ssl_fail_verify_no_cert.inc(),
                    "tls_name_not_allowed" => stats.ssl_fail_verify_san.inc(),
                    "tls_unknown_ca"
                    | "tls_certificate_expired"
                    | "tls_certificate_not_yet_valid"
                    | "tls_certificate_revoked"
                    | "tls_revocation_unknown"
                    | "tls_certificate_purpose"
                    | "tls_bad_signature"
                    | "tls_bad_certificate" => stats.ssl_fail_verify_error.inc(),
                    _ => {}
                }
            }
        }
    }
}
