//! Headers for hosts that want to know the client.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

use ringway_api::Address;

use super::HEADER_BYTES;
use super::crc32c::Crc32c;
use super::tlv::{ALPN, AUTHORITY, CRC32C, NETNS, SSL, Tlv, UNIQUE_ID, UNIQUE_ID_BYTES};
use super::v2::{FIXED_BYTES, INET, INET6, LOCAL, PROXY, SIGNATURE, UNIX, UNIX_PATH_BYTES, UNSPEC};

/// The TLVs do not fit into a header: above [`HEADER_BYTES`] in all, or a unique id above 128 bytes. Nothing was
/// written; leave some out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a PROXY header of more than {HEADER_BYTES} bytes, or a unique id of more than {UNIQUE_ID_BYTES}")
    }
}

impl std::error::Error for TooLong {}

/// Appends the line of version 1 to `out`, at most 107 bytes (section 2.1). Addresses of different IP versions become
/// IPv6, the IPv4 one mapped (RFC 4291, section 2.5.5.2); with a unix socket on a side the line says `UNKNOWN`.
pub fn encode_v1(source: &Address, destination: &Address, out: &mut Vec<u8>) {
    let line = match ends(source, destination) {
        Ends::V4(source, destination) | Ends::V6(source, destination) => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (text(source.ip()), text(destination.ip()));
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
        Ends::Unix(..) | Ends::Unknown => "PROXY UNKNOWN\r\n".into(),
    };
    out.extend_from_slice(line.as_bytes());
}

/// Appends a header of version 2 with the command PROXY to `out` (section 2.2). Addresses of different IP versions
/// become IPv6, the IPv4 one mapped; two unix sockets are `AF_UNIX`; an IP address and a unix socket together, or a
/// path of more than 108 bytes, are `AF_UNSPEC`, whose TLVs a receiver may skip.
///
/// # Errors
/// When the TLVs are too long; `out` is as it was.
pub fn encode_v2(source: &Address, destination: &Address, tlvs: &[Tlv<'_>], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let start = out.len();
    let mut writer = Writer { out, start, checksum_at: None };
    match ends(source, destination) {
        Ends::V4(source, destination) => writer.ip(INET, source, destination),
        Ends::V6(source, destination) => writer.ip(INET6, source, destination),
        Ends::Unix(source, destination) => {
            writer.fixed(PROXY, UNIX);
            writer.path(source);
            writer.path(destination);
        }
        Ends::Unknown => writer.fixed(PROXY, UNSPEC),
    }
    let written = tlvs.iter().try_for_each(|tlv| writer.tlv(tlv)).and_then(|()| writer.finish());
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Appends a header of version 2 with the command LOCAL to `out`: 16 bytes that say that the connection is our own,
/// such as a health check.
pub fn encode_local(out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[LOCAL, UNSPEC, 0, 0]);
}

/// Two addresses in one family.
enum Ends<'a> {
    V4(SocketAddr, SocketAddr),
    V6(SocketAddr, SocketAddr),
    Unix(&'a [u8], &'a [u8]),
    Unknown,
}

fn ends<'a>(source: &'a Address, destination: &'a Address) -> Ends<'a> {
    match (source, destination) {
        (Address::Ip(source), Address::Ip(destination)) if source.is_ipv4() && destination.is_ipv4() => {
            Ends::V4(*source, *destination)
        }
        (Address::Ip(source), Address::Ip(destination)) => Ends::V6(mapped(*source), mapped(*destination)),
        (Address::Unix(source), Address::Unix(destination)) => {
            let (source, destination) = (source.as_os_str().as_bytes(), destination.as_os_str().as_bytes());
            match source.len().max(destination.len()) {
                0..=UNIX_PATH_BYTES => Ends::Unix(source, destination),
                _ => Ends::Unknown,
            }
        }
        _ => Ends::Unknown,
    }
}

fn mapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(v6(address.ip()).into(), address.port())
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// IPv6 addresses of version 1 are hexadecimal throughout; mapped ones would be shown with dots.
fn text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(_) => {
                let [.., high, low] = ip.segments();
                format!("::ffff:{high:x}:{low:x}")
            }
            None => ip.to_string(),
        },
        IpAddr::V4(ip) => ip.to_string(),
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Where the header begins in `out`.
    start: usize,
    checksum_at: Option<usize>,
}

impl Writer<'_> {
    fn fixed(&mut self, command: u8, family: u8) {
        self.out.extend_from_slice(SIGNATURE);
        self.out.extend_from_slice(&[command, family, 0, 0]);
    }

    fn ip(&mut self, family: u8, source: SocketAddr, destination: SocketAddr) {
        self.fixed(PROXY, family);
        for address in [source, destination] {
            match address.ip() {
                IpAddr::V4(ip) => self.out.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => self.out.extend_from_slice(&ip.octets()),
            }
        }
        self.out.extend_from_slice(&source.port().to_be_bytes());
        self.out.extend_from_slice(&destination.port().to_be_bytes());
    }

    fn path(&mut self, path: &[u8]) {
        let end = self.out.len() + UNIX_PATH_BYTES;
        self.out.extend_from_slice(path);
        self.out.resize(end, 0);
    }

    fn tlv(&mut self, tlv: &Tlv<'_>) -> Result<(), TooLong> {
        match tlv {
            Tlv::Alpn(value) => self.value(ALPN, value),
            Tlv::Authority(value) => self.value(AUTHORITY, value.as_bytes()),
            // A second one would be a fault.
            Tlv::Crc32c if self.checksum_at.is_some() => Ok(()),
            Tlv::Crc32c => {
                self.value(CRC32C, &[0; 4])?;
                self.checksum_at = Some(self.out.len() - 4);
                Ok(())
            }
            Tlv::UniqueId(value) if value.len() > UNIQUE_ID_BYTES => Err(TooLong),
            Tlv::UniqueId(value) => self.value(UNIQUE_ID, value),
            Tlv::Ssl(ssl) => {
                let mut value = vec![ssl.client];
                value.extend_from_slice(&ssl.verify.to_be_bytes());
                let mut inner = Writer { out: &mut value, start: 0, checksum_at: None };
                for (kind, field) in ssl.fields() {
                    if let Some(field) = field {
                        inner.value(kind, field.as_bytes())?;
                    }
                }
                self.value(SSL, &value)
            }
            Tlv::NetNs(value) => self.value(NETNS, value.as_bytes()),
            Tlv::Other { kind, value } => self.value(*kind, value),
        }
    }

    fn value(&mut self, kind: u8, value: &[u8]) -> Result<(), TooLong> {
        if self.out.len() - self.start + 3 + value.len() > HEADER_BYTES {
            return Err(TooLong);
        }
        let len = u16::try_from(value.len()).map_err(|_| TooLong)?;
        self.out.push(kind);
        self.out.extend_from_slice(&len.to_be_bytes());
        self.out.extend_from_slice(value);
        Ok(())
    }

    /// Fills in the length, then the checksum over all of it.
    fn finish(self) -> Result<(), TooLong> {
        let len = (self.out.len() - self.start).checked_sub(FIXED_BYTES).ok_or(TooLong)?;
        let len = u16::try_from(len).map_err(|_| TooLong)?;
        let at = self.start + FIXED_BYTES - 2;
        if let Some(field) = self.out.get_mut(at..at + 2) {
            field.copy_from_slice(&len.to_be_bytes());
        }
        if let Some(at) = self.checksum_at {
            let crc = Crc32c::new().with(self.out.get(self.start..).unwrap_or_default()).value();
            if let Some(field) = self.out.get_mut(at..at + 4) {
                field.copy_from_slice(&crc.to_be_bytes());
            }
        }
        Ok(())
    }
}
