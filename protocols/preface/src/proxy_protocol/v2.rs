//! The block of version 2 (section 2.2).

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use ringway_api::Address;

use super::{Kind, Limits, Parsed, Tlvs};
use crate::reader::Reader;

/// The first 12 bytes.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
pub(super) const FIXED_BYTES: usize = 16;

/// Version 2 with the commands LOCAL and PROXY.
pub(super) const LOCAL: u8 = 0x20;
pub(super) const PROXY: u8 = 0x21;

/// Families with SOCK_STREAM.
pub(super) const UNSPEC: u8 = 0x00;
pub(super) const INET: u8 = 0x11;
pub(super) const INET6: u8 = 0x21;
pub(super) const UNIX: u8 = 0x31;

/// A path of a unix address, with its NUL if it is shorter.
pub(super) const UNIX_PATH_BYTES: usize = 108;

/// Reads the block at the front of `prefix`, which begins with [`SIGNATURE`]. Each byte is judged as soon as it is
/// there, so that a sender who waits hears of its fault.
pub(super) fn parse(prefix: &[u8], limits: Limits) -> Parsed<'_> {
    match parse_checked(prefix, limits) {
        Ok(parsed) => parsed,
        Err(reason) => Parsed::Malformed(reason),
    }
}

fn parse_checked(prefix: &[u8], limits: Limits) -> Result<Parsed<'_>, &'static str> {
    let need_fixed = Parsed::NeedMore(FIXED_BYTES.saturating_sub(prefix.len()).max(1));
    let mut fixed = Reader(prefix.get(SIGNATURE.len()..).unwrap_or_default());
    let Some(command) = fixed.u8() else { return Ok(need_fixed) };
    if !matches!(command, LOCAL | PROXY) {
        return Err("PROXY header: neither version 2 nor a command of it");
    }
    let Some(family) = fixed.u8() else { return Ok(need_fixed) };
    let address_bytes = match (command, family) {
        // The family means nothing then.
        (LOCAL, _) => 0,
        (_, UNSPEC | 0x01) => 0,
        (_, INET) => 12,
        (_, INET6) => 36,
        (_, UNIX) => 2 * UNIX_PATH_BYTES,
        (_, 0x02 | 0x12 | 0x22 | 0x32) => return Err("PROXY header: datagrams on a stream"),
        _ => return Err("PROXY header: unknown family or transport"),
    };
    let Some(len) = fixed.u16() else { return Ok(need_fixed) };
    let len = usize::from(len);
    let consumed = FIXED_BYTES + len;
    if consumed > limits.header_bytes {
        return Err("PROXY header: longer than the limit");
    }
    if len < address_bytes {
        return Err("PROXY header: too short for its addresses");
    }
    let Some(header) = prefix.get(..consumed) else {
        return Ok(Parsed::NeedMore(consumed - prefix.len()));
    };
    let kind = match (command, family) {
        (LOCAL, _) => Kind::Local,
        (_, UNSPEC | 0x01) => Kind::Unknown,
        _ => addresses(family, header).ok_or("PROXY header: too short for its addresses")?,
    };
    // Without a family nobody can say where addresses end and TLVs begin: all of it is skipped.
    let tlvs = match kind {
        Kind::Proxied { .. } => Tlvs::checked(header, FIXED_BYTES + address_bytes)?,
        Kind::Local | Kind::Unknown => Tlvs::default(),
    };
    Ok(Parsed::Header { consumed, kind, tlvs })
}

fn addresses(family: u8, header: &[u8]) -> Option<Kind> {
    let mut block = Reader(header.get(FIXED_BYTES..)?);
    let (source, destination) = match family {
        INET => ip_pair::<4>(&mut block)?,
        INET6 => ip_pair::<16>(&mut block)?,
        _ => (unix(block.take(UNIX_PATH_BYTES)?), unix(block.take(UNIX_PATH_BYTES)?)),
    };
    Some(Kind::Proxied { source, destination })
}

fn ip_pair<const N: usize>(block: &mut Reader<'_>) -> Option<(Address, Address)>
where
    IpAddr: From<[u8; N]>,
{
    let (source, destination) = (block.array::<N>()?, block.array::<N>()?);
    let (source_port, destination_port) = (block.u16()?, block.u16()?);
    let end = |ip: [u8; N], port| Address::Ip(SocketAddr::new(ip.into(), port));
    Some((end(source, source_port), end(destination, destination_port)))
}

/// A path ends at its NUL. One that begins with NUL is of an unnamed socket, or of an abstract one, whose length the
/// header does not tell.
fn unix(bytes: &[u8]) -> Address {
    let path = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Address::Unix(PathBuf::from(OsStr::from_bytes(path)))
}
