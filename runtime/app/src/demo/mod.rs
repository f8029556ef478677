//! `ringway demo`: a proxy, upstreams behind it, traffic through it, and a table of what happens.

mod table;
mod traffic;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use clap::Args;
use ringway_io::Executor;

use crate::run;

/// Options of the demo.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the proxy listens.
    #[arg(long, default_value = "127.0.0.1:10000")]
    listen: SocketAddr,
    /// Where the admin API listens.
    #[arg(long, default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Connections that make requests.
    #[arg(long, default_value_t = 16)]
    connections: u16,
    /// Requests per second over all connections.
    #[arg(long, default_value_t = 2000)]
    rate: u32,
}

/// Runs until Ctrl-C.
///
/// # Errors
/// When a port is taken or the proxy cannot run here.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    let stable = upstream::start("v1", 0)?;
    let canary = upstream::start("v2", 20)?;
    let file = TempFile::write(&config(args, &stable, &canary))?;
    let (listen, admin) = (args.listen, args.admin);
    println!("A proxy on http://{listen} in front of two upstreams, v1 ({stable}) and v2 ({canary}).");
    println!("Try:  curl -i http://{listen}/            95 % v1, 5 % v2");
    println!("      curl -i http://{listen}/api/        round robin over both");
    println!("      curl -i http://{listen}/slow        times out after 200 ms: 504");
    println!("      http://{admin}/ui/                  the live view, in a browser");
    println!("      curl http://{admin}/                the admin API");
    println!("      edit {} and watch the change take effect", file.0.display());
    println!("Ctrl-C ends it.\n");
    let (connections, rate) = (args.connections.max(1), args.rate.max(1));
    thread::Builder::new().name("traffic".into()).spawn(move || traffic::run(listen, connections, rate))?;
    thread::Builder::new().name("table".into()).spawn(move || table::run(admin))?;
    run::run(&file.0, Executor::default())
}

fn config(args: &DemoArgs, stable: &SocketAddr, canary: &SocketAddr) -> String {
    format!(
        r#"# Written by `ringway demo`. Change it while the demo runs.
admin: {{ address: "{admin}" }}
tracing: {{ service_name: demo, sampling: {{ random: 1% }}, tail: {{ errors: true }} }}
listeners:
  - name: demo
    address: "{listen}"
    protocol: http1
    routes:
      virtual_hosts:
        - domains: ["*"]
          routes:
            - {{ name: api, match: {{ path_separated_prefix: /api }}, route: {{ cluster: both }} }}
            - {{ name: slow, match: {{ path: /slow }}, route: {{ cluster: stable, timeout: 200ms }} }}
            - name: rest
              match: {{ prefix: / }}
              route: {{ weighted_clusters: [{{ name: stable, weight: 95 }}, {{ name: canary, weight: 5 }}] }}
clusters:
  - {{ name: stable, endpoints: ["{stable}"] }}
  - {{ name: canary, endpoints: ["{canary}"] }}
  - {{ name: both, endpoints: ["{stable}", "{canary}"] }}
drain: {{ timeout: 1s }}
"#,
        admin = args.admin,
        listen = args.listen,
    )
}

/// A file that goes when the demo ends.
struct TempFile(PathBuf);

impl TempFile {
    fn write(text: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("ringway-demo-{}.yaml", std::process::id()));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            eprintln!("ringway: cannot remove {}: {error}", self.0.display());
        }
    }
}
