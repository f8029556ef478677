//! How requests are routed.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{Action, DirectResponse, FieldEdits, FilterEntry, Match, Redirect};

/// Routes, or where they are.
#[derive(Clone, Debug, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
#[schemars(untagged)]
pub enum RoutesRef {
    /// The name of an entry of the top-level `routes`.
    Name(String),
    /// The routes themselves.
    Inline(Routes),
}

/// Not derived: an untagged enum says of every fault only that nothing matched, and buffers the text in between, by
/// which a key such as `on` becomes a truth value (YAML 1.1).
impl<'de> Deserialize<'de> for RoutesRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = RoutesRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("routes, or the name of an entry of the top-level `routes`")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<RoutesRef, E> {
                Ok(RoutesRef::Name(name.to_owned()))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<RoutesRef, M::Error> {
                Routes::deserialize(MapAccessDeserializer::new(map)).map(RoutesRef::Inline)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A route table.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    /// Virtual hosts.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Changes to the fields of all requests, after those of virtual hosts.
    #[serde(default, skip_serializing_if = "FieldEdits::is_empty")]
    pub request_headers: FieldEdits,
    /// Changes to the fields of all responses, after those of virtual hosts.
    #[serde(default, skip_serializing_if = "FieldEdits::is_empty")]
    pub response_headers: FieldEdits,
}

/// The routes of some domains.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct VirtualHost {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `www.example.com`, `*.example.com`, `www.*` or `*`; without a port they match every port.
    pub domains: Vec<String>,
    /// Filters for the requests of these routes, as at a [route](Route::filters).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterEntry>,
    /// Filters that leave the requests of these routes alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disable_filters: Vec<String>,
    /// Changes to the fields of requests, after those of routes.
    #[serde(default, skip_serializing_if = "FieldEdits::is_empty")]
    pub request_headers: FieldEdits,
    /// Changes to the fields of responses, after those of routes.
    #[serde(default, skip_serializing_if = "FieldEdits::is_empty")]
    pub response_headers: FieldEdits,
    /// Routes; the first that matches is taken.
    pub routes: Vec<Route>,
}

/// A route: exactly one of `route`, `redirect` and `direct_response` says what is done.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// A name for logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it matches.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Send the request somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Action>,
    /// Send the client somewhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// Answer here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_response: Option<DirectResponse>,
    /// Changes to the fields of requests, as they are sent.
    #[serde(default, skip_serializing_if = "FieldEdits::is_empty")]
    pub request_headers: FieldEdits,
    /// Changes to the fields of responses of hosts, redirects and direct responses.
    #[serde(default, skip_serializing_if = "FieldEdits::is_empty")]
    pub response_headers: FieldEdits,
    /// Filters for the requests of this route. One that the listener or the virtual host has as well takes its place,
    /// with these options; others look at requests after the listener's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterEntry>,
    /// Filters of the listener or the virtual host that leave the requests of this route alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disable_filters: Vec<String>,
}
