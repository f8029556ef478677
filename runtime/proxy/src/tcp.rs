//! The TCP proxy: a connection to a host of one cluster, bytes both ways.

use std::rc::Rc;
use std::time::Duration;

use ringway_api::{Blame, Chunk, ChunkQueue, ConnCx, ConnError, Io, ResponseFlag, ResponseFlags};
use ringway_preface::proxy_protocol;
use ringway_telemetry::StreamRecord;
use ringway_upstream::{AcquireError, Host, Outcome, RawLease, Want};

use crate::relay::{Relayed, relay};
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
    let mut guard =
        TcpGuard { view, conn, began, relayed: Relayed::default(), flags: ResponseFlags::NONE, upstream: None };
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
            // A reset, so that the client does not take it for an empty answer.
            io.abort();
            return Ok(());
        }
    };
    guard.upstream = Some((host.address().clone(), Rc::clone(&upstream.name)));
    let mut timer = guard.conn.env.timer();
    let outcome = relay(&mut io, &mut far, idle, &mut timer, &mut guard.relayed).await;
    if let Err(error) = &outcome {
        if error.details == "idle_timeout" {
            guard.view.tcp.idle_timeout.inc();
            guard.flags.insert(ResponseFlag::StreamIdleTimeout);
        }
        // Neither side may take what it got for the whole.
        io.abort();
        far.abort();
    }
    upstream.stats.upstream_cx_rx_bytes_total.add(guard.relayed.sent);
    upstream.stats.upstream_cx_tx_bytes_total.add(guard.relayed.received);
    drop(far);
    drop(lease);
    outcome
}

/// A connection of its own to a host of a cluster of bytes, secured and introduced as the cluster wants it.
pub(crate) async fn connect<I: Io>(
    upstream: &ClusterView<I>,
    conn: &ConnCx,
) -> Result<(Rc<Host>, I, RawLease), AcquireError> {
    let host = upstream.cluster.pick(Want::default())?;
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
    relayed: Relayed,
    flags: ResponseFlags,
    upstream: Option<(ringway_api::Address, Rc<str>)>,
}

impl<I: Io> Drop for TcpGuard<I> {
    fn drop(&mut self) {
        let tcp = &self.view.tcp;
        tcp.downstream_cx_active.dec();
        tcp.downstream_cx_rx_bytes_total.add(self.relayed.received);
        tcp.downstream_cx_tx_bytes_total.add(self.relayed.sent);
        let Some(sinks) = &self.view.sinks else { return };
        let took = self.conn.env.now().since(self.began);
        let start = self.conn.env.wall().checked_sub(took).unwrap_or(std::time::UNIX_EPOCH);
        let mut record = StreamRecord::new(start);
        record.duration = took;
        record.flags = self.flags;
        record.bytes_received = self.relayed.received;
        record.bytes_sent = self.relayed.sent;
        record.upstream_host = self.upstream.as_ref().map(|(host, _)| host);
        record.upstream_cluster = self.upstream.as_ref().map(|(_, cluster)| &**cluster);
        record.downstream_remote = Some(&self.conn.info.peer);
        record.downstream_direct_remote = Some(self.conn.info.direct_peer.as_deref().unwrap_or(&self.conn.info.peer));
        record.downstream_local = Some(&self.conn.info.local);
        record.connection_id = Some(self.conn.info.id);
        sinks.ended(&record);
    }
}
