//! What is asked, of whom: targets, requests, and their placeholders.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::clock::Random;

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An IP address and port.
    Ip(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// A URL, resolved: `http`, `https`, `h2c`, `h2`, `grpc`, `grpcs`, `dubbo`, `bolt` or `tcp`.
#[derive(Clone, Debug)]
pub struct Target {
    /// The scheme in lower case.
    pub scheme: String,
    /// Host and port as written, for `Host` and `:authority`.
    pub authority: String,
    /// The name without the port, for TLS.
    pub host: String,
    /// The path with its query.
    pub path: String,
    /// Where to connect.
    pub place: Place,
}

/// One request, before a protocol has made bytes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// GET, POST, ...
    pub method: String,
    /// The path with its query; `service/method` of RPC protocols.
    pub path: String,
    /// `Host`, `:authority`.
    pub authority: String,
    /// In order, as given.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
}

const PLACEHOLDERS: [&str; 4] = ["{{seq}}", "{{random}}", "{{uuid}}", "{{bytes:"];
/// The most that `{{bytes:N}}` makes.
const MAX_RANDOM: usize = 16 << 20;

// === impl Target ===

impl Target {
    /// Reads a URL and resolves its host; `unix` is the path of a socket to connect to instead.
    ///
    /// # Errors
    /// An unknown scheme, no host, a port that is none, a host that has no address.
    pub fn parse(url: &str, unix: Option<PathBuf>) -> Result<Self> {
        let (scheme, rest) =
            url.split_once("://").with_context(|| format!("`{url}` has no scheme; try http://{url}"))?;
        let scheme = scheme.to_ascii_lowercase();
        let port = match scheme.as_str() {
            "http" | "h2c" | "grpc" => Some(80),
            "https" | "h2" | "grpcs" => Some(443),
            "dubbo" | "bolt" | "tcp" => None,
            _ => bail!("unknown scheme `{scheme}`; known are http, https, h2c, h2, grpc, grpcs, dubbo, bolt, tcp"),
        };
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        if authority.is_empty() || authority.contains(['@', ' ', '\r', '\n']) {
            bail!("`{url}` has no host that can be used");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if path.contains([' ', '\r', '\n']) {
            bail!("the path of `{url}` has white space in it");
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let host = if has_port { authority.rsplit_once(':').map_or(authority, |(host, _)| host) } else { authority };
        let place = match unix {
            Some(path) => Place::Unix(path),
            None => {
                let full = match port {
                    Some(port) if !has_port => format!("{authority}:{port}"),
                    _ => authority.to_owned(),
                };
                resolve(&full)?
            }
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { scheme, authority: authority.to_owned(), host, path, place })
    }

    /// Whether the scheme asks for TLS.
    pub fn secure(&self) -> bool {
        matches!(self.scheme.as_str(), "https" | "h2" | "grpcs")
    }
}

#[allow(clippy::disallowed_methods, reason = "before the first worker starts, on the main thread")]
fn resolve(full: &str) -> Result<Place> {
    let mut found = full.to_socket_addrs().with_context(|| format!("cannot resolve {full}"))?;
    Ok(Place::Ip(found.next().with_context(|| format!("{full} has no address"))?))
}

// === impl Request ===

impl Request {
    /// That it can be sent.
    ///
    /// # Errors
    /// A method, path or header with a character that would end it early.
    pub fn check(&self) -> Result<()> {
        let token = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if !token(&self.method) {
            bail!("`{}` is no method", self.method);
        }
        if self.path.is_empty() || self.path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            bail!("`{}` is no path", self.path);
        }
        for (name, value) in &self.headers {
            if !token(name) || value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                bail!("header `{name}` cannot be sent");
            }
        }
        Ok(())
    }

    /// Whether it is different each time.
    pub fn is_template(&self) -> bool {
        let has = |text: &str| PLACEHOLDERS.iter().any(|mark| text.contains(mark));
        has(&self.path)
            || self.headers.iter().any(|(_, value)| has(value))
            || std::str::from_utf8(&self.body).is_ok_and(has)
    }

    /// The request with its placeholders filled in: `{{seq}}`, the request's number; `{{random}}`, a number;
    /// `{{uuid}}`, a random UUID; `{{bytes:N}}`, N random letters, 16 MiB at most.
    pub fn render(&self, number: u64, random: &mut Random) -> Self {
        let mut made = self.clone();
        made.path = fill(&self.path, number, random);
        for (_, value) in &mut made.headers {
            *value = fill(value, number, random);
        }
        if let Ok(text) = std::str::from_utf8(&self.body) {
            made.body = fill(text, number, random).into_bytes();
        }
        made
    }
}

fn fill(text: &str, number: u64, random: &mut Random) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len() + 16), text);
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, tail)) = after.split_once("}}") else {
            out.push_str("{{");
            rest = after;
            continue;
        };
        match (name, name.strip_prefix("bytes:").and_then(|count| count.parse::<usize>().ok())) {
            ("seq", _) => out.push_str(&number.to_string()),
            ("random", _) => out.push_str(&random.next().to_string()),
            ("uuid", _) => out.push_str(&uuid(random)),
            (_, Some(count)) => out.extend((0..count.min(MAX_RANDOM)).map(|_| letter(random))),
            _ => {
                out.push_str("{{");
                out.push_str(name);
                out.push_str("}}");
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn letter(random: &mut Random) -> char {
    char::from(b'a' + (random.next() % 26) as u8)
}

/// RFC 9562, version 4.
fn uuid(random: &mut Random) -> String {
    let (high, low) = (random.next(), random.next());
    let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xfff);
    let (d, e) = ((low >> 48) & 0x3fff | 0x8000, low & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_mistakes() {
        let target = Target::parse("http://127.0.0.1:81?a=b", None).unwrap();
        assert_eq!((&*target.path, &*target.authority), ("/?a=b", "127.0.0.1:81"));
        let target = Target::parse("https://[::1]/x", None).unwrap();
        assert_eq!((target.place, &*target.host), (Place::Ip("[::1]:443".parse().unwrap()), "::1"));
        for (url, word) in
            [("127.0.0.1", "scheme"), ("ftp://x", "ftp"), ("http:///x", "host"), ("tcp://1.1.1.1", "resolve")]
        {
            let error = format!("{:#}", Target::parse(url, None).unwrap_err());
            assert!(error.contains(word), "{url}: {error}");
        }
    }

    #[test]
    fn placeholders() {
        let request = Request {
            path: "/{{seq}}/{{what}}/{{".into(),
            body: b"{{bytes:5}} {{uuid}}".to_vec(),
            ..Request::default()
        };
        assert!(request.is_template());
        let made = request.render(7, &mut Random::new(1));
        assert_eq!(made.path, "/7/{{what}}/{{");
        assert_eq!(made.body.len(), 5 + 1 + 36);
        assert_eq!(made, request.render(7, &mut Random::new(1)), "the same seed makes the same request");
    }
}
