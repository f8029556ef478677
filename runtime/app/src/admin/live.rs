//! What the live view is told once a second: counts, from which it makes rates.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use ringway_telemetry::{HistogramReading, Reading};
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, watch};

use super::{Asks, What, answered, pages};
use crate::control::Control;

/// Browsers that may look on at the same time.
const VIEWERS: usize = 16;
/// How often they are told.
const INTERVAL: Duration = Duration::from_secs(1);
/// Clusters that are told of at most, those with most requests.
const CLUSTERS: usize = 500;

/// What all viewers are told. It is put together only while there are some; one that reads slowly misses some of it.
#[derive(Clone)]
pub(super) struct Feed {
    told: watch::Sender<Arc<str>>,
    seats: Arc<Semaphore>,
}

impl Feed {
    /// Asks the control plane for what there is to tell, while somebody listens.
    pub(super) fn start(asks: Asks) -> Self {
        let (told, _) = watch::channel(Arc::from(""));
        let feed = Self { told: told.clone(), seats: Arc::new(Semaphore::new(VIEWERS)) };
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(INTERVAL);
            loop {
                tick.tick().await;
                if told.receiver_count() > 0
                    && let Some(answer) = answered(&asks, What::Live).await
                {
                    told.send_replace(answer.body.into());
                }
            }
        });
        feed
    }

    /// Events for one more viewer; 503 when there are too many.
    pub(super) fn follow(&self) -> Response {
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            let message = format!("{VIEWERS} browsers are looking on; no more can\n");
            return (StatusCode::SERVICE_UNAVAILABLE, message).into_response();
        };
        let mut news = self.told.subscribe();
        news.mark_unchanged();
        let events = futures_util::stream::unfold((news, seat), |(mut news, seat)| async move {
            news.changed().await.ok()?;
            let event = Event::default().data(&**news.borrow_and_update());
            Some((Ok::<_, Infallible>(event), (news, seat)))
        });
        Sse::new(events).keep_alive(KeepAlive::default()).into_response()
    }
}

/// What there is to tell.
pub(super) async fn told(control: &Control) -> Value {
    pages::sample(control).await;
    let mut scopes: BTreeMap<(&'static str, String), Map<String, Value>> = BTreeMap::new();
    control.registry.walk(&mut |sample| {
        if !["worker", "http", "tcp", "cluster"].contains(&sample.set.prefix) || !sample.set.group.is_empty() {
            return;
        }
        let value = match sample.value {
            Reading::Counter(count) | Reading::Gauge(count) => count.into(),
            Reading::Histogram(reading) if sample.set.prefix == "http" => json!({ "cells": cells(reading) }),
            Reading::Histogram(reading) => json!({ "count": reading.count(), "sum_us": reading.sum_us() }),
        };
        let scope = scopes.entry((sample.set.prefix, sample.scope.to_owned())).or_default();
        scope.insert(sample.name.to_owned(), value);
    });
    let mut by_kind: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for ((kind, name), mut rows) in scopes {
        rows.insert("name".into(), name.into());
        by_kind.entry(kind).or_default().push(Value::Object(rows));
    }
    let clusters = by_kind.entry("cluster").or_default();
    clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster["upstream_rq_total"].as_u64()));
    let left_out = clusters.len().saturating_sub(CLUSTERS);
    clusters.truncate(CLUSTERS);
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json!({
        "at_ms": at.as_millis() as u64,
        "server": pages::server_info(control),
        "workers": by_kind.remove("worker").unwrap_or_default(),
        "http": by_kind.remove("http").unwrap_or_default(),
        "tcp": by_kind.remove("tcp").unwrap_or_default(),
        "clusters": by_kind.remove("cluster").unwrap_or_default(),
        "clusters_left_out": left_out,
    })
}

/// How many durations fell between the bounds of the heat map's rows: four to a factor of two, from 16 microseconds.
fn cells(reading: &HistogramReading) -> Vec<u64> {
    let bounds: Vec<u64> = (0..ROWS).map(|row| (16.0 * 2_f64.powf(f64::from(row) / 4.0)) as u64).collect();
    let mut before = 0;
    let mut cells: Vec<u64> =
        reading.cumulative(&bounds).map(|until| std::mem::replace(&mut before, until).abs_diff(until)).collect();
    cells.push(reading.count().saturating_sub(before));
    cells
}

/// Up to 16 us * 2^22, about 67 seconds.
const ROWS: i32 = 4 * 22;
