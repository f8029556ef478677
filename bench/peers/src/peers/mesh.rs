//! What a mesh has its sidecars do, in the words of the proxies that can: 1,000 routes, retries, a circuit breaker,
//! outlier detection, a local rate limit and five more filters.

use std::fmt::Write;

use super::Site;

/// Routes ahead of the one that is taken.
const ROUTES: usize = 999;

pub(super) fn ringway(site: &Site) -> String {
    let Site { listen, admin, upstream, .. } = site;
    let mut routes = String::new();
    for number in 0..ROUTES {
        let written =
            writeln!(routes, "            - {{ match: {{ prefix: /service-{number}/ }}, route: {{ cluster: app }} }}");
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    format!(
        "workers: 1
admin: {{ address: \"{admin}\" }}
listeners:
  - name: web
    address: \"{listen}\"
    protocol: http1
    filters:
      - ip_access: {{ allow: [127.0.0.0/8], deny: [10.66.0.0/16] }}
      - local_rate_limit: {{ token_bucket: {{ max_tokens: 1000000, tokens_per_fill: 1000000, fill_interval: 1s }} }}
      - fault: {{ delay: {{ fixed: 1s, percentage: 0 }}, abort: {{ http_status: 503, percentage: 0 }} }}
      - cors: {{ allow_origins: [{{ exact: \"https://www.example.com\" }}] }}
      - header_mutation: {{ request: [ {{ set: {{ x-mesh: sidecar }} }} ], response: [ {{ set: {{ x-served-by: mesh }} }} ] }}
      - compressor: {{ codings: [gzip], min_content_length: 65536 }}
    routes:
      virtual_hosts:
        - domains: [\"*\"]
          routes:
{routes}            - match: {{ prefix: / }}
              route: {{ cluster: app, timeout: 15s, retry: {{ on: [connect-failure, reset, gateway-error], attempts: 2 }} }}
clusters:
  - name: app
    endpoints: [\"{upstream}\"]
    limits: {{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000 }}
    outlier_detection: {{ consecutive_5xx: 5, interval: 10s }}
"
    )
}

pub(super) fn envoy(site: &Site) -> String {
    let (listen, upstream) = (site.listen.port(), site.upstream.port());
    let mut routes = String::new();
    for number in 0..ROUTES {
        let written = writeln!(
            routes,
            "              - {{ match: {{ prefix: /service-{number}/ }}, route: {{ cluster: app }} }}"
        );
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    format!(
        r#"static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {listen} }} }}
    enable_reuse_port: true
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          generate_request_id: false
          use_remote_address: true
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              typed_per_filter_config:
                envoy.filters.http.cors:
                  "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy
                  allow_origin_string_match: [ {{ exact: "https://www.example.com" }} ]
              routes:
{routes}              - match: {{ prefix: / }}
                route: {{ cluster: app, timeout: 15s, retry_policy: {{ retry_on: "connect-failure,reset,gateway-error", num_retries: 2 }} }}
          http_filters:
          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                policies:
                  local: {{ permissions: [ {{ any: true }} ], principals: [ {{ direct_remote_ip: {{ address_prefix: 127.0.0.0, prefix_len: 8 }} }} ] }}
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: limit
              token_bucket: {{ max_tokens: 1000000, tokens_per_fill: 1000000, fill_interval: 1s }}
              filter_enabled: {{ default_value: {{ numerator: 100 }} }}
              filter_enforced: {{ default_value: {{ numerator: 100 }} }}
          - name: envoy.filters.http.fault
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
              delay: {{ fixed_delay: 1s, percentage: {{ numerator: 0 }} }}
              abort: {{ http_status: 503, percentage: {{ numerator: 0 }} }}
          - name: envoy.filters.http.cors
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors
          - name: envoy.filters.http.header_mutation
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
              mutations:
                request_mutations: [ {{ append: {{ header: {{ key: x-mesh, value: sidecar }}, append_action: OVERWRITE_IF_EXISTS_OR_ADD }} }} ]
                response_mutations: [ {{ append: {{ header: {{ key: x-served-by, value: mesh }}, append_action: OVERWRITE_IF_EXISTS_OR_ADD }} }} ]
          - name: envoy.filters.http.compressor
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor
              response_direction_config: {{ common_config: {{ min_content_length: 65536 }} }}
              compressor_library:
                name: gzip
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              dynamic_stats: false
  clusters:
  - name: app
    type: STATIC
    connect_timeout: 5s
    lb_policy: ROUND_ROBIN
    circuit_breakers:
      thresholds:
      - {{ priority: DEFAULT, max_connections: 10000, max_pending_requests: 10000, max_requests: 10000, retry_budget: {{ budget_percent: {{ value: 20 }} }} }}
    outlier_detection: {{ consecutive_5xx: 5, interval: 10s }}
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {upstream} }} }} }}
"#
    )
}
