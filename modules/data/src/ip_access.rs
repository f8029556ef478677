//! Lets clients in by their addresses.

mod ranges;

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use ringway_api::{Action, FilterCx, FilterStats, LocalReply, Request, Stat, StreamCx, StreamFilter};
use schemars::JsonSchema;
use serde::Deserialize;

use self::ranges::Ranges;

/// Answers requests of clients that are not let in with 403.
pub struct IpAccess {
    options: Arc<Compiled>,
    stats: FilterStats,
}

/// The options of [`IpAccess`]: `allow`, `deny` or both.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IpAccessConfig {
    /// Who is let in: addresses, or networks such as `10.0.0.0/8`. Everybody, if there is none.
    pub allow: Vec<String>,
    /// Who is not, even if `allow` has them.
    pub deny: Vec<String>,
    /// Look at the other end of the socket, rather than at the client that a trusted PROXY header names.
    pub direct: bool,
    /// Count who would be refused, and let them in.
    pub dry_run: bool,
}

/// The options, ready for use.
#[derive(Debug)]
pub struct Compiled {
    allow: Option<Ranges>,
    deny: Ranges,
    direct: bool,
    dry_run: bool,
}

/// Rows of [`IpAccess::STATS`].
mod row {
    pub(super) const ALLOWED: usize = 0;
    pub(super) const DENIED: usize = 1;
    pub(super) const SHADOW_DENIED: usize = 2;
}

impl StreamFilter for IpAccess {
    const NAME: &'static str = "ip_access";
    const STATS: &'static [Stat] = &[
        Stat::counter("allowed", "Requests of clients that are let in."),
        Stat::counter("denied", "Requests that were refused."),
        Stat::counter("shadow_denied", "Requests that would have been refused without `dry_run`."),
    ];
    type Config = IpAccessConfig;
    type Compiled = Compiled;
    type State = ();

    fn compile(config: IpAccessConfig) -> Result<Compiled, String> {
        if config.allow.is_empty() && config.deny.is_empty() {
            return Err("`allow`, `deny` or both are needed".to_owned());
        }
        let allow = (!config.allow.is_empty()).then(|| Ranges::parse(&config.allow)).transpose();
        Ok(Compiled {
            allow: allow.map_err(|error| format!("allow: {error}"))?,
            deny: Ranges::parse(&config.deny).map_err(|error| format!("deny: {error}"))?,
            direct: config.direct,
            dry_run: config.dry_run,
        })
    }

    fn build(options: Arc<Compiled>, _: Option<&Self>, cx: FilterCx) -> Self {
        Self { options, stats: cx.stats }
    }

    fn on_request(&self, (): &mut (), _: &mut Request, cx: &StreamCx) -> Action {
        let info = &cx.conn.info;
        let direct = info.direct_peer.as_deref().filter(|_| self.options.direct);
        let client = direct.unwrap_or(&info.peer).ip().map(|address| address.ip());
        if self.options.lets_in(client) {
            self.stats.inc(row::ALLOWED);
            return Action::Continue;
        }
        if self.options.dry_run {
            self.stats.inc(row::SHADOW_DENIED);
            return Action::Continue;
        }
        self.stats.inc(row::DENIED);
        Action::Reply(Box::new(LocalReply::new(StatusCode::FORBIDDEN, "access denied", "ip_access_denied")))
    }
}

impl Compiled {
    /// A client without an IP address is in no list.
    fn lets_in(&self, client: Option<IpAddr>) -> bool {
        let within = |ranges: &Ranges| client.is_some_and(|client| ranges.contains(client));
        !within(&self.deny) && self.allow.as_ref().is_none_or(within)
    }
}
