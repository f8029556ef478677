//! A small proxy on Pingora (`bench/pingora`): one worker thread, TLS by OpenSSL.

use anyhow::Result;

use super::{Found, Mode, Peer, Places, Program, Site};

pub(crate) struct Pingora;

/// The proxy's source.
pub(crate) const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pingora/Cargo.toml");
/// Where `setup` has it built, under the directory of installed peers.
pub(crate) const TARGET: &str = "pingora";
const PROGRAM: &str = "pingora/release/ringway-bench-pingora";
/// Tells the version that it was built with.
const LOCK: &str = include_str!("../../../pingora/Cargo.lock");

impl Peer for Pingora {
    fn name(&self) -> &'static str {
        "pingora"
    }

    fn find(&self, places: &Places) -> Result<Found, String> {
        let path = places.local.join(PROGRAM);
        if !path.is_file() {
            return Err(format!("{} is not built; `setup` does it", path.display()));
        }
        Ok(Found { path, version: locked_version(LOCK).unwrap_or("of an unknown version").to_owned() })
    }

    fn program(&self, found: &Found, site: &Site) -> Result<Option<Program>> {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let mut args = vec!["--listen".into(), site.listen.to_string(), "--upstream".into(), site.upstream.to_string()];
        if site.mode == Mode::Tls {
            args.extend([
                "--certificate".into(),
                text(&site.certificate.chain),
                "--key".into(),
                text(&site.certificate.key),
            ]);
        }
        if site.mode.is_h2c() {
            args.push("--h2-upstream".into());
        }
        Ok(Some(Program::new(&found.path, args)))
    }

    fn carries(&self, mode: Mode) -> bool {
        !matches!(mode, Mode::Tcp | Mode::Dubbo | Mode::Unix | Mode::Three | Mode::Mesh)
    }
}

/// The version of the proxy crate in a lock file.
fn locked_version(lock: &str) -> Option<&str> {
    let (_, entry) = lock.split_once("name = \"pingora-proxy\"")?;
    entry.split_once("version = \"")?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_tells_the_version() {
        assert!(locked_version(LOCK).is_some_and(|v| v.starts_with("0.")));
    }
}
