//! The TCP proxy: a connection to a host of one cluster, bytes both ways.

use std::rc::Rc;
use std::time::Duration;

use ringway_api::{ConnCx, ConnError, Io, ResponseFlag, ResponseFlags};
use ringway_telemetry::StreamRecord;

use crate::relay::{Relayed, relay};
use crate::view::ListenerView;

/// Serves one downstream connection.
pub(crate) async fn proxy<I: Io>(
    view: Rc<ListenerView<I>>,
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
    let connected = async {
        let host = upstream.cluster.pick()?;
        let connected = upstream.cluster.connect_raw(&host).await?;
        Ok::<_, ringway_upstream::AcquireError>((host, connected))
    };
    let (host, (mut far, lease)) = match connected.await {
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

/// Counts and logs the connection's end, also when its task is dropped.
struct TcpGuard<I> {
    view: Rc<ListenerView<I>>,
    conn: Rc<ConnCx>,
    began: ringway_api::Time,
    relayed: Relayed,
    flags: ResponseFlags,
    upstream: Option<(ringway_api::Address, Rc<str>)>,
}

impl<I> Drop for TcpGuard<I> {
    fn drop(&mut self) {
        let tcp = &self.view.tcp;
        tcp.downstream_cx_active.dec();
        tcp.downstream_cx_rx_bytes_total.add(self.relayed.received);
        tcp.downstream_cx_tx_bytes_total.add(self.relayed.sent);
        let Some(log) = &self.view.log else { return };
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
        record.downstream_direct_remote = Some(&self.conn.info.peer);
        record.downstream_local = Some(&self.conn.info.local);
        record.connection_id = Some(self.conn.info.id);
        log.write(&record);
    }
}
