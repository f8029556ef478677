//! The proxies that are compared: one file each, one line in [`PEERS`]; a user's own are files of YAML.

mod described;
mod direct;
mod envoy;
mod haproxy;
mod mesh;
mod nginx;
mod pingora;
mod pump;
pub(crate) mod ringway;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::certificate::Certificate;
use crate::launch::Program;
pub(crate) use described::Described;
pub(crate) use envoy::{PROGRAM as ENVOY_PROGRAM, WHEEL as ENVOY_WHEEL};
pub(crate) use pingora::{MANIFEST as PINGORA_MANIFEST, TARGET as PINGORA_TARGET};

/// Every peer, in the order of the tables.
pub(crate) const PEERS: &[&dyn Peer] = &[
    &direct::Direct,
    &pump::Pump,
    &ringway::Ringway,
    &nginx::NGINX,
    &nginx::NGINX_TCP,
    &haproxy::Haproxy,
    &envoy::ENVOY,
    &envoy::ENVOY_URING,
    &pingora::Pingora,
];

/// A proxy: how to find it and how to start it, tuned as its own manual says for production.
pub(crate) trait Peer: Sync {
    fn name(&self) -> &'static str;

    /// Its version, or the reason for which it cannot run here.
    fn find(&self, places: &Places) -> Result<Found, String>;

    /// Writes its configuration into `site.dir` and tells what to start; `None` runs nothing.
    fn program(&self, found: &Found, site: &Site) -> Result<Option<Program>>;

    /// Whether it can carry `mode` and would add a row of its own.
    fn carries(&self, mode: Mode) -> bool {
        matches!(mode, Mode::Http | Mode::Tcp)
    }

    /// Why it cannot do what `mode` asks, where that is worth a row.
    fn cannot(&self, _mode: Mode) -> Option<&'static str> {
        None
    }

    /// Whether it opens one upstream connection per client connection: many clients need twice the descriptors.
    fn pairs_connections(&self) -> bool {
        false
    }

    /// Whether it is a program of which memory and CPU can be measured.
    fn is_process(&self) -> bool {
        true
    }
}

/// What the proxy is to understand of the traffic, and what it meets on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// HTTP/1.1 on both sides.
    Http,
    /// The same with the upstream on a unix socket.
    Unix,
    /// HTTP/1.1 with routes, policies and filters as a mesh has them.
    Mesh,
    /// HTTP/1.1 with a JSON access log of every request.
    Logged,
    /// HTTP/1.1 with so many of a hundred requests traced, their spans sent to a collector by OTLP over gRPC.
    Traced(u8),
    Tcp,
    /// Dubbo2 on both sides.
    Dubbo,
    /// TLS with HTTP/2 and HTTP/1.1 by ALPN, to plain HTTP/1.1.
    Tls,
    /// Prior-knowledge HTTP/2 on both sides.
    H2c,
    /// The same, carrying gRPC.
    Grpc,
    /// HTTP/1.1 to three hosts, checked and ejected, with retries.
    Three,
}

impl Mode {
    /// HTTP/2 without TLS on both sides.
    fn is_h2c(self) -> bool {
        matches!(self, Self::H2c | Self::Grpc)
    }
}

/// Where programs are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Programs installed by `setup`.
    pub(crate) local: PathBuf,
    /// Programs built from this workspace.
    pub(crate) built: PathBuf,
    pub(crate) ringway: Option<PathBuf>,
    pub(crate) pump: Option<PathBuf>,
}

/// A peer that can run here.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// What one instance of a peer is given.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) mode: Mode,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) upstream: SocketAddr,
    /// Takes gRPC calls: what telemetry is sent to.
    pub(crate) collector: SocketAddr,
    /// The hosts of [`Mode::Three`].
    pub(crate) hosts: Vec<SocketAddr>,
    /// Where HTTP/1.1 is served too.
    pub(crate) unix: PathBuf,
    pub(crate) certificate: Certificate,
    /// A directory of its own.
    pub(crate) dir: PathBuf,
}

/// `program` in the directories of PATH and of system daemons.
pub(crate) fn in_path(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(system).map(|dir| dir.join(program)).find(|file| file.is_file());
    found.ok_or_else(|| format!("no {program} on this machine; `setup` installs it where it can"))
}

/// A program of this workspace: where the user says, or where it was built.
fn built_here(given: Option<&Path>, places: &Places, program: &str) -> Result<PathBuf, String> {
    let file = given.map_or_else(|| places.built.join(program), Path::to_owned);
    if file.is_file() { Ok(file) } else { Err(format!("{} is not built", file.display())) }
}

/// What `program args` says on either output, or why it cannot say it.
fn output(program: &Path, args: &[&str]) -> Result<String, String> {
    let out = Command::new(program).args(args).output().map_err(|e| format!("{}: {e}", program.display()))?;
    let text = [out.stdout, out.stderr].concat();
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// The first word of `text` that begins with a digit, after an optional `v`: how programs print versions.
fn version_in(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '/' | ',' | '(' | ')'));
    let version = words
        .map(|w| w.trim_start_matches('v'))
        .find(|w| w.starts_with(|c: char| c.is_ascii_digit()) && w.contains('.'));
    version.map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn site(mode: Mode, dir: &Path) -> Site {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (unix, certificate) = (dir.join("sock"), Certificate::in_dir(dir));
        Site {
            mode,
            listen: at(1),
            admin: at(2),
            upstream: at(3),
            collector: at(3),
            hosts: vec![at(4), at(5), at(6)],
            unix,
            certificate,
            dir: dir.to_owned(),
        }
    }

    #[test]
    fn versions() {
        assert_eq!(version_in("nginx version: nginx/1.22.1").as_deref(), Some("1.22.1"));
        assert_eq!(version_in("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - x").as_deref(), Some("2.6.12-1+deb12u4"));
        assert_eq!(version_in("ringway 0.1.0").as_deref(), Some("0.1.0"));
        assert_eq!(version_in("nothing here"), None);
    }

    #[test]
    fn every_peer_writes_its_configuration() {
        let dir = crate::scratch::ScratchDir::new("peers-test").unwrap();
        for mode in
            [Mode::Http, Mode::Unix, Mode::Mesh, Mode::Tcp, Mode::Dubbo, Mode::Tls, Mode::H2c, Mode::Grpc, Mode::Three]
        {
            for peer in PEERS.iter().filter(|p| p.carries(mode) && p.cannot(mode).is_none()) {
                let site = site(mode, dir.path());
                let found = Found { path: "/bin/true".into(), version: "1".into() };
                let program = peer.program(&found, &site).unwrap();
                assert_eq!(program.is_some(), peer.is_process(), "{}", peer.name());
            }
        }
    }
}
