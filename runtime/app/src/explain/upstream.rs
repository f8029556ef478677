//! The clusters that a request may go to.

use ringway_api::RequestHead;
use ringway_config::{Destinations, Endpoint, Forward, Snapshot, Target};
use serde::Serialize;
use serde_json::{Map, Value};

/// A cluster with its share of such requests.
#[derive(Debug, Serialize)]
pub(crate) struct Upstream {
    pub(crate) cluster: String,
    /// In percent.
    pub(super) share: f64,
    pub(super) hosts: Vec<Host>,
    /// What the configuration says of it besides its hosts, defaults filled in.
    pub(super) config: Value,
}

/// A host.
#[derive(Debug, Serialize)]
pub(super) struct Host {
    pub(super) address: String,
    pub(super) weight: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) priority: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) locality: Option<Value>,
    /// What the running process knows of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The clusters that a route sends a request to, by index, with their shares in percent.
///
/// # Errors
/// The field that should name one and does not.
pub(super) fn destinations(
    snapshot: &Snapshot,
    forward: &Forward,
    head: &RequestHead,
) -> Result<Vec<(usize, f64)>, String> {
    match forward.destinations() {
        Destinations::Clusters(clusters) => Ok(clusters),
        Destinations::Header(field) => {
            let named = head.headers.first(field).unwrap_or_default();
            let is_it = |at: &usize| snapshot.clusters.get(*at).is_some_and(|one| one.raw.name.as_bytes() == named);
            let found = (0..snapshot.clusters.len()).find(is_it).ok_or_else(|| field.to_owned())?;
            Ok(vec![(found, 100.0)])
        }
    }
}

/// What is known of clusters.
pub(super) fn of(snapshot: &Snapshot, clusters: &[(usize, f64)]) -> Vec<Upstream> {
    let one = |(at, share): &(usize, f64)| {
        let cluster = snapshot.clusters.get(*at)?;
        let mut config = super::value(Some(&cluster.raw));
        if let Some(members) = config.as_object_mut() {
            members.remove("name");
            members.remove("endpoints");
            // What is off says nothing.
            let kept = std::mem::take(members).into_iter().filter(|(_, value)| !is_nothing(value));
            *members = kept.collect::<Map<_, _>>();
        }
        let hosts = cluster.endpoints.iter().map(Host::of).collect();
        Some(Upstream { cluster: cluster.raw.name.clone(), share: *share, hosts, config })
    };
    clusters.iter().filter_map(one).collect()
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

impl Host {
    fn of(endpoint: &Endpoint) -> Self {
        let address = match &endpoint.target {
            Target::Address(address) => address.to_string(),
            Target::Name { host, port } => format!("{host}:{port}"),
        };
        let locality = endpoint.locality.as_ref().map(|locality| super::value(Some(locality)));
        Self { address, weight: endpoint.weight, priority: endpoint.priority, locality, state: None }
    }
}

impl Upstream {
    /// Takes the hosts that the running process has: address, weight, and what it knows of each.
    pub(crate) fn set_hosts(&mut self, running: impl Iterator<Item = (String, u32, String)>) {
        let configured = std::mem::take(&mut self.hosts);
        for (address, weight, state) in running {
            let known = configured.iter().find(|host| host.address == address);
            let (priority, locality) = known.map_or((0, None), |host| (host.priority, host.locality.clone()));
            self.hosts.push(Host { address, weight, priority, locality, state: Some(state) });
        }
    }
}
