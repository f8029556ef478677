//! What a codec finds in a frame, as header fields; and what has become of it since.

use std::ops::Range;

use ringway_api::Headers;
pub use ringway_api::rpc::{EXCEPTION, GROUP, STATUS, VERSION};

/// Takes the fields that a codec finds.
#[derive(Debug)]
pub struct Fields<'a>(pub(crate) &'a mut Headers);

impl Fields<'_> {
    /// A field whose name and value lie at these ranges of the block. False when it cannot be one (its name is no
    /// token, say, or its value has control characters): it travels on in the frame, unseen.
    pub fn received(&mut self, name: Range<usize>, value: Range<usize>) -> bool {
        self.0.push_checked(name, value)
    }

    /// A field for what stands elsewhere than in an attachment, such as `version`. Empty values are left out.
    pub fn derived(&mut self, name: &'static str, value: &[u8]) {
        if !value.is_empty() {
            self.0.push_derived(name, value);
        }
    }
}

/// What has become of the attachments of a frame whose fields were edited: for each of `before`, in order, its value
/// now (`None` if it is gone); then what is new. Fields of the names in `apart` are not attachments.
pub fn edits<'a>(
    headers: &'a Headers,
    before: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    apart: &[&str],
    mut write: impl FnMut(&'a [u8], Option<&'a [u8]>),
) {
    let is_apart = |name: &[u8]| apart.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()));
    let mut known: Vec<&[u8]> = Vec::new();
    for (name, _) in before {
        if is_apart(name) {
            continue;
        }
        let nth = known.iter().filter(|other| other.eq_ignore_ascii_case(name)).count();
        let mut now = headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        write(name, now.nth(nth).map(|(_, value)| value));
        known.push(name);
    }
    let mut seen: Vec<&[u8]> = Vec::new();
    for (name, value) in headers.iter().filter(|(name, _)| !is_apart(name)) {
        let nth = seen.iter().filter(|other| other.eq_ignore_ascii_case(name)).count();
        seen.push(name);
        if known.iter().filter(|other| other.eq_ignore_ascii_case(name)).count() <= nth {
            write(name, Some(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_told_from_what_was_there() {
        let mut headers = Headers::new();
        for (name, value) in [("a", "1"), ("version", "9"), ("c", "4"), ("new", "5")] {
            headers.append(name, value.as_bytes()).unwrap();
        }
        let before: [(&[u8], &[u8]); 3] = [(b"a", b"0"), (b"b", b"2"), (b"c", b"4")];
        let mut told = Vec::new();
        edits(&headers, before, &["version"], |name, value| {
            told.push((
                String::from_utf8_lossy(name).into_owned(),
                value.map(|v| String::from_utf8_lossy(v).into_owned()),
            ));
        });
        let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(told, [("a", Some("1")), ("b", None), ("c", Some("4")), ("new", Some("5"))]);
    }
}
