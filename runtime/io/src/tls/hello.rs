//! The server name in a ClientHello (RFC 6066, section 3). rustls checks the message; this only reads it.

use rustls::pki_types::DnsName;

use super::record::{HANDSHAKE, HEADER};

/// Gathers the first message of a client until the name can be read.
#[derive(Default)]
pub(super) struct Hello {
    message: Vec<u8>,
    name: Option<Box<str>>,
    done: bool,
}

impl Hello {
    /// Looks at a record of the client, header included.
    pub(super) fn look(&mut self, record: &[u8]) {
        let Some((&[HANDSHAKE, ..], payload)) = record.split_first_chunk::<HEADER>() else { return };
        if self.done {
            return;
        }
        self.message.extend_from_slice(payload);
        let &[kind, a, b, c, ref body @ ..] = self.message.as_slice() else { return };
        if let Some(body) = body.get(..u32::from_be_bytes([0, a, b, c]) as usize) {
            self.name = if kind == 1 { server_name(body) } else { None };
            self.done = true;
            self.message = Vec::new();
        }
    }

    /// The name, in lower case.
    pub(super) fn into_name(self) -> Option<Box<str>> {
        self.name
    }
}

/// The host name in the body of a ClientHello.
fn server_name(body: &[u8]) -> Option<Box<str>> {
    let rest = body.get(2 + 32..)?;
    let (_session, rest) = vector8(rest)?;
    let (_suites, rest) = vector16(rest)?;
    let (_compression, rest) = vector8(rest)?;
    let (mut extensions, _) = vector16(rest)?;
    while let Some((kind, rest)) = extensions.split_first_chunk::<2>() {
        let (content, rest) = vector16(rest)?;
        if *kind == [0, 0] {
            let (names, _) = vector16(content)?;
            // There is one name of type host_name at most.
            let (&[0], rest) = names.split_first_chunk::<1>()? else { return None };
            let (name, _) = vector16(rest)?;
            let name = DnsName::try_from(std::str::from_utf8(name).ok()?).ok()?;
            return Some(name.as_ref().to_ascii_lowercase().into());
        }
        extensions = rest;
    }
    None
}

fn vector8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(len))
}

fn vector16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(len)))
}
