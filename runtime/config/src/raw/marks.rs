//! How forwarded messages are marked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How forwarded messages are marked.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderPolicy {
    /// What `Server` says in responses.
    pub server_name: String,
    /// Whether it does.
    pub server: ServerPolicy,
    /// The pseudonym added to `Via`; none by default.
    pub via: Option<String>,
    /// Append the peer's address to `X-Forwarded-For`.
    pub x_forwarded_for: bool,
    /// Set `X-Forwarded-Proto` where it is missing.
    pub x_forwarded_proto: bool,
    /// What to do about `x-request-id`.
    pub x_request_id: RequestIdPolicy,
    /// What to do about `X-Forwarded-Client-Cert`.
    pub x_forwarded_client_cert: ClientCertForwarding,
    /// What of the client's certificate is told there, besides its fingerprint.
    pub client_cert_details: Vec<ClientCertDetail>,
}

impl Default for HeaderPolicy {
    fn default() -> Self {
        Self {
            server_name: "ringway".into(),
            server: ServerPolicy::default(),
            via: None,
            x_forwarded_for: true,
            x_forwarded_proto: true,
            x_request_id: RequestIdPolicy::default(),
            x_forwarded_client_cert: ClientCertForwarding::default(),
            client_cert_details: Vec::new(),
        }
    }
}

/// What to do about `Server`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ServerPolicy {
    /// Replace it.
    #[default]
    Overwrite,
    /// Add it where it is missing.
    AppendIfAbsent,
    /// Leave it alone.
    PassThrough,
}

/// What to do about `x-request-id`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RequestIdPolicy {
    /// Make one where it is missing.
    #[default]
    Generate,
    /// Always make one: what clients send is not trusted.
    Replace,
    /// Leave it alone.
    Keep,
}

/// What to do about `X-Forwarded-Client-Cert`, which tells the upstream who the client is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertForwarding {
    /// Remove it: what clients say of themselves is not trusted.
    #[default]
    Sanitize,
    /// Pass it on when the client has shown a certificate; remove it otherwise.
    ForwardOnly,
    /// The same, and add the client's own certificate to it.
    AppendForward,
    /// Replace it by the client's own certificate.
    SanitizeSet,
    /// Pass it on whoever the client is.
    AlwaysForwardOnly,
}

/// A part of a client's certificate.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertDetail {
    /// The subject.
    Subject,
    /// The URIs among the subject alternative names.
    Uri,
    /// The host names among them.
    Dns,
    /// The certificate, PEM, URL-encoded.
    Cert,
    /// The certificate and those sent along with it.
    Chain,
}

/// How paths are made comparable before they are routed (RFC 3986, section 6.2.2).
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct PathPolicy {
    /// Decode what need not be encoded, resolve `.` and `..`.
    pub normalize: bool,
    /// Make one slash of several.
    pub merge_slashes: bool,
}
