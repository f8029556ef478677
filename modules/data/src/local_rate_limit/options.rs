//! What users write of rates, and its checks.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use http::StatusCode;
use ringway_api::Headers;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Buckets;
use crate::percent::Percent;
use crate::token_bucket::{Rate, TokenBucketConfig};

/// The options of [`LocalRateLimit`](super::LocalRateLimit): a `token_bucket`, `descriptors`, or both.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalRateLimitConfig {
    /// The bucket for all requests, shared by all workers.
    pub token_bucket: Option<TokenBucketConfig>,
    /// Further buckets, for requests that have all of their entries.
    #[serde(default)]
    pub descriptors: Vec<DescriptorConfig>,
    /// Requests of a descriptor take from `token_bucket` as well.
    #[serde(default = "yes")]
    pub always_consume_default: bool,
    /// For how many values each descriptor remembers a bucket, rounded up to a multiple of 8; 16 bytes each.
    #[serde(default = "keys")]
    pub max_dynamic_descriptors: u32,
    /// The status of refused requests, from 400 to 599.
    #[serde(default = "too_many_requests")]
    pub status: u16,
    /// gRPC clients get RESOURCE_EXHAUSTED (8) rather than UNAVAILABLE (14).
    #[serde(default)]
    pub rate_limited_as_resource_exhausted: bool,
    /// Responses say what is left in `x-ratelimit-limit`, `x-ratelimit-remaining` and `x-ratelimit-reset`.
    #[serde(default)]
    pub x_ratelimit_headers: bool,
    /// Fields of the responses to refused requests.
    #[serde(default)]
    pub response_headers: BTreeMap<String, String>,
    /// How many of the requests take tokens.
    #[serde(default)]
    pub enabled: Percent,
    /// How many of those that get none are refused; the others are counted.
    #[serde(default)]
    pub enforced: Percent,
}

/// A bucket for some requests; one for each value, where an entry has no fixed value.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DescriptorConfig {
    /// What a request must have: all of them.
    pub entries: Vec<EntryConfig>,
    /// The bucket.
    pub token_bucket: TokenBucketConfig,
}

/// Something that a request has: exactly one of `header`, `path` and `remote_address`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EntryConfig {
    /// A header field: the first of this name.
    pub header: Option<String>,
    /// The field's value; without it each value has a bucket of its own.
    pub value: Option<String>,
    /// The path, without the query.
    pub path: Option<String>,
    /// The client's address, each with a bucket of its own.
    pub remote_address: bool,
}

/// The options, checked, and the buckets once there are some.
#[derive(Debug)]
pub struct Compiled {
    pub(super) general: Option<Rate>,
    pub(super) descriptors: Vec<Descriptor>,
    pub(super) always_consume_default: bool,
    pub(super) max_dynamic_descriptors: usize,
    pub(super) status: StatusCode,
    pub(super) as_resource_exhausted: bool,
    pub(super) x_ratelimit_headers: bool,
    pub(super) response_headers: Vec<(String, String)>,
    pub(super) enabled: Percent,
    pub(super) enforced: Percent,
    /// Made by the first worker, which knows how many there are.
    pub(super) buckets: OnceLock<Arc<Buckets>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) entries: Vec<Entry>,
    pub(super) rate: Rate,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Header(String),
    HeaderValue(String, String),
    Path(String),
    RemoteAddress,
}

/// 16 MiB for each descriptor.
const MOST_KEYS: u32 = 1 << 20;

fn yes() -> bool {
    true
}

fn keys() -> u32 {
    1024
}

fn too_many_requests() -> u16 {
    429
}

impl Compiled {
    pub(super) fn new(config: LocalRateLimitConfig) -> Result<Self, String> {
        if config.token_bucket.is_none() && config.descriptors.is_empty() {
            return Err("`token_bucket`, `descriptors` or both are needed".to_owned());
        }
        if !(1..=MOST_KEYS).contains(&config.max_dynamic_descriptors) {
            return Err(format!("max_dynamic_descriptors: from 1 to {MOST_KEYS}"));
        }
        let general = config.token_bucket.as_ref().map(Rate::compile).transpose();
        let descriptors = config.descriptors.into_iter().enumerate().map(|(at, descriptor)| {
            Descriptor::compile(descriptor).map_err(|error| format!("descriptors[{at}]: {error}"))
        });
        let status = StatusCode::from_u16(config.status).ok().filter(|status| status.as_u16() >= 400);
        for (name, value) in &config.response_headers {
            if !Headers::can_hold(name.as_bytes(), value.as_bytes()) {
                return Err(format!("response_headers: `{name}: {value}` is no field"));
            }
        }
        Ok(Self {
            general: general.map_err(|error| format!("token_bucket: {error}"))?,
            descriptors: descriptors.collect::<Result<_, _>>()?,
            always_consume_default: config.always_consume_default,
            max_dynamic_descriptors: config.max_dynamic_descriptors as usize,
            status: status.ok_or_else(|| format!("status: {} is not from 400 to 599", config.status))?,
            as_resource_exhausted: config.rate_limited_as_resource_exhausted,
            x_ratelimit_headers: config.x_ratelimit_headers,
            response_headers: config.response_headers.into_iter().collect(),
            enabled: config.enabled,
            enforced: config.enforced,
            buckets: OnceLock::new(),
        })
    }
}

impl Descriptor {
    fn compile(config: DescriptorConfig) -> Result<Self, String> {
        if config.entries.is_empty() {
            return Err("entries: at least one is needed".to_owned());
        }
        let entries = config.entries.into_iter().enumerate();
        let entries = entries.map(|(at, entry)| Entry::compile(entry).map_err(|e| format!("entries[{at}]: {e}")));
        let rate = Rate::compile(&config.token_bucket).map_err(|error| format!("token_bucket: {error}"))?;
        Ok(Self { entries: entries.collect::<Result<_, _>>()?, rate })
    }

    /// Whether there is a bucket for each of many values.
    pub(super) fn is_keyed(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Header(_) | Entry::RemoteAddress))
    }
}

impl Entry {
    fn compile(config: EntryConfig) -> Result<Self, String> {
        if let Some(name) = &config.header
            && !Headers::can_hold(name.as_bytes(), b"")
        {
            return Err(format!("header: `{name}` is no name of a header field"));
        }
        match config {
            EntryConfig { header: Some(name), value: None, path: None, remote_address: false } => {
                Ok(Self::Header(name))
            }
            EntryConfig { header: Some(name), value: Some(value), path: None, remote_address: false } => {
                Ok(Self::HeaderValue(name, value))
            }
            EntryConfig { header: None, value: None, path: Some(path), remote_address: false } => Ok(Self::Path(path)),
            EntryConfig { header: None, value: None, path: None, remote_address: true } => Ok(Self::RemoteAddress),
            _ => Err("exactly one of `header` (with a `value` or without), `path`, `remote_address`".to_owned()),
        }
    }
}
