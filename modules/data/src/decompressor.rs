//! Decompression of requests and responses, as Envoy's `decompressor`.

mod body;
mod decoder;
mod gzip;

use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use ringway_api::{
    Action, Blame, Body, ByteSize, FilterCx, FilterStats, Headers, Known, LocalReply, Request, Response, Stat,
    StreamCx, StreamFilter,
};
use schemars::JsonSchema;
use serde::Deserialize;

use self::body::{Decompressed, Limits};
use self::decoder::Decoder;
use crate::active::ActiveStreams;
use crate::content_coding::Coding;
use crate::field_list;

/// Takes the outermost content coding off requests, or responses, for those who do not understand it.
///
/// Content is decoded as it comes, at most 16 KiB at a time. What grows beyond the limits ends: it is a bomb.
pub struct Decompressor {
    rules: Arc<DecompressorRules>,
    /// Shared with bodies.
    stats: Rc<FilterStats>,
    active: ActiveStreams,
}

/// What users write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecompressorConfig {
    /// The codings that are taken off.
    #[serde(default = "all_codings")]
    codings: Vec<Coding>,
    /// Take them off requests.
    #[serde(default = "yes")]
    request: bool,
    /// Take them off responses.
    #[serde(default)]
    response: bool,
    /// Tell hosts that the codings are accepted, whatever the client says.
    #[serde(default)]
    advertise_accept_encoding: bool,
    /// The most that content may grow to, as a multiple of what came; the first 64 KiB are not measured.
    #[serde(default = "max_ratio")]
    max_ratio: u32,
    /// The most that content may grow to.
    #[serde(default = "max_bytes")]
    max_bytes: ByteSize,
    /// Count what grows beyond the limits, and let it: to find limits that fit, where the clients are known.
    #[serde(default)]
    shadow: bool,
    /// The most messages of a worker that are decoded at once. A further request is answered with 503; a further
    /// response goes by as it is.
    #[serde(default = "max_active")]
    max_active: usize,
}

/// [`DecompressorConfig`], checked.
#[derive(Debug)]
pub struct DecompressorRules {
    codings: Box<[Coding]>,
    request: bool,
    response: bool,
    advertised: Option<String>,
    limits: Limits,
    max_active: usize,
}

const DECOMPRESSED: usize = 0;
const NOT_DECOMPRESSED: usize = 1;
const OVERFLOW: usize = 2;
const TOO_LARGE: usize = 3;
const MALFORMED: usize = 4;
const TOTAL_COMPRESSED_BYTES: usize = 5;
const TOTAL_UNCOMPRESSED_BYTES: usize = 6;

const BUSY: LocalReply =
    LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "too many compressed requests at once", "decompressor_overflow");

impl StreamFilter for Decompressor {
    const NAME: &'static str = "decompressor";
    const STATS: &'static [Stat] = &[
        Stat::counter("decompressed", "Messages that were decoded."),
        Stat::counter("not_decompressed", "Messages that were left as they are."),
        Stat::counter("overflow", "Messages not decoded because too many were at once."),
        Stat::counter("too_large", "Messages that grew beyond the limits."),
        Stat::counter("malformed", "Messages that are not what Content-Encoding says, and ended there."),
        Stat::counter("total_compressed_bytes", "Content before it was decoded, in bytes."),
        Stat::counter("total_uncompressed_bytes", "Content after it was decoded, in bytes."),
    ];
    type Config = DecompressorConfig;
    type Compiled = DecompressorRules;
    /// The response may be decoded.
    type State = bool;

    fn compile(config: DecompressorConfig) -> Result<DecompressorRules, String> {
        Coding::check(&config.codings)?;
        if !config.request && !config.response {
            return Err("one of `request` and `response` must be true".to_owned());
        }
        if config.advertise_accept_encoding && !config.response {
            return Err("advertise_accept_encoding: needs `response: true`".to_owned());
        }
        if config.max_ratio == 0 || config.max_bytes.0 == 0 || config.max_active == 0 {
            return Err("max_ratio, max_bytes, max_active: at least 1".to_owned());
        }
        let names: Vec<&str> = config.codings.iter().map(|coding| coding.as_str()).collect();
        Ok(DecompressorRules {
            advertised: config.advertise_accept_encoding.then(|| names.join(", ")),
            codings: config.codings.into(),
            request: config.request,
            response: config.response,
            limits: Limits { ratio: config.max_ratio.into(), bytes: config.max_bytes.0, shadow: config.shadow },
            max_active: config.max_active,
        })
    }

    fn build(rules: Arc<DecompressorRules>, old: Option<&Self>, cx: FilterCx) -> Self {
        let active = old.map(|old| old.active.clone()).unwrap_or_default();
        Self { rules, stats: Rc::new(cx.stats), active }
    }

    fn on_request(&self, decode: &mut bool, request: &mut Request, _: &StreamCx) -> Action {
        let head = &mut request.head;
        if head.tunnel.is_some() || !head.version.is_http() {
            return Action::Continue;
        }
        *decode = self.rules.response;
        if let Some(codings) = &self.rules.advertised {
            let set = head.headers.set("accept-encoding", codings.as_bytes());
            debug_assert!(set.is_ok());
        }
        if !self.rules.request || request.body.is_empty() {
            return Action::Continue;
        }
        match self.decode(&mut head.headers, &mut request.body, Blame::Downstream) {
            Err(Overflow) => Action::Reply(Box::new(BUSY)),
            Ok(()) => Action::Continue,
        }
    }

    fn on_response(&self, decode: &mut bool, response: &mut Response, _: &StreamCx) {
        let decode = std::mem::take(decode);
        // What has no content of its own, or a part of it.
        let partial = matches!(
            response.head.status,
            StatusCode::NO_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
                | StatusCode::SWITCHING_PROTOCOLS
        );
        if !decode || partial || response.body.is_empty() {
            return;
        }
        // One too many goes by as it is: its client may understand it.
        if self.decode(&mut response.head.headers, &mut response.body, Blame::Upstream).is_ok() {
            return;
        }
        self.stats.inc(NOT_DECOMPRESSED);
    }
}

/// Too many are being decoded.
#[derive(Debug)]
struct Overflow;

impl Decompressor {
    /// Takes the outermost coding off a message, if it is one of the options' and may be.
    fn decode(&self, headers: &mut Headers, body: &mut Body, sender: Blame) -> Result<(), Overflow> {
        const NAME: &str = "content-encoding";
        let Some(outermost) = field_list::members(headers, NAME).last() else { return Ok(()) };
        let coding = Coding::named(outermost, &self.rules.codings);
        let Some(coding) = coding.filter(|_| !field_list::contains(headers, "cache-control", "no-transform")) else {
            self.stats.inc(NOT_DECOMPRESSED);
            return Ok(());
        };
        let Some(place) = self.active.take(self.rules.max_active) else {
            self.stats.inc(OVERFLOW);
            return Err(Overflow);
        };
        let Ok(decoder) = Decoder::new(coding) else { return Err(Overflow) };
        let mut inner: Vec<&[u8]> = field_list::members(headers, NAME).collect();
        inner.pop();
        let inner = inner.join(&b", "[..]);
        headers.remove(NAME);
        if !inner.is_empty() {
            let set = headers.append(NAME, &inner);
            debug_assert!(set.is_ok());
        }
        headers.remove_known(Known::ContentLength);
        for name in ["accept-ranges", "content-md5", "digest", "content-digest", "repr-digest"] {
            headers.remove(name);
        }
        if let Some(tag) = headers.first("etag").filter(|tag| tag.starts_with(b"\"")) {
            let weak = [b"W/", tag].concat();
            let set = headers.set("etag", &weak);
            debug_assert!(set.is_ok());
        }
        self.stats.inc(DECOMPRESSED);
        let stats = Rc::clone(&self.stats);
        let told = move |event: body::Event| match event {
            body::Event::Step { read, written } => {
                stats.add(TOTAL_COMPRESSED_BYTES, read as i64);
                stats.add(TOTAL_UNCOMPRESSED_BYTES, written as i64);
            }
            body::Event::TooLarge => stats.inc(TOO_LARGE),
            body::Event::Malformed => stats.inc(MALFORMED),
        };
        let coded = std::mem::take(body);
        *body = Body::Stream(Box::new(Decompressed::new(coded, decoder, sender, self.rules.limits, place, told)));
        Ok(())
    }
}

fn all_codings() -> Vec<Coding> {
    vec![Coding::Gzip, Coding::Br, Coding::Zstd]
}

const fn yes() -> bool {
    true
}

const fn max_ratio() -> u32 {
    100
}

const fn max_bytes() -> ByteSize {
    ByteSize(64 << 20)
}

const fn max_active() -> usize {
    256
}
