//! The plan that a command line asks for.

use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use ringway_io::tls::{ClientParams, ClientTls, Crls, Pem, Roots, ServerNames, ServerTrust};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::{Load, rate};
use crate::codec::{Call, Protocol};
use crate::replay::{self, Recording, Replay};
use crate::request::{Request, Target};
use crate::schedule::Shape;
use crate::worker::Plan;

const MAX_CONNECTIONS: usize = 1 << 20;
const MAX_MESSAGES: u32 = 1_000_000;
const MAX_THREADS: usize = 1024;
const USUAL: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Reads the files it names and resolves its host.
pub(super) fn plan(load: &Load) -> Result<Plan> {
    let target = Target::parse(&load.url, load.unix.clone())?;
    let protocol = Protocol::of(&target.scheme, load.http2);
    if !(1..=MAX_CONNECTIONS).contains(&load.connections) {
        bail!("--connections must be from 1 to {MAX_CONNECTIONS}");
    }
    if !(1..=MAX_THREADS).contains(&load.threads) {
        bail!("--threads must be from 1 to {MAX_THREADS}");
    }
    if load.duration.is_some_and(|duration| duration.is_zero()) || load.timeout.is_zero() {
        bail!("--duration and --timeout must be above 0");
    }
    if load.streams == 0 || load.requests_per_connection == Some(0) {
        bail!("--streams and --requests-per-connection must be above 0");
    }
    if load.rate.is_some() && !load.think.is_zero() {
        bail!("--think is for closed loops: with --rate, the rate says when requests start");
    }
    let call = Call { messages: load.grpc_messages, ping_pong: load.grpc_ping_pong, replies: load.grpc_replies };
    if protocol != Protocol::Grpc && call != Call::default() {
        bail!("--grpc-messages, --grpc-ping-pong and --grpc-replies are for grpc:// and grpcs://");
    }
    if !(1..=MAX_MESSAGES).contains(&call.messages) {
        bail!("--grpc-messages must be from 1 to {MAX_MESSAGES}");
    }
    let (requests, shape, duration) = match &load.replay {
        Some(path) => {
            let recording = recording(load, path, &target).with_context(|| path.display().to_string())?;
            let last = Duration::from_nanos(recording.times.last().copied().unwrap_or_default());
            let shape = Shape::Recorded(recording.times);
            // What is meant to start at the end would not.
            (recording.requests, shape, load.duration.unwrap_or(last + Duration::from_millis(1)))
        }
        None => {
            let duration = load.duration.unwrap_or(USUAL);
            let whole = load.warmup + duration;
            let shape = load.rate.as_deref().map(|text| rate::parse(text, whole)).transpose().context("--rate")?;
            (requests(load, &target)?, shape.unwrap_or(Shape::Closed), duration)
        }
    };
    if duration > LONGEST {
        bail!("the recording is longer than a week");
    }
    let replaying = load.replay.is_some();
    Ok(Plan {
        protocol,
        tls: if target.secure() { Some(tls(load, &target, protocol)?) } else { None },
        place: target.place,
        requests,
        shape,
        connections: load.connections,
        threads: load.threads.min(load.connections),
        streams: load.streams,
        call,
        literal: replaying,
        duration,
        // A recording is measured from its first request on.
        warmup: if replaying { Duration::ZERO } else { load.warmup },
        timeout: load.timeout,
        per_connection: load.requests_per_connection.unwrap_or(u64::MAX),
        think: load.think,
        seed: load.seed,
        most: u64::MAX,
    })
}

fn recording(load: &Load, path: &Path, target: &Target) -> Result<Recording> {
    let headers = headers(load)?;
    let how = Replay { speed: load.speed, authority: &target.authority, headers: &headers, seed: load.seed };
    let recording = replay::read(BufReader::new(fs::File::open(path)?), how)?;
    recording.notes.iter().for_each(|note| eprintln!("ringway-bench: {}: {note}", path.display()));
    Ok(recording)
}

fn headers(load: &Load) -> Result<Vec<(String, String)>> {
    let header = |text: &String| -> Result<(String, String)> {
        let (name, value) =
            text.split_once(':').with_context(|| format!("`{text}` is no header; try 'Name: value'"))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    load.headers.iter().map(header).collect()
}

fn requests(load: &Load, target: &Target) -> Result<Arc<[Request]>> {
    let body = match (&load.body, &load.body_file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(path)) => fs::read(path).with_context(|| path.display().to_string())?,
        (None, None) => Vec::new(),
    };
    let mut headers = headers(load)?;
    let host = headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("host"));
    let authority = host.map_or_else(|| target.authority.clone(), |at| headers.remove(at).1);
    let method = load.method.clone().unwrap_or_else(|| if body.is_empty() { "GET" } else { "POST" }.into());
    let paths = match &load.paths {
        None => vec![target.path.clone()],
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
        }
    };
    if paths.is_empty() {
        bail!("--paths names a file without a path");
    }
    let request = Request { method, path: String::new(), authority, headers, body };
    let all: Vec<_> = paths.into_iter().map(|path| Request { path, ..request.clone() }).collect();
    all.iter().try_for_each(Request::check)?;
    Ok(all.into())
}

type Secure = (Arc<ClientConfig>, ServerName<'static>);

fn tls(load: &Load, target: &Target, protocol: Protocol) -> Result<Secure> {
    let trust = if load.insecure {
        ServerTrust::InsecureSkipVerify
    } else {
        let roots = match &load.ca {
            None => Roots::system(),
            Some(path) => {
                let bytes = fs::read(path).with_context(|| path.display().to_string())?;
                Roots::from_pem(&[Pem { bytes: &bytes, origin: &path.display().to_string() }])
            }
        };
        ServerTrust::Verify { roots: roots?, crls: Crls::default(), names: ServerNames::Host }
    };
    let mut params = ClientParams::new(trust);
    params.sni.clone_from(&load.sni);
    params.tls.alpn = protocol.alpn().iter().map(|name| (*name).to_owned()).collect();
    let context = ClientTls::new(params)?;
    Ok((context.config(), context.server_name(&target.host)?))
}

/// A time such as `500ms`, `10s`, `5m` or `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let found = units.iter().find_map(|(unit, factor)| {
        let seconds: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Duration::try_from_secs_f64(seconds * factor).ok()
    });
    let found = found.ok_or_else(|| anyhow!("`{text}` is no time; try 10s, 500ms or 5m").to_string())?;
    if found > LONGEST { Err(format!("`{text}` is longer than a week")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "10", "s", "-1s", "1e30s", "8000h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
