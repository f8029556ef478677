//! The line of version 1 (section 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ringway_api::Address;

use super::{Kind, Parsed, Tlvs};

/// What follows these bytes must be read as version 1.
pub(super) const START: &[u8] = b"PROXY";

/// The longest line, its CRLF included.
pub(super) const LINE_BYTES: usize = 107;

/// `\r\n`, and before it at least ` UNKNOWN`.
const SHORTEST: usize = 15;

/// Reads the line at the front of `prefix`, which begins with [`START`].
pub(super) fn parse(prefix: &[u8]) -> Parsed<'static> {
    let window = prefix.get(..LINE_BYTES).unwrap_or(prefix);
    let line = match window.iter().position(|byte| matches!(byte, b'\r' | b'\n')).map(|end| window.split_at(end)) {
        Some((line, [b'\r', b'\n', ..])) => line,
        Some((_, [b'\r'])) if window.len() < LINE_BYTES => return Parsed::NeedMore(1),
        Some((_, [b'\r'])) => return Parsed::Malformed("PROXY line: longer than 107 bytes"),
        Some(_) => return Parsed::Malformed("PROXY line: CR or LF alone"),
        None if window.len() < LINE_BYTES => {
            return Parsed::NeedMore(SHORTEST.saturating_sub(window.len()).max(2));
        }
        None => return Parsed::Malformed("PROXY line: longer than 107 bytes"),
    };
    match addresses(line) {
        Ok(kind) => Parsed::Header { consumed: line.len() + 2, kind, tlvs: Tlvs::default() },
        Err(reason) => Parsed::Malformed(reason),
    }
}

fn addresses(line: &[u8]) -> Result<Kind, &'static str> {
    const FIELDS: &str = "PROXY line: not four fields with single spaces between";
    let rest = line.strip_prefix(b"PROXY ").ok_or("PROXY line: no space after PROXY")?;
    // Whatever follows UNKNOWN is to be ignored.
    if rest == b"UNKNOWN" || rest.starts_with(b"UNKNOWN ") {
        return Ok(Kind::Unknown);
    }
    let v4 = rest.starts_with(b"TCP4 ");
    if !v4 && !rest.starts_with(b"TCP6 ") {
        return Err("PROXY line: family is none of TCP4, TCP6, UNKNOWN");
    }
    let text = str::from_utf8(rest).map_err(|_| "PROXY line: not ASCII")?;
    let mut fields = text.split(' ').skip(1);
    let (Some(source), Some(destination), Some(source_port), Some(destination_port), None) =
        (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(FIELDS);
    };
    let ip = |text| if v4 { ip::<Ipv4Addr>(text) } else { ip::<Ipv6Addr>(text) };
    let end = |ip, port| Address::Ip(SocketAddr::new(ip, port));
    Ok(Kind::Proxied {
        source: end(ip(source)?, port(source_port)?),
        destination: end(ip(destination)?, port(destination_port)?),
    })
}

/// The standard library is as strict as the specification: four numbers without leading zeros, or 128 bits with one
/// `::` at most and no zone. It also takes an IPv4 address at the end of an IPv6 one, as `inet_ntop` writes them.
fn ip<T: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, &'static str> {
    text.parse::<T>().map(Into::into).map_err(|_| "PROXY line: an address is not one of its family")
}

fn port(text: &str) -> Result<u16, &'static str> {
    const PORT: &str = "PROXY line: a port is not a number from 0 to 65535 without leading zeros";
    // `parse` would take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) || (text.len() > 1 && text.starts_with('0')) {
        return Err(PORT);
    }
    text.parse().map_err(|_| PORT)
}
