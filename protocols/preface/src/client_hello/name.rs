//! Host names of `server_name`.

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// `host` as a DNS name in lower case. RFC 6066, section 3: ASCII, no trailing dot, no literal IP address. Underscores
/// are taken, because service meshes put them into names.
pub(super) fn dns_name(host: &[u8]) -> Result<String, &'static str> {
    let ascii = str::from_utf8(host).ok().filter(|text| text.is_ascii());
    let text = ascii.ok_or("ClientHello: the server name is not ASCII")?;
    if text.ends_with('.') {
        return Err("ClientHello: the server name ends with a dot");
    }
    if text.contains(':') || text.rsplit('.').next().is_some_and(is_number) {
        return Err("ClientHello: the server name is an IP address");
    }
    if text.len() > MAX_NAME || !text.split('.').all(is_label) {
        return Err("ClientHello: the server name is not a DNS name");
    }
    Ok(text.to_ascii_lowercase())
}

/// No top-level domain is a number, while IPv4 addresses end with one, however they are written.
fn is_number(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = format!("{}.example", "a".repeat(64));
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        let too_long = format!("{longest}d");
        let good = [
            ("a", "a"),
            ("A.Example", "a.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("outbound_.80_._.web.default.svc.cluster.local", "outbound_.80_._.web.default.svc.cluster.local"),
            ("1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa"),
            ("4chan.org", "4chan.org"),
            (&*longest, &*longest),
        ];
        for (text, name) in good {
            assert_eq!(dns_name(text.as_bytes()).as_deref(), Ok(name));
        }
        let bad = [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "1.2.3.4",
            "10",
            "127.1",
            "::1",
            "[::1]",
            "fe80::1%1",
            "a:80",
            "-a.b",
            "a-.b",
            "*.a",
            "a b",
            "a/b",
            "a\0",
            "b\u{fc}cher.example",
            &long,
            &too_long,
        ];
        for text in bad {
            assert!(dns_name(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(dns_name(b"\xff").is_err());
    }
}
