//! What the filters of a request would do with it.

use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{Action, Body, FilterCx, FilterStats, Request, StreamCx};
use ringway_config::{Filter, RouteFilters, raw};
use serde::Serialize;
use serde_json::Value;

use super::still::Still;
use super::{Outcome, Sent};

/// A filter, and what it does.
#[derive(Debug, Serialize)]
pub(super) struct FilterStep {
    pub(super) name: String,
    /// It stands on the route or its virtual host, not on the chain.
    pub(super) of_route: bool,
    pub(super) options: Value,
    pub(super) does: String,
    /// What it changes of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) changes: Vec<String>,
}

/// What filters have done.
pub(super) struct Seen {
    pub(super) steps: Vec<FilterStep>,
    pub(super) reroute: bool,
    /// What one of them does instead of going on.
    pub(super) outcome: Option<Outcome>,
}

/// Shows a request to the filters of its route. They are built for this, with limits that nobody has used yet.
pub(super) fn run(
    usual: &[Filter],
    own: Option<&RouteFilters>,
    chain: &raw::FilterChain,
    route: Option<&raw::Route>,
    request: &mut Request,
    cx: &StreamCx,
) -> Seen {
    let all: Vec<(bool, &Filter)> = match own {
        None => usual.iter().map(|filter| (false, filter)).collect(),
        Some(own) => own.over(usual).map(|(at, filter)| (at.is_none(), filter)).collect(),
    };
    let mut seen = Seen { steps: Vec::new(), reroute: false, outcome: None };
    for (of_route, filter) in all {
        let name = filter.spec.name;
        let own = route.filter(|_| of_route).into_iter().flat_map(|route| &route.filters);
        let options = own.chain(&chain.filters).find_map(|entry| entry.0.get(name));
        let mut step = FilterStep {
            name: name.to_owned(),
            of_route,
            options: options.cloned().unwrap_or_default(),
            does: String::new(),
            changes: Vec::new(),
        };
        if seen.outcome.is_some() {
            step.does = "does not see it".to_owned();
            seen.steps.push(step);
            continue;
        }
        let before = Sent::of(request);
        let stats = FilterStats::new(filter.spec.stats.len());
        let filter_cx = FilterCx { env: Still::env(), stats, workers: 1 };
        let Some(built) = (filter.spec.build)(Arc::clone(&filter.options), None, filter_cx) else { continue };
        let action = Rc::clone(&built).stream().on_request(request, cx);
        step.changes = before.changes(&Sent::of(request));
        step.does = match action {
            Action::Continue => "goes on".to_owned(),
            Action::Reroute => {
                seen.reroute |= !of_route;
                let again = if of_route { "" } else { ", to be routed anew" };
                format!("goes on{again}")
            }
            Action::Wait(_) => "waits, and then decides; what follows takes it that it goes on".to_owned(),
            Action::Reset => {
                seen.outcome = Some(Outcome::Reset { by: name.to_owned() });
                "resets the stream".to_owned()
            }
            Action::Reply(reply) => {
                let (status, body) = (reply.status.as_u16(), reply.body.to_owned());
                seen.outcome = Some(Outcome::Answered { by: name.to_owned(), status, body });
                format!("answers {status} ({})", reply.details)
            }
            Action::Respond(response) => {
                let status = response.head.status.as_u16();
                let body = match &response.body {
                    Body::Full(content) => String::from_utf8_lossy(content).into_owned(),
                    Body::Empty | Body::Stream(_) => String::new(),
                };
                seen.outcome = Some(Outcome::Answered { by: name.to_owned(), status, body });
                format!("answers {status}")
            }
        };
        seen.steps.push(step);
    }
    seen
}

impl Sent {
    /// What differs in `after`.
    fn changes(&self, after: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (what, before, after) in [
            ("method", &self.method, &after.method),
            ("authority", &self.authority, &after.authority),
            ("path", &self.path, &after.path),
        ] {
            if before != after {
                changes.push(format!("{what}: {before} -> {after}"));
            }
        }
        let gone = self.headers.iter().filter(|field| !after.headers.contains(field));
        changes.extend(gone.map(|(name, value)| format!("- {name}: {value}")));
        let new = after.headers.iter().filter(|field| !self.headers.contains(field));
        changes.extend(new.map(|(name, value)| format!("+ {name}: {value}")));
        changes
    }
}
