//! Listeners.

use std::collections::HashMap;
use std::sync::Arc;

use super::chain::{self, Context};
use super::{Catalog, access_log, address, routes};
use crate::chain::{ChainMatcher, Conditions};
use crate::error::Fault;
use crate::raw;
use crate::snapshot::{Chain, Cluster, Listener, Snapshot};

pub(super) fn compile_all(
    raw: &raw::Config,
    catalog: &Catalog,
    clusters: &[Arc<Cluster>],
    indices: &HashMap<&str, usize>,
    old: Option<&Snapshot>,
) -> Result<Vec<Arc<Listener>>, Fault> {
    let mut context = Context { config: raw, catalog, clusters, indices, shared: HashMap::new() };
    let mut names = HashMap::new();
    let mut addresses = HashMap::new();
    let mut listeners = Vec::with_capacity(raw.listeners.len());
    let all_streams = |old: &&Snapshot| {
        let protocols = |clusters: &[Arc<Cluster>]| clusters.iter().map(|c| c.is_raw()).collect::<Vec<_>>();
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
            let same_table = |routes: &Option<raw::RoutesRef>| match routes {
                Some(raw::RoutesRef::Name(name)) => old.raw.routes.get(name) == raw.routes.get(name),
                _ => true,
            };
            let all_same =
                same_table(&listener.routes) && listener.filter_chains.iter().all(|chain| same_table(&chain.routes));
            all_same.then(|| Arc::clone(same))
        });
        if let Some(before) = before {
            listeners.push(before);
            continue;
        }
        access_log::check(listener, at, catalog)?;
        if listener.max_connections == Some(0) {
            return Err(Fault::new(format!("{path}.max_connections"), "must be at least 1"));
        }
        if listener.sniff_timeout.0 == 0 {
            return Err(Fault::new(format!("{path}.sniff_timeout"), "must be more than 0"));
        }
        let chains = chains(listener, &mut context, &path)?;
        let matcher = Arc::new(matcher(listener, &path)?);
        listeners.push(Arc::new(Listener { raw: listener.clone(), address, chains, matcher }));
    }
    // A table nobody uses is compiled too: an error in it must not wait for its first use.
    for (name, table) in &raw.routes {
        if !context.shared.contains_key(name) && old.is_none_or(|old| old.raw.routes.get(name) != Some(table)) {
            routes::compile(table, catalog, clusters, indices, &format!("routes.{name}"))?;
        }
    }
    Ok(listeners)
}

/// The chains of a listener: those it lists, or one made of its own keys.
fn chains(raw: &raw::Listener, context: &mut Context<'_>, path: &str) -> Result<Vec<Arc<Chain>>, Fault> {
    if raw.filter_chains.is_empty() {
        let only = raw::FilterChain {
            name: String::new(),
            matches: raw::ChainMatch::default(),
            protocol: raw.protocol.clone(),
            options: raw.options.clone(),
            tls: raw.tls.clone(),
            filters: raw.filters.clone(),
            routes: raw.routes.clone(),
            cluster: raw.cluster.clone(),
            idle_timeout: raw.idle_timeout,
            headers: raw.headers.clone(),
            path: raw.path,
        };
        return Ok(vec![Arc::new(context.chain(only, path)?)]);
    }
    let beside = [
        (!raw.options.is_null(), "options"),
        (raw.tls.is_some(), "tls"),
        (!raw.filters.is_empty(), "filters"),
        (raw.routes.is_some(), "routes"),
        (raw.cluster.is_some(), "cluster"),
        (raw.idle_timeout.is_some(), "idle_timeout"),
    ];
    if let Some((_, key)) = beside.into_iter().find(|(given, _)| *given) {
        let message = format!("with `filter_chains`, `{key}` belongs into each of them");
        return Err(Fault::new(format!("{path}.{key}"), message));
    }
    let mut names = HashMap::new();
    let mut chains = Vec::with_capacity(raw.filter_chains.len());
    for (at, chain) in raw.filter_chains.iter().enumerate() {
        let path = format!("{path}.filter_chains[{at}]");
        if chain.name.is_empty() || names.insert(chain.name.as_str(), at).is_some() {
            let message = format!("`{}` must be a name no other chain of the listener has", chain.name);
            return Err(Fault::new(format!("{path}.name"), message));
        }
        chains.push(Arc::new(context.chain(chain.clone(), &path)?));
    }
    Ok(chains)
}

fn matcher(raw: &raw::Listener, path: &str) -> Result<ChainMatcher, Fault> {
    if raw.filter_chains.is_empty() {
        return Ok(ChainMatcher { chains: vec![Conditions::default()] });
    }
    let conditions = |(at, chain): (usize, &raw::FilterChain)| {
        chain::conditions(&chain.matches, &format!("{path}.filter_chains[{at}].match"))
    };
    let chains = raw.filter_chains.iter().enumerate().map(conditions).collect::<Result<Vec<_>, _>>()?;
    for (at, wanted) in raw.filter_chains.iter().enumerate() {
        if let Some(twin) = raw.filter_chains.iter().take(at).find(|other| other.matches == wanted.matches) {
            let message = format!("matches the same connections as chain `{}`, which is taken", twin.name);
            return Err(Fault::new(format!("{path}.filter_chains[{at}].match"), message));
        }
    }
    Ok(ChainMatcher { chains })
}
