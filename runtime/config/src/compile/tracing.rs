//! Distributed tracing.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringway_api::{ResponseFlag, ResponseFlags};

use super::{Catalog, header_matcher};
use crate::error::Fault;
use crate::exporter::{Exporter, Signal};
use crate::raw;
use crate::tracing::{TraceSampling, TraceTail, Tracing};

/// Tags that a span may have besides what is known of every request.
const TAGS: usize = 64;
/// Requests that are kept of each kind at most.
const ENTRIES: u32 = 10_000;

/// Compiles the tracing of a configuration; what is as before is the same `Arc`.
pub(super) fn compile(
    config: &raw::Config,
    catalog: &Catalog,
    exporters: &[Arc<Exporter>],
    old: Option<&Arc<Tracing>>,
) -> Result<Option<Arc<Tracing>>, Fault> {
    let mut overrides = Vec::new();
    for (at, listener) in config.listeners.iter().enumerate() {
        let Some(own) = &listener.tracing else { continue };
        if config.tracing.is_none() && matches!(own, raw::ListenerTracing::Own(_)) {
            return Err(Fault::new(format!("listeners[{at}].tracing"), "there is no `tracing` at the top"));
        }
        overrides.push((at, listener.name.clone(), own.clone()));
    }
    let Some(raw) = &config.tracing else { return Ok(None) };
    takes_spans(raw, exporters)?;
    let kept = overrides.iter().map(|(_, name, own)| (name, own));
    if let Some(old) = old.filter(|old| old.raw == *raw && old.overrides.iter().map(|(name, own)| (name, own)).eq(kept))
    {
        return Ok(Some(Arc::clone(old)));
    }
    formats(raw)?;
    tags(raw, catalog)?;
    if raw.store.entries > ENTRIES {
        return Err(Fault::new("tracing.store.entries", format!("must be at most {ENTRIES}")));
    }
    let own = |(at, name, own): &(usize, String, raw::ListenerTracing)| {
        let sampling = match own {
            raw::ListenerTracing::Switch(raw::TracingSwitch::Off) => None,
            raw::ListenerTracing::Own(own) => {
                Some(Arc::new(sampling(&own.sampling, &format!("listeners[{at}].tracing.sampling"))?))
            }
        };
        Ok((name.clone(), sampling))
    };
    Ok(Some(Arc::new(Tracing {
        sampling: Arc::new(sampling(&raw.sampling, "tracing.sampling")?),
        tail: raw.tail.as_ref().map(tail).transpose()?.unwrap_or_default(),
        listeners: overrides.iter().map(own).collect::<Result<_, _>>()?,
        overrides: overrides.into_iter().map(|(_, name, own)| (name, own)).collect(),
        raw: raw.clone(),
    })))
}

fn takes_spans(raw: &raw::Tracing, exporters: &[Arc<Exporter>]) -> Result<(), Fault> {
    for (at, name) in raw.exporters.iter().enumerate() {
        let fault = |message: String| Err(Fault::new(format!("tracing.exporters[{at}]"), message));
        match exporters.iter().find(|exporter| exporter.raw.name == *name) {
            None => return fault(format!("there is no exporter `{name}`")),
            Some(exporter) if !exporter.takes(Signal::Traces) => return fault(format!("`{name}` takes no spans")),
            Some(_) if raw.exporters.iter().take(at).any(|other| other == name) => {
                return fault(format!("`{name}` comes twice"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn formats(raw: &raw::Tracing) -> Result<(), Fault> {
    if raw.service_name.is_empty() {
        return Err(Fault::new("tracing.service_name", "must not be empty"));
    }
    if raw.propagation.is_empty() {
        return Err(Fault::new("tracing.propagation", "wants at least one format"));
    }
    for (at, format) in raw.propagation.iter().enumerate() {
        if raw.propagation.iter().take(at).any(|other| other == format) {
            return Err(Fault::new(format!("tracing.propagation[{at}]"), format!("`{}` comes twice", format.name())));
        }
    }
    Ok(())
}

fn tags(raw: &raw::Tracing, catalog: &Catalog) -> Result<(), Fault> {
    if raw.tags.len() > TAGS {
        return Err(Fault::new("tracing.tags", format!("there may be {TAGS} at most")));
    }
    for (name, value) in &raw.tags {
        let path = || format!("tracing.tags.{name}");
        if name.is_empty() {
            return Err(Fault::new(path(), "a tag wants a name"));
        }
        (catalog.compile_value)(value).map_err(|why| Fault::new(path(), why))?;
    }
    Ok(())
}

fn sampling(raw: &raw::TraceSampling, path: &str) -> Result<TraceSampling, Fault> {
    let random = match (&raw.random, &raw.rate) {
        (Some(text), _) => share(text).map_err(|why| Fault::new(format!("{path}.random"), why))?,
        (None, Some(_)) => 1 << 32,
        (None, None) => (1 << 32) / 100,
    };
    let rate = raw.rate.as_deref().map(per_second).transpose();
    let rate = rate.map_err(|why| Fault::new(format!("{path}.rate"), why))?;
    let mut force = BTreeSet::new();
    for (at, name) in raw.force.iter().enumerate() {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() || !force.insert(name.to_ascii_lowercase()) {
            return Err(Fault::new(format!("{path}.force[{at}]"), format!("`{name}` is no name, or comes twice")));
        }
    }
    let header = |(at, raw): (usize, &raw::FieldMatch)| {
        header_matcher(raw).map_err(|(key, why)| {
            let dot = if key.is_empty() { "" } else { "." };
            Fault::new(format!("{path}.headers[{at}]{dot}{key}"), why)
        })
    };
    let headers = raw.headers.iter().enumerate().map(header).collect::<Result<Vec<_>, _>>()?;
    Ok(TraceSampling { force: force.into_iter().collect(), parent: raw.parent, headers: headers.into(), random, rate })
}

fn tail(raw: &raw::TraceTail) -> Result<TraceTail, Fault> {
    let mut flags = ResponseFlags::NONE;
    for (at, text) in raw.flags.iter().enumerate() {
        let path = || format!("tracing.tail.flags[{at}]");
        flags.insert(
            ResponseFlag::parse(text).ok_or_else(|| Fault::new(path(), format!("`{text}` is no response flag")))?,
        );
    }
    if raw.slow.is_some_and(|slow| slow.0 == 0) {
        return Err(Fault::new("tracing.tail.slow", "must be more than 0"));
    }
    if !raw.errors && raw.slow.is_none() && raw.flags.is_empty() {
        return Err(Fault::new("tracing.tail", "wants at least one of `errors`, `slow` and `flags`"));
    }
    Ok(TraceTail { errors: raw.errors, slow: raw.slow.map(ringway_api::Millis::duration), flags })
}

/// Of 2^32, from `1%`.
fn share(text: &str) -> Result<u64, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    let percent = percent.ok_or_else(|| format!("`{text}` is no share of requests such as 1% or 0.01%"))?;
    Ok((percent / 100.0 * (1_u64 << 32) as f64).round() as u64)
}

/// From `100/s`.
fn per_second(text: &str) -> Result<f64, String> {
    let refuse = || format!("`{text}` is no rate such as 100/s, 30/m or 5/h");
    let (number, unit) = text.split_once('/').ok_or_else(refuse)?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(refuse()),
    };
    let number = number.trim().parse::<f64>().ok().filter(|number| (f64::MIN_POSITIVE..=1e9).contains(number));
    number.map(|number| number / seconds).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates_are_read() {
        assert_eq!([share("0%"), share("100%"), share("25 %")], [Ok(0), Ok(1 << 32), Ok(1 << 30)]);
        assert!(share("0.0001%").is_ok_and(|share| share > 0));
        for wrong in ["1", "101%", "-1%", "%", "NaN%", "a lot"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert_eq!([per_second("100/s"), per_second("30/m"), per_second("0.5 / s")], [Ok(100.0), Ok(0.5), Ok(0.5)]);
        for wrong in ["100", "100/d", "0/s", "-1/s", "/s", "inf/s"] {
            assert!(per_second(wrong).is_err(), "{wrong}");
        }
    }
}
