//! What a codec finds in a frame, as header fields; and what has become of it since.

use std::ops::Range;
use std::str::FromStr;

use ringway_api::Headers;
pub use ringway_api::rpc::{EXCEPTION, EXCEPTION_CLASS, EXCEPTION_MESSAGE, EXCEPTION_STACK, GROUP, STATUS, VERSION};

use crate::RpcCodec;

/// Takes the fields that a codec finds.
#[derive(Debug)]
pub struct Fields<'a> {
    headers: &'a mut Headers,
    derived: &'static [&'static str],
}

impl<'a> Fields<'a> {
    /// Fields of a message of codec `C`: `headers` lie over the frame's block.
    pub fn of<C: RpcCodec>(headers: &'a mut Headers) -> Self {
        Self { headers, derived: C::DERIVED }
    }

    /// An attachment whose name and value lie at these ranges of the block. One that cannot be a field (its name is no
    /// token, say, or its value has control characters), or that has the name of a derived one, travels on in the
    /// frame, unseen.
    pub fn received(&mut self, name: Range<usize>, value: Range<usize>) {
        let text = self.headers.block().get(name.clone()).unwrap_or_default();
        if !is_derived(text, self.derived) {
            self.headers.push_checked(name, value);
        }
    }

    /// A field for what stands elsewhere than in an attachment: one of [`RpcCodec::DERIVED`]. Empty values are left out.
    pub fn derived(&mut self, name: &'static str, value: &[u8]) {
        debug_assert!(is_derived(name.as_bytes(), self.derived), "{name}");
        if !value.is_empty() {
            self.headers.push_derived(name, value);
        }
    }
}

/// What any codec may make of a response.
const THROWN: [&str; 5] = [STATUS, EXCEPTION, EXCEPTION_CLASS, EXCEPTION_MESSAGE, EXCEPTION_STACK];

fn is_derived(name: &[u8], derived: &[&str]) -> bool {
    let is = |derived: &&str| name.eq_ignore_ascii_case(derived.as_bytes());
    // Most fields are told from those by their first letter.
    let may_be_thrown = matches!(name.first(), Some(b'r' | b'R'));
    (may_be_thrown && THROWN.iter().any(is)) || derived.iter().any(is)
}

/// Whether [`Fields::received`] shows an attachment.
fn is_shown(name: &[u8], value: &[u8], derived: &[&str]) -> bool {
    Headers::can_hold(name, value) && !is_derived(name, derived)
}

/// The protocol's own status of a response, as its [`STATUS`] says it.
pub fn own_status<T: FromStr>(headers: &Headers) -> Option<T> {
    std::str::from_utf8(headers.first(STATUS)?).ok()?.parse().ok()
}

/// Writes the attachments of an edited message: those of `before`, as they are now, in order; then what is new. What
/// is not shown as a field, or has no value, stays as it was.
pub fn rewrite<'a, C: RpcCodec>(
    headers: &'a Headers,
    before: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    mut write: impl FnMut(&'a [u8], Option<&'a [u8]>),
) {
    let same = |a: &[u8], b: &[u8]| a.eq_ignore_ascii_case(b);
    let mut known: Vec<&[u8]> = Vec::new();
    for (name, value) in before {
        if !value.is_some_and(|value| is_shown(name, value, C::DERIVED)) {
            write(name, value);
            continue;
        }
        let nth = known.iter().filter(|other| same(other, name)).count();
        let now = headers.iter().filter(|(field, _)| same(field, name)).nth(nth);
        if let Some((_, now)) = now {
            write(name, Some(now));
        }
        known.push(name);
    }
    let mut seen: Vec<&[u8]> = Vec::new();
    for (name, value) in headers.iter().filter(|(name, _)| !is_derived(name, C::DERIVED)) {
        let nth = seen.iter().filter(|other| same(other, name)).count();
        seen.push(name);
        if known.iter().filter(|other| same(other, name)).count() <= nth {
            write(name, Some(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bolt::BoltV1;

    #[test]
    fn edits_are_told_from_what_was_there() {
        let mut headers = Headers::new();
        for (name, value) in [("a", "1"), ("version", "9"), ("c", "4"), ("new", "5")] {
            headers.append(name, value.as_bytes()).unwrap();
        }
        let before: [(&[u8], &[u8]); 4] = [(b"a", b"0"), (b"b", b"2"), (b"\0", b"x"), (b"c", b"4")];
        let mut told = Vec::new();
        rewrite::<BoltV1>(&headers, before.map(|(name, value)| (name, Some(value))), |name, value| {
            let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
            told.push((text(name), text(value.unwrap())));
        });
        let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(told, [("a", "1"), ("\0", "x"), ("c", "4"), ("new", "5")]);
    }
}
