//! What routes do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use ringway_api::{Metadata, Millis};

use super::edits::edits;
use super::matcher::{Keyed, fault, part};
use super::routes::cluster_index;
use super::{Catalog, retry};
use crate::raw;
use crate::route::{
    Clusters, DirectResponse, FallbackCluster, Forward, HashKey, HashPolicy, HostRewrite, Mirror, PathMatch,
    PathRewrite, Redirect, Rewrite, RouteAction, Weighted,
};
use crate::snapshot::Cluster;

/// Envoy's default.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long a tunnel may be idle; as Envoy's TCP proxy.
const TUNNEL_IDLE: Duration = Duration::from_secs(3600);
/// The most content of a direct response, as Envoy's default.
const MAX_BODY: usize = 4 << 10;
/// Clusters among which one route chooses.
const MAX_WEIGHTED: usize = 1 << 16;

/// What actions are compiled with.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) clusters: &'a [Arc<Cluster>],
    pub(super) indices: &'a HashMap<&'a str, usize>,
}

/// The action of a route whose path is matched so.
pub(super) fn action(raw: &raw::Route, path: &PathMatch, around: Around<'_>) -> Result<RouteAction, Keyed> {
    match (&raw.route, &raw.redirect, &raw.direct_response) {
        (Some(action), None, None) => Ok(RouteAction::Forward(forward(action, path, around)?)),
        (None, Some(target), None) => Ok(RouteAction::Redirect(redirect(target, path)?)),
        (None, None, Some(response)) => Ok(RouteAction::Direct(direct(response)?)),
        _ => Err(fault("route", "exactly one of `route`, `redirect` and `direct_response` is needed")),
    }
}

fn forward(raw: &raw::Action, path: &PathMatch, around: Around<'_>) -> Result<Forward, Keyed> {
    let token = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    if let Some(at) = raw.upgrades.iter().position(|name| !token(name)) {
        return Err(fault(format!("route.upgrades[{at}]"), "must be the name of a protocol, such as `websocket`"));
    }
    let not_found = raw.cluster_not_found_response_code.unwrap_or(503);
    let policies = raw.hash_policy.iter().enumerate();
    Ok(Forward {
        clusters: clusters(raw, path, around)?,
        cluster_not_found: status(not_found, 400..600, "route.cluster_not_found_response_code")?,
        fallback: raw
            .fallback_cluster
            .as_ref()
            .map(|fallback| self::fallback(fallback, raw, path, around))
            .transpose()?,
        timeout: raw.timeout.map_or(Some(TIMEOUT), |timeout| timeout.limit()),
        // A call's own deadline is only cut by what was written down, not by a default made for pages.
        call_timeout: raw.timeout.and_then(Millis::limit),
        upgrades: raw.upgrades.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
        tunnel_idle_timeout: raw.tunnel_idle_timeout.map_or(Some(TUNNEL_IDLE), |timeout| timeout.limit()),
        rewrite: rewrite(raw, path)?,
        hash_policy: policies
            .map(|(at, policy)| hash(policy, &format!("route.hash_policy[{at}]")))
            .collect::<Result<_, _>>()?,
        auto_host_rewrite: raw.auto_host_rewrite,
        retry: raw.retry.as_ref().map(retry::compile).transpose()?.map(Box::new),
        mirrors: mirrors(&raw.mirror, path, around)?,
        tell_timeout: !raw.suppress_timeout_header && raw.timeout.is_some_and(|timeout| timeout.0 > 0),
    })
}

fn fallback(
    fallback: &raw::FallbackCluster,
    raw: &raw::Action,
    path: &PathMatch,
    around: Around<'_>,
) -> Result<FallbackCluster, Keyed> {
    let key = "route.fallback_cluster";
    if raw.cluster.as_ref() == Some(&fallback.name) {
        return Err(fault(format!("{key}.name"), "must be another cluster than the route's own"));
    }
    if fallback.on.is_empty() {
        return Err(fault(format!("{key}.on"), "must not be empty"));
    }
    let on = |when| fallback.on.contains(&when);
    Ok(FallbackCluster {
        cluster: around.find(&fallback.name, path, &format!("{key}.name"))?,
        no_healthy_upstream: on(raw::FallbackOn::NoHealthyUpstream),
        connect_failure: on(raw::FallbackOn::ConnectFailure),
        cluster_not_found: on(raw::FallbackOn::ClusterNotFound),
        overflow: on(raw::FallbackOn::Overflow),
    })
}

fn mirrors(raw: &[raw::Mirror], path: &PathMatch, around: Around<'_>) -> Result<Box<[Mirror]>, Keyed> {
    let mirror = |(at, mirror): (usize, &raw::Mirror)| {
        if !(0.0..=100.0).contains(&mirror.fraction) {
            return Err(fault(format!("route.mirror[{at}].fraction"), "must be from 0 to 100"));
        }
        Ok(Mirror {
            cluster: around.find(&mirror.cluster, path, &format!("route.mirror[{at}].cluster"))?,
            // A whole one is more than any number of 32 bits.
            share: (mirror.fraction / 100.0 * (1_u64 << 32) as f64) as u64,
        })
    };
    raw.iter().enumerate().map(mirror).collect()
}

impl Around<'_> {
    /// The index of a cluster that may carry the requests of a route.
    fn find(&self, name: &str, path: &PathMatch, key: &str) -> Result<u32, Keyed> {
        let index = cluster_index(name, self.indices, "").map_err(|fault| (key.to_owned(), fault))?;
        if self.clusters.get(index).is_some_and(|cluster| cluster.is_raw()) && !matches!(path, PathMatch::Connect) {
            let message = format!("cluster `{name}` is `tcp` and carries no requests but `CONNECT`");
            return Err(fault(key, message));
        }
        Ok(index as u32)
    }
}

fn clusters(raw: &raw::Action, path: &PathMatch, around: Around<'_>) -> Result<Clusters, Keyed> {
    let find = |name: &str, key: &str| around.find(name, path, key);
    match (&raw.cluster, raw.weighted_clusters.as_slice(), &raw.cluster_header) {
        (Some(name), [], None) => Ok(Clusters::One(find(name, "route.cluster")?)),
        (None, weighted @ [_, ..], None) if weighted.len() <= MAX_WEIGHTED => {
            let mut end = 0;
            let mut shares = Vec::with_capacity(weighted.len());
            for (at, share) in weighted.iter().enumerate() {
                end += u64::from(share.weight);
                let key = format!("route.weighted_clusters[{at}].");
                shares.push(Weighted {
                    end,
                    cluster: find(&share.name, &format!("{key}name"))?,
                    edits: edits(&share.request_headers, &share.response_headers, around.catalog, &key)?,
                    metadata: metadata([&raw.metadata_match, &share.metadata_match]),
                });
            }
            if end == 0 {
                return Err(fault("route.weighted_clusters", "at least one weight must be more than 0"));
            }
            Ok(Clusters::Weighted(shares.into()))
        }
        (None, [], Some(name)) if http::HeaderName::from_bytes(name.as_bytes()).is_ok() => {
            Ok(Clusters::Header(name.as_str().into()))
        }
        (None, [], Some(name)) => Err(fault("route.cluster_header", format!("`{name}` is no name of a field"))),
        (None, [], None) => Err(fault("route", "`cluster`, `weighted_clusters` or `cluster_header` is needed")),
        (None, _, None) => Err(fault("route.weighted_clusters", format!("at most {MAX_WEIGHTED} are allowed"))),
        _ => Err(fault("route", "`cluster`, `weighted_clusters` and `cluster_header` exclude each other")),
    }
}

/// Metadata of several levels, later ones first.
pub(super) fn metadata<'m>(
    levels: impl IntoIterator<Item = &'m std::collections::BTreeMap<String, String>>,
) -> Option<Arc<Metadata>> {
    let pairs = levels.into_iter().flatten();
    let all: Metadata = pairs.map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect();
    (!all.is_empty()).then(|| Arc::new(all))
}

fn rewrite(raw: &raw::Action, path: &PathMatch) -> Result<Option<Box<Rewrite>>, Keyed> {
    let path = match (&raw.prefix_rewrite, &raw.regex_rewrite, &raw.path_template_rewrite) {
        (None, None, None) => None,
        (Some(text), None, None) => Some(prefix_rewrite(text, path, "route.prefix_rewrite")?),
        (None, Some(regex), None) => Some(regex_rewrite(regex, "route.regex_rewrite")?),
        (None, None, Some(text)) => match path {
            PathMatch::Template(template) => {
                let text = template.rewrite(text).map_err(|error| fault("route.path_template_rewrite", error))?;
                Some(PathRewrite::Template(template.regex.clone(), text.into()))
            }
            _ => return Err(fault("route.path_template_rewrite", "is for routes with a `path_template`")),
        },
        _ => {
            let message = "`prefix_rewrite`, `regex_rewrite` and `path_template_rewrite` exclude each other";
            return Err(fault("route", message));
        }
    };
    let given = [raw.host_rewrite.is_some(), raw.host_rewrite_header.is_some(), raw.auto_host_rewrite];
    if given.into_iter().filter(|given| *given).count() > 1 {
        let message = "`host_rewrite`, `host_rewrite_header` and `auto_host_rewrite` exclude each other";
        return Err(fault("route", message));
    }
    let host = match (&raw.host_rewrite, &raw.host_rewrite_header) {
        (Some(host), _) if host.is_empty() || host.bytes().any(|b| b <= b' ' || b >= 0x7f || b"/?#@".contains(&b)) => {
            return Err(fault("route.host_rewrite", format!("`{host}` is no host")));
        }
        (Some(host), _) => Some(HostRewrite::Literal(host.as_str().into())),
        (None, Some(name)) if http::HeaderName::from_bytes(name.as_bytes()).is_err() => {
            return Err(fault("route.host_rewrite_header", format!("`{name}` is no name of a field")));
        }
        (None, Some(name)) => Some(HostRewrite::Header(name.as_str().into())),
        (None, None) => None,
    };
    if path.is_none() && host.is_none() && raw.query_parameters.is_empty() {
        return Ok(None);
    }
    let parameters = raw.query_parameters.set.iter();
    Ok(Some(Box::new(Rewrite {
        path,
        host,
        set_query: parameters.map(|(name, value)| (encoded(name), encoded(value))).collect(),
        remove_query: raw.query_parameters.remove.iter().map(|name| encoded(name)).collect(),
    })))
}

fn prefix_rewrite(text: &str, path: &PathMatch, key: &str) -> Result<PathRewrite, Keyed> {
    // An empty one takes the prefix away, which leaves a path as long as it ended with a slash or more follows.
    if !text.is_empty() && !text.starts_with('/') {
        return Err(fault(key, format!("`{text}` must begin with `/`")));
    }
    if let Some(at) = text.bytes().position(|b| b <= b' ' || b >= 0x7f || b == b'#') {
        return Err(fault(key, format!("`{text}`: byte {at} cannot stand in a path; percent-encode it")));
    }
    match path {
        PathMatch::Prefix(matched) | PathMatch::Segments(matched) | PathMatch::Exact(matched) => {
            Ok(PathRewrite::Prefix(matched.len(), text.into()))
        }
        PathMatch::Regex(..) | PathMatch::Template(_) | PathMatch::Connect => {
            Err(fault(key, "is for routes with `prefix`, `path` or `path_separated_prefix`; use `regex_rewrite`"))
        }
    }
}

fn regex_rewrite(raw: &raw::RegexRewrite, key: &str) -> Result<PathRewrite, Keyed> {
    let regex = part(&raw.pattern, &format!("{key}.pattern"))?;
    let mut text = String::with_capacity(raw.substitution.len());
    let mut letters = raw.substitution.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '$' => text.push_str("$$"),
            '\\' => match letters.next() {
                Some('\\') => text.push('\\'),
                Some(digit) if digit.to_digit(10).is_some_and(|group| (group as usize) < regex.captures_len()) => {
                    text.push_str(&format!("${{{digit}}}"));
                }
                other => {
                    let shown = other.map(String::from).unwrap_or_default();
                    let message = format!("`\\{shown}` is no group of `{}`", raw.pattern);
                    return Err(fault(format!("{key}.substitution"), message));
                }
            },
            letter if letter <= ' ' || letter >= '\x7f' => {
                return Err(fault(format!("{key}.substitution"), "only what can stand in a path is allowed"));
            }
            letter => text.push(letter),
        }
    }
    Ok(PathRewrite::Regex(regex, text.into()))
}

/// Percent-encodes what cannot stand in a query's parameter (RFC 3986, section 3.4).
fn encoded(text: &str) -> Box<str> {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$'()*,;:@/?".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out.into()
}

fn hash(raw: &raw::HashPolicy, key: &str) -> Result<HashPolicy, Keyed> {
    let name = |name: &String, key: String| {
        if http::HeaderName::from_bytes(name.as_bytes()).is_ok() {
            Ok(name.as_str().into())
        } else {
            Err(fault(key, format!("`{name}` is no name")))
        }
    };
    let wanted = match (&raw.header, &raw.cookie, raw.source_ip, &raw.query_parameter) {
        (Some(header), None, false, None) => HashKey::Header(name(header, format!("{key}.header"))?),
        (None, Some(cookie), false, None) => {
            let made = cookie.ttl.map(|ttl| cookie_attributes(ttl, cookie.path.as_deref(), key)).transpose()?;
            HashKey::Cookie(name(&cookie.name, format!("{key}.cookie.name"))?, made)
        }
        (None, None, true, None) => HashKey::SourceIp,
        (None, None, false, Some(parameter)) => HashKey::Query(encoded(parameter)),
        _ => {
            let message = "exactly one of `header`, `cookie`, `source_ip` and `query_parameter` is needed";
            return Err(fault(key, message));
        }
    };
    Ok(HashPolicy { key: wanted, terminal: raw.terminal })
}

/// What stands behind the value of a cookie that is made here (RFC 6265, section 4.1).
fn cookie_attributes(ttl: Millis, path: Option<&str>, key: &str) -> Result<Box<str>, Keyed> {
    let mut text = String::new();
    if let Some(ttl) = ttl.limit() {
        text.push_str(&format!("; Max-Age={}", ttl.as_secs().max(1)));
    }
    if let Some(path) = path {
        if path.bytes().any(|b| !(b' '..0x7f).contains(&b) || b == b';') {
            return Err(fault(format!("{key}.cookie.path"), format!("`{path}` cannot be a cookie's path")));
        }
        text.push_str(&format!("; Path={path}"));
    }
    text.push_str("; HttpOnly");
    Ok(text.into())
}

fn redirect(raw: &raw::Redirect, path: &PathMatch) -> Result<Redirect, Keyed> {
    let scheme = match (raw.https, &raw.scheme) {
        (true, Some(_)) => return Err(fault("redirect", "`https` and `scheme` exclude each other")),
        (true, None) => Some("https".into()),
        (false, Some(scheme)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => {
            Some(scheme.as_str().into())
        }
        (false, Some(scheme)) => return Err(fault("redirect.scheme", format!("`{scheme}` is no scheme"))),
        (false, None) => None,
    };
    if let Some(host) = &raw.host
        && (host.is_empty() || host.bytes().any(|b| b <= b' ' || b >= 0x7f || b"/?#@".contains(&b)))
    {
        return Err(fault("redirect.host", format!("`{host}` is no host")));
    }
    let path = match (&raw.path, &raw.prefix_rewrite, &raw.regex_rewrite) {
        (None, None, None) => None,
        (Some(text), None, None) if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()) => {
            Some(PathRewrite::Whole(text.as_str().into()))
        }
        (Some(text), None, None) => {
            return Err(fault("redirect.path", format!("`{text}` must be a path that begins with `/`")));
        }
        (None, Some(text), None) => Some(prefix_rewrite(text, path, "redirect.prefix_rewrite")?),
        (None, None, Some(regex)) => Some(regex_rewrite(regex, "redirect.regex_rewrite")?),
        _ => return Err(fault("redirect", "`path`, `prefix_rewrite` and `regex_rewrite` exclude each other")),
    };
    let code = raw.response_code.unwrap_or(301);
    if ![301, 302, 303, 307, 308].contains(&code) {
        return Err(fault("redirect.response_code", format!("{code} is none of 301, 302, 303, 307 and 308")));
    }
    Ok(Redirect {
        scheme,
        host: raw.host.as_deref().map(Into::into),
        port: raw.port,
        path,
        status: status(code, 300..400, "redirect.response_code")?,
        strip_query: raw.strip_query,
    })
}

fn direct(raw: &raw::DirectResponse) -> Result<DirectResponse, Keyed> {
    let body = match &raw.body {
        None => Vec::new(),
        Some(raw::DirectBody::Inline(text)) => text.clone().into_bytes(),
        Some(raw::DirectBody::File(raw::BodyFile { file })) => {
            std::fs::read(file).map_err(|error| fault("direct_response.body.file", format!("{file}: {error}")))?
        }
    };
    if body.len() > MAX_BODY {
        let message = format!("{} bytes; {MAX_BODY} are allowed", body.len());
        return Err(fault("direct_response.body", message));
    }
    Ok(DirectResponse { status: status(raw.status, 200..600, "direct_response.status")?, body: body.into() })
}

fn status(code: u16, allowed: std::ops::Range<u16>, key: &str) -> Result<StatusCode, Keyed> {
    match StatusCode::from_u16(code) {
        Ok(status) if allowed.contains(&code) => Ok(status),
        _ => Err(fault(key, format!("{code} is not between {} and {}", allowed.start, allowed.end - 1))),
    }
}
