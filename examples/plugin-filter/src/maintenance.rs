//! A filter: parts of a site are closed, the rest is told how long it took.

use std::sync::Arc;

use http::StatusCode;
use ringway_api::{Action, FilterCx, FilterStats, LocalReply, Request, Response, Stat, StreamCx, StreamFilter, Time};
use schemars::JsonSchema;
use serde::Deserialize;

/// Answers requests below some paths with 503, and adds `x-took-us` to all other responses.
#[derive(Debug)]
pub struct Maintenance {
    closed: Arc<Vec<Box<[u8]>>>,
    stats: FilterStats,
}

/// The row of [`Maintenance::STATS`].
const REFUSED: usize = 0;

/// The options of [`Maintenance`].
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceConfig {
    /// Paths that are closed, with everything below them.
    pub closed: Vec<String>,
}

/// What is remembered of one stream.
#[derive(Debug, Default)]
pub struct Began(Option<Time>);

impl StreamFilter for Maintenance {
    const NAME: &'static str = "maintenance";
    const STATS: &'static [Stat] = &[Stat::counter("refused", "Requests below a closed path.")];
    type Config = MaintenanceConfig;
    type Compiled = Vec<Box<[u8]>>;
    type State = Began;

    fn compile(config: MaintenanceConfig) -> Result<Self::Compiled, String> {
        for path in &config.closed {
            if !path.starts_with('/') || path.ends_with('/') {
                return Err(format!("closed: `{path}` must begin with `/` and not end with one"));
            }
        }
        Ok(config.closed.into_iter().map(|path| path.into_bytes().into_boxed_slice()).collect())
    }

    fn build(config: Arc<Self::Compiled>, _: Option<&Self>, cx: FilterCx) -> Self {
        Self { closed: config, stats: cx.stats }
    }

    fn on_request(&self, began: &mut Began, request: &mut Request, cx: &StreamCx) -> Action {
        began.0 = Some(cx.conn.env.now());
        let path = request.head.path();
        let below =
            |closed: &[u8]| path.strip_prefix(closed).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')));
        if !self.closed.iter().any(|closed| below(closed)) {
            return Action::Continue;
        }
        self.stats.inc(REFUSED);
        let reply = LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "closed for maintenance", "maintenance");
        Action::Reply(Box::new(reply))
    }

    fn on_response(&self, began: &mut Began, response: &mut Response, cx: &StreamCx) {
        let Some(began) = began.0 else { return };
        let took = cx.conn.env.now().since(began).as_micros().to_string();
        // Digits can always stand in a field.
        let set = response.head.headers.set("x-took-us", took.as_bytes());
        debug_assert!(set.is_ok());
    }
}
