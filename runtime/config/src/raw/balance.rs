//! How a cluster chooses among its hosts.

use std::collections::BTreeMap;
use std::fmt;

use ringway_api::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A load balancer: its name, or its name with options.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum Balancer {
    /// With its default options.
    Name(String),
    /// With these.
    With(BTreeMap<String, serde_json::Value>),
}

/// Where a host is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Locality {
    /// The region.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// The zone in it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// The part of that.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sub_zone: String,
}

/// The share of a locality.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LocalityWeight {
    /// The locality.
    pub locality: Locality,
    /// Its share; `0` gets nothing.
    pub weight: u32,
}

/// How requests stay in this process's zone.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ZoneAware {
    /// So many of a hundred requests, 0 to 100.
    pub routing_enabled: f64,
    /// With fewer healthy hosts than this, zones do not count.
    pub min_cluster_size: u32,
}

impl Default for ZoneAware {
    fn default() -> Self {
        Self { routing_enabled: 100.0, min_cluster_size: 6 }
    }
}

/// How hosts come into their share.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct SlowStart {
    /// In how long.
    pub window: Millis,
    /// 1 is linear; with more the share grows faster at first.
    #[serde(default = "linear")]
    pub aggression: f64,
    /// The share to begin with, in percent.
    #[serde(default = "ten")]
    pub min_weight_percent: f64,
}

/// Which metadata routes may choose hosts by.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Subset {
    /// Sets of keys. A route's `metadata_match` must have exactly the keys of one.
    pub selectors: Vec<Vec<String>>,
    /// What happens when no host has what a route wants.
    #[serde(default)]
    pub fallback: Fallback,
    /// What hosts must have for `default_subset`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub default_subset: BTreeMap<String, String>,
}

/// What happens when no host has what a route wants.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// The request fails: there is no healthy host. So do requests that want nothing in particular.
    #[default]
    NoEndpoint,
    /// Any host will do.
    AnyEndpoint,
    /// A host with the metadata of `default_subset`.
    DefaultSubset,
}

fn linear() -> f64 {
    1.0
}

fn ten() -> f64 {
    10.0
}

impl Default for Balancer {
    fn default() -> Self {
        Self::Name("round_robin".into())
    }
}

impl fmt::Display for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::With(options) => f.write_str(options.keys().next().map_or("", String::as_str)),
        }
    }
}
