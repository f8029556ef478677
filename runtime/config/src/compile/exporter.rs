//! Exporters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Uri};
use ringway_api::Millis;

use super::address;
use crate::error::Fault;
use crate::exporter::{Collector, Exporter, ExporterKind};
use crate::raw;

pub(super) fn compile_all(raw: &[raw::Exporter], old: &[Arc<Exporter>]) -> Result<Vec<Arc<Exporter>>, Fault> {
    let mut names = BTreeSet::new();
    let mut exporters = Vec::with_capacity(raw.len());
    for (at, raw) in raw.iter().enumerate() {
        let path = format!("exporters[{at}]");
        if raw.name.is_empty() || !names.insert(&raw.name) {
            let message = format!("`{}` must be a name no other exporter has", raw.name);
            return Err(Fault::new(format!("{path}.name"), message));
        }
        exporters.push(match old.iter().find(|before| before.raw == *raw) {
            Some(before) => Arc::clone(before),
            None => Arc::new(Exporter { kind: kind(raw, &path)?, raw: raw.clone() }),
        });
    }
    Ok(exporters)
}

fn kind(raw: &raw::Exporter, path: &str) -> Result<ExporterKind, Fault> {
    for (key, value) in [
        ("batch.bytes", raw.batch.bytes.0),
        ("batch.interval", raw.batch.interval.0),
        ("batch.queue", raw.batch.queue.0),
    ] {
        if value == 0 {
            return Err(Fault::new(format!("{path}.{key}"), "must be more than 0"));
        }
    }
    match (&raw.otlp, &raw.zipkin, &raw.access_log_service, &raw.statsd) {
        (Some(otlp), None, None, None) => {
            let path = format!("{path}.otlp");
            let metrics = otlp.metrics_interval.map(|every| positive(every, &path, "metrics_interval")).transpose()?;
            let collector = collector(&otlp.endpoint, &otlp.headers, otlp.timeout, otlp.tls.as_ref(), &path)?;
            Ok(ExporterKind::Otlp { collector, protocol: otlp.protocol, metrics })
        }
        (None, Some(to), None, None) => {
            let path = format!("{path}.zipkin");
            Ok(ExporterKind::Zipkin(collector(&to.endpoint, &to.headers, to.timeout, to.tls.as_ref(), &path)?))
        }
        (None, None, Some(to), None) => {
            let path = format!("{path}.access_log_service");
            let collector = collector(&to.endpoint, &to.headers, to.timeout, to.tls.as_ref(), &path)?;
            Ok(ExporterKind::AccessLogService { collector, log_name: to.log_name.clone() })
        }
        (None, None, None, Some(to)) => {
            let path = format!("{path}.statsd");
            let address = address::listen(&to.address);
            Ok(ExporterKind::Statsd {
                address: address.map_err(|error| Fault::new(format!("{path}.address"), error))?,
                prefix: to.prefix.clone(),
                interval: positive(to.interval, &path, "interval")?,
                tags: to.tags,
            })
        }
        _ => Err(Fault::new(path, "exactly one of `otlp`, `zipkin`, `access_log_service` and `statsd`")),
    }
}

fn positive(span: Millis, path: &str, key: &str) -> Result<std::time::Duration, Fault> {
    match span.0 {
        0 => Err(Fault::new(format!("{path}.{key}"), "must be more than 0")),
        _ => Ok(span.duration()),
    }
}

fn collector(
    endpoint: &str,
    headers: &BTreeMap<String, raw::Secret>,
    timeout: Millis,
    tls: Option<&raw::ClusterTls>,
    path: &str,
) -> Result<Collector, Fault> {
    let wrong = || {
        let message = format!("`{endpoint}` is no URL such as http://127.0.0.1:4317 or https://collector:4318");
        Fault::new(format!("{path}.endpoint"), message)
    };
    let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
    let tls = match (uri.scheme_str(), tls) {
        (Some("https"), tls) => Some(tls.cloned().unwrap_or_default()),
        (Some("http"), None) => None,
        (Some("http"), Some(_)) => {
            return Err(Fault::new(format!("{path}.tls"), "only for an `https://` endpoint"));
        }
        _ => return Err(wrong()),
    };
    if uri.host().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    let header = |(name, value): (&String, &raw::Secret)| {
        let path = || format!("{path}.headers.{name}");
        let checked = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Fault::new(path(), "is no header's name"))?;
        let mut value = HeaderValue::from_str(&value.reveal().map_err(|error| Fault::new(path(), error))?)
            .map_err(|_| Fault::new(path(), "is no header's value"))?;
        // Most often a key.
        value.set_sensitive(true);
        Ok((checked, value))
    };
    Ok(Collector {
        endpoint: uri,
        headers: headers.iter().map(header).collect::<Result<_, Fault>>()?,
        timeout: positive(timeout, path, "timeout")?,
        tls,
    })
}
