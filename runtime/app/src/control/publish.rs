//! The part of publishing that may fail: sockets.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use ringway_api::Address;
use ringway_config::{Snapshot, raw};
use ringway_io::{BindOptions, Bound};

use crate::workers::Listening;

/// One worker's share of the new sockets.
pub(crate) type PerWorker = HashMap<Address, Listening>;

/// How often, and how far apart, a taken port is tried again: the sockets of a process that has just ended are given
/// back a moment later.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// Binds every address of the snapshot that is not bound yet, one socket per worker.
///
/// # Errors
/// The first address that cannot be bound, with the listener's name; nothing stays bound then.
pub(super) async fn bind_new(
    snapshot: &Snapshot,
    bound: &HashMap<Address, bool>,
    workers: usize,
) -> Result<Vec<PerWorker>> {
    let mut all: Vec<PerWorker> = (0..workers).map(|_| HashMap::new()).collect();
    for listener in &snapshot.listeners {
        if bound.contains_key(&listener.address) {
            continue;
        }
        let sockets = bind(&listener.address, workers).await.with_context(|| {
            let hint = format!("listener {}: cannot listen on {}", listener.raw.name, listener.address);
            match listener.address {
                Address::Ip(ip) if ip.port() < 1024 => format!("{hint} (ports below 1024 need CAP_NET_BIND_SERVICE)"),
                _ => hint,
            }
        })?;
        let balanced = listener.raw.connection_balance == raw::ConnectionBalance::Balanced;
        for (worker, socket) in all.iter_mut().zip(sockets) {
            worker.insert(listener.address.clone(), Listening { socket, balanced });
        }
    }
    Ok(all)
}

/// The addresses of a snapshot.
pub(super) fn addresses(snapshot: &Snapshot) -> HashMap<Address, bool> {
    let balanced = |raw: &raw::Listener| raw.connection_balance == raw::ConnectionBalance::Balanced;
    snapshot.listeners.iter().map(|listener| (listener.address.clone(), balanced(&listener.raw))).collect()
}

async fn bind(address: &Address, workers: usize) -> io::Result<Vec<Bound>> {
    let mut tries = 0;
    loop {
        match try_bind(address, workers) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

fn try_bind(address: &Address, workers: usize) -> io::Result<Vec<Bound>> {
    Bound::check_free(address)?;
    match address {
        Address::Ip(_) => (0..workers).map(|_| Bound::bind(address, BindOptions::default())).collect(),
        // One socket that all workers accept from.
        Address::Unix(_) => {
            let socket = Bound::bind(address, BindOptions::default())?;
            Ok(vec![socket; workers])
        }
    }
}
