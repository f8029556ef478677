//! nginx: as an HTTP proxy, and as a TCP proxy (its stream module).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::certificate::Certificate;

use super::{Found, Mode, Peer, Places, Program, Site};

/// nginx in the mode that the scenario asks for.
pub(crate) const NGINX: Nginx = Nginx { name: "nginx", stream_only: false };
/// nginx's stream proxy under HTTP traffic: what the raw pump is compared with.
pub(crate) const NGINX_TCP: Nginx = Nginx { name: "nginx-tcp", stream_only: true };

pub(crate) struct Nginx {
    name: &'static str,
    stream_only: bool,
}

/// Where distributions keep the stream module when it is not built in.
const STREAM_MODULES: &[&str] =
    &["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"];

impl Peer for Nginx {
    fn name(&self) -> &'static str {
        self.name
    }

    fn find(&self, _places: &Places) -> Result<Found, String> {
        let path = super::in_path("nginx")?;
        let text = super::output(&path, &["-V"])?;
        if self.stream_only && stream_module().is_none() && !text.contains("--with-stream ") {
            return Err("nginx is installed without its stream module".into());
        }
        Ok(Found { path, version: super::version_in(&text).unwrap_or(text) })
    }

    fn program(&self, found: &Found, site: &Site) -> Result<Option<Program>> {
        let stream = self.stream_only || site.mode == Mode::Tcp;
        let text = if stream { stream_config(site) } else { http_config(site) };
        let file = site.dir.join("nginx.conf");
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        let args = ["-p".into(), site.dir.clone().into_os_string(), "-c".into(), file.into_os_string()];
        Ok(Some(Program::new(&found.path, args)))
    }

    fn carries(&self, mode: Mode) -> bool {
        if self.stream_only {
            matches!(mode, Mode::Http | Mode::Dubbo)
        } else {
            !matches!(mode, Mode::Dubbo | Mode::Three | Mode::Mesh)
        }
    }

    fn cannot(&self, mode: Mode) -> Option<&'static str> {
        (mode == Mode::H2c).then_some("this nginx speaks HTTP/2 to an upstream for gRPC only (grpc_pass)")
    }

    fn pairs_connections(&self) -> bool {
        self.stream_only
    }
}

fn stream_module() -> Option<&'static str> {
    STREAM_MODULES.iter().copied().find(|file| Path::new(file).exists())
}

fn main_config() -> String {
    // Started by root, workers would change to a user who may not write into the scratch directory.
    let user = if rustix::process::getuid().is_root() { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr crit;\n\
         events {{ use epoll; worker_connections 20000; multi_accept on; }}\n"
    )
}

/// Replies are streamed through one large buffer, as the other proxies do: measured against four ways of buffering
/// them, this takes least CPU for large replies and no more for small ones. Requests are buffered, which is cheaper.
fn http_config(site: &Site) -> String {
    let Site { listen, upstream, unix, certificate, .. } = site;
    let server = match site.mode {
        Mode::Unix => format!("unix:{}", unix.display()),
        _ => upstream.to_string(),
    };
    let (options, tls) = match site.mode {
        Mode::Tls => (" ssl http2", tls_config(certificate)),
        Mode::Grpc => (" http2", String::new()),
        _ => ("", String::new()),
    };
    let location = if site.mode == Mode::Grpc { GRPC_LOCATION } else { HTTP_LOCATION };
    main_config()
        + &format!(
            "http {{
  access_log off;
  server_tokens off;
  tcp_nodelay on;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_body_buffer_size 64k;
  client_max_body_size 64m;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  proxy_buffering off;
  proxy_buffer_size 128k;
  proxy_buffers 4 128k; # unused, but checked against the size above
  upstream app {{
    server {server};
    keepalive 16384;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }}
  server {{
    listen {listen} reuseport backlog=4096{options};
{tls}    location / {{
{location}    }}
  }}
}}
"
        )
}

const HTTP_LOCATION: &str = "      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
";

const GRPC_LOCATION: &str = "      grpc_pass grpc://app;
      grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      grpc_set_header X-Forwarded-Proto $scheme;
";

fn tls_config(certificate: &Certificate) -> String {
    let (chain, key) = (certificate.chain.display(), certificate.key.display());
    format!(
        "    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    ssl_session_cache shared:tls:10m;
"
    )
}

fn stream_config(site: &Site) -> String {
    let Site { listen, upstream, .. } = site;
    let load = stream_module().map(|file| format!("load_module {file};\n")).unwrap_or_default();
    load + &main_config()
        + &format!(
            "stream {{
  access_log off;
  tcp_nodelay on;
  proxy_timeout 600s;
  upstream app {{ server {upstream}; }}
  server {{
    listen {listen} reuseport backlog=4096;
    proxy_pass app;
  }}
}}
"
        )
}
