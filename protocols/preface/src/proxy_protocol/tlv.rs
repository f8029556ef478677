//! Types, lengths and values after the addresses of version 2 (sections 2.2.1 to 2.2.8).

use super::crc32c::Crc32c;
use crate::reader::Reader;

pub(super) const ALPN: u8 = 0x01;
pub(super) const AUTHORITY: u8 = 0x02;
pub(super) const CRC32C: u8 = 0x03;
pub(super) const NOOP: u8 = 0x04;
pub(super) const UNIQUE_ID: u8 = 0x05;
pub(super) const SSL: u8 = 0x20;
pub(super) const SSL_VERSION: u8 = 0x21;
pub(super) const SSL_CN: u8 = 0x22;
pub(super) const SSL_CIPHER: u8 = 0x23;
pub(super) const SSL_SIG_ALG: u8 = 0x24;
pub(super) const SSL_KEY_ALG: u8 = 0x25;
pub(super) const NETNS: u8 = 0x30;

/// The longest unique id, in bytes.
pub(super) const UNIQUE_ID_BYTES: usize = 128;

/// One thing that a header tells besides addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tlv<'a> {
    /// The application protocol within the connection, such as `h2`.
    Alpn(&'a [u8]),
    /// The host name that the client asked for (SNI under TLS). Any text: check it before it is used as a name.
    Authority(&'a str),
    /// The header carries its checksum. Read: it was verified. Written: it is computed.
    Crc32c,
    /// The connection's id, at most 128 bytes.
    UniqueId(&'a [u8]),
    /// What is known of the client's TLS connection.
    Ssl(Ssl<'a>),
    /// The name of the network namespace, in ASCII.
    NetNs(&'a str),
    /// Any other type: 0xE0 to 0xEF are for applications' own use.
    Other {
        /// The type, none of those above and not NOOP (0x04).
        kind: u8,
        /// The value.
        value: &'a [u8],
    },
}

/// The client's TLS connection as the proxy in front saw it (section 2.2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ssl<'a> {
    /// Bits: 0x01 the client spoke TLS, 0x02 it showed a certificate on this connection, 0x04 it did in this session.
    pub client: u8,
    /// 0 when the client's certificate was shown and verified.
    pub verify: u32,
    /// The version, such as `TLSv1.3`.
    pub version: Option<&'a str>,
    /// The Common Name of the client's certificate.
    pub common_name: Option<&'a str>,
    /// The cipher's name.
    pub cipher: Option<&'a str>,
    /// The algorithm that the proxy's certificate is signed with.
    pub signature_algorithm: Option<&'a str>,
    /// The algorithm of the proxy's key.
    pub key_algorithm: Option<&'a str>,
}

/// The TLVs of a header that was found sound, in their order, without NOOPs. Allocates nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a>(&'a [u8]);

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        let mut rest = Reader(self.0);
        while let Some(kind) = rest.u8() {
            let value = rest.vector16()?;
            self.0 = rest.0;
            if kind != NOOP {
                let read = read(kind, value);
                debug_assert!(read.is_ok(), "it was checked");
                return read.ok();
            }
        }
        self.0 = &[];
        None
    }
}

impl<'a> Tlvs<'a> {
    /// Checks the TLVs of the whole `header`, which begin at `start`. A type that can only be meant once and comes
    /// twice is refused: two readers could believe different ones.
    pub(super) fn checked(header: &'a [u8], start: usize) -> Result<Self, &'static str> {
        const CUT: &str = "PROXY header: a TLV does not fit";
        let tlvs = header.get(start..).ok_or(CUT)?;
        let mut rest = Reader(tlvs);
        let mut seen = 0_u8;
        while let Some(kind) = rest.u8() {
            let value = rest.vector16().ok_or(CUT)?;
            let bit = match read(kind, value)? {
                Tlv::Alpn(_) => 1,
                Tlv::Authority(_) => 2,
                Tlv::Crc32c => 4,
                Tlv::UniqueId(_) => 8,
                Tlv::Ssl(_) => 16,
                Tlv::NetNs(_) => 32,
                Tlv::Other { .. } => 0,
            };
            if seen & bit != 0 {
                return Err("PROXY header: a TLV that may come once comes twice");
            }
            seen |= bit;
            if kind == CRC32C {
                verify(header, header.len() - rest.0.len(), value)?;
            }
        }
        Ok(Self(tlvs))
    }
}

impl<'a> Ssl<'a> {
    /// The texts with their types, for whoever writes them.
    pub(super) fn fields(&self) -> [(u8, Option<&'a str>); 5] {
        [
            (SSL_VERSION, self.version),
            (SSL_CN, self.common_name),
            (SSL_CIPHER, self.cipher),
            (SSL_SIG_ALG, self.signature_algorithm),
            (SSL_KEY_ALG, self.key_algorithm),
        ]
    }

    fn read(value: &'a [u8]) -> Result<Self, &'static str> {
        const CUT: &str = "PROXY header: TLS facts are cut short";
        let mut rest = Reader(value);
        let mut ssl = Self { client: rest.u8().ok_or(CUT)?, verify: rest.u32().ok_or(CUT)?, ..Self::default() };
        while let Some(kind) = rest.u8() {
            let value = rest.vector16().ok_or(CUT)?;
            let field = match kind {
                SSL_VERSION => &mut ssl.version,
                SSL_CN => &mut ssl.common_name,
                SSL_CIPHER => &mut ssl.cipher,
                SSL_SIG_ALG => &mut ssl.signature_algorithm,
                SSL_KEY_ALG => &mut ssl.key_algorithm,
                // Registered later than what this knows.
                _ => continue,
            };
            let text = str::from_utf8(value).map_err(|_| "PROXY header: TLS facts are not UTF-8")?;
            if field.replace(text).is_some() {
                return Err("PROXY header: a TLS fact comes twice");
            }
        }
        Ok(ssl)
    }
}

fn read(kind: u8, value: &[u8]) -> Result<Tlv<'_>, &'static str> {
    Ok(match kind {
        ALPN => Tlv::Alpn(value),
        AUTHORITY => Tlv::Authority(str::from_utf8(value).map_err(|_| "PROXY header: the authority is not UTF-8")?),
        CRC32C if value.len() != 4 => return Err("PROXY header: a checksum that is not 4 bytes"),
        CRC32C => Tlv::Crc32c,
        UNIQUE_ID if value.len() > UNIQUE_ID_BYTES => {
            return Err("PROXY header: a unique id of more than 128 bytes");
        }
        UNIQUE_ID => Tlv::UniqueId(value),
        SSL => Tlv::Ssl(Ssl::read(value)?),
        NETNS => match str::from_utf8(value) {
            Ok(name) if name.is_ascii() => Tlv::NetNs(name),
            _ => return Err("PROXY header: the namespace is not ASCII"),
        },
        kind => Tlv::Other { kind, value },
    })
}

/// Compares the checksum `value` that ends at `end` of the header with that of the header with zeros in its place.
fn verify(header: &[u8], end: usize, value: &[u8]) -> Result<(), &'static str> {
    let before = header.get(..end.saturating_sub(value.len())).unwrap_or_default();
    let after = header.get(end..).unwrap_or_default();
    let crc = Crc32c::new().with(before).with(&[0; 4]).with(after).value();
    if value == crc.to_be_bytes() { Ok(()) } else { Err("PROXY header: the checksum is wrong") }
}
