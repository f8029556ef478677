//! Recorded traffic: a JSON object per line, at its own times.

use std::io::BufRead;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::request::Request;

/// The most requests of a recording that are kept in memory.
const MAX_REQUESTS: usize = 4 << 20;

/// A tap writes more, such as the response: whatever a request does not need is passed over.
#[derive(Deserialize)]
struct Line {
    at_us: u64,
    method: String,
    path: String,
    #[serde(default)]
    authority: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
}

/// What was recorded.
#[derive(Clone, Debug)]
pub struct Recording {
    /// In the order of their times.
    pub requests: Arc<[Request]>,
    /// Nanoseconds from the first.
    pub times: Arc<[u64]>,
}

/// Reads a recording; `speed` 2 makes it last half as long. Requests without an authority get `authority`.
///
/// # Errors
/// The number of the first line that cannot be read and why; nothing in it; more than four million requests.
pub fn read(input: impl BufRead, speed: f64, authority: &str) -> Result<Recording> {
    if !(speed.is_finite() && speed > 0.0) {
        bail!("the speed of a replay must be above 0");
    }
    let mut all = Vec::new();
    for (at, text) in input.lines().enumerate() {
        let text = text.with_context(|| format!("line {}", at + 1))?;
        if text.trim().is_empty() {
            continue;
        }
        if all.len() == MAX_REQUESTS {
            bail!("more than {MAX_REQUESTS} requests");
        }
        all.push(parse(&text, authority).with_context(|| format!("line {}", at + 1))?);
    }
    all.sort_by_key(|(at_us, _)| *at_us);
    let first = all.first().context("the recording is empty")?.0;
    let times = all.iter().map(|(at_us, _)| ((at_us - first) as f64 * 1e3 / speed) as u64).collect();
    Ok(Recording { requests: all.into_iter().map(|(_, request)| request).collect(), times })
}

fn parse(text: &str, authority: &str) -> Result<(u64, Request)> {
    let line: Line = serde_json::from_str(text)?;
    let body = line.body.map(|body| STANDARD.decode(body)).transpose().context("body")?.unwrap_or_default();
    let authority = line.authority.filter(|own| !own.is_empty()).unwrap_or_else(|| authority.to_owned());
    // What belongs to the recorded connection, or is written from the body.
    let own = ["connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade"];
    let kept = |name: &str| !name.starts_with(':') && !own.iter().any(|own| name.eq_ignore_ascii_case(own));
    let headers: Vec<_> = line.headers.into_iter().filter(|(name, _)| kept(name)).collect();
    let request = Request { method: line.method, path: line.path, authority, headers, body };
    request.check()?;
    Ok((line.at_us, request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_mistakes() {
        let text = "{\"at_us\":3000,\"method\":\"POST\",\"path\":\"/b\",\"authority\":null,\"dropped\":2,\"headers\":[[\"x\",\"1\"],[\"Content-Length\",\
                    \"9\"]],\"body\":\"aGk=\"}\n\n{\"at_us\":1000,\"method\":\"GET\",\"path\":\"/a\",\"authority\":\
                    \"b.test\"}\n";
        let recording = read(text.as_bytes(), 2.0, "a.test").unwrap();
        assert_eq!(*recording.times, [0, 1_000_000]);
        assert_eq!(&*recording.requests[0].authority, "b.test");
        let second = &recording.requests[1];
        assert_eq!((&*second.authority, &*second.body, second.headers.len()), ("a.test", &b"hi"[..], 1));
        for (text, word) in [
            ("", "empty"),
            ("{}", "line 1"),
            ("\n{\"at_us\":1,\"method\":\"GET\",\"path\":\"/a b\"}", "line 2"),
            ("{\"at_us\":1,\"method\":\"GET\",\"path\":\"/\",\"body\":\"?\"}", "body"),
        ] {
            let error = format!("{:#}", read(text.as_bytes(), 1.0, "a").unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
