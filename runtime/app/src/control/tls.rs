//! TLS contexts: made of files when a configuration is prepared, and again when the files change.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use ringway_config::{Snapshot, raw};
use ringway_io::tls::{
    Certificate, ClientAuth, ClientParams, ClientTls, ClientTrust, Crls, ExpiredCrl, Pem, Roots, SanKind, SanPattern,
    SanRule, SanRules, ServerNames, ServerParams, ServerTls, ServerTrust, TlsParams, TlsVersion,
};

/// The contexts of a snapshot.
#[derive(Default)]
pub(crate) struct Contexts {
    servers: HashMap<(String, String), Held<raw::ListenerTls, ServerTls>>,
    clients: HashMap<String, Held<raw::ClusterTls, ClientTls>>,
    exporters: HashMap<String, Held<raw::ClusterTls, ClientTls>>,
    /// All files they are made of.
    files: BTreeSet<PathBuf>,
}

/// A context with what it was made of.
struct Held<R, T> {
    raw: R,
    alpn: Vec<String>,
    contents: u64,
    context: Arc<T>,
}

/// The files that one context is made of, read as they are asked for.
struct Files<'f> {
    all: &'f mut BTreeSet<PathBuf>,
    hash: DefaultHasher,
}

impl Contexts {
    /// The contexts of a snapshot. Those whose keys and files are as before are taken over.
    ///
    /// # Errors
    /// The first file that cannot be read, or certificate that cannot be used, with the listener or cluster.
    pub(crate) fn prepare(snapshot: &Snapshot, old: &Self) -> Result<Self> {
        let mut new = Self::default();
        for listener in &snapshot.listeners {
            for chain in &listener.chains {
                let Some(raw) = &chain.raw.tls else { continue };
                let key = (listener.raw.name.clone(), chain.raw.name.clone());
                let before = old.servers.get(&key);
                let held = server(raw, &chain.alpn, before, &mut new.files);
                let held = held.with_context(|| match chain.raw.name.as_str() {
                    "" => format!("listener {}: tls", listener.raw.name),
                    name => format!("listener {}, chain {name}: tls", listener.raw.name),
                })?;
                new.servers.insert(key, held);
            }
        }
        for cluster in &snapshot.clusters {
            let Some(raw) = &cluster.raw.tls else { continue };
            let before = old.clients.get(&cluster.raw.name);
            let held = client(raw, &cluster.alpn, before, &format!("cluster {}", cluster.raw.name), &mut new.files);
            let held = held.with_context(|| format!("cluster {}: tls", cluster.raw.name))?;
            new.clients.insert(cluster.raw.name.clone(), held);
        }
        for exporter in &snapshot.exporters {
            let (Some(raw), name) = (exporter.tls(), &exporter.raw.name) else { continue };
            let who = format!("exporter {name}");
            let held = client(raw, &[], old.exporters.get(name), &who, &mut new.files);
            new.exporters.insert(name.clone(), held.with_context(|| format!("{who}: tls"))?);
        }
        Ok(new)
    }

    /// Whether these are the very contexts of `other`.
    pub(crate) fn are_those_of(&self, other: &Self) -> bool {
        let servers = self.servers.iter().all(|(key, held)| other.servers.get(key).is_some_and(|old| held.is(old)));
        let clients = self.clients.iter().all(|(key, held)| other.clients.get(key).is_some_and(|old| held.is(old)));
        let mut exporters = self.exporters.iter();
        let exporters = exporters.all(|(key, held)| other.exporters.get(key).is_some_and(|old| held.is(old)));
        let sizes = |of: &Self| (of.servers.len(), of.clients.len(), of.exporters.len());
        servers && clients && exporters && sizes(self) == sizes(other)
    }

    /// The context of a chain.
    pub(crate) fn server(&self, listener: &str, chain: &str) -> Option<&Arc<ServerTls>> {
        self.servers.get(&(listener.to_owned(), chain.to_owned())).map(|held| &held.context)
    }

    /// The context of a cluster.
    pub(crate) fn client(&self, cluster: &str) -> Option<&Arc<ClientTls>> {
        self.clients.get(cluster).map(|held| &held.context)
    }

    /// The context of an exporter.
    pub(crate) fn exporter(&self, name: &str) -> Option<&Arc<ClientTls>> {
        self.exporters.get(name).map(|held| &held.context)
    }

    /// The files that they are made of.
    pub(crate) fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }
}

impl<R, T> Held<R, T> {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.context, &other.context)
    }
}

fn server(
    raw: &raw::ListenerTls,
    alpn: &[String],
    before: Option<&Held<raw::ListenerTls, ServerTls>>,
    all: &mut BTreeSet<PathBuf>,
) -> Result<Held<raw::ListenerTls, ServerTls>> {
    let mut files = Files::new(all);
    let pairs = raw.certificates.iter().map(|pair| files.certificate(pair)).collect::<Result<Vec<_>>>()?;
    let ca = raw.client_ca.as_deref().map(|path| files.read(path)).transpose()?;
    let crl = files.read_all(&raw.client_crl)?;
    let contents = files.hash();
    if let Some(held) = reusable(before, raw, alpn, contents) {
        return Ok(held);
    }
    let certificates = pairs.iter().map(Pair::parse).collect::<Result<Vec<_>>>()?;
    let client_auth = match (&raw.client_ca, &ca) {
        (Some(path), Some(ca)) => {
            let trust = ClientTrust {
                roots: Roots::from_pem(&[Pem::new(ca, path)]).map_err(say)?,
                crls: crls(&raw.client_crl, &crl)?,
                names: rules(&raw.client_san, "client_san")?,
            };
            if raw.require_client_certificate { ClientAuth::Required(trust) } else { ClientAuth::Optional(trust) }
        }
        _ => ClientAuth::None,
    };
    let mut params = ServerParams::new(certificates);
    params.tls = versions(raw.min_version, raw.max_version, alpn);
    params.client_auth = client_auth;
    if !raw.session_tickets {
        params.tickets = None;
    }
    let context = ServerTls::new(params, before.map(|held| &*held.context)).map_err(say)?;
    warn(context.warnings());
    Ok(Held { raw: raw.clone(), alpn: alpn.to_vec(), contents, context: Arc::new(context) })
}

fn client(
    raw: &raw::ClusterTls,
    alpn: &[String],
    before: Option<&Held<raw::ClusterTls, ClientTls>>,
    who: &str,
    all: &mut BTreeSet<PathBuf>,
) -> Result<Held<raw::ClusterTls, ClientTls>> {
    let mut files = Files::new(all);
    let ca = raw.ca.as_deref().map(|path| files.read(path)).transpose()?;
    let crl = files.read_all(&raw.crl)?;
    let pair = raw.certificate.as_ref().map(|pair| files.certificate(pair)).transpose()?;
    let contents = files.hash();
    if let Some(held) = reusable(before, raw, alpn, contents) {
        return Ok(held);
    }
    let trust = if raw.insecure_skip_verify {
        eprintln!("ringway: {who}: `insecure_skip_verify` trusts any host");
        ServerTrust::InsecureSkipVerify
    } else {
        let roots = match (&raw.ca, &ca) {
            (Some(path), Some(ca)) => Roots::from_pem(&[Pem::new(ca, path)]),
            _ => Roots::system(),
        };
        let names = if raw.san.is_empty() { ServerNames::Host } else { ServerNames::Rules(rules(&raw.san, "san")?) };
        ServerTrust::Verify { roots: roots.map_err(say)?, crls: crls(&raw.crl, &crl)?, names }
    };
    let mut params = ClientParams::new(trust);
    params.sni = raw.sni.clone();
    params.tls = versions(raw.min_version, raw.max_version, alpn);
    params.certificate = pair.as_ref().map(Pair::parse).transpose()?;
    let context = ClientTls::new(params).map_err(say)?;
    warn(context.warnings());
    Ok(Held { raw: raw.clone(), alpn: alpn.to_vec(), contents, context: Arc::new(context) })
}

fn reusable<R: PartialEq + Clone, T>(
    before: Option<&Held<R, T>>,
    raw: &R,
    alpn: &[String],
    contents: u64,
) -> Option<Held<R, T>> {
    let held = before.filter(|held| held.raw == *raw && held.alpn == alpn && held.contents == contents)?;
    Some(Held { raw: raw.clone(), alpn: alpn.to_vec(), contents, context: Arc::clone(&held.context) })
}

fn versions(min: raw::TlsVersion, max: raw::TlsVersion, alpn: &[String]) -> TlsParams {
    let version = |version| match version {
        raw::TlsVersion::Tls12 => TlsVersion::V1_2,
        raw::TlsVersion::Tls13 => TlsVersion::V1_3,
    };
    TlsParams { min_version: version(min), max_version: version(max), alpn: alpn.to_vec(), ..TlsParams::default() }
}

fn rules(raw: &[raw::SanMatch], key: &str) -> Result<SanRules> {
    let rule = |(at, san): (usize, &raw::SanMatch)| {
        let patterns = [
            san.exact.clone().map(SanPattern::Exact),
            san.prefix.clone().map(SanPattern::Prefix),
            san.suffix.clone().map(SanPattern::Suffix),
            san.contains.clone().map(SanPattern::Contains),
            san.safe_regex.clone().map(SanPattern::SafeRegex),
        ];
        // Checked when the configuration was compiled: there is exactly one.
        let pattern = patterns.into_iter().flatten().next().ok_or_else(|| anyhow!("{key}[{at}]: no pattern"))?;
        let (SanPattern::Exact(text)
        | SanPattern::Prefix(text)
        | SanPattern::Suffix(text)
        | SanPattern::Contains(text)
        | SanPattern::SafeRegex(text)) = &pattern;
        let kind = match san.san_type {
            Some(raw::SanType::Dns) => SanKind::Dns,
            Some(raw::SanType::Uri) => SanKind::Uri,
            Some(raw::SanType::Email) => SanKind::Email,
            Some(raw::SanType::Ip) => SanKind::Ip,
            None if text.contains("://") => SanKind::Uri,
            None => SanKind::Dns,
        };
        SanRule::new(kind, pattern, &format!("{key}[{at}]")).map_err(say)
    };
    raw.iter().enumerate().map(rule).collect()
}

fn crls(paths: &[String], contents: &[Vec<u8>]) -> Result<Crls> {
    let files: Vec<_> = paths.iter().zip(contents).map(|(path, bytes)| Pem::new(bytes, path)).collect();
    if files.is_empty() { Ok(Crls::default()) } else { Crls::new(&files, ExpiredCrl::default()).map_err(say) }
}

/// A certificate with its key, as read.
struct Pair<'r> {
    names: &'r raw::Certificate,
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Pair<'_> {
    fn parse(&self) -> Result<Certificate> {
        let (cert, key) = (Pem::new(&self.cert, &self.names.cert), Pem::new(&self.key, &self.names.key));
        Certificate::from_pem(cert, key).map_err(say)
    }
}

impl<'f> Files<'f> {
    fn new(all: &'f mut BTreeSet<PathBuf>) -> Self {
        Self { all, hash: DefaultHasher::new() }
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        self.all.insert(path.into());
        let bytes = fs::read(Path::new(path)).with_context(|| format!("cannot read {path}"))?;
        bytes.hash(&mut self.hash);
        Ok(bytes)
    }

    fn read_all(&mut self, paths: &[String]) -> Result<Vec<Vec<u8>>> {
        paths.iter().map(|path| self.read(path)).collect()
    }

    fn certificate<'r>(&mut self, names: &'r raw::Certificate) -> Result<Pair<'r>> {
        Ok(Pair { names, cert: self.read(&names.cert)?, key: self.read(&names.key)? })
    }

    fn hash(self) -> u64 {
        self.hash.finish()
    }
}

fn say(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| eprintln!("ringway: {warning}"));
}
