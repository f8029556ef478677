//! The live view: a page with all that it needs, served from the binary. Its source is `runtime/app/ui/src`.

use axum::extract::Path;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

/// A file of the page.
struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
}

macro_rules! assets {
    ($($name:literal as $kind:literal,)*) => {
        &[$(Asset { name: $name, kind: $kind, content: include_str!(concat!("../../ui/built/", $name)) },)*]
    };
}

const ASSETS: &[Asset] = assets! {
    "index.html" as "text/html; charset=utf-8",
    "style.css" as "text/css; charset=utf-8",
    "charts.js" as "text/javascript; charset=utf-8",
    "dom.js" as "text/javascript; charset=utf-8",
    "feed.js" as "text/javascript; charset=utf-8",
    "main.js" as "text/javascript; charset=utf-8",
    "clusters.js" as "text/javascript; charset=utf-8",
    "overview.js" as "text/javascript; charset=utf-8",
    "latency.js" as "text/javascript; charset=utf-8",
    "requests.js" as "text/javascript; charset=utf-8",
    "routes.js" as "text/javascript; charset=utf-8",
    "snapshots.js" as "text/javascript; charset=utf-8",
    "topology.js" as "text/javascript; charset=utf-8",
};

/// Nothing of elsewhere is loaded, run or framed (Content Security Policy Level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];

pub(super) async fn index() -> Response {
    asset("index.html")
}

pub(super) async fn to_index() -> Redirect {
    Redirect::permanent("/ui/")
}

pub(super) async fn file(Path(name): Path<String>) -> Response {
    asset(&name)
}

fn asset(name: &str) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => (HEADERS, [(header::CONTENT_TYPE, asset.kind)], asset.content).into_response(),
        None => (StatusCode::NOT_FOUND, "the live view has no such file\n").into_response(),
    }
}
