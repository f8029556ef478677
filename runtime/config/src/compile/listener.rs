//! Listeners.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Catalog, TCP, address, protocol, routes};
use crate::error::Fault;
use crate::raw;
use crate::route::RouteTable;
use crate::snapshot::{Cluster, Listener, Service, Snapshot};

/// Envoy's default for TCP.
const TCP_IDLE: Duration = Duration::from_secs(3600);

pub(super) fn compile_all(
    raw: &raw::Config,
    catalog: &Catalog,
    clusters: &[Arc<Cluster>],
    indices: &HashMap<&str, usize>,
    old: Option<&Snapshot>,
) -> Result<Vec<Arc<Listener>>, Fault> {
    // A shared table is compiled once, and not at all when it is the one of before.
    let mut shared: HashMap<&str, Arc<RouteTable>> = HashMap::new();
    let mut names = HashMap::new();
    let mut addresses = HashMap::new();
    let mut listeners = Vec::with_capacity(raw.listeners.len());
    let all_streams = |old: &&Snapshot| {
        let protocols = |clusters: &[Arc<Cluster>]| clusters.iter().map(|c| c.protocol.is_some()).collect::<Vec<_>>();
        protocols(&old.clusters) == protocols(clusters)
    };
    let old = old.filter(all_streams);
    for (at, listener) in raw.listeners.iter().enumerate() {
        let path = format!("listeners[{at}]");
        if listener.name.is_empty() || names.insert(listener.name.as_str(), at).is_some() {
            let message = format!("`{}` must be a name no other listener has", listener.name);
            return Err(Fault::new(format!("{path}.name"), message));
        }
        let address = address::listen(&listener.address);
        let address = address.map_err(|error| Fault::new(format!("{path}.address"), error))?;
        if let Some(other) = addresses.insert(address.clone(), &listener.name) {
            let message = format!("`{}` is the address of listener `{other}` too", listener.address);
            return Err(Fault::new(format!("{path}.address"), message));
        }
        let before = old.and_then(|old| {
            let same = old.listeners.iter().find(|before| before.raw == *listener)?;
            // The table it names must be the same too.
            let same_table = match &listener.routes {
                Some(raw::RoutesRef::Name(name)) => old.raw.routes.get(name) == raw.routes.get(name),
                _ => true,
            };
            same_table.then(|| Arc::clone(same))
        });
        if let Some(before) = before {
            listeners.push(before);
            continue;
        }
        if let Some(log) = &listener.access_log {
            let checked = (catalog.check_log_format)(&log.format);
            checked.map_err(|error| Fault::new(format!("{path}.access_log.format"), error))?;
            if log.path.is_empty() {
                return Err(Fault::new(format!("{path}.access_log.path"), "must not be empty"));
            }
        }
        if listener.max_connections == Some(0) {
            return Err(Fault::new(format!("{path}.max_connections"), "must be at least 1"));
        }
        let service = if listener.protocol == TCP {
            raw_service(listener, clusters, indices, &path)?
        } else {
            streams_service(listener, raw, catalog, clusters, indices, &mut shared, &path)?
        };
        listeners.push(Arc::new(Listener { raw: listener.clone(), address, service }));
    }
    // A table nobody uses is compiled too: an error in it must not wait for its first use.
    for (name, table) in &raw.routes {
        if !shared.contains_key(name.as_str()) && old.is_none_or(|old| old.raw.routes.get(name) != Some(table)) {
            routes::compile(table, clusters, indices, &format!("routes.{name}"))?;
        }
    }
    Ok(listeners)
}

fn raw_service(
    listener: &raw::Listener,
    clusters: &[Arc<Cluster>],
    indices: &HashMap<&str, usize>,
    path: &str,
) -> Result<Service, Fault> {
    if listener.routes.is_some() {
        return Err(Fault::new(format!("{path}.routes"), "`tcp` has no routes; name a `cluster`"));
    }
    if !listener.options.is_null() {
        return Err(Fault::new(format!("{path}.options"), "`tcp` takes no options"));
    }
    let Some(name) = &listener.cluster else {
        return Err(Fault::new(path, "`tcp` needs a `cluster`"));
    };
    let path = format!("{path}.cluster");
    let index = routes::cluster_index(name, indices, &path)?;
    if clusters.get(index).is_some_and(|cluster| cluster.protocol.is_some()) {
        let message = format!("cluster `{name}` speaks a protocol with requests; give it `protocol: tcp`");
        return Err(Fault::new(path, message));
    }
    let idle_timeout = listener.idle_timeout.map_or(Some(TCP_IDLE), |idle| idle.limit());
    Ok(Service::Raw { cluster: index, idle_timeout })
}

fn streams_service<'r>(
    listener: &'r raw::Listener,
    config: &'r raw::Config,
    catalog: &Catalog,
    clusters: &[Arc<Cluster>],
    indices: &HashMap<&str, usize>,
    shared: &mut HashMap<&'r str, Arc<RouteTable>>,
    path: &str,
) -> Result<Service, Fault> {
    let (protocol, options) = protocol(&listener.protocol, &listener.options, catalog, path)?;
    for (given, key) in [(listener.cluster.is_some(), "cluster"), (listener.idle_timeout.is_some(), "idle_timeout")] {
        if given {
            let message = format!("`{key}` is for `tcp`; requests are sent by `routes`, timeouts are in `options`");
            return Err(Fault::new(format!("{path}.{key}"), message));
        }
    }
    let at = format!("{path}.routes");
    let routes = match &listener.routes {
        None => return Err(Fault::new(path, format!("`{protocol}` needs `routes`"))),
        Some(raw::RoutesRef::Inline(table)) => Arc::new(routes::compile(table, clusters, indices, &at)?),
        Some(raw::RoutesRef::Name(name)) => match (shared.get(name.as_str()), config.routes.get(name)) {
            (Some(table), _) => Arc::clone(table),
            (None, Some(table)) => {
                let table = Arc::new(routes::compile(table, clusters, indices, &format!("routes.{name}"))?);
                shared.insert(name, Arc::clone(&table));
                table
            }
            (None, None) => {
                let fault = Fault::new(at, format!("no entry `{name}` under `routes`"));
                return Err(fault.near(name, config.routes.keys().map(String::as_str)));
            }
        },
    };
    Ok(Service::Streams { protocol, options, routes })
}
