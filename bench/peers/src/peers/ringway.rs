//! Ringway itself, one worker.

use std::fs;

use anyhow::{Context, Result};

use super::{Found, Mode, Peer, Places, Program, Site};

pub(crate) struct Ringway;

/// Where in `site.dir` the configuration lies.
pub(crate) const CONFIG: &str = "ringway.yaml";

impl Peer for Ringway {
    fn name(&self) -> &'static str {
        "ringway"
    }

    fn find(&self, places: &Places) -> Result<Found, String> {
        let path = super::built_here(places.ringway.as_deref(), places, "ringway")?;
        let text = super::output(&path, &["--version"])?;
        Ok(Found { path, version: super::version_in(&text).unwrap_or(text) })
    }

    fn carries(&self, _mode: Mode) -> bool {
        true
    }

    fn program(&self, found: &Found, site: &Site) -> Result<Option<Program>> {
        let file = site.dir.join(CONFIG);
        // A scenario may have written one of its own.
        if !file.exists() {
            fs::write(&file, config(site, ROUTE_ALL)).with_context(|| format!("writing {}", file.display()))?;
        }
        Ok(Some(Program::new(&found.path, ["run".into(), "-c".into(), file.into_os_string()])))
    }
}

/// Three hosts, checked and ejected, with retries.
fn three(site: &Site) -> String {
    let Site { listen, admin, hosts, .. } = site;
    let hosts: Vec<String> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
    format!(
        "workers: 1
admin: {{ address: \"{admin}\" }}
listeners:
  - name: web
    address: \"{listen}\"
    protocol: http1
    routes:
      virtual_hosts:
        - domains: [\"*\"]
          routes:
            - match: {{ prefix: / }}
              route:
                cluster: app
                retry: {{ on: [connect-failure, reset, gateway-error], attempts: 2, per_try_timeout: 250ms,
                  host_selection: [previous_hosts], host_selection_retry_max_attempts: 3 }}
clusters:
  - name: app
    lb: least_request
    connect_timeout: 250ms
    endpoints: [{}]
    outlier_detection: {{ consecutive_5xx: 5, interval: 500ms, base_ejection_time: 1s, max_ejection_percent: 34 }}
    health_checks: [ {{ timeout: 250ms, interval: 500ms, no_traffic_interval: 500ms, unhealthy_threshold: 2, healthy_threshold: 2,
      http: {{ path: /1k }} }} ]
",
        hosts.join(", ")
    )
}

/// One virtual host that sends everything to the upstream.
pub(crate) const ROUTE_ALL: &str =
    "        - { domains: [\"*\"], routes: [ { match: { prefix: / }, route: { cluster: app } } ] }\n";

/// A configuration for `site` with `virtual_hosts`, entries of a YAML list indented by eight spaces.
pub(crate) fn config(site: &Site, virtual_hosts: &str) -> String {
    let Site { listen, admin, upstream, unix, certificate, .. } = site;
    let (protocol, cluster) = match site.mode {
        Mode::Http | Mode::Unix | Mode::Mesh | Mode::Logged | Mode::Traced(_) | Mode::Three => ("http1", "http1"),
        Mode::Tcp => ("tcp", "tcp"),
        Mode::Dubbo => ("dubbo", "dubbo"),
        Mode::Tls => ("auto", "http1"),
        Mode::H2c | Mode::Grpc => ("http2", "http2"),
    };
    let mut listener = format!("    protocol: {protocol}\n");
    if site.mode == Mode::Tls {
        let (chain, key) = (certificate.chain.display(), certificate.key.display());
        listener += &format!(
            "    tls: {{ certificates: [ {{ cert: \"{chain}\", key: \"{key}\" }} ], alpn: [h2, http/1.1] }}\n"
        );
    }
    if site.mode == Mode::Logged {
        let path = site.dir.join("access.log");
        listener += &format!("    access_log: {{ path: \"{}\", format: json }}\n", path.display());
    }
    listener += &match site.mode {
        Mode::Tcp => "    cluster: app\n".to_owned(),
        _ => format!("    routes:\n      virtual_hosts:\n{virtual_hosts}"),
    };
    match site.mode {
        Mode::Three => return three(site),
        Mode::Mesh => return super::mesh::ringway(site),
        _ => {}
    }
    let endpoint = match site.mode {
        Mode::Unix => format!("unix:{}", unix.display()),
        _ => upstream.to_string(),
    };
    let telemetry = match site.mode {
        Mode::Traced(percent) => format!(
            "tracing: {{ service_name: bench, exporters: [collector], sampling: {{ random: {percent}% }} }}\n\
             exporters: [ {{ name: collector, otlp: {{ endpoint: \"http://{}\" }} }} ]\n",
            site.collector
        ),
        _ => String::new(),
    };
    format!(
        "{telemetry}workers: 1\nadmin: {{ address: \"{admin}\" }}\nlisteners:\n  - name: web\n    address: \"{listen}\"\n{listener}\
         clusters:\n  - {{ name: app, protocol: {cluster}, endpoints: [\"{endpoint}\"] }}\n"
    )
}
