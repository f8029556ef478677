//! Which bytes may stand where (RFC 9110, section 5.6.2; RFC 3986).

use super::Refusal;

const TCHAR: u8 = 1;
const TARGET: u8 = 2;
const REG_NAME: u8 = 4;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let b = at as u8;
        let alnum = b.is_ascii_alphanumeric();
        if alnum || in_set(b, b"!#$%&'*+-.^_`|~") {
            table[at] |= TCHAR;
        }
        // Wider than RFC 3986: browsers send the likes of `|`, `[` and `{` as they are. What the grammar forbids and
        // programs disagree about (fragments, quotes, angle brackets, anything beyond ASCII) stays out.
        if b > 0x20 && b < 0x7f && !in_set(b, b"#\"<>") {
            table[at] |= TARGET;
        }
        // Without the comma that RFC 3986 has: some would read a list.
        if alnum || in_set(b, b"-._~%!$&'()*+;=") {
            table[at] |= REG_NAME;
        }
        at += 1;
    }
    table
}

const fn in_set(b: u8, set: &[u8]) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == b {
            return true;
        }
        at += 1;
    }
    false
}

fn all(text: &[u8], class: u8) -> bool {
    text.iter().all(|b| CLASS[usize::from(*b)] & class != 0)
}

/// Whether a byte may stand in a token: a method or field name.
pub fn is_tchar(b: u8) -> bool {
    CLASS[usize::from(b)] & TCHAR != 0
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && all(text, TCHAR)
}

/// A protocol as `Upgrade` names it, its version if any (RFC 9110, section 7.8).
pub(super) fn is_protocol(text: &[u8]) -> bool {
    let mut parts = text.split(|b| *b == b'/');
    parts.clone().count() <= 2 && parts.all(is_token)
}

/// A request target's path and query, without regard to its form.
pub(super) fn check_target(target: &[u8]) -> Result<(), Refusal> {
    if all(target, TARGET) { Ok(()) } else { Err(Refusal::bad("invalid_target")) }
}

/// `uri-host [":" port]`, not empty (RFC 9110, section 7.2).
pub(super) fn check_authority(authority: &[u8]) -> Result<(), Refusal> {
    const INVALID: Refusal = Refusal::bad("invalid_host");
    let port = if let Some(rest) = authority.strip_prefix(b"[") {
        let end = rest.iter().position(|b| *b == b']').ok_or(INVALID)?;
        let (literal, rest) = rest.split_at(end);
        let literal_char = |b: &u8| b.is_ascii_hexdigit() || b":.".contains(b);
        if literal.len() < 2 || !literal.iter().all(literal_char) {
            return Err(INVALID);
        }
        rest.get(1..).unwrap_or_default()
    } else {
        let end = authority.iter().position(|b| *b == b':').unwrap_or(authority.len());
        let (name, rest) = authority.split_at(end);
        if name.is_empty() || !all(name, REG_NAME) {
            return Err(INVALID);
        }
        rest
    };
    match port {
        [] => Ok(()),
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => Err(INVALID),
    }
}

/// The elements of a comma-separated list, blanks trimmed, empty ones left out (RFC 9110, section 5.6.1).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_host_and_port() {
        for good in ["a", "example.com", "example.com:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:80", "a_b-c%20"] {
            assert!(check_authority(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "", ":80", "a:b", "a:80:80", "user@a", "a b", "a/b", "a,b", "[::1", "[]", "[::1]80", "[::1]:x", "a:123456",
            "a\"", "é", "a?b", "a#b", "[g::1]", "::1",
        ] {
            assert!(check_authority(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
