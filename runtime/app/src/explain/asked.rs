//! A request as people write it.

use std::net::IpAddr;

use anyhow::{Context, Result, anyhow, bail};
use axum::http::{Method, Uri};
use clap::Args;
use ringway_api::{Body, Known, Request, RequestHead, Scheme, Version};
use serde::{Deserialize, Serialize};

use crate::control::CATALOG;

/// What is asked about.
#[derive(Args, Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedFor {
    /// The request: `GET http://host/path`, or a call: `dubbo com.example.Orders/find`.
    #[arg(long, value_name = "REQUEST")]
    pub(crate) request: String,
    /// A header field, or an attachment of a call. Can be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    #[serde(default)]
    pub(crate) headers: Vec<String>,
    /// The client's address.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    #[serde(default = "here")]
    pub(crate) source: IpAddr,
    /// The listener; the one with the request's port by default, or the only one.
    #[arg(long, value_name = "NAME")]
    #[serde(default)]
    pub(crate) listener: Option<String>,
}

fn here() -> IpAddr {
    IpAddr::from([127, 0, 0, 1])
}

/// A request and where it is sent.
pub(super) struct Parsed {
    pub(super) request: Request,
    /// The port that was written.
    pub(super) port: Option<u16>,
    pub(super) tls: bool,
    /// The host, without a port.
    pub(super) host: String,
}

impl AskedFor {
    /// Reads it.
    ///
    /// # Errors
    /// What cannot be understood.
    pub(super) fn parse(&self) -> Result<Parsed> {
        let (method, target) = self.request.trim().split_once(' ').with_context(|| {
            format!("`{}`: write `GET http://host/path`, or `dubbo com.example.Orders/find`", self.request)
        })?;
        let target = target.trim();
        let rpc = CATALOG.protocols.iter().find(|spec| spec.name == method && !spec.name.starts_with("http"));
        let mut parsed = match rpc {
            Some(spec) => call(spec.name, target)?,
            None => http(method, target)?,
        };
        for field in &self.headers {
            let (name, value) = field.split_once(':').with_context(|| format!("-H `{field}`: write `name: value`"))?;
            let (name, value) = (name.trim(), value.trim());
            let head = &mut parsed.request.head;
            let invalid = |_| anyhow!("-H `{field}`: a field cannot have this name or value");
            match name.eq_ignore_ascii_case("host") {
                true => head.set_authority(value).map_err(invalid)?,
                false => head.headers.append(name, value.as_bytes()).map_err(invalid)?,
            }
        }
        let kind = parsed.request.head.headers.known(Known::ContentType);
        if kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
            parsed.request.head.version = Version::Http2;
        }
        Ok(parsed)
    }
}

fn http(method: &str, target: &str) -> Result<Parsed> {
    let method: Method = method.parse().with_context(|| format!("`{method}` is no method, nor a protocol of calls"))?;
    let uri: Uri = target.parse().with_context(|| format!("`{target}` is no URL"))?;
    let Some(authority) = uri.authority() else { bail!("`{target}`: write a URL with a host, `http://host/path`") };
    let tls = match uri.scheme_str() {
        Some("http") | None => false,
        Some("https") => true,
        Some(other) => bail!("`{target}`: the scheme is http or https, not {other}"),
    };
    let mut head = RequestHead::default();
    head.method = method;
    head.scheme = if tls { Scheme::Https } else { Scheme::Http };
    let invalid = |_| anyhow!("`{target}` has a host or path that no request can have");
    head.set_authority(authority.as_str()).map_err(invalid)?;
    if head.method != Method::CONNECT {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        head.set_path_and_query(if path.is_empty() { "/" } else { path }.as_bytes()).map_err(invalid)?;
    }
    let port = authority.port_u16();
    Ok(Parsed { request: Request { head, body: Body::Empty }, port, tls, host: authority.host().to_ascii_lowercase() })
}

fn call(protocol: &'static str, target: &str) -> Result<Parsed> {
    let mut head = RequestHead::default();
    (head.method, head.version) = (Method::POST, Version::Rpc(protocol));
    let path = format!("/{}", target.trim_start_matches('/'));
    if path.matches('/').count() < 2 {
        bail!("`{target}`: write a service and a method, `com.example.Orders/find`");
    }
    let invalid = |_| anyhow!("`{target}` is no service and method");
    head.set_path_and_query(path.as_bytes()).map_err(invalid)?;
    Ok(Parsed { request: Request { head, body: Body::Empty }, port: None, tls: false, host: String::new() })
}
