//! Filter chains.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{Catalog, TCP, filter, protocol, routes, tls};
use crate::chain::{Conditions, ServerName};
use crate::error::Fault;
use crate::raw;
use crate::route::RouteTable;
use crate::snapshot::{Chain, Cluster, Service};

/// Envoy's default for TCP.
const TCP_IDLE: Duration = Duration::from_secs(3600);

/// What chains are compiled with.
pub(super) struct Context<'r> {
    pub(super) config: &'r raw::Config,
    pub(super) catalog: &'r Catalog,
    pub(super) clusters: &'r [Arc<Cluster>],
    pub(super) indices: &'r HashMap<&'r str, usize>,
    /// Shared tables, each compiled once.
    pub(super) shared: HashMap<String, Arc<RouteTable>>,
}

impl Context<'_> {
    pub(super) fn chain(&mut self, raw: raw::FilterChain, path: &str) -> Result<Chain, Fault> {
        let (service, usual) = if raw.protocol.is(TCP) { self.bytes(&raw, path)? } else { self.streams(&raw, path)? };
        let alpn = match &raw.tls {
            Some(tls) => tls::listener(tls, usual, &format!("{path}.tls"))?,
            None => Vec::new(),
        };
        Ok(Chain { raw, alpn, service })
    }

    fn bytes(&self, raw: &raw::FilterChain, path: &str) -> Result<(Service, Vec<String>), Fault> {
        if raw.routes.is_some() {
            return Err(Fault::new(format!("{path}.routes"), "`tcp` has no routes; name a `cluster`"));
        }
        if !raw.filters.is_empty() {
            return Err(Fault::new(format!("{path}.filters"), "`tcp` has no requests that filters could see"));
        }
        if !raw.options.is_null() {
            return Err(Fault::new(format!("{path}.options"), "`tcp` takes no options"));
        }
        let Some(name) = &raw.cluster else {
            return Err(Fault::new(path, "`tcp` needs a `cluster`"));
        };
        let path = format!("{path}.cluster");
        let index = routes::cluster_index(name, self.indices, &path)?;
        if self.clusters.get(index).is_some_and(|cluster| !cluster.is_raw()) {
            let message = format!("cluster `{name}` speaks a protocol with requests; give it `protocol: tcp`");
            return Err(Fault::new(path, message));
        }
        let idle_timeout = raw.idle_timeout.map_or(Some(TCP_IDLE), |idle| idle.limit());
        Ok((Service::Raw { cluster: index, idle_timeout }, Vec::new()))
    }

    fn streams(&mut self, raw: &raw::FilterChain, path: &str) -> Result<(Service, Vec<String>), Fault> {
        let (protocols, alpn) = protocol::candidates(&raw.protocol, &raw.options, self.catalog, path)?;
        for (given, key) in [(raw.cluster.is_some(), "cluster"), (raw.idle_timeout.is_some(), "idle_timeout")] {
            if given {
                let message = format!("`{key}` is for `tcp`; requests are sent by `routes`, timeouts are in `options`");
                return Err(Fault::new(format!("{path}.{key}"), message));
            }
        }
        let filters = filter::filters(&raw.filters, self.catalog, &format!("{path}.filters"))?.into();
        let Some(routes) = &raw.routes else {
            return Err(Fault::new(path, format!("`{}` needs `routes`", raw.protocol)));
        };
        let routes = self.routes(routes, &format!("{path}.routes"))?;
        Ok((Service::Streams { protocols, filters, routes }, alpn))
    }

    fn routes(&mut self, raw: &raw::RoutesRef, path: &str) -> Result<Arc<RouteTable>, Fault> {
        let name = match raw {
            raw::RoutesRef::Inline(table) => {
                return Ok(Arc::new(routes::compile(table, self.catalog, self.clusters, self.indices, path)?));
            }
            raw::RoutesRef::Name(name) => name,
        };
        if let Some(table) = self.shared.get(name) {
            return Ok(Arc::clone(table));
        }
        let Some(table) = self.config.routes.get(name) else {
            let fault = Fault::new(path, format!("no entry `{name}` under `routes`"));
            return Err(fault.near(name, self.config.routes.keys().map(String::as_str)));
        };
        let table = routes::compile(table, self.catalog, self.clusters, self.indices, &format!("routes.{name}"))?;
        let table = Arc::new(table);
        self.shared.insert(name.clone(), Arc::clone(&table));
        Ok(table)
    }
}

/// The conditions under which a connection belongs to a chain.
pub(super) fn conditions(raw: &raw::ChainMatch, path: &str) -> Result<Conditions, Fault> {
    Ok(Conditions {
        destination_port: raw.destination_port,
        destinations: networks(&raw.prefix_ranges, &format!("{path}.prefix_ranges"))?,
        server_names: server_names(&raw.server_names, &format!("{path}.server_names"))?,
        transport: raw.transport_protocol,
        application_protocols: raw.application_protocols.clone(),
        source_type: raw.source_type,
        sources: networks(&raw.source_prefix_ranges, &format!("{path}.source_prefix_ranges"))?,
        source_ports: raw.source_ports.clone(),
    })
}

pub(super) fn networks(raw: &[String], path: &str) -> Result<Vec<IpNet>, Fault> {
    let network = |(at, text): (usize, &String)| {
        let net = text.parse::<IpNet>().or_else(|error| text.parse::<IpAddr>().map(IpNet::from).map_err(|_| error));
        net.map_err(|_| Fault::new(format!("{path}[{at}]"), format!("`{text}` is no network such as 10.0.0.0/8")))
    };
    raw.iter().enumerate().map(network).collect()
}

fn server_names(raw: &[String], path: &str) -> Result<Vec<ServerName>, Fault> {
    let name = |(at, text): (usize, &String)| {
        let text = text.to_ascii_lowercase();
        let (suffix, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !rest.split('.').all(label) {
            let message = format!("`{text}` is no host name; wildcards are `*.example.com`");
            return Err(Fault::new(format!("{path}[{at}]"), message));
        }
        Ok(if suffix { ServerName::Suffix(format!(".{rest}")) } else { ServerName::Exact(text) })
    };
    raw.iter().enumerate().map(name).collect()
}
