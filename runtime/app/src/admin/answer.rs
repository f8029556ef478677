//! Answers to admin requests, on the control plane.

use std::collections::HashMap;
use std::num::NonZeroU128;
use std::sync::Arc;

use axum::http::StatusCode;
use ringway_config::compile;
use ringway_telemetry::{NameFilter, Query};
use serde_json::json;
use tokio::sync::mpsc;

use super::pages;
use super::{Answer, What};
use crate::control::{CATALOG, Control, Phase, TraceKind};
use crate::explain::{self, AskedFor};
use crate::names::Names;

/// What the control plane's loop is to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// Read the configuration's source again.
    Reload,
    /// End the process after a drain.
    Quit,
}

/// Answers one request.
pub(crate) async fn answer(control: &mut Control, names: &mut Names, what: What) -> (Answer, After) {
    let nothing = |answer| (answer, After::Nothing);
    match what {
        What::Index => nothing(Answer::text(StatusCode::OK, pages::INDEX)),
        What::Ready => nothing(match control.phase {
            Phase::Live => Answer::text(StatusCode::OK, "LIVE"),
            Phase::Draining => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "DRAINING"),
        }),
        What::ServerInfo => nothing(Answer::json(&pages::server_info(control))),
        What::Stats(query) => {
            pages::sample(control).await;
            let pattern = query.get("filter").cloned().unwrap_or_default();
            let filter = if pattern.is_empty() { NameFilter::All } else { NameFilter::Contains(&pattern) };
            let wanted = Query { used_only: query.contains_key("usedonly"), filter };
            nothing(match query.get("format").map(String::as_str) {
                Some("json") => Answer {
                    status: StatusCode::OK,
                    content_type: "application/json",
                    body: control.registry.json(&wanted),
                },
                Some("prometheus") => prometheus(control, &wanted),
                Some("openmetrics") => open_metrics(control, &wanted),
                None | Some("text") => Answer::text(StatusCode::OK, control.registry.text(&wanted)),
                Some(other) => {
                    let message = format!("format={other}: there are text, json, prometheus and openmetrics");
                    Answer::text(StatusCode::BAD_REQUEST, message)
                }
            })
        }
        What::Prometheus { query, open_metrics } => {
            pages::sample(control).await;
            let wanted = Query { used_only: query.contains_key("usedonly"), filter: NameFilter::All };
            nothing(if open_metrics { self::open_metrics(control, &wanted) } else { prometheus(control, &wanted) })
        }
        What::Clusters { json } => nothing(pages::clusters(control, json).await),
        What::Listeners { json } => nothing(pages::listeners(control, json)),
        What::ConfigDump => nothing(match control.store.current() {
            Some(current) => Answer::json(&pages::config_dump(&current)),
            None => Answer::text(StatusCode::NOT_FOUND, "no configuration is in force"),
        }),
        What::Snapshots => {
            control.reap();
            nothing(Answer::json(&pages::snapshots(control)))
        }
        What::SnapshotText(generation) => nothing(match control.store.find(generation) {
            Some(found) => Answer::text(StatusCode::OK, &*found.text),
            None => not_kept(generation),
        }),
        What::SnapshotDiff { from, to } => nothing(snapshot_diff(control, from, to)),
        What::Rollback(generation) => {
            if control.store.find(generation).is_none() {
                return nothing(not_kept(generation));
            }
            let outcome = control.rollback(generation, names).await;
            nothing(verdict(outcome.map(|published| published.generation)))
        }
        What::Apply(text) => {
            let outcome = control.apply("admin", Arc::from(text), names).await;
            nothing(verdict(outcome.map(|published| published.generation)))
        }
        What::Tap { asked, lines } => nothing(tapped(control, &asked, lines).await),
        What::Audit => nothing(Answer::json(&control.audit.recent())),
        What::Reload => {
            control.audit.note("reload", json!({}), Ok(()));
            (Answer::text(StatusCode::ACCEPTED, "reloading; see /snapshots"), After::Reload)
        }
        What::Drain => {
            control.drain().await;
            nothing(Answer::text(StatusCode::OK, "draining; /quitquitquit or SIGTERM ends the process"))
        }
        What::Quit => {
            control.audit.note("quit", json!({}), Ok(()));
            (Answer::text(StatusCode::OK, "ending"), After::Quit)
        }
        What::Traces(query) => nothing(traces(control, &query)),
        What::Trace(id) => nothing(trace(control, &id)),
        What::Explain { asked, json } => nothing(explained(control, &asked, json).await),
        What::Live => nothing(Answer {
            status: StatusCode::OK,
            content_type: "application/json",
            body: super::live::told(control).await.to_string(),
        }),
        What::ReopenLogs => {
            control.reopen_logs();
            nothing(Answer::text(StatusCode::OK, "reopening"))
        }
    }
}

async fn explained(control: &Control, asked: &str, json: bool) -> Answer {
    let wrong = |error: String| Answer::text(StatusCode::BAD_REQUEST, error);
    let asked: AskedFor = match serde_json::from_str(asked) {
        Ok(asked) => asked,
        Err(error) => return wrong(format!("explain: {error}")),
    };
    let Some(current) = control.store.current() else {
        return Answer::text(StatusCode::NOT_FOUND, "no configuration is in force");
    };
    // Compiled anew: filters and limits that are asked are not those that requests use.
    let explanation = compile(&current.origin, &current.text, &CATALOG, None)
        .map_err(|error| error.to_string())
        .and_then(|snapshot| explain::explain(&snapshot, &asked).map_err(|error| format!("{error:#}")));
    let mut explanation = match explanation {
        Ok(explanation) => explanation,
        Err(error) => return wrong(error),
    };
    let running = pages::hosts(control).await;
    for upstream in &mut explanation.upstreams {
        if let Some(hosts) = running.get(&upstream.cluster) {
            upstream.set_hosts(hosts.iter().cloned());
        }
    }
    match json {
        true => Answer::json(&serde_json::to_value(&explanation).unwrap_or_default()),
        false => Answer::text(StatusCode::OK, explain::text(&explanation)),
    }
}

async fn tapped(control: &mut Control, asked: &str, lines: mpsc::Sender<String>) -> Answer {
    let asked = if asked.trim().is_empty() { "{}" } else { asked };
    let opened = match serde_json::from_str(asked) {
        Ok(asked) => control.open_tap(asked, lines).await,
        Err(error) => Err(anyhow::anyhow!("tap: {error}")),
    };
    match opened {
        Ok(()) => Answer::text(StatusCode::OK, ""),
        Err(error) => Answer::text(StatusCode::BAD_REQUEST, format!("{error:#}")),
    }
}

/// Requests that a list has at most.
const TRACES: usize = 1000;

fn traces(control: &mut Control, query: &HashMap<String, String>) -> Answer {
    control.reports_round();
    let Some(traces) = control.planner.tracer.traces() else { return untraced() };
    let kind = query.get("kind").map_or(Some(TraceKind::Recent), |name| TraceKind::named(name));
    let limit = query.get("limit").map_or(Ok(50), |limit| limit.parse::<usize>());
    match (kind, limit) {
        (Some(kind), Ok(limit)) => Answer::json(&traces.list(kind, limit.min(TRACES))),
        (None, _) => Answer::text(StatusCode::BAD_REQUEST, "kind: there are recent, slow and failed"),
        (_, Err(_)) => Answer::text(StatusCode::BAD_REQUEST, "limit: wants a number"),
    }
}

fn trace(control: &mut Control, id: &str) -> Answer {
    control.reports_round();
    let Some(traces) = control.planner.tracer.traces() else { return untraced() };
    let Some(id) = u128::from_str_radix(id, 16).ok().and_then(NonZeroU128::new) else {
        return Answer::text(StatusCode::BAD_REQUEST, "a trace id is up to 32 hex digits");
    };
    match traces.find(id) {
        Some(found) => Answer::json(&found),
        None => Answer::text(StatusCode::NOT_FOUND, "this trace is not kept; see /traces"),
    }
}

fn untraced() -> Answer {
    Answer::text(StatusCode::NOT_FOUND, "the configuration has no `tracing`")
}

fn prometheus(control: &Control, query: &Query<'_>) -> Answer {
    Answer {
        status: StatusCode::OK,
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        body: control.registry.prometheus(query),
    }
}

fn open_metrics(control: &Control, query: &Query<'_>) -> Answer {
    Answer {
        status: StatusCode::OK,
        content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
        body: control.registry.open_metrics(query),
    }
}

fn verdict(outcome: anyhow::Result<u64>) -> Answer {
    match outcome {
        Ok(generation) => Answer::text(StatusCode::OK, format!("published as generation {generation}")),
        Err(error) => Answer::text(StatusCode::BAD_REQUEST, format!("{error:#}")),
    }
}

fn not_kept(generation: u64) -> Answer {
    Answer::text(StatusCode::NOT_FOUND, format!("generation {generation} is not kept; see /snapshots"))
}

fn snapshot_diff(control: &Control, from: Option<u64>, to: u64) -> Answer {
    let from = from.unwrap_or(to.saturating_sub(1));
    match (control.store.find(from), control.store.find(to)) {
        (Some(old), Some(new)) => Answer::text(StatusCode::OK, ringway_config::diff(old, new)),
        (None, _) => not_kept(from),
        (_, None) => not_kept(to),
    }
}
