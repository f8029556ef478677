//! Header fields whose values are lists (RFC 9110, section 5.6.1).

use ringway_api::{Headers, InvalidField};

/// The members of every field of this name, without blanks around them; empty ones are left out. A comma within quotes
/// parts members here too: none of the fields that this reads has a member that could be mistaken for.
pub(crate) fn members<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.all(name).flat_map(split)
}

/// The members of one value.
pub(crate) fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Whether one of the members is this word, in any case.
pub(crate) fn contains(headers: &Headers, name: &str, word: &str) -> bool {
    members(headers, name).any(|member| member.eq_ignore_ascii_case(word.as_bytes()))
}

/// Says in `Vary` that the response depends on a field of the request, if it does not say so yet (RFC 9110, section
/// 12.5.5).
///
/// # Errors
/// When `name` is no name of a field.
pub(crate) fn add_vary(headers: &mut Headers, name: &str) -> Result<(), InvalidField> {
    if contains(headers, "vary", name) || contains(headers, "vary", "*") {
        return Ok(());
    }
    headers.append("vary", name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vary_says_a_name_once() {
        let mut headers = Headers::new();
        headers.append("Vary", b"accept , ,origin").unwrap();
        add_vary(&mut headers, "Origin").unwrap();
        assert_eq!(headers.len(), 1);
        add_vary(&mut headers, "accept-encoding").unwrap();
        assert_eq!(members(&headers, "vary").collect::<Vec<_>>(), [&b"accept"[..], b"origin", b"accept-encoding"]);
    }
}
