//! Access logs: what is wrong with them. What is right is compiled by whoever writes them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Catalog;
use crate::error::Fault;
use crate::exporter::{Exporter, Signal};
use crate::raw;

/// The shortest interval at which connections are logged.
const LEAST_INTERVAL: u64 = 100;
/// Attributes that an exported record may have besides what is known of every request.
const ATTRIBUTES: usize = 64;

/// Checks the logs of all listeners together: a file is kept in one way, and the exporters are there.
pub(super) fn check_all(listeners: &[raw::Listener], exporters: &[Arc<Exporter>]) -> Result<(), Fault> {
    let mut files = HashMap::new();
    for (listener, at) in listeners.iter().zip(0..) {
        for (log, path) in listener.access_log.as_slice().iter().zip(paths(listener, at)) {
            if let Some(name) = &log.exporter {
                let fault = |message: String| Err(Fault::new(format!("{path}.exporter"), message));
                match exporters.iter().find(|exporter| exporter.raw.name == *name) {
                    None => return fault(format!("there is no exporter `{name}`")),
                    Some(exporter) if !exporter.takes(Signal::Logs) => {
                        return fault(format!("`{name}` takes no access logs"));
                    }
                    Some(_) => continue,
                }
            }
            let (kept, first) = files.entry(&log.path).or_insert(((log.rotate, &log.mode), &listener.name));
            if *kept != (log.rotate, &log.mode) {
                let message = format!("listener `{first}` has other `rotate` or `mode` for `{}`", log.path);
                return Err(Fault::new(format!("{path}.path"), message));
            }
        }
    }
    Ok(())
}

/// Checks the logs of one listener.
pub(super) fn check(listener: &raw::Listener, at: usize, catalog: &Catalog) -> Result<(), Fault> {
    for (log, path) in listener.access_log.as_slice().iter().zip(paths(listener, at)) {
        let fault = |key: &str, message: &str| Err(Fault::new(format!("{path}.{key}"), message));
        if log.path.is_empty() == log.exporter.is_none() {
            return fault("path", "exactly one of `path` and `exporter`");
        }
        if log.exporter.is_some() {
            let only_files = [
                ("rotate", log.rotate.is_some()),
                ("mode", log.mode.is_some()),
                ("omit_empty_values", log.omit_empty_values),
                ("format", matches!(&log.format, raw::LogFormat::Json(_)) || log.format.is("json")),
            ];
            if let Some((key, _)) = only_files.into_iter().find(|(_, is_set)| *is_set) {
                return fault(key, "is for files; an exporter's records have `attributes`, and a line as `format`");
            }
        } else if !log.attributes.is_empty() {
            return fault("attributes", "are for exporters; a file's lines have a `format`");
        }
        if log.attributes.len() > ATTRIBUTES {
            return fault("attributes", &format!("there may be {ATTRIBUTES} at most"));
        }
        if let Some(rotate) = log.rotate {
            if log.path.starts_with("/dev/") {
                return fault("rotate", "is for files");
            }
            if rotate.max_size.0 < 4096 {
                return fault("rotate.max_size", "must be at least 4KiB");
            }
            if !(1..=1_000).contains(&rotate.keep) {
                return fault("rotate.keep", "must be 1 to 1000");
            }
        }
        (catalog.check_access_log)(log).map_err(|(key, why)| Fault::new(format!("{path}.{key}"), why))?;
    }
    let Some(options) = listener.access_log_options else { return Ok(()) };
    let fault = |key: &str, message: &str| Err(Fault::new(format!("listeners[{at}].{key}"), message));
    if options.flush_interval.is_some_and(|interval| interval.0 < LEAST_INTERVAL) {
        return fault("access_log_options.flush_interval", "must be at least 100ms");
    }
    if listener.access_log.is_none() {
        return fault("access_log_options", "there is no `access_log`");
    }
    let is_tcp = listener.protocol.is(super::TCP) || listener.filter_chains.iter().any(|c| c.protocol.is(super::TCP));
    if !is_tcp {
        return fault("access_log_options", "is for `protocol: tcp`");
    }
    Ok(())
}

/// Where the logs of a listener stand.
fn paths(listener: &raw::Listener, at: usize) -> impl Iterator<Item = String> {
    let one = matches!(listener.access_log, raw::AccessLogs::One(_));
    (0..).map(move |log| match one {
        true => format!("listeners[{at}].access_log"),
        false => format!("listeners[{at}].access_log[{log}]"),
    })
}
