//! A proxy that a file describes: what to run, and a template of its configuration for each kind of traffic.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Found, Mode, Peer, Places, Program, Site};

/// Such a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Described {
    name: String,
    /// The name: peers are there until the program ends.
    #[serde(skip)]
    kept: &'static str,
    /// In PATH, or a path.
    program: PathBuf,
    /// What makes it tell its version.
    #[serde(default = "version")]
    version: Vec<String>,
    args: Vec<String>,
    /// What it carries, and its configuration for that.
    config: BTreeMap<Kind, String>,
    /// It opens an upstream connection for each client connection.
    #[serde(default)]
    pairs_connections: bool,
}

/// The kinds of traffic that a file can speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Http,
    Unix,
    Tcp,
    Dubbo,
    Tls,
    H2c,
    Grpc,
}

fn version() -> Vec<String> {
    vec!["--version".to_owned()]
}

impl Described {
    /// Reads such a file.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Self::parse(&text).with_context(|| file.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut this: Self = serde_saphyr::from_str(text)?;
        if this.name.is_empty() || this.config.is_empty() {
            bail!("a peer needs a `name` and a `config` for at least one kind of traffic");
        }
        let texts = this.args.iter().chain(this.config.values());
        texts.map(|text| fill(text, |_| Some(String::new()))).collect::<Result<Vec<_>>>()?;
        this.kept = Box::leak(this.name.clone().into_boxed_str());
        Ok(this)
    }
}

impl Peer for Described {
    fn name(&self) -> &'static str {
        self.kept
    }

    fn find(&self, _: &Places) -> Result<Found, String> {
        let path = match self.program.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => self.program.clone(),
            _ => super::in_path(&self.program.to_string_lossy())?,
        };
        let args: Vec<&str> = self.version.iter().map(String::as_str).collect();
        let text = super::output(&path, &args)?;
        Ok(Found { path, version: super::version_in(&text).unwrap_or(text) })
    }

    fn carries(&self, mode: Mode) -> bool {
        Kind::of(mode).is_some_and(|kind| self.config.contains_key(&kind))
    }

    fn pairs_connections(&self) -> bool {
        self.pairs_connections
    }

    fn program(&self, found: &Found, site: &Site) -> Result<Option<Program>> {
        let template = Kind::of(site.mode).and_then(|kind| self.config.get(&kind)).context("it has no such config")?;
        let file = site.dir.join("proxy.conf");
        let value = |name: &str| Some(value(name, site, &file));
        fs::write(&file, fill(template, value)?).with_context(|| format!("writing {}", file.display()))?;
        let args = self.args.iter().map(|arg| fill(arg, value)).collect::<Result<Vec<_>>>()?;
        Ok(Some(Program::new(&found.path, args)))
    }
}

impl Kind {
    fn of(mode: Mode) -> Option<Self> {
        Some(match mode {
            Mode::Http => Self::Http,
            Mode::Unix => Self::Unix,
            Mode::Tcp => Self::Tcp,
            Mode::Dubbo => Self::Dubbo,
            Mode::Tls => Self::Tls,
            Mode::H2c => Self::H2c,
            Mode::Grpc => Self::Grpc,
            Mode::Mesh | Mode::Logged | Mode::Traced(_) | Mode::Three => return None,
        })
    }
}

/// What stands between two `@`.
const NAMES: &[&str] = &[
    "listen",
    "listen_port",
    "admin_port",
    "upstream",
    "upstream_port",
    "unix",
    "dir",
    "config",
    "certificate",
    "key",
    "certificate_and_key",
];

fn value(name: &str, site: &Site, config: &Path) -> String {
    match name {
        "listen" => site.listen.to_string(),
        "listen_port" => site.listen.port().to_string(),
        "admin_port" => site.admin.port().to_string(),
        "upstream" => site.upstream.to_string(),
        "upstream_port" => site.upstream.port().to_string(),
        "unix" => site.unix.display().to_string(),
        "dir" => site.dir.display().to_string(),
        "config" => config.display().to_string(),
        "certificate" => site.certificate.chain.display().to_string(),
        "key" => site.certificate.key.display().to_string(),
        _ => site.certificate.both.display().to_string(),
    }
}

/// The text with each `@name@` replaced. An `@` that begins no name stays.
fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('@') {
        out += before;
        let name = after
            .split_once('@')
            .filter(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        match name {
            None => {
                out.push('@');
                rest = after;
            }
            Some((name, behind)) if NAMES.contains(&name) => {
                out += &value(name).unwrap_or_default();
                rest = behind;
            }
            Some((name, _)) => bail!("there is no @{name}@; there are: {}", NAMES.join(", ")),
        }
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../examples/peer.yaml");

    #[test]
    fn the_example_is_filled_in() {
        let dir = crate::scratch::ScratchDir::new("described-test").unwrap();
        let peer = Described::parse(EXAMPLE).unwrap();
        assert!(peer.carries(Mode::Http) && !peer.carries(Mode::Tcp) && !peer.carries(Mode::Mesh));
        let site = crate::peers::tests::site(Mode::Http, dir.path());
        let found = Found { path: "/bin/true".into(), version: "1".into() };
        let program = peer.program(&found, &site).unwrap().unwrap();
        let config = fs::read_to_string(dir.path().join("proxy.conf")).unwrap();
        assert!(
            config.contains("listen 127.0.0.1:1;") && config.contains("proxy_pass http://127.0.0.1:3;"),
            "{config}"
        );
        assert!(!config.contains('@') && program.args[3].to_string_lossy().ends_with("/proxy.conf"));
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, word) in [
            ("name: nginx-plain", "nam: x", "nam"),
            ("@upstream@", "@upsteam@", "@upsteam@"),
            ("  http: |", "  htpp: |", "htpp"),
        ] {
            let error = format!("{:#}", Described::parse(&EXAMPLE.replace(from, to)).unwrap_err());
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(fill("mail me@home or a@b.c@", |_| None).unwrap(), "mail me@home or a@b.c@");
    }
}
