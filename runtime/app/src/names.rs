//! The names of endpoints, resolved off the data path.

use std::collections::HashMap;

use anyhow::{Context, Result};
use ringway_config::{Snapshot, Target};
use ringway_control::{Event, Name, Resolver, ResolverOptions, SystemLookup};

use crate::control::{Addresses, EndpointFiles};

/// Resolves the names of the snapshot in force, again and again.
pub(crate) struct Names {
    resolver: Resolver<SystemLookup>,
    wanted: Vec<Name>,
}

impl Names {
    /// # Errors
    /// When the system's resolver configuration cannot be used.
    pub(crate) fn start() -> Result<Self> {
        let lookup = SystemLookup::new().context("cannot read the system's resolver configuration")?;
        Ok(Self { resolver: Resolver::new(lookup, ResolverOptions::default()), wanted: Vec::new() })
    }

    /// The addresses of a snapshot's names, waiting a bounded time for those not known yet. What cannot be resolved
    /// is left out: its cluster is published without hosts and answers 503 (UH) until it can be.
    pub(crate) async fn resolve(&mut self, snapshot: &Snapshot, files: &EndpointFiles) -> Addresses {
        let endpoints = snapshot.clusters.iter().flat_map(|cluster| files.of(cluster));
        self.wanted = endpoints
            .filter_map(|endpoint| match &endpoint.target {
                Target::Name { host, port } => Some(Name::new(host, *port)),
                Target::Address(_) => None,
            })
            .collect();
        self.resolver.set(self.wanted.iter().cloned());
        if !self.wanted.is_empty() {
            for unresolved in self.resolver.warm_up().await {
                match &unresolved.error {
                    Some(error) => eprintln!("ringway: {}: {error}", unresolved.name),
                    None => eprintln!("ringway: {}: not resolved in time", unresolved.name),
                }
            }
        }
        self.known()
    }

    /// Waits until the addresses of a name have changed.
    pub(crate) async fn changed(&self) -> Addresses {
        loop {
            match self.resolver.next().await {
                Event::Changed { .. } => return self.known(),
                Event::Failed { host, error, kept } => {
                    eprintln!("ringway: {host}: {error}; {kept} addresses stay in use");
                }
            }
        }
    }

    fn known(&self) -> Addresses {
        let known = |name: &Name| {
            let addresses = self.resolver.addresses(name)?;
            Some(((name.host().to_owned(), name.port()), addresses))
        };
        self.wanted.iter().filter_map(known).collect::<HashMap<_, _>>()
    }
}
