//! What h2 lets through, and RFC 9110 or RFC 9113 does not.

use http::HeaderMap;
use http::header::CONTENT_LENGTH;

/// Looks at received fields. What `content-length` says comes back, which h2 makes the content keep to.
///
/// # Errors
/// One word for what is wrong.
pub(super) fn fields(fields: &HeaderMap) -> Result<Option<u64>, &'static str> {
    // RFC 9113, section 8.2.1: h2 looks at what is within values, not at their ends.
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if fields.values().any(|value| blank(value.as_bytes().first()) || blank(value.as_bytes().last())) {
        return Err("invalid_field_value");
    }
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        // RFC 9110, section 8.6. h2 takes nothing at all for 0, and two that are alike.
        (Some(length), None) => {
            let length = length.to_str().ok().and_then(|length| length.parse().ok());
            length.map(Some).ok_or("invalid_content_length")
        }
        _ => Err("invalid_content_length"),
    }
}

/// `uri-host [":" port]`, not empty (RFC 9110, section 7.2), without userinfo (RFC 9113, section 8.3.1).
pub(super) fn is_authority(authority: &[u8]) -> bool {
    let (host, port) = if let Some(rest) = authority.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let (literal, port) = rest.split_at(end);
        let fits = literal.len() >= 2 && literal.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte));
        (fits, port.get(1..).unwrap_or_default())
    } else {
        let end = authority.iter().position(|byte| *byte == b':').unwrap_or(authority.len());
        let (name, port) = authority.split_at(end);
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
        (!name.is_empty() && name.iter().all(fits), port)
    };
    let port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host && port
}

/// Whether it names a port that can be connected to, as a tunnel's must (RFC 9110, section 9.3.6).
pub(super) fn has_port(authority: &[u8]) -> bool {
    let port = authority.iter().rposition(|byte| *byte == b':').and_then(|at| authority.get(at + 1..));
    let port = port.and_then(|port| std::str::from_utf8(port).ok()?.parse::<u16>().ok());
    port.is_some_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_host_and_port() {
        for good in ["a", "a.example:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:80", "a_b-c%20"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in ["", ":80", "a:b", "a:80:80", "u@a", "a b", "a/b", "a,b", "[::1", "[]", "[::1]80", "a:123456", "a?"]
        {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
        assert!(has_port(b"a:80") && has_port(b"[::1]:443"));
        assert!(!has_port(b"a") && !has_port(b"a:") && !has_port(b"a:0") && !has_port(b"a:65536"));
    }
}
