//! The body of a ClientHello.

use super::{ClientHello, Protocols, name};
use crate::reader::Reader;

// Extensions (RFC 8446, section 4.2).
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// Reads what follows the handshake header.
pub(super) fn read(body: &[u8]) -> Result<ClientHello, &'static str> {
    let mut rest = Reader(body);
    let (legacy_version, extensions) = fixed(&mut rest)?;
    let mut hello = ClientHello { server_name: None, alpn: Protocols::default(), versions: Vec::new(), legacy: true };
    let mut kinds = Vec::new();
    let mut rest = Reader(extensions);
    while !rest.is_empty() {
        let (Some(kind), Some(data)) = (rest.u16(), rest.vector16()) else {
            return Err("ClientHello: an extension does not fit");
        };
        kinds.push(kind);
        match kind {
            SERVER_NAME => hello.server_name = Some(server_name(data)?),
            ALPN => hello.alpn = protocols(data)?,
            SUPPORTED_VERSIONS => {
                hello.versions = versions(data)?;
                hello.legacy = false;
            }
            _ => {}
        }
    }
    // Section 4.2: there MUST NOT be more than one extension of a type. Two readers could believe different ones.
    kinds.sort_unstable();
    if kinds.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err("ClientHello: an extension comes twice");
    }
    if hello.legacy {
        hello.versions.push(legacy_version);
    }
    Ok(hello)
}

/// GREASE names are two equal bytes 0x?A (RFC 8701, section 2).
pub(super) fn is_grease_name(name: &[u8]) -> bool {
    matches!(name, [a, b] if is_grease(u16::from_be_bytes([*a, *b])))
}

fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// What stands before the extensions: `legacy_version`, and where the extensions lie (nowhere in an old hello).
fn fixed<'a>(rest: &mut Reader<'a>) -> Result<(u16, &'a [u8]), &'static str> {
    const CUT: &str = "ClientHello: cut short";
    let version = rest.u16().ok_or(CUT)?;
    if version >> 8 != 3 {
        return Err("ClientHello: another major version");
    }
    rest.take(32).ok_or(CUT)?;
    if rest.vector8().ok_or(CUT)?.len() > 32 {
        return Err("ClientHello: a session id of more than 32 bytes");
    }
    let suites = rest.vector16().ok_or(CUT)?;
    if suites.is_empty() || suites.len() % 2 != 0 {
        return Err("ClientHello: cipher suites are not a list of two-byte numbers");
    }
    if rest.vector8().ok_or(CUT)?.is_empty() {
        return Err("ClientHello: no compression method");
    }
    if rest.is_empty() {
        return Ok((version, &[]));
    }
    let extensions = rest.vector16().ok_or("ClientHello: extensions do not fit")?;
    if !rest.is_empty() {
        return Err("ClientHello: bytes after the extensions");
    }
    Ok((version, extensions))
}

/// RFC 6066, section 3: one name of the one type there is.
fn server_name(data: &[u8]) -> Result<String, &'static str> {
    const SHAPE: &str = "ClientHello: server_name is not a list of one host name";
    const HOST_NAME: u8 = 0;
    let mut outer = Reader(data);
    let mut list = Reader(outer.vector16().ok_or(SHAPE)?);
    let (Some(HOST_NAME), Some(host)) = (list.u8(), list.vector16()) else { return Err(SHAPE) };
    if !list.is_empty() || !outer.is_empty() {
        return Err(SHAPE);
    }
    name::dns_name(host)
}

/// RFC 7301, section 3.1: at least one name, none empty.
fn protocols(data: &[u8]) -> Result<Protocols, &'static str> {
    const SHAPE: &str = "ClientHello: ALPN is not a list of names";
    let mut outer = Reader(data);
    let list = outer.vector16().ok_or(SHAPE)?;
    let mut rest = Reader(list);
    if list.is_empty() || !outer.is_empty() {
        return Err(SHAPE);
    }
    while !rest.is_empty() {
        if rest.vector8().ok_or(SHAPE)?.is_empty() {
            return Err("ClientHello: an empty ALPN name");
        }
    }
    Ok(Protocols { list: list.into() })
}

/// RFC 8446, section 4.2.1.
fn versions(data: &[u8]) -> Result<Vec<u16>, &'static str> {
    const SHAPE: &str = "ClientHello: supported_versions is not a list of two-byte numbers";
    let mut outer = Reader(data);
    let list = outer.vector8().ok_or(SHAPE)?;
    if list.is_empty() || list.len() % 2 != 0 || !outer.is_empty() {
        return Err(SHAPE);
    }
    let mut rest = Reader(list);
    Ok(std::iter::from_fn(|| rest.u16()).filter(|version| !is_grease(*version)).collect())
}
