//! Closed loops as files describe them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::closed_loop::ClosedLoop;
use super::traffic::{Ask, H1, H2, Over, Traffic};
use crate::load::h2::Call;
use crate::message;

/// Those that come with the harness, in the order of the report.
const BUILT_IN: &[(&str, &str)] = &[
    ("h1-1k-c64", include_str!("../../scenarios/h1-1k-c64.yaml")),
    ("h1-64k-c64", include_str!("../../scenarios/h1-64k-c64.yaml")),
    ("h1-post16k-c64", include_str!("../../scenarios/h1-post16k-c64.yaml")),
    ("tcp-1k-c64", include_str!("../../scenarios/tcp-1k-c64.yaml")),
    ("dubbo-1k-c64", include_str!("../../scenarios/dubbo-1k-c64.yaml")),
    ("h1-1k-c1", include_str!("../../scenarios/h1-1k-c1.yaml")),
    ("tls-h1-1k-c64", include_str!("../../scenarios/tls-h1-1k-c64.yaml")),
    ("tls-handshake", include_str!("../../scenarios/tls-handshake.yaml")),
    ("h2-tls-to-h1", include_str!("../../scenarios/h2-tls-to-h1.yaml")),
    ("h2c-to-h2c", include_str!("../../scenarios/h2c-to-h2c.yaml")),
    ("grpc-unary", include_str!("../../scenarios/grpc-unary.yaml")),
];

/// Such a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    /// That of the file, if it says none.
    name: Option<String>,
    about: String,
    connections: usize,
    traffic: Kind,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Http1(Content),
    Http1Tls(Content),
    /// A connection of its own for every request.
    Http1TlsHandshake(Content),
    /// Without TLS on both sides.
    Http2(Content),
    /// TLS to the proxy, HTTP/1.1 from there.
    Http2Tls(Content),
    Grpc,
    Tcp,
    Dubbo,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    /// A path that the upstream serves.
    Get(String),
    /// So many bytes up, a small reply.
    PostBytes(usize),
}

const MAX_CONNECTIONS: usize = 10_000;
const MAX_POST: usize = 64 << 20;

/// Those that come with the harness.
pub(crate) fn built_in() -> Result<Vec<ClosedLoop>> {
    BUILT_IN.iter().map(|(name, text)| parse(name, text).with_context(|| format!("{name}.yaml"))).collect()
}

/// One in a file.
pub(crate) fn read(file: &Path) -> Result<ClosedLoop> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    parse(&name, &text).with_context(|| file.display().to_string())
}

fn parse(name: &str, text: &str) -> Result<ClosedLoop> {
    let Described { name: own, about, connections, traffic } = serde_saphyr::from_str(text)?;
    if !(1..=MAX_CONNECTIONS).contains(&connections) {
        bail!("`connections` must be from 1 to {MAX_CONNECTIONS}");
    }
    let h1 = |content: Content, over| Ok::<_, anyhow::Error>(Traffic::H1(H1 { ask: ask(content)?, over }));
    let traffic = match traffic {
        Kind::Http1(content) => h1(content, Over::Plain)?,
        Kind::Http1Tls(content) => h1(content, Over::Tls)?,
        Kind::Http1TlsHandshake(content) => h1(content, Over::FreshTls)?,
        Kind::Http2(content) => Traffic::H2(H2 { call: call(content)?, tls: false }),
        Kind::Http2Tls(content) => Traffic::H2(H2 { call: call(content)?, tls: true }),
        Kind::Grpc => Traffic::H2(H2 { call: Call::Unary, tls: false }),
        Kind::Tcp => Traffic::H1(H1 { ask: Ask::Tcp, over: Over::Plain }),
        Kind::Dubbo => Traffic::H1(H1 { ask: Ask::Dubbo, over: Over::Plain }),
    };
    // Scenarios are there until the program ends.
    let kept = |text: String| &*Box::leak(text.into_boxed_str());
    let name = kept(own.unwrap_or_else(|| name.to_owned()));
    Ok(ClosedLoop { name, about: kept(about), traffic, connections })
}

fn ask(content: Content) -> Result<Ask> {
    match content {
        Content::Get(path) => known(&path).map(|(path, size)| Ask::Get(path, size)),
        Content::PostBytes(bytes) if bytes <= MAX_POST => Ok(Ask::Post(bytes)),
        Content::PostBytes(_) => bail!("`post_bytes` may be up to {MAX_POST}"),
    }
}

fn call(content: Content) -> Result<Call> {
    match content {
        Content::Get(path) => known(&path).map(|(path, size)| Call::Get(path, size)),
        Content::PostBytes(_) => bail!("the HTTP/2 client sends no content"),
    }
}

fn known(path: &str) -> Result<(&'static str, u64)> {
    let found = message::BODIES.iter().find(|(known, _)| *known == path);
    let all = || message::BODIES.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(", ");
    found.map(|(path, size)| (*path, *size as u64)).with_context(|| format!("{path} is not served: {}", all()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_ones_and_the_example_are_read() {
        assert_eq!(built_in().unwrap().len(), BUILT_IN.len());
        let example = parse("x", include_str!("../../examples/scenario.yaml")).unwrap();
        assert_eq!((example.name, example.connections), ("many-clients", 512));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("about: x\nconnections: 0\ntraffic: tcp", "connections"),
            ("about: x\nconnections: 1\ntraffic: { http1: { get: /2k } }", "/64k"),
            ("about: x\nconnections: 1\ntraffic: udp", "udp"),
            ("about: x\nconnections: 1\ntraffic: { http2: { post_bytes: 1 } }", "HTTP/2"),
            ("about: x\nconnections: 1\ntraffic: tcp\nspeed: 1", "speed"),
        ] {
            let error = format!("{:#}", parse("x", text).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
