//! HAProxy, one thread.

use std::fs;

use anyhow::{Context, Result};

use super::{Found, Mode, Peer, Places, Program, Site};

pub(crate) struct Haproxy;

impl Peer for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn find(&self, _places: &Places) -> Result<Found, String> {
        let path = super::in_path("haproxy")?;
        let text = super::output(&path, &["-v"])?;
        Ok(Found { path, version: super::version_in(&text).unwrap_or(text) })
    }

    fn carries(&self, mode: Mode) -> bool {
        !matches!(mode, Mode::Dubbo | Mode::Mesh)
    }

    fn program(&self, found: &Found, site: &Site) -> Result<Option<Program>> {
        let file = site.dir.join("haproxy.cfg");
        fs::write(&file, config(site)).with_context(|| format!("writing {}", file.display()))?;
        Ok(Some(Program::new(&found.path, ["-db".into(), "-f".into(), file.into_os_string()])))
    }
}

/// Three hosts, checked and ejected, with retries on another one. `timeout server` bounds each try.
const THREE: &str = "  balance leastconn
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response response-timeout 502 503 504
  timeout connect 250ms
  timeout server 250ms
  option httpchk GET /1k
  timeout check 250ms
  default-server inter 500ms fall 2 rise 2 observe layer7 error-limit 5 on-error mark-down
";

fn config(site: &Site) -> String {
    let Site { listen, upstream, unix, certificate, .. } = site;
    let bind = match site.mode {
        Mode::Tls => format!(" ssl crt {} alpn h2,http/1.1", certificate.both.display()),
        mode if mode.is_h2c() => " proto h2".to_owned(),
        _ => String::new(),
    };
    let server = match site.mode {
        Mode::Unix => format!("unix@{}", unix.display()),
        mode if mode.is_h2c() => format!("{upstream} proto h2"),
        _ => upstream.to_string(),
    };
    // Twice the default buffer: a request of 16 KB with its head then fits, which measured a quarter cheaper; larger
    // ones made everything dearer.
    // No strict limits: with connections reused, far fewer descriptors are needed than twice maxconn, which it demands.
    // `always`: the manual allows it where, as here, the upstream keeps idle connections open.
    let mode = match site.mode {
        Mode::Tcp => "  mode tcp\n",
        _ => "  mode http\n  option http-keep-alive\n  http-reuse always\n  option forwardfor\n",
    };
    let (balance, server) = match site.mode {
        Mode::Three => (THREE, site.hosts.iter().enumerate().map(|(at, host)| format!("s{at} {host} check")).collect()),
        _ => ("", vec![format!("s1 {server} pool-purge-delay 600s")]),
    };
    let servers: String = server.iter().map(|server| format!("  server {server}\n")).collect();
    format!(
        "global
  nbthread 1
  tune.bufsize 32768
  maxconn 15000
  no strict-limits
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
defaults
{mode}  no log
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend web
  bind {listen} backlog 4096{bind}
  default_backend app
backend app
{balance}{servers}"
    )
}
