//! Who is called, in the path of a request.

use ringway_api::{Headers, RequestHead};

use crate::{Call, CodecError};

const NO_CALL: CodecError = CodecError::unsupported("rpc_path_is_no_call");

/// Who a request calls, as its path says: after a route or a filter has given it another one, for instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The service.
    pub service: Vec<u8>,
    /// The method; may be empty.
    pub method: Vec<u8>,
}

impl Target {
    /// Of a request whose path is not the one that its frame made: the codec must write these names, or refuse.
    ///
    /// # Errors
    /// [`CodecError`], for a path that is not `/service/method`, or has a query: no call can say that.
    pub fn edited(head: &RequestHead) -> Result<Option<Self>, CodecError> {
        if !head.is_retargeted() {
            return Ok(None);
        }
        let target = Self::of(head)?;
        if target.service.is_empty() { Err(NO_CALL) } else { Ok(Some(target)) }
    }

    /// Of any request, such as one that comes from another protocol, whose path is all that there is.
    ///
    /// # Errors
    /// [`CodecError`], for a path that is not `/service/method`, or has a query.
    pub fn of(head: &RequestHead) -> Result<Self, CodecError> {
        let mut names = head.path_and_query().strip_prefix(b"/").ok_or(NO_CALL)?.split(|byte| *byte == b'/');
        let mut name = || decoded(names.next().unwrap_or_default()).ok_or(NO_CALL);
        let (service, method) = (name()?, name()?);
        if names.next().is_some() || head.query().is_some() {
            return Err(NO_CALL);
        }
        Ok(Self { service, method })
    }

    /// Makes the fields that have one of these names, and are there, say the service; how many there are. What stands
    /// behind a `:`, a version usually, stays.
    ///
    /// # Errors
    /// [`CodecError`], when it cannot stand in a field.
    pub fn rename(&self, headers: &mut Headers, names: &[&str]) -> Result<usize, CodecError> {
        let mut found = 0;
        for name in names {
            let Some(before) = headers.first(name) else { continue };
            let rest = before.iter().position(|byte| *byte == b':').and_then(|at| before.get(at..));
            let now = [&self.service, rest.unwrap_or_default()].concat();
            headers.set(name, &now).map_err(|_| CodecError::unsupported("rpc_service_is_no_text"))?;
            found += 1;
        }
        Ok(found)
    }
}

/// The path of a call.
pub(crate) fn path(call: &Call<'_>) -> Vec<u8> {
    let mut path = Vec::with_capacity(call.service.len() + call.method.len() + 2);
    for name in [call.service, call.method] {
        path.push(b'/');
        segment(name, &mut path);
    }
    path
}

/// A name as a segment of a path (RFC 3986, section 3.3): what cannot stand there is percent-encoded.
fn segment(name: &[u8], path: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'$');
    if name.iter().all(plain) {
        return path.extend_from_slice(name);
    }
    for byte in name {
        if plain(byte) || b"!&'()*+,;=:@".contains(byte) {
            path.push(*byte);
        } else {
            let hex = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            path.extend([b'%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
}

/// A segment as a name.
fn decoded(segment: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(segment.len());
    let mut bytes = segment.iter();
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'%' => (digit(bytes.next())? << 4 | digit(bytes.next())?) as u8,
            byte => *byte,
        });
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn edited(path: &str) -> Result<Option<Target>, CodecError> {
        let mut head = RequestHead::new(Method::POST, "", "/a/b");
        head.set_path_and_query(path.as_bytes()).unwrap();
        Target::edited(&head)
    }

    #[test]
    fn names_come_back_from_their_path() {
        let all: Vec<u8> = (0..=255).collect();
        let call = Call { service: &all, method: b"of/it?", timeout: None };
        let target = edited(std::str::from_utf8(&path(&call)).unwrap()).unwrap().unwrap();
        assert_eq!((target.service, target.method), (all, b"of/it?".to_vec()));
    }

    #[test]
    fn a_path_that_is_as_it_came_says_nothing() {
        assert_eq!(Target::edited(&RequestHead::new(Method::POST, "", "/a/b/c?d")), Ok(None));
    }

    #[test]
    fn paths_that_no_call_has_are_refused() {
        for path in ["*", "/", "//b", "/a/b/c", "/a/b?", "/a/b?c=d", "/a/%4", "/a/%zz"] {
            assert!(edited(path).is_err(), "{path}");
        }
        for path in ["/a", "/a/"] {
            assert_eq!(edited(path), Ok(Some(Target { service: b"a".to_vec(), method: Vec::new() })), "{path}");
        }
    }
}
