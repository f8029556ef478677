//! Paths made comparable before they are routed (RFC 3986, section 6.2.2).

use std::borrow::Cow;

use ringway_api::RequestHead;

/// Which differences between paths are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathPolicy {
    /// Decode what need not be encoded, write the rest of the encodings in upper case, resolve `.` and `..`.
    pub normalize: bool,
    /// Make one slash of several.
    pub merge_slashes: bool,
}

/// A path that cannot be normalised: answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedPath;

impl PathPolicy {
    /// Normalises a request's path; the query stays as it is.
    ///
    /// # Errors
    /// When it has an encoding that is none.
    pub fn apply(self, head: &mut RequestHead) -> Result<(), MalformedPath> {
        if (!self.normalize && !self.merge_slashes) || !head.path().starts_with(b"/") {
            return Ok(());
        }
        let path = head.path();
        let mut normal = Cow::Borrowed(path);
        if self.normalize {
            normal = Cow::Owned(remove_dots(&decode(&normal)?));
        }
        if self.merge_slashes && normal.windows(2).any(|pair| pair == b"//") {
            let mut merged = normal.into_owned();
            merged.dedup_by(|next, before| *next == b'/' && *before == b'/');
            normal = Cow::Owned(merged);
        }
        if *normal == *path {
            return Ok(());
        }
        let mut target = normal.into_owned();
        if let Some(query) = head.query() {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        head.set_path_and_query(&target).map_err(|_| MalformedPath)
    }
}

/// Decodes unreserved characters; other encodings stay, in upper case.
fn decode(path: &[u8]) -> Result<Vec<u8>, MalformedPath> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let digits = [bytes.next(), bytes.next()].map(|digit| char::from(*digit?).to_digit(16));
        let [Some(high), Some(low)] = digits else { return Err(MalformedPath) };
        let value = (high * 16 + low) as u8;
        match value {
            // Never meant well, and a lenient peer would end the path here.
            0 => return Err(MalformedPath),
            b'-' | b'.' | b'_' | b'~' => out.push(value),
            _ if value.is_ascii_alphanumeric() => out.push(value),
            _ => out.extend_from_slice(format!("%{value:02X}").as_bytes()),
        }
    }
    Ok(out)
}

/// RFC 3986, section 5.2.4.
fn remove_dots(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|b| *b == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    out.pop();
                }
                if last {
                    out.push(b"");
                }
            }
            _ => out.push(segment),
        }
    }
    let mut path = Vec::new();
    for segment in out {
        path.push(b'/');
        path.extend_from_slice(segment);
    }
    if path.is_empty() { b"/".to_vec() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        let policy = PathPolicy { normalize: true, merge_slashes: true };
        for (given, expected) in [
            ("/a/./b/../c?x=/../y", "/a/c?x=/../y"),
            ("/%7euser/%41%2fb", "/~user/A%2Fb"),
            ("/a/%2e%2e/secret", "/secret"),
            ("/../../x", "/x"),
            ("/a/..", "/"),
            ("/a//b///c/", "/a/b/c/"),
            ("/", "/"),
        ] {
            let mut head = RequestHead::new(http::Method::GET, "a", given);
            assert_eq!(policy.apply(&mut head), Ok(()), "{given}");
            assert_eq!(String::from_utf8_lossy(head.path_and_query()), expected, "{given}");
        }
        for bad in ["/%", "/%4", "/%zz", "/%00"] {
            let mut head = RequestHead::new(http::Method::GET, "a", bad);
            assert_eq!(policy.apply(&mut head), Err(MalformedPath), "{bad}");
        }
    }
}
