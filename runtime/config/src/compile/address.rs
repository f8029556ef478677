//! Addresses.

use std::net::SocketAddr;

use ringway_api::Address;

use crate::snapshot::Target;

/// Reads `ip:port` or `unix:/path`.
pub(crate) fn listen(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path);
    }
    text.parse::<SocketAddr>()
        .map(Address::Ip)
        .map_err(|_| format!("`{text}` is no address: write ip:port, [v6]:port or unix:/path"))
}

/// Reads `ip:port`, `name:port` or `unix:/path`.
pub(crate) fn endpoint(text: &str) -> Result<Target, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(Target::Address);
    }
    if let Ok(ip) = text.parse::<SocketAddr>() {
        if ip.port() == 0 {
            return Err(format!("`{text}`: port 0 cannot be connected to"));
        }
        return Ok(Target::Address(Address::Ip(ip)));
    }
    let wanted = || format!("`{text}` is no endpoint: write ip:port, name:port or unix:/path");
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wanted)?;
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    // All digits in the last label would be a mistyped IPv4 address.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > 253 || numeric || !name.split('.').all(label) {
        return Err(wanted());
    }
    Ok(Target::Name { host: host.to_ascii_lowercase(), port })
}

fn unix(path: &str) -> Result<Address, String> {
    // sun_path holds 108 bytes with its terminator.
    if !path.starts_with('/') || path.len() > 107 {
        return Err(format!("`unix:{path}`: an absolute path of at most 107 bytes is needed"));
    }
    Ok(Address::Unix(path.into()))
}
