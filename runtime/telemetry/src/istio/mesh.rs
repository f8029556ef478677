//! What is known of the mesh without looking at streams.

use std::collections::HashMap;

/// Which side of a call reports it. A call between two proxies is counted by both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reporter {
    /// The caller's proxy.
    Source,
    /// The callee's proxy.
    Destination,
}

/// A workload of the mesh; what is empty is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// `reviews-v1`
    pub name: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// The service that it is part of, as users name it.
    pub canonical_service: Box<str>,
    /// The version of that.
    pub canonical_revision: Box<str>,
    /// The label `app`.
    pub app: Box<str>,
    /// The label `version`.
    pub version: Box<str>,
    /// Its identity: `spiffe://cluster.local/ns/default/sa/reviews`.
    pub principal: Box<str>,
    /// The cluster of machines it runs in.
    pub cluster: Box<str>,
}

/// What a cluster of the configuration is in the mesh; what is empty is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshService {
    /// `reviews.default.svc.cluster.local`
    pub host: Box<str>,
    /// `reviews`
    pub name: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Who serves it.
    pub workload: Workload,
}

/// What is known of the mesh without looking at streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mesh {
    /// This process.
    pub local: Workload,
    /// What clusters are, by name.
    pub services: HashMap<Box<str>, MeshService>,
    /// A cluster that nothing is known of is called by the authority of its requests.
    pub by_authority: bool,
    /// Sets of labels that are told apart in the process; further ones count as one.
    pub max_series: usize,
}

impl Reporter {
    /// The value of the label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

impl MeshService {
    /// Whether a cluster's name says which service it is.
    pub(super) fn is_name(cluster: &str) -> bool {
        host_of(cluster).is_some()
    }

    /// What Istio's names of clusters say: `outbound|80|v1|reviews.default.svc.cluster.local`. The name and namespace are
    /// the first two labels of a host of Kubernetes.
    pub(super) fn of_cluster(cluster: &str) -> Option<Self> {
        let host = host_of(cluster)?;
        let mut labels = host.split('.');
        let (name, namespace) = match (labels.next(), labels.next(), labels.next()) {
            (Some(name), Some(namespace), Some("svc")) => (name, namespace),
            _ => (host, ""),
        };
        Some(Self { host: host.into(), name: name.into(), namespace: namespace.into(), workload: Workload::default() })
    }
}

/// The host in Istio's name of a cluster.
fn host_of(cluster: &str) -> Option<&str> {
    let mut parts = cluster.strip_prefix("outbound|").or_else(|| cluster.strip_prefix("inbound|"))?.splitn(3, '|');
    parts.nth(2).filter(|host| !host.is_empty())
}

/// The namespace in an identity of Kubernetes: `spiffe://cluster.local/ns/default/sa/reviews`.
pub(super) fn namespace_of(principal: &str) -> Option<&str> {
    let path = principal.strip_prefix("spiffe://")?.split_once('/')?.1;
    let namespace = path.strip_prefix("ns/")?.split('/').next()?;
    Some(namespace).filter(|namespace| !namespace.is_empty())
}
