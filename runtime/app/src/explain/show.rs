//! An explanation as text.

use std::fmt::Write;

use serde_json::Value;

use super::{Explanation, Outcome, Routed, Sent, Upstream};

/// Lines for people.
pub(crate) fn text(of: &Explanation) -> String {
    let mut out = String::new();
    let Sent { method, authority, path, .. } = &of.request;
    line(&mut out, "request", format_args!("{method} {authority}{path}"));
    line(&mut out, "listener", format_args!("{} ({})", of.listener.name, of.listener.address));
    for chain in of.chains.iter().filter(|chain| !chain.name.is_empty()) {
        line(&mut out, "chain", format_args!("{}: {}", chain.name, chain.why));
    }
    if let Some(routing) = &of.routing {
        routed(&mut out, routing);
    }
    for filter in &of.filters {
        let place = if filter.of_route { " (of the route)" } else { "" };
        line(&mut out, "filter", format_args!("{}{place}: {}", filter.name, filter.does));
        for change in &filter.changes {
            line(&mut out, "", format_args!("  {change}"));
        }
    }
    if let Some(routing) = &of.rerouted {
        line(&mut out, "again", format_args!("a filter has changed what routes look at"));
        routed(&mut out, routing);
    }
    outcome(&mut out, of);
    for upstream in &of.upstreams {
        upstream_lines(&mut out, upstream);
    }
    out
}

fn routed(out: &mut String, routing: &Routed) {
    match &routing.virtual_host {
        None => return line(out, "virtual host", format_args!("none has this domain")),
        Some(host) => {
            let name = host.name.as_ref().map_or_else(String::new, |name| format!("{name}: "));
            line(out, "virtual host", format_args!("{name}{}", host.domains.join(", ")));
        }
    }
    if routing.not_shown > 0 {
        line(out, "not", format_args!("the first {} routes", routing.not_shown));
    }
    for passed in &routing.passed_over {
        let name = passed.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        line(out, "not", format_args!("route {}{name} {}: {} is not met", passed.at, passed.matches, passed.unmet));
    }
    match &routing.route {
        None => line(out, "route", format_args!("none matches")),
        Some(route) => {
            let name = route.config.get("name").and_then(Value::as_str).map_or_else(String::new, |n| format!(" {n}"));
            let matches = route.config.get("match").cloned().unwrap_or_default();
            line(out, "route", format_args!("{}{name} {matches}", route.at));
            if let Some(chance) = route.chance {
                line(
                    out,
                    "",
                    format_args!("by chance: {chance} % of such requests; the others go on to the next route"),
                );
            }
            for key in ["route", "redirect", "direct_response"] {
                if let Some(said) = route.config.get(key).filter(|said| !said.is_null()) {
                    members(out, said);
                }
            }
        }
    }
}

fn members(out: &mut String, value: &Value) {
    let Some(members) = value.as_object() else { return };
    for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        line(out, "", format_args!("  {key}: {value}"));
    }
}

fn outcome(out: &mut String, of: &Explanation) {
    match &of.outcome {
        Outcome::Closed => line(out, "outcome", format_args!("no chain takes the connection: it is closed")),
        Outcome::Malformed { status } => line(out, "outcome", format_args!("{status}: the path cannot be normalised")),
        Outcome::NoRoute { status } => line(out, "outcome", format_args!("{status}: no route")),
        Outcome::Answered { by, status, body } => {
            line(out, "outcome", format_args!("{status}, answered by {by}: {body}"));
        }
        Outcome::Reset { by } => line(out, "outcome", format_args!("the stream is reset by {by}")),
        Outcome::Redirect { .. } => line(out, "outcome", format_args!("a redirect")),
        Outcome::DirectResponse { status } => line(out, "outcome", format_args!("{status}, by the route itself")),
        Outcome::NoCluster { field } => {
            line(out, "outcome", format_args!("no cluster: the field {field} names none that is there"));
        }
        Outcome::Bytes { cluster } => line(out, "outcome", format_args!("bytes to {cluster}")),
        Outcome::Forward { request, timeout_ms, retries } => {
            let Sent { method, authority, path, headers } = request;
            line(out, "sent", format_args!("{method} {authority}{path}"));
            for (name, value) in headers {
                line(out, "", format_args!("  {name}: {value}"));
            }
            let within = timeout_ms.map_or_else(|| "for ever".to_owned(), |timeout| format!("{timeout} ms"));
            let retried = if *retries { "as the route's retry says" } else { "never" };
            line(out, "waits", format_args!("{within} for the response; asks again {retried}"));
        }
    }
}

fn upstream_lines(out: &mut String, upstream: &Upstream) {
    line(out, "cluster", format_args!("{}: {:.2} % of such requests", upstream.cluster, upstream.share));
    members(out, &upstream.config);
    for host in &upstream.hosts {
        let priority = if host.priority > 0 { format!(", priority {}", host.priority) } else { String::new() };
        let state = host.state.as_ref().map_or_else(String::new, |state| format!(", {state}"));
        line(out, "host", format_args!("{} (weight {}{priority}{state})", host.address, host.weight));
    }
}

fn line(out: &mut String, what: &str, rest: std::fmt::Arguments<'_>) {
    let written = writeln!(out, "{what:<13} {rest}");
    debug_assert!(written.is_ok(), "a string takes everything");
}
