//! Compression of responses, as Envoy's `compressor`.

mod accept;
mod body;
mod encoder;

use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use ringway_api::{
    Action, Body, ByteSize, FilterCx, FilterStats, Headers, Known, Request, Response, Stat, StreamCx, StreamFilter,
};
use schemars::JsonSchema;
use serde::Deserialize;

use self::accept::{Choice, choose};
use self::body::Compressed;
use self::encoder::{Encoder, Levels};
use crate::active::ActiveStreams;
use crate::content_coding::Coding;
use crate::field_list;

/// Compresses the content of responses that gain by it, in a coding that the client accepts.
///
/// Content is compressed as it comes, at most 16 KiB at a time, and nothing is held back while more is awaited.
pub struct Compressor {
    rules: Arc<Rules>,
    /// Shared with bodies.
    stats: Rc<FilterStats>,
    active: ActiveStreams,
}

/// What users write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompressorConfig {
    /// The codings, the first one preferred where the client accepts several equally.
    #[serde(default = "all_codings")]
    codings: Vec<Coding>,
    /// Content that is known to be shorter is left as it is.
    #[serde(default = "min_content_length")]
    min_content_length: ByteSize,
    /// The media types that are compressed. gRPC never is.
    #[serde(default = "content_types")]
    content_types: Vec<String>,
    /// What becomes of a response with a strong `ETag`.
    #[serde(default)]
    etag: EtagRule,
    /// Take `Accept-Encoding` out of requests, so that hosts do not compress.
    #[serde(default)]
    remove_accept_encoding: bool,
    /// gzip's level, 1 to 9.
    #[serde(default = "gzip_level")]
    gzip_level: u32,
    /// Brotli's quality, 0 to 5.
    #[serde(default = "br_level")]
    br_level: u32,
    /// Zstandard's level, 1 to 9.
    #[serde(default = "zstd_level")]
    zstd_level: i32,
    /// The most responses of a worker that are compressed at once; further ones are left as they are.
    #[serde(default = "max_active")]
    max_active: usize,
}

/// What becomes of a response with a strong `ETag`, which names content byte for byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EtagRule {
    /// It is compressed, and its tag is a weak one then.
    #[default]
    Weaken,
    /// It is left as it is.
    Skip,
}

/// [`CompressorConfig`], checked.
#[derive(Debug)]
pub struct Rules {
    codings: Box<[Coding]>,
    min_content_length: u64,
    content_types: Box<[String]>,
    etag: EtagRule,
    remove_accept_encoding: bool,
    levels: Levels,
    max_active: usize,
}

/// What of a request its response's compression depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted(Option<Choice>);

const COMPRESSED: usize = 0;
const NOT_COMPRESSED: usize = 1;
const NO_ACCEPT_HEADER: usize = 2;
const HEADER_IDENTITY: usize = 3;
const HEADER_NOT_VALID: usize = 4;
const CONTENT_LENGTH_TOO_SMALL: usize = 5;
const NOT_COMPRESSED_ETAG: usize = 6;
const OVERFLOW: usize = 7;
const TOTAL_UNCOMPRESSED_BYTES: usize = 8;
const TOTAL_COMPRESSED_BYTES: usize = 9;

impl StreamFilter for Compressor {
    const NAME: &'static str = "compressor";
    const STATS: &'static [Stat] = &[
        Stat::counter("compressed", "Responses that were compressed."),
        Stat::counter("not_compressed", "Responses that were left as they are."),
        Stat::counter("no_accept_header", "Requests without Accept-Encoding."),
        Stat::counter("header_identity", "Requests that prefer content as it is."),
        Stat::counter("header_not_valid", "Requests that accept no coding of the options."),
        Stat::counter("content_length_too_small", "Responses left as they are because they are short."),
        Stat::counter("not_compressed_etag", "Responses left as they are for their strong ETag."),
        Stat::counter("overflow", "Responses left as they are because too many were being compressed."),
        Stat::counter("total_uncompressed_bytes", "Content before compression, in bytes."),
        Stat::counter("total_compressed_bytes", "Content after compression, in bytes."),
    ];
    type Config = CompressorConfig;
    type Compiled = Rules;
    type State = Wanted;

    fn compile(config: CompressorConfig) -> Result<Rules, String> {
        Coding::check(&config.codings)?;
        let within = |option: &str, level: i64, most: i64, least: i64| {
            if (least..=most).contains(&level) { Ok(()) } else { Err(format!("{option}: {least} to {most}")) }
        };
        // A worker does nothing else in the meantime: beyond these a piece takes tens to hundreds of milliseconds.
        within("gzip_level", config.gzip_level.into(), 9, 1)?;
        within("br_level", config.br_level.into(), 5, 0)?;
        within("zstd_level", config.zstd_level.into(), 9, 1)?;
        if config.max_active == 0 {
            return Err("max_active: at least 1".to_owned());
        }
        let bad = |kind: &&String| !kind.contains('/') || kind.contains(|c: char| c == ';' || c.is_whitespace());
        if let Some(kind) = config.content_types.iter().find(bad) {
            return Err(format!("content_types: {kind:?} is no media type such as text/html"));
        }
        Ok(Rules {
            codings: config.codings.into(),
            min_content_length: config.min_content_length.0,
            content_types: config.content_types.into(),
            etag: config.etag,
            remove_accept_encoding: config.remove_accept_encoding,
            levels: Levels { gzip: config.gzip_level, br: config.br_level, zstd: config.zstd_level },
            max_active: config.max_active,
        })
    }

    fn build(rules: Arc<Rules>, old: Option<&Self>, cx: FilterCx) -> Self {
        let active = old.map(|old| old.active.clone()).unwrap_or_default();
        Self { rules, stats: Rc::new(cx.stats), active }
    }

    fn on_request(&self, wanted: &mut Wanted, request: &mut Request, _: &StreamCx) -> Action {
        let head = &mut request.head;
        // A tunnel's bytes are nobody's content, and calls have codings of their own.
        if head.tunnel.is_some() || !head.version.is_http() {
            return Action::Continue;
        }
        wanted.0 = Some(choose(&head.headers, &self.rules.codings));
        if self.rules.remove_accept_encoding {
            head.headers.remove("accept-encoding");
        }
        Action::Continue
    }

    fn on_response(&self, wanted: &mut Wanted, response: &mut Response, _: &StreamCx) {
        let Some(choice) = wanted.0.take() else { return };
        let compressed = self.compressible(response) && {
            let vary = field_list::add_vary(&mut response.head.headers, "Accept-Encoding");
            debug_assert!(vary.is_ok());
            self.compress(choice, response)
        };
        self.stats.inc(if compressed { COMPRESSED } else { NOT_COMPRESSED });
    }
}

impl Compressor {
    /// Whether a response gains by compression and may be changed, whatever the client accepts.
    fn compressible(&self, response: &Response) -> bool {
        let head = &response.head;
        let headers = &head.headers;
        if response.body.is_empty()
            || matches!(
                head.status,
                StatusCode::NO_CONTENT
                    | StatusCode::RESET_CONTENT
                    | StatusCode::PARTIAL_CONTENT
                    | StatusCode::NOT_MODIFIED
                    | StatusCode::SWITCHING_PROTOCOLS
            )
            || headers.first("content-encoding").is_some()
            || headers.first("content-range").is_some()
            || field_list::contains(headers, "cache-control", "no-transform")
            || !self.rules.takes(headers.known(Known::ContentType))
        {
            return false;
        }
        if response.body.remaining().is_some_and(|length| length < self.rules.min_content_length) {
            self.stats.inc(CONTENT_LENGTH_TOO_SMALL);
            return false;
        }
        if self.rules.etag == EtagRule::Skip && strong_etag(headers).is_some() {
            self.stats.inc(NOT_COMPRESSED_ETAG);
            return false;
        }
        true
    }

    /// Compresses a response if the client accepts it.
    fn compress(&self, choice: Choice, response: &mut Response) -> bool {
        let coding = match choice {
            Choice::Coding(coding) => coding,
            Choice::NoField => {
                self.stats.inc(NO_ACCEPT_HEADER);
                return false;
            }
            Choice::Identity => {
                self.stats.inc(HEADER_IDENTITY);
                return false;
            }
            Choice::None => {
                self.stats.inc(HEADER_NOT_VALID);
                return false;
            }
        };
        let Some(place) = self.active.take(self.rules.max_active) else {
            self.stats.inc(OVERFLOW);
            return false;
        };
        let Ok(encoder) = Encoder::new(coding, self.rules.levels) else { return false };
        let headers = &mut response.head.headers;
        if let Some(weak) = strong_etag(headers).map(|tag| [b"W/", tag].concat()) {
            let set = headers.set("etag", &weak);
            debug_assert!(set.is_ok());
        }
        headers.remove_known(Known::ContentLength);
        // What says something of the bytes as they were.
        for name in ["accept-ranges", "content-md5", "digest", "content-digest", "repr-digest"] {
            headers.remove(name);
        }
        let set = headers.set("content-encoding", coding.as_str().as_bytes());
        debug_assert!(set.is_ok());
        let body = std::mem::take(&mut response.body);
        let counted = Rc::clone(&self.stats);
        response.body = Body::Stream(Box::new(Compressed::new(body, encoder, place, move |read, written| {
            counted.add(TOTAL_UNCOMPRESSED_BYTES, read as i64);
            counted.add(TOTAL_COMPRESSED_BYTES, written as i64);
        })));
        true
    }
}

impl Rules {
    /// Whether content of this type is compressed. What does not say its type is, as in Envoy.
    fn takes(&self, kind: Option<&[u8]>) -> bool {
        let Some(kind) = kind else { return true };
        let essence = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let grpc = essence.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"));
        !grpc && self.content_types.iter().any(|wanted| essence.eq_ignore_ascii_case(wanted.as_bytes()))
    }
}

fn strong_etag(headers: &Headers) -> Option<&[u8]> {
    headers.first("etag").filter(|tag| tag.starts_with(b"\""))
}

fn all_codings() -> Vec<Coding> {
    vec![Coding::Zstd, Coding::Br, Coding::Gzip]
}

const fn min_content_length() -> ByteSize {
    ByteSize(30)
}

fn content_types() -> Vec<String> {
    let types = [
        "application/javascript",
        "application/json",
        "application/xhtml+xml",
        "image/svg+xml",
        "text/css",
        "text/html",
        "text/plain",
        "text/xml",
    ];
    types.map(str::to_owned).into()
}

const fn gzip_level() -> u32 {
    4
}

const fn br_level() -> u32 {
    3
}

const fn zstd_level() -> i32 {
    3
}

const fn max_active() -> usize {
    256
}
