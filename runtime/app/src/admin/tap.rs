//! `/tap`: requests as they end, a JSON object a line.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;

use super::{Asks, What, answered};
use crate::control::TAP_WAITING;

/// Streams what a tap sees until it ends; the answer of the control plane if there is none.
pub(super) async fn open(State(asks): State<Asks>, asked: String) -> Response {
    let (lines, told) = mpsc::channel(TAP_WAITING);
    match answered(&asks, What::Tap { asked, lines }).await {
        Some(answer) if answer.status == StatusCode::OK => {
            let lines = futures_util::stream::unfold(told, |mut told| async move {
                let line: String = told.recv().await?;
                Some((Ok::<_, Infallible>(line), told))
            });
            ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
        }
        Some(answer) => (answer.status, answer.body).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
