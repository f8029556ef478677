//! What may stand in a field.

use super::{InvalidField, Known};

/// Fields that say how a message is framed, or that concern one connection.
pub(super) fn is_framing(name: Known) -> bool {
    matches!(
        name,
        Known::Host
            | Known::Connection
            | Known::ContentLength
            | Known::TransferEncoding
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::Trailer
            | Known::Upgrade
            | Known::Http2Settings
            | Known::Expect
    )
}

/// What a byte may be part of.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let tchar = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        let control = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
        class[at] = if tchar { TCHAR } else { 0 } | if control { CONTROL } else { 0 };
        at += 1;
    }
    class
};
const TCHAR: u8 = 1;
const CONTROL: u8 = 2;

fn class(byte: u8) -> u8 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(0)
}

/// RFC 9110, section 5.6.2: `token`.
pub(super) fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().fold(TCHAR, |all, byte| all & class(*byte)) == TCHAR
}

/// RFC 9110, section 5.5: no CTL but HTAB, no blanks around.
pub(super) fn check_value(value: &[u8]) -> Result<(), InvalidField> {
    let padded = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    let control = || value.iter().fold(0, |any, byte| any | class(*byte)) & CONTROL != 0;
    if padded(value.first()) || padded(value.last()) || control() { Err(InvalidField) } else { Ok(()) }
}
