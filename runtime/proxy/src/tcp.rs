//! The TCP proxy: a connection to a host of one cluster, bytes both ways.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringway_api::{Blame, Chunk, ChunkQueue, ConnCx, ConnError, Io, ResponseFlag, ResponseFlags};
use ringway_preface::proxy_protocol;
use ringway_telemetry::{Field, LogType, StreamRecord};
use ringway_upstream::{AcquireError, Host, Outcome, RawLease, Want};

use crate::relay::{Relayed, relay};
use crate::sinks::ChainSinks;
use crate::timers::within;
use crate::view::{ChainView, ClusterView};

/// Serves one downstream connection.
pub(crate) async fn proxy<I: Io>(
    view: Rc<ChainView<I>>,
    cluster: usize,
    idle: Option<Duration>,
    mut io: I,
    conn: Rc<ConnCx>,
) -> Result<(), ConnError> {
    let began = conn.env.now();
    view.tcp.downstream_cx_total.inc();
    view.tcp.downstream_cx_active.inc();
    let mut guard = TcpGuard {
        stream_id: view.sinks.as_ref().and_then(|sinks| sinks.id(Field::StreamId, &*conn.env)),
        view,
        conn,
        began,
        relayed: Cell::default(),
        flags: ResponseFlags::NONE,
        upstream: None,
        transport_failure: None,
        termination: None,
    };
    let Some(upstream) = guard.view.cluster(cluster).cloned() else {
        guard.view.tcp.downstream_cx_no_route.inc();
        guard.flags.insert(ResponseFlag::NoClusterFound);
        io.abort();
        return Ok(());
    };
    let (host, mut far, lease) = match connect(&upstream, &guard.conn).await {
        Ok(connected) => connected,
        Err(error) => {
            guard.flags.insert(error.flag());
            guard.transport_failure = error.transport_failure();
            // A reset, so that the client does not take it for an empty answer.
            io.abort();
            return Ok(());
        }
    };
    guard.upstream = Some((host.address().clone(), Rc::clone(&upstream.name)));
    let further = guard.view.sinks.as_ref().map(ChainSinks::further).unwrap_or_default();
    if further.connected {
        guard.note(LogType::TcpUpstreamConnected);
    }
    if let Some(sinks) = guard.view.sinks.as_ref().filter(|sinks| sinks.want_connections()) {
        guard.record(sinks, LogType::TcpUpstreamConnected, |record| sinks.connected(record));
    }
    let mut timer = guard.conn.env.timer();
    let relaying = relay(&mut io, &mut far, idle, &mut timer, &guard.relayed);
    let outcome = match further.interval {
        None => relaying.await,
        // On the heap: hardly a listener wants it, and every connection has room for it otherwise.
        Some(interval) => Box::pin(with_periodic_lines(relaying, &guard, interval)).await,
    };
    if let Err(error) = &outcome {
        guard.termination = Some(error.details);
        if error.details == "idle_timeout" {
            guard.view.tcp.idle_timeout.inc();
            guard.flags.insert(ResponseFlag::StreamIdleTimeout);
        }
        // Neither side may take what it got for the whole.
        io.abort();
        far.abort();
    }
    let relayed = guard.relayed.get();
    upstream.stats.upstream_cx_rx_bytes_total.add(relayed.sent);
    upstream.stats.upstream_cx_tx_bytes_total.add(relayed.received);
    drop(far);
    drop(lease);
    outcome
}

/// Tells the sinks again and again that a connection goes on.
async fn with_periodic_lines<I: Io, T>(work: impl Future<Output = T>, guard: &TcpGuard<I>, interval: Duration) -> T {
    let mut work = pin!(work);
    let mut timer = guard.conn.env.timer();
    timer.set_after(interval);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        while timer.poll_expired(cx).is_ready() {
            guard.note(LogType::TcpPeriodic);
            timer.set_after(interval);
        }
        Poll::Pending
    })
    .await
}

/// A connection of its own to a host of a cluster of bytes, secured and introduced as the cluster wants it.
pub(crate) async fn connect<I: Io>(
    upstream: &ClusterView<I>,
    conn: &ConnCx,
) -> Result<(Rc<Host>, I, RawLease), AcquireError> {
    let destination = upstream.cluster.params().original.as_ref().and_then(|original| original.of(conn, None));
    let host = upstream.cluster.pick(Want { destination: destination.as_ref(), ..Want::default() })?;
    let cluster = &upstream.cluster;
    let (mut io, lease) = cluster.connect_raw(&host).await.inspect_err(|error| {
        if matches!(error, AcquireError::Connect { .. }) {
            cluster.attempt_ended(&host, Outcome::ConnectFailed);
        }
    })?;
    let Some(transport) = &upstream.raw else { return Ok((host, io, lease)) };
    let beginning = async {
        if let Some(version) = transport.proxy_protocol {
            let mut header = ChunkQueue::new();
            header.push(proxy_header(version, conn));
            let sent = std::future::poll_fn(|cx| io.poll_send(cx, &mut header)).await;
            sent.map_err(|error| ConnError::io(Blame::Upstream, error))?;
        }
        match &transport.secure {
            None => Ok(io),
            Some(secure) => secure(io, &host.reach()).await.map(|secured| secured.io),
        }
    };
    let mut timer = conn.env.timer();
    let failed = |cause| AcquireError::Handshake { host: host.address().clone(), cause };
    match within(&mut timer, transport.timeout, beginning).await {
        Some(Ok(io)) => {
            cluster.attempt_ended(&host, Outcome::Connected);
            Ok((host, io, lease))
        }
        Some(Err(cause)) => {
            upstream.stats.upstream_cx_connect_fail.inc();
            cluster.attempt_ended(&host, Outcome::ConnectFailed);
            Err(failed(cause))
        }
        None => {
            upstream.stats.upstream_cx_connect_timeout.inc();
            cluster.attempt_ended(&host, Outcome::TimedOut);
            Err(failed(ConnError::new(Blame::Upstream, "tls_handshake_timeout")))
        }
    }
}

/// The PROXY header that introduces a client.
fn proxy_header(version: u8, conn: &ConnCx) -> Chunk {
    let mut header = Vec::new();
    let (source, destination) = (&conn.info.peer, &conn.info.local);
    if version == 1 {
        proxy_protocol::encode_v1(source, destination, &mut header);
    } else if proxy_protocol::encode_v2(source, destination, &[], &mut header).is_err() {
        // A path longer than any socket's: the host is told nothing rather than something wrong.
        header.clear();
        proxy_protocol::encode_local(&mut header);
    }
    Chunk::from(header)
}

/// Counts and logs the connection's end, also when its task is dropped.
struct TcpGuard<I: Io> {
    view: Rc<ChainView<I>>,
    conn: Rc<ConnCx>,
    began: ringway_api::Time,
    relayed: Cell<Relayed>,
    flags: ResponseFlags,
    upstream: Option<(ringway_api::Address, Rc<str>)>,
    /// Why no connection to a host came about.
    transport_failure: Option<&'static str>,
    /// Why the connection did not end in order.
    termination: Option<&'static str>,
    stream_id: Option<u128>,
}

impl<I: Io> TcpGuard<I> {
    /// Tells the sinks of something else than the end.
    fn note(&self, kind: LogType) {
        if let Some(sinks) = &self.view.sinks {
            self.record(sinks, kind, |record| sinks.noted(record));
        }
    }

    fn record(&self, sinks: &ChainSinks, kind: LogType, show: impl FnOnce(&StreamRecord<'_>)) {
        let (info, needs) = (&self.conn.info, sinks.needs());
        let took = self.conn.env.now().since(self.began);
        let start = self.conn.env.wall().checked_sub(took).unwrap_or(std::time::UNIX_EPOCH);
        let mut record = StreamRecord::new(start);
        record.kind = kind;
        record.duration = took;
        record.flags = self.flags;
        record.bytes_received = self.relayed.get().received;
        record.bytes_sent = self.relayed.get().sent;
        record.filter_chain = Some(&*self.view.name).filter(|name| !name.is_empty());
        record.upstream_host = self.upstream.as_ref().map(|(host, _)| host);
        record.upstream_cluster = self.upstream.as_ref().map(|(_, cluster)| &**cluster);
        record.upstream_transport_failure = self.transport_failure;
        record.connection_termination_details = self.termination;
        record.downstream_remote = Some(&info.peer);
        record.downstream_direct_remote = Some(info.direct_peer.as_deref().unwrap_or(&info.peer));
        record.downstream_local = Some(&info.local);
        record.connection_id = Some(info.id);
        record.tls = info.tls.as_deref().filter(|_| needs.has(Field::DownstreamTls));
        record.requested_server_name = info.server_name();
        record.stream_id = self.stream_id;
        record.unique_id = sinks.id(Field::UniqueId, &*self.conn.env);
        show(&record);
    }
}

impl<I: Io> Drop for TcpGuard<I> {
    fn drop(&mut self) {
        let tcp = &self.view.tcp;
        tcp.downstream_cx_active.dec();
        tcp.downstream_cx_rx_bytes_total.add(self.relayed.get().received);
        tcp.downstream_cx_tx_bytes_total.add(self.relayed.get().sent);
        if let Some(sinks) = &self.view.sinks {
            self.record(sinks, LogType::TcpConnectionEnd, |record| sinks.ended(record));
        }
    }
}
