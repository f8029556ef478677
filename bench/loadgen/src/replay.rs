//! Recorded traffic: a JSON object per line, at its own times.

use std::io::BufRead;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::clock::Random;
use crate::request::Request;

/// The most requests of a recording that are kept in memory.
const MAX_REQUESTS: usize = 4 << 20;
/// The most content that is made up for one request, and for all of them.
const MAX_CONTENT: u64 = 64 << 20;
const MAX_CONTENTS: u64 = 1 << 30;
/// Fields that belong to the recorded connection, or are written from the content. Who sends content at once expects
/// no 100.
const CONNECTION_FIELDS: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "content-length",
    "host",
    "upgrade",
    "http2-settings",
    "expect",
];

/// A tap writes more, such as the response: whatever a request does not need is passed over.
#[derive(Deserialize)]
struct Line {
    at_us: u64,
    /// Without one, it was a connection of something else than requests.
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    authority: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// In base64; taps do not record content.
    #[serde(default)]
    body: Option<String>,
    /// The size of the content, which a tap tells besides.
    #[serde(default)]
    bytes_received: Option<u64>,
}

/// How recordings are read.
#[derive(Clone, Copy, Debug)]
pub struct Replay<'a> {
    /// 2 makes it last half as long.
    pub speed: f64,
    /// Of requests that were recorded without one.
    pub authority: &'a str,
    /// Sent instead of what was recorded by these names, such as secrets that a recording does not have.
    pub headers: &'a [(String, String)],
    /// Of the content that is made up.
    pub seed: u64,
}

/// What was recorded.
#[derive(Clone, Debug)]
pub struct Recording {
    /// In the order of their times.
    pub requests: Arc<[Request]>,
    /// Nanoseconds from the first.
    pub times: Arc<[u64]>,
    /// What of it is not replayed as it was, in words.
    pub notes: Vec<String>,
}

/// What a recording lacks.
#[derive(Default)]
struct Lacks {
    requests: u64,
    sizes: u64,
    secrets: u64,
    made_up: u64,
}

/// Reads a recording. Content that was not recorded is made up of random letters, so that sizes are kept.
///
/// # Errors
/// The number of the first line that cannot be read and why; nothing in it; more than four million requests; more than
/// 64 MiB of content that would have to be made up for a request, or 1 GiB for all.
pub fn read(input: impl BufRead, how: Replay<'_>) -> Result<Recording> {
    if !(how.speed.is_finite() && how.speed > 0.0) {
        bail!("the speed of a replay must be above 0");
    }
    let (mut all, mut lacks, mut random) = (Vec::new(), Lacks::default(), Random::new(how.seed));
    for (at, text) in input.lines().enumerate() {
        let text = text.with_context(|| format!("line {}", at + 1))?;
        if text.trim().is_empty() {
            continue;
        }
        if all.len() == MAX_REQUESTS {
            bail!("more than {MAX_REQUESTS} requests");
        }
        all.extend(parse(&text, how, &mut lacks, &mut random).with_context(|| format!("line {}", at + 1))?);
    }
    all.sort_by_key(|(at_us, _)| *at_us);
    let first = all.first().context("the recording has no request")?.0;
    let times = all.iter().map(|(at_us, _)| ((at_us - first) as f64 * 1e3 / how.speed) as u64).collect();
    Ok(Recording { requests: all.into_iter().map(|(_, request)| request).collect(), times, notes: lacks.notes() })
}

fn parse(text: &str, how: Replay<'_>, lacks: &mut Lacks, random: &mut Random) -> Result<Option<(u64, Request)>> {
    let line: Line = serde_json::from_str(text)?;
    let (Some(method), Some(path)) = (line.method, line.path) else {
        lacks.requests += 1;
        return Ok(None);
    };
    let field = |wanted: &str| line.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let length = field("content-length").and_then(|(_, value)| value.trim().parse::<u64>().ok());
    let body = match line.body {
        Some(body) => STANDARD.decode(body).context("body")?,
        None => match length.or(line.bytes_received) {
            Some(length) => make_up(length, lacks, random)?,
            None => {
                lacks.sizes += u64::from(field("transfer-encoding").is_some());
                Vec::new()
            }
        },
    };
    let authority = line.authority.filter(|own| !own.is_empty()).unwrap_or_else(|| how.authority.to_owned());
    let kept = |name: &str| {
        let given = how.headers.iter().any(|(given, _)| name.eq_ignore_ascii_case(given));
        !given && !name.starts_with(':') && !CONNECTION_FIELDS.iter().any(|own| name.eq_ignore_ascii_case(own))
    };
    let mut headers: Vec<_> = line.headers.into_iter().filter(|(name, _)| kept(name)).collect();
    lacks.secrets += u64::from(headers.iter().any(|(_, value)| value == "[redacted]"));
    headers.extend_from_slice(how.headers);
    let request = Request { method, path, authority, headers, body };
    request.check()?;
    Ok(Some((line.at_us, request)))
}

fn make_up(length: u64, lacks: &mut Lacks, random: &mut Random) -> Result<Vec<u8>> {
    if length > MAX_CONTENT {
        bail!("content of {length} bytes, more than {MAX_CONTENT}, was not recorded");
    }
    lacks.made_up += length;
    if lacks.made_up > MAX_CONTENTS {
        bail!("more than {MAX_CONTENTS} bytes of content in all were not recorded");
    }
    Ok((0..length).map(|_| b'a' + (random.next() % 26) as u8).collect())
}

impl Lacks {
    fn notes(&self) -> Vec<String> {
        [
            (self.made_up, "bytes of content were not recorded: random letters are sent instead"),
            (self.sizes, "requests had content of a size that was not recorded: they are sent without any"),
            (self.secrets, "requests have fields that were redacted, and are sent with `[redacted]`: -H replaces them"),
            (self.requests, "lines are no requests of HTTP, and are left out"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(speed: f64) -> Replay<'static> {
        Replay { speed, authority: "a.test", headers: &[], seed: 1 }
    }

    #[test]
    fn lines_and_mistakes() {
        let text = "{\"at_us\":3000,\"method\":\"POST\",\"path\":\"/b\",\"authority\":null,\"dropped\":2,\"headers\":[[\"x\",\"1\"],[\"Content-Length\",\
                    \"9\"]],\"body\":\"aGk=\"}\n\n{\"at_us\":1000,\"method\":\"GET\",\"path\":\"/a\",\"authority\":\
                    \"b.test\"}\n";
        let recording = read(text.as_bytes(), how(2.0)).unwrap();
        assert_eq!(*recording.times, [0, 1_000_000]);
        assert_eq!(&*recording.requests[0].authority, "b.test");
        let second = &recording.requests[1];
        assert_eq!((&*second.authority, &*second.body, second.headers.len()), ("a.test", &b"hi"[..], 1));
        for (text, word) in [
            ("", "no request"),
            ("{\"at_us\":1,\"method\":null}", "no request"),
            (
                "{\"at_us\":1,\"method\":\"PUT\",\"path\":\"/\",\"headers\":[[\"content-length\",\"99999999999\"]]}",
                "not recorded",
            ),
            ("{}", "line 1"),
            ("\n{\"at_us\":1,\"method\":\"GET\",\"path\":\"/a b\"}", "line 2"),
            ("{\"at_us\":1,\"method\":\"GET\",\"path\":\"/\",\"body\":\"?\"}", "body"),
        ] {
            let error = format!("{:#}", read(text.as_bytes(), how(1.0)).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn what_was_not_recorded_is_made_up_or_told() {
        let text = r#"
            {"at_us":1,"method":"PUT","path":"/","headers":[["Content-Length","300"],["cookie","[redacted]"],["Expect","100-continue"]]}
            {"at_us":2,"method":"PUT","path":"/","headers":[["authorization","[redacted]"]],"bytes_received":7}
            {"at_us":3,"method":"PUT","path":"/","headers":[["transfer-encoding","chunked"]]}
            {"at_us":4,"method":null,"path":null,"headers":[]}
        "#;
        let given = [("Authorization".to_owned(), "mine".to_owned())];
        let recording = read(text.as_bytes(), Replay { headers: &given, ..how(1.0) }).unwrap();
        assert_eq!([0, 1, 2].map(|at: usize| recording.requests[at].body.len()), [300, 7, 0]);
        let names = |at: usize| recording.requests[at].headers.iter().map(|(_, value)| &**value).collect::<Vec<_>>();
        assert_eq!([names(0), names(1), names(2)], [vec!["[redacted]", "mine"], vec!["mine"], vec!["mine"]]);
        let starts: Vec<_> = recording.notes.iter().map(|note| note.split_once(' ').unwrap().0).collect();
        assert_eq!(starts, ["307", "1", "1", "1"], "{:?}", recording.notes);
    }
}
