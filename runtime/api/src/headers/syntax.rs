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

/// RFC 9110, section 5.6.2: `token`.
pub(super) fn is_token(name: &[u8]) -> bool {
    let tchar = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !name.is_empty() && name.iter().all(tchar)
}

/// RFC 9110, section 5.5: no CTL but HTAB, no blanks around.
pub(super) fn check_value(value: &[u8]) -> Result<(), InvalidField> {
    let padded = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    let control = |b: &u8| (*b < 0x20 && *b != b'\t') || *b == 0x7f;
    if padded(value.first()) || padded(value.last()) || value.iter().any(control) { Err(InvalidField) } else { Ok(()) }
}
