//! Replies of the proxy in words of one's own, as Envoy's `local_reply_config`.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use ringway_api::{
    Action, FilterCx, FilterStats, LocalOrigin, LocalSource, Request, Response, ResponseFlag, Stat, StreamCx,
    StreamFilter,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::header_mutation::{Fields, fields};
use crate::media_type::is_call;
use crate::page::{Page, PageConfig};
use crate::template::Captured;
use crate::text_match::{TextMatch, TextMatchConfig};

/// Gives replies that the proxy makes itself another status, content or fields. What hosts answer passes, and so do the
/// replies to calls of gRPC and other protocols.
pub struct MapLocalReplies {
    mappings: Arc<[Mapping]>,
    /// One of them says something of the request.
    early: bool,
    stats: FilterStats,
}

/// What users write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalReplyConfig {
    /// Of several that fit, the first one counts.
    mappings: Vec<LocalReplyMappingConfig>,
}

/// One mapping.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalReplyMappingConfig {
    /// The replies it is for: those that fit all of this; all, if it is not set.
    #[serde(default, rename = "match")]
    condition: LocalReplyMatchConfig,
    /// Their new status.
    status: Option<u16>,
    /// Their new content.
    #[serde(default)]
    body: PageConfig,
    /// Fields that are set. Values may have operators.
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// Which replies. What is not set fits all.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalReplyMatchConfig {
    /// One of these statuses: `503`, or a range such as `500-599`.
    #[serde(default)]
    status: Vec<StatusRangeConfig>,
    /// One of these flags, `UH` say.
    #[serde(default)]
    flags: Vec<String>,
    /// The details fit one of these.
    #[serde(default)]
    details: Vec<TextMatchConfig>,
}

/// A status, or a range of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StatusRangeConfig {
    /// One.
    One(u16),
    /// `500-599`.
    Range(String),
}

/// A [`LocalReplyMappingConfig`], checked.
#[derive(Debug)]
pub struct Mapping {
    statuses: Box<[(u16, u16)]>,
    flags: Box<[ResponseFlag]>,
    details: Box<[TextMatch]>,
    status: Option<StatusCode>,
    page: Option<Page>,
    fields: Fields,
}

const MAPPED: usize = 0;

impl StreamFilter for MapLocalReplies {
    const NAME: &'static str = "local_reply";
    const STATS: &'static [Stat] = &[Stat::counter("mapped", "Replies of the proxy that were changed.")];
    type Config = LocalReplyConfig;
    type Compiled = Arc<[Mapping]>;
    /// For each mapping, what it needs of the request; `None` where nothing will be mapped.
    type State = Option<Vec<Captured>>;

    fn compile(config: LocalReplyConfig) -> Result<Self::Compiled, String> {
        if config.mappings.is_empty() {
            return Err("mappings: there is none".to_owned());
        }
        let compiled = config
            .mappings
            .into_iter()
            .enumerate()
            .map(|(at, config)| Mapping::compile(config).map_err(|error| format!("mappings[{at}].{error}")));
        compiled.collect()
    }

    fn build(mappings: Arc<Self::Compiled>, _: Option<&Self>, cx: FilterCx) -> Self {
        let early = mappings.iter().any(Mapping::is_early);
        Self { mappings: Arc::clone(&mappings), early, stats: cx.stats }
    }

    fn on_request(&self, state: &mut Self::State, request: &mut Request, cx: &StreamCx) -> Action {
        let head = &request.head;
        if is_call(head) {
            return Action::Continue;
        }
        // No memory is taken where no operator asks for anything of the request.
        let captured = self.mappings.iter().filter(|_| self.early).map(|mapping| {
            let mut captured = Captured::new();
            if let Some(page) = &mapping.page {
                page.capture(head, &cx.conn.info, &mut captured);
            }
            mapping.fields.capture(head, &cx.conn.info, &mut captured);
            captured
        });
        *state = Some(captured.collect());
        Action::Continue
    }

    fn on_response(&self, state: &mut Self::State, response: &mut Response, _: &StreamCx) {
        let (Some(captured), Some(origin)) = (state.take(), response.head.local.as_deref().copied()) else { return };
        // What a filter answers with is what it was asked to: the answer to a preflight, say.
        if origin.source == LocalSource::Filter {
            return;
        }
        let found = self.mappings.iter().enumerate().find(|(_, mapping)| mapping.fits(&origin));
        let Some((at, mapping)) = found else { return };
        self.stats.inc(MAPPED);
        if let Some(status) = mapping.status {
            response.head.status = status;
        }
        let mut captured = captured.get(at).into_iter().flatten();
        if let Some(page) = &mapping.page {
            page.apply(&mut captured, response);
        }
        mapping.fields.apply(&mut captured, response);
    }
}

impl Mapping {
    fn compile(config: LocalReplyMappingConfig) -> Result<Self, String> {
        let condition = config.condition;
        let statuses = condition.status.iter().map(StatusRangeConfig::compile).collect::<Result<_, _>>()?;
        let flags = condition.flags.iter().map(|name| {
            let flag = ResponseFlag::ALL.iter().find(|flag| flag.code() == name);
            flag.copied().ok_or_else(|| format!("match.flags: there is no flag {name:?}"))
        });
        let status = config.status.map(|status| {
            let known = StatusCode::from_u16(status).ok().filter(|status| (200..600).contains(&status.as_u16()));
            known.ok_or_else(|| format!("status: {status} is no status of a final response"))
        });
        Ok(Self {
            statuses,
            flags: flags.collect::<Result<_, _>>()?,
            details: TextMatch::compile_all("match.details", condition.details)?,
            status: status.transpose()?,
            page: Page::compile(config.body).map_err(|error| format!("body: {error}"))?,
            fields: fields(config.headers).map_err(|error| format!("headers: {error}"))?,
        })
    }

    /// Whether it says something of the request.
    fn is_early(&self) -> bool {
        self.fields.is_early() || self.page.as_ref().is_some_and(Page::is_early)
    }

    fn fits(&self, origin: &LocalOrigin) -> bool {
        let status = origin.status.as_u16();
        (self.statuses.is_empty() || self.statuses.iter().any(|(from, to)| (*from..=*to).contains(&status)))
            && (self.flags.is_empty() || self.flags.iter().any(|flag| origin.flags.contains(*flag)))
            && (self.details.is_empty() || self.details.iter().any(|wanted| wanted.fits(origin.details.as_bytes())))
    }
}

impl StatusRangeConfig {
    fn compile(&self) -> Result<(u16, u16), String> {
        let range = match self {
            Self::One(status) => Some((*status, *status)),
            Self::Range(text) => {
                let (from, to) = text.split_once('-').unwrap_or((text, text));
                from.trim().parse().ok().zip(to.trim().parse().ok())
            }
        };
        let valid = range.filter(|(from, to)| from <= to && (200..600).contains(from) && (200..600).contains(to));
        valid.ok_or_else(|| format!("match.status: {self:?} is neither a status nor a range such as 500-599"))
    }
}
