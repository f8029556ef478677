//! The records that carry the ClientHello (RFC 8446, section 5.1).

use std::borrow::Cow;

use super::Limits;
use crate::reader::Reader;

const HANDSHAKE: u8 = 22;
const MAJOR: u8 = 3;
const RECORD_HEADER: usize = 5;
const MAX_FRAGMENT: usize = 1 << 14;

/// Type and length of a handshake message (RFC 8446, section 4).
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;

pub(super) enum Fault {
    NotTls,
    Malformed(&'static str),
}

impl From<&'static str> for Fault {
    fn from(reason: &'static str) -> Self {
        Self::Malformed(reason)
    }
}

/// The body of the ClientHello: a slice of `prefix` where it lies in one record, else gathered. `None` while bytes are
/// missing. Faults are found in the order of the bytes, so that a longer prefix has the same one.
pub(super) fn first_message(prefix: &[u8], limits: Limits) -> Result<Option<Cow<'_, [u8]>>, Fault> {
    match prefix {
        [] | [HANDSHAKE] | [HANDSHAKE, MAJOR, ..] => {}
        _ => return Err(Fault::NotTls),
    }
    let Some(len) = whole(prefix, limits)? else { return Ok(None) };
    let mut fragments = fragments(prefix);
    let first = fragments.next().unwrap_or_default();
    if let Some(body) = first.get(MESSAGE_HEADER..len) {
        return Ok(Some(Cow::Borrowed(body)));
    }
    let mut message = Vec::with_capacity(len);
    message.extend_from_slice(first);
    for fragment in fragments {
        if message.len() >= len {
            break;
        }
        message.extend_from_slice(fragment);
    }
    message.drain(..MESSAGE_HEADER.min(message.len()));
    Ok(Some(Cow::Owned(message)))
}

/// The length of the message with its header once all of it is there.
fn whole(prefix: &[u8], limits: Limits) -> Result<Option<usize>, Fault> {
    let mut rest = Reader(prefix);
    let mut header = [0; MESSAGE_HEADER];
    let mut gathered = 0;
    for _ in 0..limits.records {
        let Some(kind) = rest.u8() else { return Ok(None) };
        if kind != HANDSHAKE {
            return Err("TLS: another record within the ClientHello".into());
        }
        let Some(major) = rest.u8() else { return Ok(None) };
        if major != MAJOR {
            return Err("TLS: a record of another major version".into());
        }
        // The minor version is to be ignored.
        let (Some(_), Some(len)) = (rest.u8(), rest.u16()) else { return Ok(None) };
        let len = usize::from(len);
        if len == 0 || len > MAX_FRAGMENT {
            return Err("TLS: a record's length is not between 1 and 16384".into());
        }
        let fragment = rest.take(len.min(rest.0.len())).unwrap_or_default();
        for (slot, byte) in header.iter_mut().skip(gathered).zip(fragment) {
            *slot = *byte;
        }
        let there = gathered + fragment.len();
        if there > 0 && header[0] != CLIENT_HELLO {
            return Err("TLS: the handshake does not begin with a ClientHello".into());
        }
        if there >= MESSAGE_HEADER {
            let [_, high, middle, low] = header;
            let message = MESSAGE_HEADER + u32::from_be_bytes([0, high, middle, low]) as usize;
            if message > limits.message_bytes {
                return Err("TLS: the ClientHello is longer than the limit".into());
            }
            // Nothing may follow it before the server has answered.
            if gathered + len > message {
                return Err("TLS: bytes after the ClientHello in its record".into());
            }
            if there == message {
                return Ok(Some(message));
            }
        }
        if fragment.len() < len {
            return Ok(None);
        }
        gathered = there;
    }
    Err("TLS: the ClientHello is in too many records".into())
}

/// The contents of the records of `prefix`, whose headers are sound.
fn fragments(prefix: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Reader(prefix);
    std::iter::from_fn(move || {
        rest.take(RECORD_HEADER - 2)?;
        rest.vector16()
    })
}
