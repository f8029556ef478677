//! What routes match.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a route matches: all of what is given. Exactly one of the path matches must be, or a call's service or method.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// The path begins with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The path is this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The path is this, or begins with this and a slash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_separated_prefix: Option<String>,
    /// The whole path matches this regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_regex: Option<String>,
    /// The path matches this template, such as `/shelves/{shelf}/books/**`: `*` and `{name}` are one segment, `**` and
    /// `{name=**}` at its end are all that follow. What variables hold can be used by `path_template_rewrite`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_template: Option<String>,
    /// It is a call of this service: gRPC, Dubbo, bolt and the like. `com.example.*` is every service that begins so,
    /// `*` every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// It is a call of this method of a service; every one by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The version of the service that is called, where the protocol has such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The group of the service that is called, where the protocol has such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether the path's case matters; it does by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_sensitive: Option<bool>,
    /// One of these methods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// It is a `CONNECT` request (instead of a path match). Other routes never match one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub connect: bool,
    /// All of these header conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<FieldMatch>,
    /// All of these query parameter conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query_parameters: Vec<FieldMatch>,
    /// All of these conditions on cookies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cookies: Vec<FieldMatch>,
    /// It is a gRPC call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub grpc: bool,
    /// The client's address is in one of these networks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// This share of the requests that match otherwise, in percent, taken by chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_fraction: Option<f64>,
}

/// A condition on a header field, query parameter or cookie: at most one of the kinds; none asks for presence.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct FieldMatch {
    /// Its name.
    pub name: String,
    /// The value is this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// The value begins with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The value ends with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// The value contains this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// The whole value matches this regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_regex: Option<String>,
    /// The value is an integer in this range, whose end is not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<IntegerRange>,
    /// Case does not matter to `exact`, `prefix`, `suffix` and `contains`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
    /// What is not there counts as an empty value.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub treat_missing_as_empty: bool,
    /// It is there (`true`) or is not (`false`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// Turn the result around. A header field that is not there still meets no condition on its value.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
}

/// Some integers.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct IntegerRange {
    /// The first.
    pub start: i64,
    /// The one after the last.
    pub end: i64,
}
