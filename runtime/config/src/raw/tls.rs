//! Transport security.

use ringway_api::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS of a listener. Files are watched: new ones are used for new handshakes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// Certificates. The client's server name and what keys it takes decide; the first is for everyone else.
    pub certificates: Vec<Certificate>,
    /// Application protocols offered, best first. By default those of the protocol: `h2` and `http/1.1` for `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<Vec<String>>,
    /// Certificate authorities (PEM file) that clients' certificates must come from. Clients are asked for a
    /// certificate when this is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<String>,
    /// Refuse clients without a certificate.
    #[serde(default)]
    pub require_client_certificate: bool,
    /// One of the client certificate's subject alternative names must match one of these; any will do by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_san: Vec<SanMatch>,
    /// Certificate revocation lists (PEM files) for clients' certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_crl: Vec<String>,
    /// The oldest version.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// The newest version.
    #[serde(default = "tls13")]
    pub max_version: TlsVersion,
    /// Let clients resume sessions by tickets, whose keys rotate.
    #[serde(default = "yes")]
    pub session_tickets: bool,
    /// Serve connections that do not begin with TLS in plaintext, on the same port (Istio's permissive mode).
    #[serde(default)]
    pub permissive: bool,
    /// How long a handshake may take.
    #[serde(default = "ten_seconds")]
    pub handshake_timeout: Millis,
}

/// TLS of a cluster. Hosts are verified unless `insecure_skip_verify` says otherwise.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterTls {
    /// Certificate authorities (PEM file) that hosts' certificates must come from; the system's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The server name to ask for (SNI) and to verify; by default the endpoint's host name or IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// One of the host certificate's subject alternative names must match one of these, instead of the server name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub san: Vec<SanMatch>,
    /// Certificate revocation lists (PEM files).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crl: Vec<String>,
    /// The certificate to show to hosts that ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Application protocols offered, best first. By default those of the protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<Vec<String>>,
    /// The oldest version.
    pub min_version: TlsVersion,
    /// The newest version.
    #[serde(default = "tls13")]
    pub max_version: TlsVersion,
    /// Trust any host. Only for tests: whoever is on the way can read and change everything.
    pub insecure_skip_verify: bool,
}

/// A certificate with its key.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The chain, leaf first (PEM file).
    pub cert: String,
    /// The private key (PEM file).
    pub key: String,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246)
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446)
    #[serde(rename = "1.3")]
    Tls13,
}

/// Which subject alternative names are meant.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SanType {
    /// Host names.
    Dns,
    /// URIs, such as SPIFFE identities.
    Uri,
    /// Mail addresses.
    Email,
    /// IP addresses.
    Ip,
}

/// A condition on a subject alternative name: exactly one of the patterns.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct SanMatch {
    /// Which names; by default `uri` for a pattern with `://` in it, and `dns` for others.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub san_type: Option<SanType>,
    /// The name is this: a host name, a URI such as `spiffe://cluster.local/ns/default/sa/web`, or an IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// The name begins with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The name ends with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// The name contains this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// The whole name matches this regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_regex: Option<String>,
}

fn tls13() -> TlsVersion {
    TlsVersion::Tls13
}

fn yes() -> bool {
    true
}

fn ten_seconds() -> Millis {
    Millis(10_000)
}
