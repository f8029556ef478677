//! Transport security, as far as it can be checked without its files.

use regex::Regex;

use crate::error::Fault;
use crate::raw::{ClusterTls, ListenerTls, SanMatch, TlsVersion};

/// The application protocols that a listener offers: those given, or `usual`.
pub(super) fn listener(raw: &ListenerTls, usual: Vec<String>, path: &str) -> Result<Vec<String>, Fault> {
    if raw.certificates.is_empty() {
        return Err(Fault::new(format!("{path}.certificates"), "at least one certificate is needed"));
    }
    versions(raw.min_version, raw.max_version, path)?;
    sans(&raw.client_san, &format!("{path}.client_san"))?;
    if raw.client_ca.is_none() {
        let needs = [
            (raw.require_client_certificate, "require_client_certificate"),
            (!raw.client_san.is_empty(), "client_san"),
            (!raw.client_crl.is_empty(), "client_crl"),
        ];
        if let Some((_, key)) = needs.into_iter().find(|(given, _)| *given) {
            let message = format!("`{key}` needs a `client_ca` that clients' certificates are verified with");
            return Err(Fault::new(format!("{path}.{key}"), message));
        }
    }
    if raw.handshake_timeout.0 == 0 {
        return Err(Fault::new(format!("{path}.handshake_timeout"), "must be more than 0"));
    }
    alpn(raw.alpn.as_ref(), usual, path)
}

/// The same of a cluster.
pub(super) fn cluster(raw: &ClusterTls, usual: Vec<String>, path: &str) -> Result<Vec<String>, Fault> {
    versions(raw.min_version, raw.max_version, path)?;
    sans(&raw.san, &format!("{path}.san"))?;
    if raw.insecure_skip_verify {
        let contradicts = [(raw.ca.is_some(), "ca"), (!raw.san.is_empty(), "san"), (!raw.crl.is_empty(), "crl")];
        if let Some((_, key)) = contradicts.into_iter().find(|(given, _)| *given) {
            let message = format!("`insecure_skip_verify` trusts any host; `{key}` would have no effect");
            return Err(Fault::new(format!("{path}.insecure_skip_verify"), message));
        }
    }
    alpn(raw.alpn.as_ref(), usual, path)
}

fn alpn(given: Option<&Vec<String>>, usual: Vec<String>, path: &str) -> Result<Vec<String>, Fault> {
    let Some(given) = given else { return Ok(usual) };
    // RFC 7301, section 3.1
    if let Some(at) = given.iter().position(|name| name.is_empty() || name.len() > 255) {
        return Err(Fault::new(format!("{path}.alpn[{at}]"), "must have 1 to 255 bytes"));
    }
    Ok(given.clone())
}

fn versions(min: TlsVersion, max: TlsVersion, path: &str) -> Result<(), Fault> {
    if min > max {
        return Err(Fault::new(format!("{path}.min_version"), "must not be newer than `max_version`"));
    }
    Ok(())
}

fn sans(matches: &[SanMatch], path: &str) -> Result<(), Fault> {
    for (at, san) in matches.iter().enumerate() {
        let SanMatch { san_type: _, exact, prefix, suffix, contains, safe_regex } = san;
        let given = [exact, prefix, suffix, contains, safe_regex].into_iter().flatten();
        if given.count() != 1 {
            let message = "exactly one of `exact`, `prefix`, `suffix`, `contains` and `safe_regex` is needed";
            return Err(Fault::new(format!("{path}[{at}]"), message));
        }
        if let Some(pattern) = safe_regex
            && let Err(error) = Regex::new(pattern)
        {
            return Err(Fault::new(format!("{path}[{at}].safe_regex"), error.to_string()));
        }
    }
    Ok(())
}
