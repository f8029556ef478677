//! The admin API. Requests are put to the control plane, which owns all state; nothing here touches a worker.
//!
//! What changes something is POST only, so that no link or prefetch can do it.

mod accept;
mod answer;
pub(crate) mod client;
mod guard;
mod live;
mod pages;
mod tap;
mod ui;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

pub(crate) use answer::{After, answer};

use crate::control::Actor;

/// What is asked, by page.
#[derive(Debug)]
pub(crate) enum What {
    Index,
    Ready,
    ServerInfo,
    Stats(HashMap<String, String>),
    Prometheus { query: HashMap<String, String>, open_metrics: bool },
    Clusters { json: bool },
    Listeners { json: bool },
    ConfigDump,
    Snapshots,
    SnapshotText(u64),
    SnapshotDiff { from: Option<u64>, to: u64 },
    Rollback(u64),
    Reload,
    Apply(String),
    Drain,
    Quit,
    ReopenLogs,
    Traces(HashMap<String, String>),
    Trace(String),
    Explain { asked: String, json: bool },
    Live,
    Audit,
    Tap { asked: String, lines: mpsc::Sender<String> },
}

/// A request with the way back.
pub(crate) struct Ask {
    pub(crate) what: What,
    /// Who asks, if it was not the process itself.
    pub(crate) by: Option<Actor>,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        let mut body = body.into();
        if !body.ends_with('\n') {
            body.push('\n');
        }
        Self { status, content_type: "text/plain; charset=utf-8", body }
    }

    pub(crate) fn json(value: &serde_json::Value) -> Self {
        let mut body = serde_json::to_string_pretty(value).unwrap_or_default();
        body.push('\n');
        Self { status: StatusCode::OK, content_type: "application/json", body }
    }
}

type Asks = mpsc::Sender<Ask>;

/// Binds the admin address.
///
/// # Errors
/// When it is taken or not local, with the address.
pub(crate) fn bind(address: SocketAddr) -> Result<std::net::TcpListener> {
    let socket = std::net::TcpListener::bind(address).with_context(|| format!("admin: cannot listen on {address}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Serves the admin API for ever. `hosts` are the names that it may be asked by.
pub(crate) async fn serve(socket: std::net::TcpListener, asks: Asks, hosts: &[String]) -> Result<()> {
    let feed = live::Feed::start(asks.clone());
    let routes = Router::new()
        .route("/", get(|s: State<Asks>| ask(s, What::Index)))
        .route("/ready", get(|s: State<Asks>| ask(s, What::Ready)))
        .route("/server_info", get(|s: State<Asks>| ask(s, What::ServerInfo)))
        .route("/stats", get(|s: State<Asks>, Query(q)| ask(s, What::Stats(q))))
        .route("/stats/prometheus", get(prometheus))
        .route(
            "/clusters",
            get(|s: State<Asks>, q: Query<HashMap<String, String>>| ask(s, What::Clusters { json: wants_json(&q) })),
        )
        .route(
            "/listeners",
            get(|s: State<Asks>, q: Query<HashMap<String, String>>| ask(s, What::Listeners { json: wants_json(&q) })),
        )
        .route("/config_dump", get(|s: State<Asks>| ask(s, What::ConfigDump)))
        .route("/snapshots", get(|s: State<Asks>| ask(s, What::Snapshots)))
        .route("/snapshots/{generation}", get(|s: State<Asks>, Path(g): Path<u64>| ask(s, What::SnapshotText(g))))
        .route("/snapshots/{generation}/diff", get(diff))
        .route("/snapshots/{generation}/rollback", post(|s: State<Asks>, Path(g): Path<u64>| ask(s, What::Rollback(g))))
        .route("/reload", post(|s: State<Asks>| ask(s, What::Reload)))
        .route("/config", post(|s: State<Asks>, body: String| ask(s, What::Apply(body))))
        .route("/drain", post(|s: State<Asks>| ask(s, What::Drain)))
        .route("/quitquitquit", post(|s: State<Asks>| ask(s, What::Quit)))
        .route("/reopen_logs", post(|s: State<Asks>| ask(s, What::ReopenLogs)))
        .route("/traces", get(|s: State<Asks>, Query(q)| ask(s, What::Traces(q))))
        .route("/traces/{id}", get(|s: State<Asks>, Path(id): Path<String>| ask(s, What::Trace(id))))
        .route(
            "/explain",
            post(|s: State<Asks>, q: Query<HashMap<String, String>>, asked: String| {
                let json = wants_json(&q);
                ask(s, What::Explain { asked, json })
            }),
        )
        .route("/ui", get(ui::to_index))
        .route("/ui/", get(ui::index))
        .route("/ui/{file}", get(ui::file))
        .route("/tap", post(tap::open))
        .route("/audit", get(|s: State<Asks>| ask(s, What::Audit)))
        .route("/live", get(|s: State<Asks>| ask(s, What::Live)))
        .route("/events", get(move || async move { feed.follow() }))
        .layer(middleware::from_fn_with_state(Arc::from(hosts), guard::guard))
        .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
        .with_state(asks);
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(TcpListener::from_std(socket)?, routes).await?;
    Ok(())
}

async fn prometheus(state: State<Asks>, Query(query): Query<HashMap<String, String>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let open_metrics = accept.is_some_and(accept::prefers_open_metrics);
    ask(state, What::Prometheus { query, open_metrics }).await
}

async fn diff(state: State<Asks>, Path(to): Path<u64>, Query(query): Query<HashMap<String, String>>) -> Response {
    let from = query.get("from").and_then(|from| from.parse().ok());
    ask(state, What::SnapshotDiff { from, to }).await
}

fn wants_json(query: &HashMap<String, String>) -> bool {
    query.get("format").is_some_and(|format| format == "json")
}

async fn ask(State(asks): State<Asks>, what: What) -> Response {
    match answered(&asks, what).await {
        Some(answer) => (answer.status, [(header::CONTENT_TYPE, answer.content_type)], answer.body).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// What the control plane says; nothing when it has ended.
async fn answered(asks: &Asks, what: What) -> Option<Answer> {
    let (reply, answer) = oneshot::channel();
    let by = guard::ACTOR.try_with(Clone::clone).ok();
    asks.send(Ask { what, by, reply }).await.ok()?;
    answer.await.ok()
}
