//! What routes answer themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RegexRewrite;

/// Where the client is sent: what is not given stays as the request has it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Redirect {
    /// To `https`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub https: bool,
    /// To this scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// To this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// To this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// To this path, which may have a query of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// To the path with this in the place of what the route's path matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_rewrite: Option<String>,
    /// To the rewritten path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex_rewrite: Option<RegexRewrite>,
    /// 301 (the default), 302, 303, 307 or 308.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_code: Option<u16>,
    /// Without the query.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strip_query: bool,
}

/// A response that is written down.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct DirectResponse {
    /// Its status, 200 to 599.
    pub status: u16,
    /// Its content, at most 4 KiB; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<DirectBody>,
}

/// The content of a direct response.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum DirectBody {
    /// This text.
    Inline(String),
    /// What a file has when the configuration is read.
    File(BodyFile),
}

/// A file with content.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct BodyFile {
    /// Where it is.
    pub file: String,
}
