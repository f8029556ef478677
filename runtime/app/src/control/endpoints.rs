//! Endpoints that stand in files of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use ringway_config::{Cluster, Endpoint, Snapshot, endpoints};
use ringway_telemetry::Registry;

use crate::watched::{Changes, Watched};

/// What the files of a snapshot's clusters say, by path. Files are read while a configuration is prepared, when any
/// error refuses it; and again when they change, when the endpoints of before stay in use.
#[derive(Clone, Default)]
pub(crate) struct EndpointFiles(BTreeMap<String, Content>);

#[derive(Clone)]
struct Content {
    text: String,
    endpoints: Arc<[Endpoint]>,
}

/// The files of the snapshot in force, watched.
#[derive(Default)]
pub(crate) struct WatchedEndpoints(Watched);

impl EndpointFiles {
    /// Reads the files that a snapshot names.
    ///
    /// # Errors
    /// The first that cannot be read or is wrong, with the place.
    pub(crate) fn read(snapshot: &Snapshot) -> Result<Self> {
        let mut files = BTreeMap::new();
        for cluster in &snapshot.clusters {
            if let Some(path) = &cluster.raw.endpoints_file
                && !files.contains_key(path)
            {
                let content = read(path).with_context(|| format!("cluster {}: endpoints_file", cluster.raw.name))?;
                files.insert(path.clone(), content);
            }
        }
        Ok(Self(files))
    }

    /// Reads the files of the snapshot in force again. Whether anything is other than before; clusters whose file
    /// cannot be used keep what they have, which is told and counted.
    pub(crate) fn reload(&mut self, snapshot: &Snapshot, registry: &Registry) -> bool {
        let mut changed = false;
        for (path, known) in &mut self.0 {
            let of_it = |cluster: &&Arc<Cluster>| cluster.raw.endpoints_file.as_ref() == Some(path);
            let clusters = || snapshot.clusters.iter().filter(of_it).map(|cluster| registry.cluster(&cluster.raw.name));
            match read(path) {
                Ok(new) if new.text == known.text => {}
                Ok(new) => {
                    clusters().for_each(|stats| stats.control().update_success.inc());
                    eprintln!("ringway: {path}: {} endpoints are in use", new.endpoints.len());
                    *known = new;
                    changed = true;
                }
                Err(error) => {
                    clusters().for_each(|stats| stats.control().update_rejected.inc());
                    eprintln!("ringway: the {} endpoints of before stay in use: {error:#}", known.endpoints.len());
                }
            }
        }
        changed
    }

    /// A cluster's endpoints: those of its file, if it has one.
    pub(crate) fn of<'a>(&'a self, cluster: &'a Cluster) -> &'a [Endpoint] {
        match &cluster.raw.endpoints_file {
            Some(path) => self.0.get(path).map_or(&[], |content| &content.endpoints),
            None => &cluster.endpoints,
        }
    }
}

impl WatchedEndpoints {
    /// Watches the files of these endpoints from now on.
    pub(crate) fn set(&mut self, files: &EndpointFiles) {
        let paths: BTreeSet<PathBuf> = files.0.keys().map(PathBuf::from).collect();
        self.0.set(&paths);
    }

    /// A handle to wait for changes with.
    pub(crate) fn changes(&self) -> Changes {
        self.0.changes()
    }
}

fn read(path: &str) -> Result<Content> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let endpoints = endpoints(path, &text).map_err(|error| anyhow::Error::msg(error.to_string()))?.into();
    Ok(Content { text, endpoints })
}
