//! A response that stands in when the upstream has failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use ringway_api::{
    Action, Body, FilterCx, FilterStats, LocalSource, Request, Response, ResponseFlags, ResponseHead, Stat, StreamCx,
    StreamFilter,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::header_mutation::{Fields, fields};
use crate::media_type::is_call;
use crate::page::{Page, PageConfig};
use crate::template::Captured;
use crate::upstream_failure::UpstreamFailure;

/// Answers with a fixed response where the upstream has failed. Calls of gRPC and other protocols pass.
pub struct Fallback {
    plan: Arc<FallbackPlan>,
    stats: FilterStats,
}

/// What users write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FallbackConfig {
    /// The failures that it stands in for.
    #[serde(default = "usual")]
    on: Vec<UpstreamFailure>,
    /// Its status.
    #[serde(default = "ok")]
    status: u16,
    /// Its content; none, if it is not set.
    #[serde(default)]
    body: PageConfig,
    /// Its fields. Values may have operators.
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// [`FallbackConfig`], checked.
#[derive(Debug)]
pub struct FallbackPlan {
    on: Box<[UpstreamFailure]>,
    status: StatusCode,
    page: Option<Page>,
    fields: Fields,
}

const SERVED: usize = 0;

impl StreamFilter for Fallback {
    const NAME: &'static str = "fallback";
    const STATS: &'static [Stat] = &[Stat::counter("served", "Responses that stood in for a failure.")];
    type Config = FallbackConfig;
    type Compiled = FallbackPlan;
    /// What the response needs of the request; `None` where there will be none.
    type State = Option<Captured>;

    fn compile(config: FallbackConfig) -> Result<FallbackPlan, String> {
        UpstreamFailure::check(&config.on)?;
        let status = StatusCode::from_u16(config.status).ok().filter(|status| (200..600).contains(&status.as_u16()));
        Ok(FallbackPlan {
            on: config.on.into(),
            status: status.ok_or_else(|| format!("status: {} is no status of a final response", config.status))?,
            page: Page::compile(config.body).map_err(|error| format!("body: {error}"))?,
            fields: fields(config.headers).map_err(|error| format!("headers: {error}"))?,
        })
    }

    fn build(plan: Arc<FallbackPlan>, _: Option<&Self>, cx: FilterCx) -> Self {
        Self { plan, stats: cx.stats }
    }

    fn on_request(&self, state: &mut Self::State, request: &mut Request, cx: &StreamCx) -> Action {
        let head = &request.head;
        if head.tunnel.is_none() && !is_call(head) {
            let mut captured = Captured::new();
            if let Some(page) = &self.plan.page {
                page.capture(head, &cx.conn.info, &mut captured);
            }
            self.plan.fields.capture(head, &cx.conn.info, &mut captured);
            *state = Some(captured);
        }
        Action::Continue
    }

    fn on_response(&self, state: &mut Self::State, response: &mut Response, _: &StreamCx) {
        let Some(captured) = state.take() else { return };
        if !UpstreamFailure::any(&self.plan.on, &response.head) {
            return;
        }
        self.stats.inc(SERVED);
        // Operators still see where the failure came from.
        let local = response.head.local.take();
        let head = ResponseHead { local, ..ResponseHead::new(self.plan.status) };
        *response = Response { head, body: Body::Empty };
        let mut captured = captured.iter();
        if let Some(page) = &self.plan.page {
            page.apply(&mut captured, response);
        }
        self.plan.fields.apply(&mut captured, response);
        // For others it is no failure any more, and nothing to be kept.
        response.head.set_local(LocalSource::Filter, ResponseFlags::NONE, "fallback");
    }
}

fn usual() -> Vec<UpstreamFailure> {
    use UpstreamFailure::{ConnectFailure, GatewayError, NoHealthyUpstream, Reset, Timeout};
    vec![NoHealthyUpstream, ConnectFailure, Reset, Timeout, GatewayError]
}

const fn ok() -> u16 {
    200
}
