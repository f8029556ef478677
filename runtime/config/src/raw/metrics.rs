//! Metrics besides the statistics that are always there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Metrics besides the statistics that are always there.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Istio's standard metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub istio: Option<IstioMetrics>,
}

impl Metrics {
    pub(super) fn is_none(&self) -> bool {
        self.istio.is_none()
    }
}

/// Istio's standard metrics: `istio_requests_total` and the others, with their labels.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct IstioMetrics {
    /// Which side of a call this proxy is.
    pub reporter: Reporter,
    /// Listeners that are the other side or, with `none`, not counted; by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub listeners: BTreeMap<String, Reporter>,
    /// What this proxy is or stands before: the caller of what it reports as `source`, the callee of the rest.
    pub workload: Workload,
    /// What clusters are in the mesh, by name. A name such as `outbound|80||reviews.default.svc.cluster.local` says so
    /// itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, MeshService>,
    /// A cluster of which neither is known is called by the authority of its requests instead of its name. Only where
    /// clients are trusted: each authority has series of its own.
    pub host_header_fallback: bool,
    /// Sets of labels that are told apart in this process, at most 100,000. What comes beyond is counted together, with
    /// labels that say `overflow`.
    pub max_series: u32,
}

/// A side of a call.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Reporter {
    /// The caller's: requests leave the workload here.
    Source,
    /// The callee's: requests come to the workload here.
    #[default]
    Destination,
    /// Nobody's.
    None,
}

/// A workload of the mesh. What is not said is `unknown`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// `reviews-v1`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The service that it is part of, as users name it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub canonical_service: String,
    /// The version of that.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub canonical_revision: String,
    /// Its label `app`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app: String,
    /// Its label `version`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its identity: `spiffe://cluster.local/ns/default/sa/reviews`. That of the other side is known from its certificate.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub principal: String,
    /// The cluster of machines that it runs in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
}

/// A service of the mesh.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct MeshService {
    /// `reviews.default.svc.cluster.local`
    pub host: String,
    /// `reviews`; by default the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Who serves it.
    pub workload: Workload,
}

impl Default for IstioMetrics {
    fn default() -> Self {
        Self {
            reporter: Reporter::default(),
            listeners: BTreeMap::new(),
            workload: Workload::default(),
            services: BTreeMap::new(),
            host_header_fallback: false,
            max_series: 2_000,
        }
    }
}
